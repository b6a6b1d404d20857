//! Input `file`: rotation, restarts and crashes under load, with real files and a real router.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{Ledger, Router, Setup, ledger::number, messages, receivers, router::METLOG, wait};

/// An input `logs` with these keys, and all that it reads in one file.
fn configuration(keys: &str) -> String {
    format!(
        r#"
shutdown_timeout = "20s"

[inputs.logs]
kind = "file"
{keys}

[endpoints.out]
kind = "file"
path = "out.jsonl"

[[routes]]
to = ["out"]
"#
    )
}

/// Follows `app.log`.
fn follow() -> String {
    configuration("path = \"app.log\"\nrescan = \"100ms\"")
}

/// All that `app.log` has goes to a pipe, and waits for whoever reads it.
const INTO_A_PIPE: &str = r#"
shutdown_timeout = "1s"

[inputs.logs]
kind = "file"
path = ["app.log", "app.log.gz"]
rescan = "100ms"

[endpoints.pipe]
kind = "file"
path = "pipe/{logger}.jsonl"
buffer = { memory = "MEMORY" }

[[routes]]
to = ["pipe"]
"#;

/// Lines written in one go by the writers of these tests.
const AT_ONCE: usize = 20;

/// A program that writes numbered messages to `app.log`, twenty at a time, and opens it anew when it is told to.
struct Writer {
    path: PathBuf,
    written: AtomicUsize,
    is_stopped: AtomicBool,
    is_to_reopen: AtomicBool,
}

impl Writer {
    fn new(folder: &Path) -> Writer {
        Writer {
            path: folder.join("app.log"),
            written: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
            is_to_reopen: AtomicBool::new(false),
        }
    }

    fn open(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.path).expect("open the log")
    }

    fn run(&self) {
        let mut file = self.open();
        while !self.is_stopped.load(Ordering::Acquire) {
            if self.is_to_reopen.swap(false, Ordering::AcqRel) {
                file = self.open();
            }
            let first = self.written.load(Ordering::Acquire);
            let lines: Vec<String> =
                (first..first + AT_ONCE).map(|number| messages::numbered_one("app", number, 200)).collect();
            file.write_all(messages::text_of(&lines).as_bytes()).expect("write the log");
            self.written.store(first + AT_ONCE, Ordering::Release);
            // A load, not a flood: the crash must find something in the middle.
            thread::sleep(Duration::from_micros(300));
        }
    }

    /// Writes for as long as `what` takes, also where that fails.
    fn writes_during<T>(&self, what: impl FnOnce() -> T) -> T {
        struct Stop<'w>(&'w Writer);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.is_stopped.store(true, Ordering::Release);
            }
        }
        thread::scope(|scope| {
            scope.spawn(|| self.run());
            let _stop = Stop(self);
            what()
        })
    }

    fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }
}

#[test]
fn a_log_that_is_rotated_under_load_arrives_whole_and_in_order() {
    let router = Router::start(&follow());
    let writer = Writer::new(router.path("x").parent().expect("a folder"));
    writer.writes_during(|| {
        for rotation in 0..5 {
            // What was written by now is in this log or older ones: more means that this one is being read.
            let written = writer.written();
            router.wait("the log is read", |ledger| ledger.delivered("out") > written as u64 + 500);
            fs::rename(router.path("app.log"), router.path(&format!("app.log.{rotation}"))).expect("rename");
            // As a program does that is told of the rotation only after a while.
            let renamed_at = writer.written();
            wait::until("the writer wrote on", || (writer.written() > renamed_at + 100).then_some(()));
            writer.is_to_reopen.store(true, Ordering::Release);
            wait::until("the log is there again", || router.path("app.log").exists().then_some(()));
        }
    });
    let written = writer.written();
    router.wait_until_delivered(written as u64);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.received("logs"), written as u64);
    let arrived = messages::numbers(receivers::lines(&stopped.path("out.jsonl")));
    assert!(arrived.into_iter().eq(0..written), "each message once, in order");
    assert_eq!(kept(&stopped.path("metlog-data"))["path"], "app.log");
}

