//! SIGHUP opens files anew: log rotation under load loses nothing, repeats nothing, and keeps the order.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use crate::support::{Router, messages, receivers, senders};

const CONFIGURATION: &str = r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.fixed]
kind = "file"
path = "fixed.jsonl"

[endpoints.by-logger]
kind = "file"
path = "by-logger/{logger}.jsonl"

[[routes]]
to = ["fixed", "by-logger"]
"#;

const ROTATIONS: usize = 5;

#[test]
fn files_that_are_renamed_under_load_lose_nothing_and_keep_the_order() {
    let router = Router::start(CONFIGURATION);
    let address = router.address("tcp");
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut stream = TcpStream::connect(address).expect("connect");
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                let lines: Vec<String> =
                    (sent..sent + 50).map(|number| messages::numbered_one("load", number, 150)).collect();
                stream.write_all(messages::text_of(&lines).as_bytes()).expect("send");
                sent += 50;
            }
            sent
        });
        for rotation in 0..ROTATIONS {
            let before = router.ledger().delivered("fixed");
            router.wait("messages flow", |ledger| {
                ledger.delivered("fixed") > before + 500 && ledger.delivered("by-logger") > before
            });
            for name in ["fixed", "by-logger/load"] {
                let (from, to) = (format!("{name}.jsonl"), format!("{name}.{rotation}"));
                fs::rename(router.path(&from), router.path(&to)).expect("rename");
            }
            router.signal("HUP");
            for name in ["fixed.jsonl", "by-logger/load.jsonl"] {
                crate::support::wait::until("the file is there again", || {
                    router.path(name).exists().then_some(())
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        sender.join().expect("send")
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    for name in ["fixed", "by-logger/load"] {
        let parts = (0..ROTATIONS).map(|rotation| format!("{name}.{rotation}"));
        let arrived: Vec<usize> = parts
            .chain([format!("{name}.jsonl")])
            .flat_map(|part| messages::numbers(receivers::lines(&stopped.path(&part))))
            .collect();
        assert!(arrived.iter().copied().eq(0..sent), "{name}: each message once, in order");
    }
    assert_eq!(stopped.ledger.delivered("fixed"), sent as u64);
}

#[test]
fn when_the_router_says_that_files_are_open_anew_the_old_ones_are_complete() {
    let router = Router::start(CONFIGURATION);
    let lines = messages::numbered("quiet", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait_until_delivered(100);
    fs::rename(router.path("fixed.jsonl"), router.path("fixed.1")).expect("rename");
    router.signal("HUP");
    router.wait_for_log("files opened anew");
    assert_eq!(receivers::lines(&router.path("fixed.1")), lines);
    assert_eq!(fs::read(router.path("fixed.jsonl")).expect("the new file"), b"");
    router.stop();
}
