//! One slow endpoint never stops another, and nothing is lost that was not counted.
//!
//! The slow endpoint is a file endpoint whose file is a named pipe that nobody reads: its thread waits in a system call,
//! as it would for a hanging disk. When the test begins to read the pipe, the endpoint wakes up.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use crate::support::{
    Router, Setup,
    ledger::number,
    messages,
    receivers::{self, drain_pipe, make_pipe},
    senders,
};

/// Logger `slow` goes to the pipe, everything else to a file.
fn configuration(when_full: &str) -> String {
    format!(
        r#"
threads = 2
shutdown_timeout = "20s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[endpoints.slow]
kind = "file"
path = "out/pipe"
buffer = {{ memory = "2MiB", when_full = "{when_full}" }}

[endpoints.fast]
kind = "file"
path = "out/fast.jsonl"

[[routes]]
match = {{ logger = "slow" }}
to = ["slow"]

[[routes]]
unrouted = true
to = ["fast"]
"#
    )
}

fn start(when_full: &str) -> Router {
    let setup = Setup::new(&configuration(when_full));
    make_pipe(&setup.path("out/pipe"));
    setup.start()
}

/// The messages of both equations that the receiver of the pipe has seen, with the ledger's word on them.
#[track_caller]
fn stop_and_compare(router: Router, reader: thread::JoinHandle<Vec<String>>) -> (Vec<usize>, u64) {
    let stopped = router.stop();
    let arrived = messages::numbers(reader.join().expect("read the pipe"));
    assert_eq!(arrived.len() as u64, stopped.ledger.delivered("slow"), "what the pipe's reader counted");
    (arrived, stopped.ledger.dropped("slow"))
}

#[test]
fn a_connection_to_a_blocked_endpoint_waits_while_another_goes_on() {
    const SLOW: usize = 30_000;
    const FAST: usize = 50_000;
    let router = start("block");
    let address = router.address("tcp");

    // Sends until the router does not read and the kernel holds no more; the rest later.
    let messages = messages::text_of(&messages::numbered("slow", SLOW, 1024));
    let mut rest = messages.as_bytes();
    let mut slow = TcpStream::connect(address).expect("connect");
    slow.set_nonblocking(true).expect("set an option");
    let mut stalled_at = None;
    router.wait("the connection stalls and the buffer is full", |ledger| {
        loop {
            match slow.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        // Nothing moves any more: neither the sender nor the router.
        let now = (rest.len(), ledger.received("tcp"));
        let has_stalled = stalled_at == Some(now) && number(&ledger.endpoint("slow")["queued"]) > 0;
        stalled_at = Some(now);
        has_stalled
    });
    assert!(!rest.is_empty(), "the router took everything: the test has lost its point");

    senders::tcp(address, messages::text_of(&messages::numbered("fast", FAST, 300)).as_bytes());
    let ledger = router
        .wait("the other connection's messages arrive", |ledger| ledger.delivered("fast") == FAST as u64);
    assert_eq!(ledger.delivered("slow"), 0);
    assert!(number(&ledger.endpoint("slow")["queued_bytes"]) <= 2 << 20, "{ledger:?}");

    let reader = drain_pipe(&router.path("out/pipe"));
    slow.set_nonblocking(false).expect("set an option");
    slow.write_all(rest).expect("send the rest");
    drop(slow);
    router.wait_until_delivered((SLOW + FAST) as u64);
    let (arrived, dropped) = stop_and_compare(router, reader);
    assert!(arrived.iter().copied().eq(0..SLOW), "all of them, once, in order");
    assert_eq!(dropped, 0);
}

#[test]
fn many_connections_that_wait_for_one_endpoint_lose_nothing_and_keep_their_order() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 6_000;
    let router = start("block");
    let address = router.address("tcp");
    let writers: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            // Sizes differ, so that batches differ: a small one must not overtake a large one.
            let lines = (0..EACH).map(|number| {
                let size = if number / 500 % 2 == 0 { 0 } else { 700 };
                messages::numbered_one("slow", connection * EACH + number, size)
            });
            let text = messages::text_of(&lines.collect::<Vec<_>>());
            thread::spawn(move || senders::tcp(address, text.as_bytes()))
        })
        .collect();
    router.wait("the endpoint's buffer fills", |ledger| {
        number(&ledger.endpoint("slow")["queued_bytes"]) > 1 << 20
    });
    let reader = drain_pipe(&router.path("out/pipe"));
    for writer in writers {
        writer.join().expect("send");
    }
    router.wait_until_delivered((CONNECTIONS * EACH) as u64);
    let (arrived, dropped) = stop_and_compare(router, reader);
    assert_eq!((arrived.len(), dropped), (CONNECTIONS * EACH, 0));
    for connection in 0..CONNECTIONS {
        let of_this = arrived.iter().copied().filter(|number| number / EACH == connection);
        assert!(of_this.eq(connection * EACH..(connection + 1) * EACH), "connection {connection}");
    }
}

