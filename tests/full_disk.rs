//! A file endpoint on a full disk: it waits, the others go on, and when there is room again everything arrives.

use std::{fs, path::Path};

use crate::support::{Router, Setup, SmallDisk, ledger::number, messages, receivers, senders, wait};

fn configuration(path: &str, more: &str) -> String {
    format!(
        r#"
shutdown_timeout = "10s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.full]
kind = "file"
path = "{path}"
{more}

[endpoints.good]
kind = "file"
path = "good.jsonl"

[[routes]]
match = {{ logger = {{ prefix = "full" }} }}
to = ["full"]

[[routes]]
to = ["good"]
"#
    )
}

#[track_caller]
fn wait_until_failing(router: &Router) {
    router.wait("the endpoint says that it fails", |ledger| !ledger.endpoint("full")["failure"].is_null());
    let ledger = router.balanced();
    assert!(number(&ledger.endpoint("full")["queued"]) > 0);
}

/// Shows that the other endpoint, which gets everything, does not wait: neither with what was `sent` before nor with more.
#[track_caller]
fn the_other_endpoint_goes_on(router: &Router, sent: usize) {
    let lines = messages::numbered("good", 500, 300);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the other endpoint delivers", |ledger| ledger.delivered("good") == sent as u64 + 500);
}

/// The lines of a file at this moment. A part of one may stand behind them, until the router has taken it back.
fn whole_lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("read the file");
    text[..text.rfind('\n').map_or(0, |end| end + 1)].lines().map(str::to_owned).collect()
}

#[test]
fn a_full_disk_holds_messages_back_until_there_is_room_and_tears_no_line() {
    const SENT: usize = 400;
    let setup = Setup::new(&configuration("disk/full.jsonl", ""));
    let Some(disk) = SmallDisk::mount(setup.path("disk")) else { return };
    disk.fill_all_but(40 * 1024);
    let router = setup.start();
    // Lines whose length has nothing to do with the size of a page: the last one is cut by the disk's end.
    let lines = messages::numbered("full", SENT, 333);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    wait_until_failing(&router);
    let on_disk = whole_lines(&router.path("disk/full.jsonl"));
    assert!(!on_disk.is_empty() && on_disk.len() < SENT);
    assert_eq!(
        on_disk.len() as u64,
        router.ledger().delivered("full"),
        "what is written is counted, and no more"
    );
    the_other_endpoint_goes_on(&router, SENT);

    disk.make_room();
    router.wait_until_delivered(SENT as u64 + 500);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("disk/full.jsonl")), lines, "all, once, in order, none torn");
    assert_eq!((stopped.ledger.delivered("full"), stopped.ledger.dropped("full")), (SENT as u64, 0));
    assert_eq!(stopped.ledger.delivered("good"), 500 + SENT as u64);
}

#[test]
fn with_a_file_for_each_logger_a_full_disk_may_repeat_lines_and_never_loses_one() {
    const SENT: usize = 300;
    let setup = Setup::new(&configuration("disk/{logger}.jsonl", ""));
    let Some(disk) = SmallDisk::mount(setup.path("disk")) else { return };
    disk.fill_all_but(40 * 1024);
    let router = setup.start();
    let loggers = ["full-a", "full-b", "full-c"];
    let lines: Vec<String> =
        (0..SENT).map(|number| messages::numbered_one(loggers[number % 3], number, 333)).collect();
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    wait_until_failing(&router);
    the_other_endpoint_goes_on(&router, SENT);
    disk.make_room();
    router.wait_until_delivered(SENT as u64 + 500);
    let stopped = router.stop();
    for (position, logger) in loggers.iter().enumerate() {
        let mut arrived = messages::numbers(receivers::lines(&stopped.path(&format!("disk/{logger}.jsonl"))));
        arrived.sort_unstable();
        arrived.dedup();
        assert!(arrived.into_iter().eq((position..SENT).step_by(3)), "{logger}");
    }
    assert_eq!(stopped.ledger.delivered("full"), SENT as u64);
}

