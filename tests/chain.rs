//! A router sends to another one, which may be slow, gone, or killed.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::support::{
    Router, Setup,
    ledger::number,
    messages,
    receivers::{self, drain_pipe, make_pipe},
    senders,
};

/// A router that sends everything to the one at `next`.
fn first(next: &str) -> Router {
    Router::start(&format!(
        r#"
shutdown_timeout = "20s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.next]
kind = "metlog"
{next}
timeout = "200ms"
buffer = {{ memory = "2MiB" }}

[[routes]]
to = ["next"]
"#
    ))
}

/// The router at the end, which listens at `address` and writes to a file or a pipe.
fn second(address: &str) -> Setup {
    Setup::new(&format!(
        r#"
shutdown_timeout = "20s"

[inputs.from-first]
kind = "tcp"
listen = "{address}"

[inputs.from-first-by-path]
kind = "unix"
path = "in.sock"

[endpoints.out]
kind = "file"
path = "out"
buffer = {{ memory = "1MiB" }}

[[routes]]
to = ["out"]
"#
    ))
}

#[test]
fn everything_goes_through_two_routers_byte_for_byte_and_in_order() {
    let next = second("127.0.0.1:0").start();
    let router = first(&format!("address = \"{}\"", next.address("from-first")));
    let real = messages::real("metlog-0.8.jsonl");
    let mut sent = messages::numbered("app", 20_000, 300);
    sent.extend(real.iter().cloned());
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    router.wait_until_delivered(sent.len() as u64);
    next.wait_until_delivered(sent.len() as u64);
    assert_eq!(router.stop().ledger.delivered("next"), sent.len() as u64);
    let next = next.stop();
    assert_eq!(next.ledger.delivered("out"), sent.len() as u64);
    assert_eq!(receivers::lines(&next.path("out")), sent);
}

#[test]
fn a_router_behind_a_unix_socket_is_reached_too() {
    let next = second("127.0.0.1:0").start();
    let router = first(&format!("path = \"{}\"", next.socket_path("from-first-by-path")));
    let sent = messages::numbered("app", 1_000, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    next.wait_until_delivered(1_000);
    router.stop();
    assert_eq!(receivers::lines(&next.stop().path("out")), sent);
}

#[test]
fn a_router_that_is_not_there_yet_gets_everything_once_it_is() {
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let router = first(&format!("address = \"{address}\""));
    let sent = messages::numbered("app", 2_000, 200);
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    let ledger = router.wait("it says what is in the way", |ledger| {
        !ledger.endpoint("next")["failure"].is_null() && ledger.received("tcp") == 2_000
    });
    let error = ledger.endpoint("next")["failure"]["error"].as_str().expect("words");
    assert!(error.starts_with(&format!("cannot reach {address}: ")), "{error}");
    assert_eq!(number(&router.balanced().endpoint("next")["queued"]), 2_000);

    let next = second(&address.to_string()).start();
    next.wait_until_delivered(2_000);
    router.wait_until_delivered(2_000);
    router.stop();
    assert_eq!(receivers::lines(&next.stop().path("out")), sent);
}

#[test]
fn a_slow_router_slows_the_sender_down_and_loses_nothing() {
    const SENT: usize = 40_000;
    let setup = second("127.0.0.1:0");
    make_pipe(&setup.path("out"));
    let next = setup.start();
    let router = first(&format!("address = \"{}\"", next.address("from-first")));
    let address = router.address("tcp");
    let sending = std::thread::spawn(move || {
        senders::tcp(address, messages::text_of(&messages::numbered("app", SENT, 1000)).as_bytes());
    });
    let ledger = router.wait("the next router takes nothing", |ledger| {
        ledger.endpoint("next")["failure"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("takes nothing"))
    });
    assert!(ledger.received("tcp") < SENT as u64, "the router took everything: the test has lost its point");
    let reader = drain_pipe(&next.path("out"));
    sending.join().expect("send");
    router.wait_until_delivered(SENT as u64);
    next.wait_until_delivered(SENT as u64);
    let ledger = router.stop().ledger;
    assert_eq!((ledger.delivered("next"), ledger.dropped("next")), (SENT as u64, 0));
    next.stop();
    let arrived = messages::numbers(reader.join().expect("read the pipe"));
    assert!(arrived.into_iter().eq(0..SENT), "all of them, once, in order, over one connection");
}

#[test]
fn when_the_next_router_is_killed_while_nothing_is_under_way_nothing_is_lost() {
    const EACH: usize = 5_000;
    let mut next = second("127.0.0.1:0").start();
    let address = next.address("from-first");
    let router = first(&format!("address = \"{address}\""));
    let sent = messages::numbered("app", 3 * EACH, 300);
    let mut connection = TcpStream::connect(router.address("tcp")).expect("connect");
    let mut send = |range: std::ops::Range<usize>| {
        std::io::Write::write_all(&mut connection, messages::text_of(&sent[range]).as_bytes()).expect("send");
    };

    // The first part arrives; then nothing is under way, so that nothing can be lost.
    send(0..EACH);
    next.wait_until_delivered(EACH as u64);
    router.wait_until_delivered(EACH as u64);
    next.signal("KILL");
    next.wait_for_exit();
    let first_part = receivers::lines(&next.path("out"));

    // The connection is closed: this is noticed before anything is written to it.
    send(EACH..2 * EACH);
    router.wait("it says that nobody is there", |ledger| !ledger.endpoint("next")["failure"].is_null());
    let ledger = router.balanced();
    assert_eq!(ledger.delivered("next"), EACH as u64);
    assert_eq!(number(&ledger.endpoint("next")["noticed"]["connection-lost"]), 1);

    let next = second(&address.to_string()).start();
    send(2 * EACH..3 * EACH);
    next.wait_until_delivered(2 * EACH as u64);
    router.wait_until_delivered(3 * EACH as u64);
    drop(connection);
    assert_eq!(router.stop().ledger.delivered("next"), 3 * EACH as u64);
    assert_eq!([first_part, receivers::lines(&next.stop().path("out"))].concat(), sent);
}

#[test]
fn a_message_that_was_cut_in_half_is_sent_again_as_a_whole() {
    // The next router is the test itself: it reads a part of what it is sent, and closes the connection in the middle.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let router = first(&format!("address = \"{}\"", listener.local_addr().expect("an address")));
    let sent = messages::numbered("app", 30_000, 1000);
    let address = router.address("tcp");
    let text = messages::text_of(&sent);
    let sending = std::thread::spawn(move || senders::tcp(address, text.as_bytes()));

    let (connection, _) = listener.accept().expect("accept");
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    for _ in 0..100 {
        reader.read_line(&mut line).expect("read");
    }
    router.wait("the kernel holds no more", |ledger| !ledger.endpoint("next")["failure"].is_null());
    drop(reader);

    let (connection, _) = listener.accept().expect("accept again");
    let reading = std::thread::spawn(move || {
        BufReader::new(connection).lines().map(|line| line.expect("text")).collect::<Vec<String>>()
    });
    sending.join().expect("send");
    router.wait_until_delivered(sent.len() as u64);
    assert_eq!(router.stop().ledger.delivered("next"), sent.len() as u64);
    let again = messages::numbers(reading.join().expect("read"));
    let start = again[0];
    assert!(start > 100, "what the kernel had taken is gone: {start}");
    assert!(again.into_iter().eq(start..sent.len()), "from there on all of it, once, in order, whole");
}