#[test]
fn udp_cannot_wait_and_what_does_not_fit_is_counted() {
    const SENT: usize = 10_000;
    let router = start("block");
    let both: Vec<String> = (0..SENT)
        .flat_map(|number| ["slow", "fast"].map(|logger| messages::numbered_one(logger, number, 500)))
        .collect();
    senders::udp(&router, "udp", &both);
    router.wait("everything is received", |ledger| ledger.received("udp") == 2 * SENT as u64);
    let ledger = router.balanced();
    assert!(number(&ledger.endpoint("slow")["dropped"]["buffer-full"]) > 0, "{ledger:?}");
    let ledger = router.wait("the other endpoint has all", |ledger| ledger.delivered("fast") == SENT as u64);
    assert_eq!(ledger.dropped("fast"), 0);

    let reader = drain_pipe(&router.path("out/pipe"));
    router.wait_until_delivered(2 * SENT as u64);
    let fast = router.path("out/fast.jsonl");
    assert!(messages::numbers(receivers::lines(&fast)).into_iter().eq(0..SENT));
    let (arrived, dropped) = stop_and_compare(router, reader);
    assert_eq!(arrived.len() as u64 + dropped, SENT as u64);
    assert!(arrived.is_sorted());
}

/// Sends more than the buffer holds while nobody reads the pipe, then reads; returns what arrived and what was dropped.
#[track_caller]
fn overfill(when_full: &str, sent: usize) -> (Vec<usize>, u64) {
    let router = start(when_full);
    let messages = messages::text_of(&messages::numbered("slow", sent, 500));
    senders::tcp(router.address("tcp"), messages.as_bytes());
    router.wait("everything is received", |ledger| ledger.received("tcp") == sent as u64);
    let ledger = router.balanced();
    let dropped = ledger.dropped("slow");
    assert!(dropped > 0, "{ledger:?}");
    assert_eq!(number(&ledger.endpoint("slow")["dropped"]["buffer-full"]), dropped);
    let reader = drain_pipe(&router.path("out/pipe"));
    router.wait_until_delivered(sent as u64);
    let (arrived, dropped_in_all) = stop_and_compare(router, reader);
    assert_eq!(dropped, dropped_in_all);
    assert_eq!(arrived.len() as u64 + dropped, sent as u64);
    assert!(arrived.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once");
    (arrived, dropped)
}

#[test]
fn drop_newest_keeps_the_oldest_messages_and_counts_the_others() {
    let (arrived, _) = overfill("drop_newest", 20_000);
    assert!(arrived.iter().take(500).copied().eq(0..500), "the first ones stay");
}

#[test]
fn drop_oldest_keeps_the_newest_messages_and_counts_the_others() {
    let (arrived, _) = overfill("drop_oldest", 20_000);
    assert!(arrived.iter().rev().take(500).copied().eq((19_500..20_000).rev()), "the last ones stay");
}

#[test]
fn a_pipe_without_a_reader_stops_neither_the_start_nor_the_other_endpoints() {
    let router = start("block");
    let lines = messages::numbered("fast", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the other endpoint delivers", |ledger| ledger.delivered("fast") == 100);
    assert_eq!(receivers::lines(&router.stop().path("out/fast.jsonl")), lines);
}

#[test]
fn a_fast_sender_and_an_awake_endpoint_go_on_while_many_others_are_blocked() {
    // More blocked connections than reader threads: a blocked connection must never hold its thread.
    let router = start("block");
    let address = router.address("tcp");
    let sent = AtomicUsize::new(0);
    let text = messages::text_of(&messages::numbered("slow", 6_000, 1024));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                senders::tcp(address, text.as_bytes());
                sent.fetch_add(6_000, Ordering::Relaxed);
            });
        }
        router.wait("the endpoint's buffer fills", |ledger| {
            number(&ledger.endpoint("slow")["queued_bytes"]) > 1 << 20
        });
        for round in 1..=10 {
            let lines = messages::numbered("fast", 200, 0);
            senders::tcp(address, messages::text_of(&lines).as_bytes());
            router.wait("a round arrives", |ledger| ledger.delivered("fast") == round * 200);
        }
        let reader = drain_pipe(&router.path("out/pipe"));
        router.wait_until_delivered(6 * 6_000 + 2_000);
        let (arrived, dropped) = stop_and_compare(router, reader);
        assert_eq!((arrived.len(), dropped), (6 * 6_000, 0));
    });
    assert_eq!(sent.load(Ordering::Relaxed), 6 * 6_000);
}
