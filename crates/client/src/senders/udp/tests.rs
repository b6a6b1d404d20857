//! What arrives, and what becomes of hosts that do not answer.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use super::super::tests::Lines;
use super::*;

fn receiver() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

fn receive(socket: &UdpSocket) -> String {
    let mut buffer = vec![0; 70_000];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn small_messages_share_a_datagram_up_to_its_limit() {
    let (socket, address) = receiver();
    let lines = Lines::of(&["a".repeat(700), "b".repeat(731), "c".repeat(10)]);
    let mut sender = UdpSender::new(&address).unwrap();
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!(receive(&socket).len(), 1432);
    assert_eq!(receive(&socket), "c".repeat(10));
}

#[test]
fn without_packing_each_message_has_its_own_datagram() {
    let (socket, address) = receiver();
    let messages: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
    let lines = Lines::of(&messages);
    let mut sender = UdpSender::new(&address).unwrap().pack(false);
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    for message in &messages {
        assert_eq!(&receive(&socket), message);
    }
}

#[test]
fn messages_in_msgpack_have_datagrams_of_their_own_and_what_is_too_large_is_cut_as_json() {
    let (socket, address) = receiver();
    let large = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "y".repeat(80_000));
    let small = r#"{"type":"x","payload":"a\nb"}"#;
    let lines = Lines::of(&[small, small, &large, small]);
    let mut sender = UdpSender::new(&address).unwrap().encoder(Encoder::Msgpack);
    assert_eq!(sender.send(&lines.batch()), Answer { sent: 4, truncated: 1, then: Then::GoOn });
    let mut buffer = vec![0; 70_000];
    let mut starts = Vec::new();
    for _ in 0..4 {
        let length = socket.recv(&mut buffer).unwrap();
        starts.push(buffer[..length].starts_with(b"\0msgpack::\x82"));
    }
    assert_eq!(starts, [true, true, false, true]);
}

#[test]
fn every_host_gets_every_message() {
    let (one, first) = receiver();
    let (two, second) = receiver();
    let lines = Lines::of(&["hello"]);
    let mut sender = UdpSender::to_all(&[first, second]).unwrap();
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!((receive(&one), receive(&two)), ("hello".to_owned(), "hello".to_owned()));
}

#[test]
fn a_closed_port_takes_messages_and_says_nothing() {
    let (socket, address) = receiver();
    drop(socket);
    let lines = Lines::of(&vec!["x".repeat(1000); 100]);
    assert_eq!(UdpSender::new(&address).unwrap().send(&lines.batch()), Answer::all(&lines.batch()));
}

#[test]
fn what_a_closed_port_refused_is_told_and_what_somebody_takes_is_not() {
    let (socket, address) = receiver();
    let lines = Lines::of(&["one", "two", "three"]);
    let mut sender = UdpSender::new(&address).unwrap().pack(false);
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!(sender.lost(), 0);
    drop(socket);
    // When the answer to a datagram arrives is for the system to say, and it tells of one at a time.
    let (mut sent, mut lost) = (0, 0);
    let start = Instant::now();
    while lost < 6 {
        assert!(start.elapsed() < Duration::from_secs(20), "{lost} of {sent}");
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        sent += 3;
        lost += sender.lost();
        assert!(lost <= sent, "{lost} of {sent}");
    }
    // What the socket was told late belongs to what went before.
    let socket = UdpSocket::bind(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    sender.send(&lines.batch());
    while receive(&socket) != "three" {}
    assert!(lost + sender.lost() <= sent);
}

#[test]
fn of_several_hosts_one_where_nobody_listens_loses_nothing() {
    let (socket, address) = receiver();
    let (closed, nobody) = receiver();
    drop(closed);
    let mut sender = UdpSender::to_all(&[nobody, address]).unwrap();
    let lines = Lines::of(&["hello"]);
    for _ in 0..10 {
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!((receive(&socket), sender.lost()), ("hello".to_owned(), 0));
    }
}

#[test]
fn a_name_that_does_not_resolve_is_tried_again() {
    let mut sender = UdpSender::new("no-such-host.invalid:1").unwrap();
    let lines = Lines::of(&["x"]);
    assert!(matches!(sender.send(&lines.batch()), Answer { sent: 0, then: Then::Retry(_), .. }));
}

#[test]
fn a_message_too_large_is_cut_between_two_that_are_not() {
    let (socket, address) = receiver();
    let large = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "y".repeat(80_000));
    let lines = Lines::of(&["before", &large, "after"]);
    let mut sender = UdpSender::new(&address).unwrap();
    assert_eq!(sender.send(&lines.batch()), Answer { sent: 3, truncated: 1, then: Then::GoOn });
    assert_eq!(receive(&socket), "before");
    let cut: serde_json::Value = serde_json::from_str(&receive(&socket)).unwrap();
    let payload = cut["payload"].as_str().unwrap();
    assert!(payload.ends_with(&format!("y [truncated from {} bytes]", large.len())), "{payload}");
    assert_eq!(receive(&socket), "after");
}

