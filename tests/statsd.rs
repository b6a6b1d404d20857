//! A statsd server that is down holds nothing up, and the ledger says what became of its metrics.

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    os::unix::net::UnixListener,
    time::Duration,
};

use crate::support::{Router, ledger::number, ledger::sum, messages, receivers, senders};

fn configuration(server: &str) -> String {
    format!(
        r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.stats]
kind = "statsd"
{server}

[endpoints.archive]
kind = "file"
path = "archive.jsonl"

[[routes]]
match = {{ type = ["counter", "timer"] }}
to = ["stats"]

[[routes]]
to = ["archive"]
"#
    )
}

fn counters(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            format!(
                r#"{{"type":"counter","timestamp":"2012-07-18T21:13:25Z","logger":"app","payload":"1","fields":{{"name":"hits.{number}","rate":1.0}}}}"#
            )
        })
        .collect()
}

#[test]
fn what_the_server_receives_is_what_was_delivered() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
    server.set_read_timeout(Some(Duration::from_millis(100))).expect("set an option");
    let address = server.local_addr().expect("an address");
    let router = Router::start(&configuration(&format!("address = \"{address}\"\nlinger = \"5ms\"")));
    let all = messages::real("metlog-0.8.jsonl");
    let is_metric = |line: &&String| {
        ["\"counter\"", "\"timer\""].iter().any(|kind| line.starts_with(&format!("{{\"type\": {kind}")))
    };
    let metrics = all.iter().filter(is_metric).count() as u64;
    assert!(metrics > 40);
    senders::tcp(router.address("tcp"), messages::text_of(&all).as_bytes());
    let ledger = router.wait_until_delivered(all.len() as u64);
    let stats = ledger.endpoint("stats");
    assert_eq!(number(&stats["enqueued"]), metrics);
    assert_eq!(number(&stats["delivered"]) + sum(&stats["refused"]), metrics);

    // Loopback loses nothing that the receive buffer holds.
    let (mut lines, mut datagram) = (0, [0; 65_536]);
    while let Ok(length) = server.recv(&mut datagram) {
        lines +=
            datagram[..length].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    }
    let stopped = router.stop();
    assert_eq!(lines, stopped.ledger.delivered("stats"), "what the server counted");
    assert_eq!(receivers::lines(&stopped.path("archive.jsonl")), all);
}

#[test]
fn a_udp_server_that_is_down_is_noticed_and_holds_nothing_up() {
    // Nobody listens on the discard port.
    let router = Router::start(&configuration("address = \"127.0.0.1:9\"\nlinger = \"1ms\""));
    let lines = counters(500);
    for piece in lines.chunks(100) {
        let before = router.ledger().delivered("archive");
        senders::tcp(router.address("tcp"), messages::text_of(piece).as_bytes());
        router.wait("the piece arrives", |ledger| ledger.delivered("archive") == before + 100);
        router.wait("it is out", |ledger| ledger.queued() == 0);
    }
    let ledger = router.wait_until_delivered(500);
    assert!(number(&ledger.endpoint("stats")["noticed"]["peer-unreachable"]) > 0, "{ledger:?}");
    // It has no files; asking it to open them anew takes no time.
    router.signal("HUP");
    router.wait_for_log("files opened anew");
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("archive.jsonl")), lines);
    assert_eq!(stopped.ledger.delivered("stats"), 500);
}

#[test]
fn a_server_behind_a_connection_that_is_down_gets_everything_when_it_is_back() {
    const SENT: usize = 2_000;
    let router =
        Router::start(&configuration("transport = \"unix_stream\"\npath = \"stats.sock\"\nlinger = \"1ms\""));
    let lines = counters(SENT);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the others go on", |ledger| ledger.delivered("archive") == SENT as u64);
    router.wait("the endpoint says that it fails", |ledger| !ledger.endpoint("stats")["failure"].is_null());
    let ledger = router.balanced();
    assert_eq!(number(&ledger.endpoint("stats")["queued"]), SENT as u64);

    let server = UnixListener::bind(router.path("stats.sock")).expect("bind");
    let (connection, _) = server.accept().expect("the router connects");
    let mut received = BufReader::new(connection).lines();
    for number in 0..SENT {
        let line = received.next().expect("a line").expect("text");
        assert_eq!(line, format!("app.hits.{number}:1|c"));
    }
    router.wait_until_delivered(SENT as u64);
    assert_eq!(router.stop().ledger.delivered("stats"), SENT as u64);
    assert!(received.next().is_none(), "each once");
}

#[test]
fn when_it_stays_down_the_router_ends_in_time_and_counts_what_was_not_delivered() {
    let server = "transport = \"unix_stream\"\npath = \"stats.sock\"\nlinger = \"1ms\"";
    let router = Router::start(&format!("shutdown_timeout = \"300ms\"\n{}", configuration(server)));
    let lines = counters(700);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the others go on", |ledger| ledger.delivered("archive") == 700);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.endpoint("stats")["dropped"], serde_json::json!({ "shutdown": 700 }));
    assert_eq!(receivers::lines(&stopped.path("archive.jsonl")), lines);
}
