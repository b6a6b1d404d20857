//! Messages arrive over each transport, whole and in order.

mod support;

use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::{Duration, Instant};

use metlog::senders::{TcpSender, UdpSender, UnixDatagramSender, UnixStreamSender};
use metlog::{Client, Severity};
use support::{LONG, Udp, lines, parse, payloads, tcp_listener};

#[test]
fn a_counter_over_udp_is_an_envelope_with_a_number_and_a_source() {
    let udp = Udp::bind();
    let client = Client::builder()
        .logger("shop")
        .hostname("web1")
        .sender(UdpSender::new(&udp.address).unwrap())
        .build()
        .unwrap();
    client.incr("hits");
    client.incr("hits");
    let messages = udp.messages(2);
    for (number, message) in messages.iter().enumerate() {
        assert_eq!(message["type"], "counter");
        assert_eq!(message["logger"], "shop");
        assert_eq!(message["severity"], 6);
        assert_eq!(message["payload"], "1");
        assert_eq!(message["fields"], parse(r#"{"name":"hits","rate":1.0}"#));
        assert_eq!(message["env_version"], "0.8");
        assert_eq!(message["metlog_pid"], std::process::id());
        assert_eq!(message["metlog_hostname"], "web1");
        assert_eq!(message["metlog_seq"], number + 1);
        let source = message["metlog_src"].as_str().unwrap();
        assert!(source.len() == 16 && source.bytes().all(|byte| byte.is_ascii_hexdigit()), "{source}");
        let timestamp = message["timestamp"].as_str().unwrap();
        assert!(timestamp.len() == 27 && timestamp.ends_with('Z'), "{timestamp}");
    }
    assert_eq!(messages[0]["metlog_src"], messages[1]["metlog_src"]);
    let source = client.stats().source.map(|source| format!("{source:016x}"));
    assert_eq!(messages[0]["metlog_src"].as_str(), source.as_deref());
}

#[test]
fn two_clients_are_two_sources() {
    let udp = Udp::bind();
    let mut sources = std::collections::HashSet::new();
    for _ in 0..2 {
        let client = Client::udp(&udp.address).unwrap();
        client.incr("hits");
        sources.insert(udp.messages(1)[0]["metlog_src"].to_string());
    }
    assert_eq!(sources.len(), 2);
}

#[test]
fn a_message_that_is_json_already_is_numbered_with_the_others() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    client.info("first");
    assert!(client.send_json("{\"type\": \"audit\",\n \"door\": 7}"));
    assert!(!client.send_json("[1]"));
    assert!(client.flush(LONG));
    let messages = udp.messages(2);
    assert_eq!((&messages[1]["type"], &messages[1]["door"]), (&parse(r#""audit""#), &parse("7")));
    assert_eq!(messages[1]["metlog_seq"], 2);
    assert_eq!(messages[1]["metlog_src"], messages[0]["metlog_src"]);
    assert_eq!((client.stats().accepted, client.stats().sent), (2, 2));
}

#[test]
fn a_client_that_does_not_count_its_messages_sends_no_source() {
    let udp = Udp::bind();
    let sender = UdpSender::new(&udp.address).unwrap();
    let client = Client::builder().sender(sender).sequence(false).build().unwrap();
    client.info("first");
    assert!(client.send_json(r#"{"type": "audit"}"#));
    for message in udp.messages(2) {
        assert!(message.get("metlog_seq").is_none() && message.get("metlog_src").is_none(), "{message}");
    }
    assert_eq!(client.stats().source, None);
}

#[test]
fn a_burst_over_udp_shares_datagrams() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    for number in 0..1000 {
        client.info(number.to_string());
    }
    let mut messages = Vec::new();
    let mut datagrams = 0;
    while messages.len() < 1000 {
        let datagram = udp.datagram();
        assert!(datagram.len() <= 1432, "{}", datagram.len());
        assert_ne!(datagram.last(), Some(&b'\n'));
        messages.extend(datagram.split(|byte| *byte == b'\n').map(parse));
        datagrams += 1;
    }
    assert!(datagrams <= 300, "{datagrams}");
    assert_eq!(payloads(&messages), (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn unpacked_messages_have_a_datagram_each() {
    let udp = Udp::bind();
    let sender = UdpSender::new(&udp.address).unwrap().pack(false);
    let client = Client::builder().sender(sender).build().unwrap();
    for number in 0..300 {
        client.info(number.to_string());
    }
    for number in 0..300 {
        assert_eq!(parse(udp.datagram())["payload"], number.to_string());
    }
}

#[test]
fn tcp_keeps_each_threads_order() {
    let (listener, address) = tcp_listener();
    let client = Client::builder().sender(TcpSender::new(&address).unwrap()).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                for number in 0..5000 {
                    client.metlog("x").payload(number.to_string()).field("thread", thread).send();
                }
            });
        }
    });
    let lines = lines(listener.accept().unwrap().0);
    let mut next = [0_u64; 4];
    let mut numbers = vec![false; 20_001];
    for _ in 0..20_000 {
        let message = parse(lines.recv_timeout(LONG).expect("a line"));
        let thread = message["fields"]["thread"].as_u64().unwrap() as usize;
        assert_eq!(message["payload"], next[thread].to_string());
        next[thread] += 1;
        let number = message["metlog_seq"].as_u64().unwrap() as usize;
        assert!(!std::mem::replace(&mut numbers[number], true), "{number} twice");
    }
    assert_eq!(next, [5000; 4]);
    assert!(client.flush(LONG));
    assert_eq!(client.stats().sent, 20_000);
}

#[test]
fn unix_sockets_of_both_kinds_get_every_message() {
    let folder = tempfile::tempdir().unwrap();
    let stream = folder.path().join("stream");
    let listener = UnixListener::bind(&stream).unwrap();
    let client = Client::builder().sender(UnixStreamSender::new(&stream)).build().unwrap();
    client.info("over the stream");
    let lines = lines(listener.accept().unwrap().0);
    assert_eq!(parse(lines.recv_timeout(LONG).unwrap())["payload"], "over the stream");

    let path = folder.path().join("datagram");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let client = Client::builder().sender(UnixDatagramSender::new(&path)).build().unwrap();
    for number in 0..1000 {
        client.info(number.to_string());
    }
    let mut buffer = [0; 4096];
    for number in 0..1000 {
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(parse(&buffer[..length])["payload"], number.to_string());
    }
}

#[test]
fn a_file_has_a_line_for_each_message_and_no_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let client = Client::file(&path).unwrap();
    for number in 0..10_000 {
        client.log(Severity::Notice, number.to_string()).send();
    }
    drop(client);
    let text = std::fs::read_to_string(&path).unwrap();
    let messages: Vec<_> = text.lines().map(parse).collect();
    assert_eq!(payloads(&messages), (0..10_000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(messages.iter().all(|message| message.get("metlog_seq").is_none()));
}

#[test]
fn a_lone_message_wakes_the_sending_thread_and_leaves_without_a_flush() {
    let udp = Udp::bind();
    let sender = UdpSender::new(&udp.address).unwrap();
    // With so short a linger the sending thread is asleep after a tenth of a second.
    let client = Client::builder().sender(sender).linger(Duration::from_micros(100)).build().unwrap();
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300));
        client.incr("hits");
        udp.messages(1);
    }
}

#[test]
fn without_a_linger_messages_leave_all_the_same() {
    let udp = Udp::bind();
    let sender = UdpSender::new(&udp.address).unwrap();
    let client = Client::builder().sender(sender).linger(Duration::ZERO).build().unwrap();
    for _ in 0..1000 {
        client.incr("hits");
        udp.messages(1);
    }
}

#[test]
fn a_message_waits_no_longer_than_the_linger() {
    let (client, capture) = {
        let (sender, capture) = metlog::senders::CaptureSender::new();
        let linger = Duration::from_millis(400);
        (Client::builder().sender(sender).linger(linger).build().unwrap(), capture)
    };
    client.incr("first");
    assert!(client.flush(LONG));
    let mut sent = 1;
    // Whichever doze a message falls into, it is over in time. A machine that is busy with other things proves nothing about
    // the one message that it held up, so another one may.
    support::until("a message that waits no longer than the linger", || {
        std::thread::sleep(Duration::from_millis(700));
        client.incr("next");
        sent += 1;
        let start = Instant::now();
        support::until("it leaves", || capture.messages().len() == sent);
        start.elapsed() < Duration::from_millis(600)
    });
}

#[test]
fn without_a_linger_messages_leave_at_once_also_after_a_drop() {
    let udp = Udp::bind();
    let sender = UdpSender::new(&udp.address).unwrap();
    let client = Client::builder().sender(sender).linger(Duration::ZERO).build().unwrap();
    let drop_one = || client.metlog("x").field("blob", "y".repeat(70_000).as_str()).send();
    let mut dropped = 0;
    // The first drop is reported with the second at the latest, the second a second after that. If a message waited for it,
    // it would do so for nearly a second, each time; that a busy machine holds it up as long each time is not to be expected.
    support::until("a message that does not wait for the report", || {
        for _ in 0..2 {
            drop_one();
            dropped += 1;
            support::until("it is dropped", || client.stats().dropped() == dropped);
        }
        assert_eq!(udp.messages(1)[0]["type"], "metlog.dropped");
        let start = Instant::now();
        client.incr("hits");
        let mut next = udp.messages(1);
        let took = start.elapsed();
        // The report of the second drop comes before it only where all this took a second, and after it where not.
        while next.len() < 2 {
            next.extend(udp.messages(1));
        }
        next.sort_by_key(|message| message["type"].to_string());
        assert_eq!((&next[0]["type"], &next[1]["type"]), (&"counter".into(), &"metlog.dropped".into()));
        // The next time, too.
        std::thread::sleep(Duration::from_millis(1100));
        took < Duration::from_millis(400)
    });
}