#[test]
fn a_log_that_is_emptied_after_it_was_read_loses_nothing() {
    let router = Router::start(&follow());
    let mut written = 0;
    for _ in 0..5 {
        let lines = messages::numbered("app", written + 300, 150).split_off(written);
        written += lines.len();
        let mut log =
            OpenOptions::new().create(true).append(true).open(router.path("app.log")).expect("open");
        log.write_all(messages::text_of(&lines).as_bytes()).expect("write");
        router.wait_until_delivered(written as u64);
        fs::copy(router.path("app.log"), router.path("copy")).expect("copy");
        log.set_len(0).expect("truncate");
    }
    let stopped = router.stop();
    assert!(messages::numbers(receivers::lines(&stopped.path("out.jsonl"))).into_iter().eq(0..written));
}

#[test]
fn a_killed_router_brings_everything_that_it_had_not_delivered_and_repeats_little() {
    let setup = Setup::new(&follow());
    let writer = Writer::new(setup.path("x").parent().expect("a folder"));
    let mut kept_positions = Vec::new();
    let setup = writer.writes_during(|| {
        let mut setup = setup;
        for _ in 0..3 {
            let router = setup.start();
            let data = router.path("metlog-data");
            let before = position(&data);
            wait::until("positions are kept", || (position(&data) > before).then_some(()));
            setup = router.kill();
            kept_positions.push(position(&setup.path("metlog-data")) as usize);
        }
        setup
    });
    let written = writer.written();
    let router = setup.start();
    let arrived = wait::until("everything is there", || {
        let arrived = arrivals(&router.path("out.jsonl"));
        (arrived.len() == written).then_some(arrived)
    });
    router.balanced();
    let stopped = router.stop();
    // The lines are of 200 bytes, each with its line break. What had been acknowledged when the positions were kept came once;
    // of the rest, a line came again at most once for each time that the router was killed.
    let acknowledged = kept_positions[0] / 201;
    assert!(acknowledged > 0);
    for (number, times) in arrived {
        let kills_before = kept_positions.iter().filter(|position| number >= **position / 201).count();
        assert!(times <= 1 + kills_before, "line {number} came {times} times");
    }
    // And now it is known that everything has arrived.
    let again = stopped.again().start();
    again.wait_for_log("listening");
    let stopped = again.stop();
    assert_eq!(stopped.ledger.received("logs"), 0);
}

#[test]
fn a_log_that_was_found_just_before_a_crash_is_read_to_its_end_although_it_was_renamed_meanwhile() {
    const HALF: usize = 1_000;
    let lines = messages::numbered("app", 3 * HALF, 200);
    let setup = Setup::new(&follow());
    let append = |setup: &Setup, lines: &[String]| {
        let mut log = OpenOptions::new().create(true).append(true).open(setup.path("app.log")).expect("open");
        log.write_all(messages::text_of(lines).as_bytes()).expect("write");
    };
    append(&setup, &lines[..HALF]);
    let router = setup.start();
    let out = router.path("out.jsonl");
    // Mostly long before a second has passed since the log was found, which is how often positions are written otherwise.
    wait::until("the first half is delivered", || (arrivals(&out).len() == HALF).then_some(()));
    let setup = router.kill();
    append(&setup, &lines[HALF..2 * HALF]);
    fs::rename(setup.path("app.log"), setup.path("rotated")).expect("rename");
    append(&setup, &lines[2 * HALF..]);
    let router = setup.start();
    let arrived = wait::until("everything is there", || {
        let arrived = arrivals(&out);
        (arrived.len() == 3 * HALF).then_some(arrived)
    });
    router.balanced();
    router.stop();
    assert!(arrived.into_iter().all(|(number, times)| times == 1 || (number < HALF && times == 2)));
}

