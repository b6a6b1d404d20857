//! The input `zmq` with ZeroMQ's own library at the other end, in processes of their own.
//!
//! A publisher never waits: beyond its high-water mark it drops, and what it publishes before the router's subscription has
//! arrived goes to nobody. So these tests raise the mark over what they send, and begin when the publisher is heard.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use serde_json::json;

use crate::support::{
    Router, Setup,
    ledger::number,
    messages,
    publisher::Publisher,
    receivers::{self, drain_pipe, make_pipe},
    wait,
};

const ROUTER: &str = r#"
[limits]
message = "10KiB"

[inputs.zmq]
kind = "zmq"
listen = "127.0.0.1:0"
handshake = "127.0.0.1:0"

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#;

/// A port that is free at the moment, for what has to be found there again.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").port()
}

/// What was written to `all.jsonl` by this logger.
fn numbers_of(router: &Router, logger: &str) -> Vec<usize> {
    let mark = format!(r#""logger": "{logger}""#);
    let lines = receivers::lines(&router.path("all.jsonl"));
    messages::numbers(lines.iter().filter(|line| line.contains(&mark)))
}

#[test]
fn every_message_of_several_publishers_arrives_in_its_order() {
    const EACH: usize = 3_000;
    let router = Router::start(ROUTER);
    let mut publishers = Vec::new();
    for _ in 0..3 {
        let Some(mut publisher) = Publisher::start() else { return };
        publisher.order(json!({ "hwm": 2 * EACH }));
        publisher.connect(&router, "zmq");
        publishers.push(publisher);
    }
    for part in 0..3 {
        for (number, publisher) in publishers.iter_mut().enumerate() {
            publisher.numbers(&format!("p{number}"), part * EACH / 3, (part + 1) * EACH / 3, 300);
        }
    }
    let all = |ledger: &crate::support::Ledger| number(&ledger.input("zmq")["routed"]) == 3 * EACH as u64;
    router.wait("all messages are received", all);
    router.wait("everything is delivered", |ledger| ledger.queued() == 0);
    for number in 0..3 {
        assert_eq!(numbers_of(&router, &format!("p{number}")), (0..EACH).collect::<Vec<_>>());
    }
    drop(publishers);
    router.wait("their connections are closed", |ledger| {
        let connections = &ledger.input("zmq")["connections"];
        (number(&connections["opened"]), number(&connections["closed"])) == (3, 3)
    });
    router.stop();
}

#[test]
fn a_message_may_have_a_topic_be_packed_or_be_no_message_at_all() {
    let router = Router::start(ROUTER);
    let Some(mut publisher) = Publisher::connected(&router, "zmq") else { return };
    let message = |payload: &str| format!(r#"{{"type":"t","payload":"{payload}"}}"#);
    publisher.send(&["a topic", "and another", &message("with topics")]);
    publisher.order(json!({ "pack": { "type": "t", "payload": "packed", "fields": { "n": 10 } } }));
    publisher.send(&[&format!("{}\n{}", message("first of two"), message("second of two"))]);
    publisher.send(&["{\"type\":"]);
    publisher.order(json!({ "send": [{ "base64": "/w==" }] }));
    publisher.order(json!({ "send": [{ "base64": "AG1zZ3BhY2s6OoE=" }] }));
    publisher.send(&[&message(&"x".repeat(100_000))]);
    publisher.send(&["topic", &message(&"x".repeat(100_000))]);
    publisher.send(&[&message("last")]);
    let ledger =
        router.wait("the last one is received", |ledger| number(&ledger.input("zmq")["routed"]) == 5);
    assert_eq!(
        ledger.input("zmq")["rejected"],
        json!({ "invalid-json": 1, "invalid-utf8": 1, "invalid-msgpack": 1, "too-large": 2 })
    );
    let lines = receivers::lines(&router.stop().path("all.jsonl"));
    let payloads: Vec<&str> = lines.iter().filter_map(|line| line.split('"').nth(7)).collect();
    assert_eq!(payloads, ["with topics", "packed", "first of two", "second of two", "last"]);
}

#[test]
fn a_handshake_is_answered_where_somebody_is_there() {
    let router = Router::start(ROUTER);
    let Some(mut publisher) = Publisher::start() else { return };
    let line = router.wait_for_log("handshakes are answered");
    let address = line["address"].as_str().expect("an address");
    let patience = wait::PATIENCE.as_millis() as u64;
    for _ in 0..3 {
        let question = json!({ "handshake": format!("tcp://{address}"), "patience": patience });
        assert_eq!(publisher.order(question), json!(true));
    }
    let nobody = json!({ "handshake": format!("tcp://127.0.0.1:{}", free_port()), "patience": 100 });
    assert_eq!(publisher.order(nobody), json!(false));
    // A question that comes to the wrong port is nobody's message.
    let wrong = json!({ "handshake": format!("tcp://{}", router.address("zmq")), "patience": 100 });
    assert_eq!(publisher.order(wrong), json!(false));
    assert_eq!(router.ledger().received("zmq"), 0);
    router.stop();
}

#[test]
fn who_does_not_speak_zeromq_is_let_go_and_noticed() {
    let router = Router::start(ROUTER);
    let mut stranger = TcpStream::connect(router.address("zmq")).expect("connect");
    stranger.set_read_timeout(Some(wait::PATIENCE)).expect("set an option");
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: metlog\r\n\r\n").expect("send");
    let mut answer = Vec::new();
    // It may be told by a reset, because not all that it sent was read.
    let _ = stranger.read_to_end(&mut answer);
    assert!(answer.len() <= 10, "{answer:?}");
    let ledger = router.wait("it is noticed", |ledger| ledger.input("zmq")["noticed"] != json!({}));
    assert_eq!(ledger.input("zmq")["noticed"], json!({ "zmq-protocol": 1 }));
    // Who announces a message of 4 EiB is waited for, and takes no memory.
    let mut greeting = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL".to_vec();
    greeting.resize(64, 0);
    let liar =
        [&greeting[..], b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB\x02\x40\0\0\0\0\0\0\0"].concat();
    let mut stranger = TcpStream::connect(router.address("zmq")).expect("connect");
    stranger.write_all(&liar).expect("send");
    stranger.write_all(&[b'x'; 5_000]).expect("send");
    router.wait("its message is rejected", |ledger| {
        ledger.input("zmq")["rejected"] == json!({ "too-large": 1 })
    });
    router.stop();
}

#[test]
fn a_publisher_goes_on_by_itself_when_the_router_is_there_again() {
    let configuration = ROUTER.replacen("127.0.0.1:0", &format!("127.0.0.1:{}", free_port()), 1);
    let router = Router::start(&configuration);
    let Some(mut publisher) = Publisher::connected(&router, "zmq") else { return };
    publisher.numbers("p", 0, 100, 200);
    router.wait("100 messages are received", |ledger| number(&ledger.input("zmq")["routed"]) == 100);
    router.wait("everything is delivered", |ledger| ledger.queued() == 0);
    let setup = router.kill();
    // Nobody is there: what becomes of these is the publisher's affair. It may keep them, or drop them.
    publisher.numbers("p", 100, 150, 200);
    let router = setup.start();
    publisher.wait_until_heard(&router, "zmq");
    let kept = number(&router.ledger().input("zmq")["routed"]);
    publisher.numbers("p", 150, 250, 200);
    router.wait("100 more are received", |ledger| number(&ledger.input("zmq")["routed"]) == kept + 100);
    router.wait("everything is delivered", |ledger| ledger.queued() == 0);
    let arrived = numbers_of(&router, "p");
    assert!(arrived.is_sorted_by(|one, other| one < other), "in order and none twice: {arrived:?}");
    assert_eq!(arrived.len() as u64, 200 + kept);
    assert!(arrived.starts_with(&(0..100).collect::<Vec<_>>()));
    assert!(arrived.ends_with(&(150..250).collect::<Vec<_>>()));
    router.stop();
}

#[test]
fn a_full_endpoint_holds_its_publisher_up_and_no_other_and_the_publisher_drops() {
    const SENT: usize = 60_000;
    let setup = Setup::new(
        r#"
shutdown_timeout = "20s"

[inputs.zmq]
kind = "zmq"
listen = "127.0.0.1:0"
high_water_mark = 100

[endpoints.slow]
kind = "file"
path = "out/pipe"
buffer = { memory = "1MiB", when_full = "block" }

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
match = { logger = "slow" }
to = ["slow"]
final = true

[[routes]]
to = ["all"]
"#,
    );
    make_pipe(&setup.path("out/pipe"));
    let router = setup.start();
    let (Some(mut slow), Some(mut fast)) = (Publisher::start(), Publisher::connected(&router, "zmq")) else {
        return;
    };
    slow.order(json!({ "hwm": 50 }));
    slow.connect(&router, "zmq");
    let before = router.resident_bytes();
    // More than the endpoint's buffer, the kernel and the publisher's queue hold together: 60 MB.
    slow.numbers("slow", 0, SENT, 1024);
    router
        .wait("the endpoint is full", |ledger| number(&ledger.endpoint("slow")["queued_bytes"]) > 900 * 1024);
    fast.numbers("fast", 0, 100, 200);
    router.wait("the other publisher is heard", |ledger| ledger.delivered("all") == 100);
    let grown = router.resident_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more");

    let reader = drain_pipe(&router.path("out/pipe"));
    slow.wait_until_heard(&router, "zmq");
    let stopped = router.stop();
    let arrived = messages::numbers(reader.join().expect("read the pipe"));
    assert_eq!(arrived.len() as u64, stopped.ledger.delivered("slow"));
    assert_eq!(stopped.ledger.dropped("slow"), 0, "the router itself drops nothing");
    assert!(arrived.is_sorted_by(|one, other| one < other));
    assert!(!arrived.is_empty() && arrived.len() < SENT, "{} of {SENT}", arrived.len());
}

#[test]
fn a_router_that_connects_finds_its_publisher_again() {
    let port = free_port();
    let listen = "listen = \"127.0.0.1:0\"\nhandshake = \"127.0.0.1:0\"";
    assert!(ROUTER.contains(listen));
    let connect = format!("connect = [\"localhost:{port}\"]\ntopics = [\"metlog\", \"\"]");
    let router = Router::start(&ROUTER.replace(listen, &connect));
    let bind = json!({ "bind": format!("tcp://127.0.0.1:{port}") });
    for life in 0..2 {
        let Some(mut publisher) = Publisher::start() else { return };
        publisher.order(json!({ "hwm": 10_000 }));
        wait::until("the port is free", || (publisher.order(bind.clone()) != false).then_some(()));
        publisher.wait_until_heard(&router, "zmq");
        publisher.numbers("p", life * 100, (life + 1) * 100, 200);
        let so_far = (life as u64 + 1) * 100;
        router.wait("its messages are received", |ledger| number(&ledger.input("zmq")["routed"]) == so_far);
    }
    router.wait("everything is delivered", |ledger| ledger.queued() == 0);
    assert_eq!(numbers_of(&router, "p"), (0..200).collect::<Vec<_>>());
    router.stop();
}

#[test]
fn only_the_topics_that_are_asked_for_come() {
    let listen = "handshake = \"127.0.0.1:0\"";
    let router = Router::start(&ROUTER.replace(listen, "topics = [\"metlog.\"]"));
    let Some(mut publisher) = Publisher::start() else { return };
    publisher.order(json!({ "connect": format!("tcp://{}", router.address("zmq")) }));
    let routed = |ledger: &crate::support::Ledger| number(&ledger.input("zmq")["routed"]);
    wait::until("the topic is subscribed to", || {
        publisher.send(&["other", r#"{"type":"other"}"#]);
        publisher.send(&["metlog.shop", r#"{"type":"t"}"#]);
        (routed(&router.ledger()) > 0).then_some(())
    });
    let lines = receivers::lines(&router.stop().path("all.jsonl"));
    assert!(lines.iter().all(|line| line.starts_with(r#"{"type":"t""#)), "{lines:?}");
}