#[test]
fn a_message_that_cannot_be_cut_is_refused() {
    let (_socket, address) = receiver();
    let lines = Lines::of(&["before".to_owned(), "z".repeat(80_000)]);
    let answer = UdpSender::new(&address).unwrap().send(&lines.batch());
    assert_eq!(answer, Answer::refuse(1, DropReason::TooLarge));
}

#[test]
fn a_dead_host_is_left_alone_for_a_while_and_what_it_misses_is_counted() {
    let (socket, address) = receiver();
    let mut sender = UdpSender::to_all(&["no-such-host.invalid:1", &address]).unwrap().pack(false);
    let lines = Lines::of(&["one", "two", "three"]);
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < 10 || start.elapsed() < Duration::from_millis(300) {
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        for expected in ["one", "two", "three"] {
            assert_eq!(receive(&socket), expected);
        }
        rounds += 1;
    }
    let dead = &sender.hosts[0];
    assert_eq!(dead.missed, rounds * 3);
    // 20 ms, 40 ms, 80 ms …, each at least by half, lie between one lookup and the next; how long all of it took is the
    // machine's affair.
    let waits = (start.elapsed().as_millis() / 10 + 1).ilog2();
    assert!(dead.backoff.failures() <= waits + 1, "{} lookups in {rounds} rounds", dead.backoff.failures());
    assert_eq!(sender.hosts[1].missed, 0);
}

#[test]
fn a_host_that_is_back_gets_messages_again() {
    let start = Instant::now();
    let (one, first) = receiver();
    let (two, second) = receiver();
    let mut sender = UdpSender::to_all(&[first, second]).unwrap();
    let lines = Lines::of(&["hello"]);
    sender.hosts[0].failed(&io::ErrorKind::NetworkUnreachable.into(), Duration::ZERO);
    // The time is the test's here: a busy machine might let it pass before the next line.
    assert!(sender.hosts[0].not_before.is_some_and(|time| time > start));
    sender.hosts[0].not_before = Some(start + Duration::from_secs(3600));
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!(receive(&two), "hello");
    assert_eq!(sender.hosts[0].missed, 1);
    sender.hosts[0].not_before = Some(start);
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!(receive(&one), "hello");
    assert!(sender.hosts[0].missed == 0 && !sender.hosts[0].backoff.is_failing());
}

#[test]
fn a_lookup_that_fails_leaves_the_host_the_address_that_it_had() {
    let (socket, address) = receiver();
    let lines = Lines::of(&["hello"]);
    let mut sender = UdpSender::new(&address).unwrap();
    sender.send(&lines.batch());
    sender.hosts[0].address = Address::parse("no-such-host.invalid:1").unwrap();
    if let Some((_, lookup_due)) = &mut sender.hosts[0].socket {
        *lookup_due = Instant::now();
    }
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    assert_eq!((receive(&socket), receive(&socket)), ("hello".to_owned(), "hello".to_owned()));
}

#[test]
fn what_would_be_too_large_for_a_datagram_in_msgpack_goes_as_json() {
    let (socket, address) = receiver();
    // Four bytes each as text, nine in msgpack.
    let numbers = vec!["1.5"; 12_000].join(",");
    let large = format!(r#"{{"type":"x","fields":{{"samples":[{numbers}]}}}}"#);
    let small = r#"{"type":"x"}"#;
    let lines = Lines::of(&[small, &large, small]);
    let mut sender = UdpSender::new(&address).unwrap().encoder(Encoder::Msgpack);
    assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    let mut buffer = vec![0; 70_000];
    let mut datagrams = Vec::new();
    for _ in 0..3 {
        let length = socket.recv(&mut buffer).unwrap();
        datagrams.push(buffer[..length].to_vec());
    }
    assert!(datagrams[0].starts_with(b"\0msgpack::") && datagrams[2].starts_with(b"\0msgpack::"));
    assert_eq!(datagrams[1], large.as_bytes());
}