#[test]
fn what_could_not_be_delivered_before_the_end_comes_after_the_next_start() {
    const COUNT: usize = 2_000;
    let setup = Setup::new(&INTO_A_PIPE.replace("MEMORY", "8MiB"));
    receivers::make_pipe(&setup.path("pipe/app.jsonl"));
    let lines = messages::numbered("app", COUNT, 200);
    fs::write(setup.path("app.log"), messages::text_of(&lines)).expect("write");
    let router = setup.start();
    // Nobody reads the pipe.
    router.wait("everything is received", |ledger| ledger.received("logs") == COUNT as u64);
    let stopped = router.stop();
    assert_eq!(number(&stopped.ledger.endpoint("pipe")["dropped"]["shutdown"]), COUNT as u64);
    fs::remove_file(stopped.path("pipe/app.jsonl")).expect("remove the pipe");

    let router = stopped.again().start();
    router.wait_until_delivered(COUNT as u64);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("pipe/app.jsonl")), lines);
}

#[test]
fn a_file_that_an_endpoint_holds_up_is_shown_with_the_reason_until_it_has_caught_up() {
    const COUNT: usize = 5_000;
    let setup = Setup::new(&INTO_A_PIPE.replace("MEMORY", "64KiB"));
    receivers::make_pipe(&setup.path("pipe/app.jsonl"));
    let text = messages::text_of(&messages::numbered("app", COUNT, 200));
    fs::write(setup.path("app.log"), &text).expect("write");
    fs::write(setup.path("app.log.gz"), b"\x1f\x8b\x08").expect("write");
    let router = setup.start();
    // Nobody reads the pipe.
    let files = |ledger: &Ledger| ledger.input("logs")["files"].clone();
    let ledger = router.wait("it is held up", |ledger| files(ledger)["held_up"] == 1);
    let file = &files(&ledger)["list"][0];
    assert_eq!((&file["path"], &file["size_bytes"]), (&"app.log".into(), &text.len().into()));
    assert_eq!((&file["state"], &file["detail"]), (&"waits-for-endpoint".into(), &"pipe".into()));
    assert_eq!(files(&ledger)["behind_bytes"], text.len(), "nothing is acknowledged");
    let left_alone = &files(&ledger)["left_alone"][0];
    assert_eq!(left_alone["path"], "app.log.gz");
    let api = router.api().to_string();
    let output = Command::new(METLOG).args(["status", "--api", &api]).output().expect("run metlog");
    let said = String::from_utf8(output.stdout).expect("a text");
    assert!(said.contains("1 file followed, 981 KiB behind, 1 held up"), "{said}");
    assert!(said.contains("app.log: 981 KiB behind, waits for endpoint `pipe`, for "), "{said}");
    assert!(said.contains("app.log.gz: not read: it is compressed (gzip)"), "{said}");

    let reader = receivers::drain_pipe(&router.path("pipe/app.jsonl"));
    let ledger = router.wait("it has caught up", |ledger| {
        files(ledger)["behind_bytes"] == 0 && files(ledger)["list"][0]["state"] == "at-end"
    });
    assert_eq!(files(&ledger)["held_up"], 0);
    // In an answer of its own: one may show the endpoints of a moment before its inputs.
    assert_eq!(router.ledger().delivered("pipe"), COUNT as u64);
    router.stop();
    assert_eq!(reader.join().expect("the pipe's reader").len(), COUNT);
}

#[test]
fn files_that_are_read_once_end_the_router_and_are_not_read_again() {
    let keys = "path = [\"in/*.log\"]\nexclude = \"b*\"\nmode = \"once\"";
    let text = configuration(keys).replace("out.jsonl", "out/{logger}.jsonl");
    let setup = Setup::new(&text);
    fs::create_dir(setup.path("in")).expect("make a folder");
    for name in ["a", "b", "c"] {
        let text = messages::text_of(&messages::numbered(name, 5_000, 200));
        fs::write(setup.path(&format!("in/{name}.log")), text.trim_end()).expect("write");
    }
    let stopped = setup.run_to_its_good_end();
    assert_eq!(stopped.ledger.received("logs"), 10_000);
    for name in ["a", "c"] {
        let lines = receivers::lines(&stopped.path(&format!("out/{name}.jsonl")));
        assert!(messages::numbers(lines).into_iter().eq(0..5_000));
    }
    let stopped = stopped.again().run_to_its_good_end();
    assert_eq!(stopped.ledger.received("logs"), 0);
}