#[test]
fn past_the_bound_on_open_files_a_line_that_cannot_be_written_is_not_taken_for_written() {
    // One file at a time is open, so each message closes the file of the one before it; one of the files is always full.
    let text = configuration("out/{logger}", "")
        .replace("shutdown_timeout = \"10s\"", "shutdown_timeout = \"300ms\"");
    let setup = Setup::new(&format!("{text}\n[limits]\nopen_files = 1\n"));
    fs::create_dir(setup.path("out")).expect("make a folder");
    std::os::unix::fs::symlink("/dev/full", setup.path("out/full-always")).expect("make a link");
    let router = setup.start();
    let lines = ["full-always", "full-not"].map(|logger| messages::numbered_one(logger, 1, 0));
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    wait_until_failing(&router);
    let stopped = router.stop();
    assert_eq!(
        stopped.ledger.delivered("full"),
        0,
        "nothing before the failure is delivered, so nothing behind it"
    );
    assert_eq!(stopped.ledger.endpoint("full")["dropped"], serde_json::json!({ "shutdown": 2 }));
}

#[test]
fn a_file_that_may_not_grow_is_an_error_that_is_tried_again_and_not_the_end() {
    let text =
        configuration("full.jsonl", "").replace("kind = \"file\"\npath = \"good.jsonl\"", "kind = \"null\"");
    let setup = Setup::new(&text).ulimit("-f 64");
    let router = setup.start();
    let lines = messages::numbered("full", 400, 333);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    wait_until_failing(&router);
    // The shell counts in blocks of 512 bytes or of 1,024.
    let on_disk = whole_lines(&router.path("full.jsonl"));
    assert!(!on_disk.is_empty() && on_disk.len() < lines.len());
    assert_eq!(on_disk, lines[..on_disk.len()]);

    // Log rotation makes room, file by file.
    let mut arrived = Vec::new();
    for part in 1.. {
        let (current, old) = (router.path("full.jsonl"), router.path(&format!("full.{part}.jsonl")));
        fs::rename(&current, &old).expect("rename");
        arrived.extend(whole_lines(&old));
        router.signal("HUP");
        wait::until("the file is there again", || current.exists().then_some(()));
        let ledger = router.wait("this file is full too, or all is written", |ledger| {
            ledger.queued() == 0 || whole_lines(&current).len() == on_disk.len()
        });
        if ledger.queued() == 0 {
            arrived.extend(receivers::lines(&current));
            break;
        }
    }
    assert_eq!(arrived, lines);
    router.stop();
}

#[test]
fn what_an_input_with_meta_messages_brought_is_not_counted_again_for_another_input() {
    const FIRST: usize = 60;
    const LAST: usize = 200;
    let text = configuration("full.jsonl", "")
        .replace("kind = \"file\"\npath = \"good.jsonl\"", "kind = \"null\"")
        .replace("shutdown_timeout = \"10s\"", "shutdown_timeout = \"300ms\"")
        + "[inputs.meta]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\nallow_meta = true\n";
    let setup = Setup::new(&text).ulimit("-f 64");
    let router = setup.start();
    let lines = messages::numbered("full", FIRST + LAST, 333);
    senders::tcp(router.address("meta"), messages::text_of(&lines[..FIRST]).as_bytes());
    router.wait_until_delivered(FIRST as u64);
    senders::tcp(router.address("tcp"), messages::text_of(&lines[FIRST..]).as_bytes());
    wait_until_failing(&router);
    let stopped = router.stop();
    let on_disk = receivers::lines(&stopped.path("full.jsonl"));
    assert!(on_disk.len() > FIRST && on_disk.len() < lines.len());
    assert_eq!(on_disk, lines[..on_disk.len()]);
    assert_eq!(stopped.ledger.delivered("full"), on_disk.len() as u64);
    assert_eq!(stopped.ledger.dropped("full"), (lines.len() - on_disk.len()) as u64);
}

#[test]
fn a_path_that_can_never_be_written_is_refused_and_holds_nothing_up() {
    let setup = Setup::new(&configuration("missing/{logger}.jsonl", ""));
    // A file stands where the folder should be.
    fs::write(setup.path("missing"), "").expect("write");
    let router = setup.start();
    let lines = messages::numbered("full", 10, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the messages have an answer", |ledger| {
        ledger.received("tcp") == 10 && ledger.delivered("good") == 10
    });
    the_other_endpoint_goes_on(&router, 10);
    let stopped = router.stop();
    // No such path can ever be written: refused for good, and said so.
    assert_eq!(stopped.ledger.endpoint("full")["refused"], serde_json::json!({ "file-path": 10 }));
    assert!(stopped.path("missing").is_file());
}
