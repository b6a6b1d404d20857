//! The router rotates its own files: under load, on a full disk, and after it was killed in the middle.

use std::{ffi::OsStr, fs, path::Path, process::Command};

use crate::support::{
    Router, Setup, SmallDisk, messages,
    rotated::{files, lines, numbers},
    senders, wait,
};

fn configuration(rotate: &str) -> String {
    format!(
        r#"
shutdown_timeout = "10s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.fixed]
kind = "file"
path = "logs/fixed.jsonl"
rotate = {rotate}

[endpoints.by-logger]
kind = "file"
path = "logs/by-logger/{{logger}}.jsonl"
rotate = {rotate}

[[routes]]
to = ["fixed", "by-logger"]
"#
    )
}

fn is_compressed(path: &Path) -> bool {
    let mut rotated = files(path);
    rotated.pop();
    rotated.iter().all(|file| file.extension() == Some(OsStr::new("gz")))
}

#[test]
fn under_load_every_message_is_in_one_file_in_order_and_none_is_too_large() {
    const SENT: usize = 30_000;
    let router = Router::start(&configuration("{ size = \"256KiB\", every = \"1s\", compress = \"gzip\" }"));
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("load", SENT, 200)).as_bytes());
    router.wait_until_delivered(SENT as u64);
    for name in ["logs/fixed.jsonl", "logs/by-logger/load.jsonl"] {
        wait::until("all is compressed", || is_compressed(&router.path(name)).then_some(()));
    }
    let last = router.balanced();
    let stopped = router.stop();
    for (endpoint, name) in [("fixed", "logs/fixed.jsonl"), ("by-logger", "logs/by-logger/load.jsonl")] {
        let files = files(&stopped.path(name));
        assert!(files.len() >= SENT * 200 / (256 * 1024), "{files:?}");
        for file in &files {
            let bytes: usize = lines(file).iter().map(|line| line.len() + 1).sum();
            assert!(bytes <= 256 * 1024, "{}: {bytes}", file.display());
        }
        assert!(numbers(&stopped.path(name)).into_iter().eq(0..SENT), "{name}");
        assert_eq!(stopped.ledger.delivered(endpoint), SENT as u64);
        assert_eq!(last.endpoint(endpoint)["noticed"], serde_json::json!({}));
    }
}

/// A numbered message whose payload is noise.
fn noisy(number: usize) -> String {
    let mut random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise: String = (0..8)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            format!("{random:016x}")
        })
        .collect();
    messages::numbered_one("load", number, 0).replace("\"payload\":\"", &format!("\"payload\":\"{noise}"))
}

#[test]
fn a_disk_that_fills_up_while_files_are_rotated_and_compressed_loses_and_tears_nothing() {
    const SENT: usize = 600;
    let text =
        configuration("{ size = \"20KiB\", compress = \"gzip\" }").replace("\"logs/by-logger", "\"elsewhere");
    let setup = Setup::new(&text);
    let Some(disk) = SmallDisk::mount(setup.path("logs")) else { return };
    disk.fill_all_but(60 * 1024);
    let router = setup.start();
    // Half of each line cannot be compressed, so that in the end the disk is full whatever is done.
    let sent: Vec<String> = (0..SENT).map(noisy).collect();
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    router.wait("the other endpoint delivers", |ledger| ledger.delivered("by-logger") == SENT as u64);
    router.wait("the disk is full", |ledger| !ledger.endpoint("fixed")["failure"].is_null());
    disk.make_room();
    router.wait_until_delivered(SENT as u64);
    let stopped = router.stop();
    let part = files(&stopped.path("logs/fixed.jsonl"))
        .iter()
        .any(|file| file.extension() == Some(OsStr::new("part")));
    assert!(!part, "no part of a compressed file is left");
    assert!(numbers(&stopped.path("logs/fixed.jsonl")).into_iter().eq(0..SENT));
    assert_eq!((stopped.ledger.delivered("fixed"), stopped.ledger.dropped("fixed")), (SENT as u64, 0));
}

#[test]
fn a_router_that_is_killed_while_it_rotates_leaves_whole_files_and_the_next_one_cleans_up() {
    const SENT: usize = 20_000;
    let setup = Setup::new(&configuration("{ size = \"64KiB\", compress = \"gzip\" }"));
    let folder = setup.path("logs");
    let mut router = setup.start();
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("load", SENT, 200)).as_bytes());
    router.wait_until_delivered(SENT as u64);
    router.signal("KILL");
    router.wait_for_exit();
    let kept = tempfile::tempdir().expect("a folder");
    let status = Command::new("cp").arg("-a").arg(&folder).arg(kept.path()).status().expect("run cp");
    assert!(status.success());
    drop(router);

    let setup = Setup::new(&configuration("{ size = \"64KiB\", compress = \"gzip\" }"));
    fs::rename(kept.path().join("logs"), setup.path("logs")).expect("the files of the first router");
    // What a kill in the middle of a compression leaves, in case this one came too late for it.
    let first = files(&setup.path("logs/fixed.jsonl"))[0].clone();
    fs::write(first.with_file_name("fixed.jsonl.20120718T000000.000Z.gz.part"), "half").expect("write");
    let router = setup.start();
    let text = messages::text_of(&[messages::numbered_one("load", SENT, 200)]);
    senders::tcp(router.address("tcp"), text.as_bytes());
    router.wait_until_delivered(1);
    for name in ["logs/fixed.jsonl", "logs/by-logger/load.jsonl"] {
        wait::until("all is compressed", || is_compressed(&router.path(name)).then_some(()));
    }
    let stopped = router.stop();
    for name in ["logs/fixed.jsonl", "logs/by-logger/load.jsonl"] {
        assert!(numbers(&stopped.path(name)).into_iter().eq(0..=SENT), "{name}");
    }
}