#[test]
fn a_stack_trace_becomes_one_message() {
    let trace = "2012-07-18 21:13:25 ERROR checkout failed\n\
                 Traceback (most recent call last):\n  File \"shop.py\", line 12, in pay\n    card.charge(\"9.99\")\n\n\
                 ValueError: no such card";
    let keys = r#"
path = "app.log"
decoder = "line"
logger = "shop"
multiline = { start = '^\d{4}-\d\d-\d\d ', timeout = "200ms" }
"#;
    let setup = Setup::new(&configuration(keys));
    fs::write(setup.path("app.log"), format!("{trace}\n2012-07-18 21:13:26 INFO next\n{trace}\n"))
        .expect("write");
    let router = setup.start();
    router.wait_until_delivered(3);
    let stopped = router.stop();
    let messages = receivers::lines(&stopped.path("out.jsonl"));
    let messages = messages.iter().map(|line| serde_json::from_str::<Value>(line).expect("a message"));
    let payloads: Vec<Value> = messages.map(|mut message| message["payload"].take()).collect();
    assert_eq!(payloads, [trace, "2012-07-18 21:13:26 INFO next", trace]);
}

#[test]
fn two_routers_cannot_keep_their_positions_in_one_folder() {
    let first = Router::start(&follow());
    let data = first.path("metlog-data");
    let second = Setup::new(&format!("data_dir = {data:?}\n{}", follow()));
    let (status, said) = second.run_to_its_end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is in use by another router (process "), "{said}");
    assert!(said.contains("give each router a `data_dir` of its own"), "{said}");
    first.stop();
}

#[test]
fn two_routers_with_the_same_configuration_do_not_write_the_same_files() {
    let configuration = "[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\
                         [endpoints.log]\nkind = \"file\"\npath = \"FOLDER/log\"\n[[routes]]\nto = [\"log\"]\n";
    let first = Router::start(&configuration.replace("FOLDER", "."));
    let data = first.path("metlog-data");
    let path = configuration.replace("FOLDER", &first.path("").display().to_string());
    let second = || Setup::new(&format!("data_dir = {data:?}\n{path}"));
    let (status, said) = second().run_to_its_end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("is in use by another router (process "), "{said}");
    // To look at a configuration takes nothing.
    let other = second();
    let file = other.path("metlog.toml");
    let checked = Command::new(METLOG).arg("check").arg("--config").arg(file).output().expect("run metlog");
    assert!(checked.status.success(), "{checked:?}");
    first.reload(&format!("data_dir = \"elsewhere\"\n{}", configuration.replace("FOLDER", ".")));
    let (status, said) = other.run_to_its_end();
    assert_eq!(status.code(), Some(1), "a reload lets go of the folder: {said}");
    first.stop();
}

/// What is kept of the file that was seen first; null where nothing is kept yet.
fn kept(data: &Path) -> Value {
    let text = fs::read_to_string(data.join("checkpoints/logs.json")).unwrap_or_default();
    let kept: Value = serde_json::from_str(&text).unwrap_or_default();
    kept["files"][0].clone()
}

/// Its kept position; 0 where nothing is kept yet.
fn position(data: &Path) -> u64 {
    kept(data)["position"].as_u64().unwrap_or(0)
}

/// How often each message arrived. A kill may have torn the line that was being written; it comes again.
fn arrivals(path: &Path) -> BTreeMap<usize, usize> {
    let mut arrived = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap_or_default().lines() {
        if let Ok(message) = serde_json::from_str::<Value>(line) {
            *arrived.entry(number(&message["metlog_seq"]) as usize).or_default() += 1;
        }
    }
    arrived
}
