//! What is lost when something breaks, and that it is counted.

// A test that fails panics; clippy cannot see that the helpers here are tests.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use metlog::senders::{Answer, Batch, Sender, TcpSender, UdpSender};
use metlog::{Client, DropReason};
use serde_json::Value;
use support::{LONG, Udp, lines, narrow_tcp_listener, parse, payloads, silent_tcp_port, tcp_listener, until};

/// Takes messages while its gate is open.
#[derive(Clone, Default)]
struct Gated {
    open: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Gated {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(parse).collect()
    }
}

impl Sender for Gated {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        if !self.open.load(Ordering::SeqCst) {
            return Answer::retry(0, Duration::from_millis(1));
        }
        let texts = batch.iter().map(|message| String::from_utf8(message.to_vec()).unwrap());
        self.seen.lock().unwrap().extend(texts);
        Answer::all(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(self.clone())
    }

    fn over_network(&self) -> bool {
        true
    }
}

/// Something of a sender's that does not come back before it is let go. It gives up by itself, so that a test in which
/// somebody waits for it fails and does not hang.
#[derive(Default)]
struct Hang {
    begun: AtomicBool,
    let_go: AtomicBool,
    given_up: AtomicBool,
}

impl Hang {
    fn hang(&self) {
        self.begun.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + LONG;
        while !self.let_go.load(Ordering::SeqCst) {
            if Instant::now() >= deadline {
                self.given_up.store(true, Ordering::SeqCst);
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn has_begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// Lets it go; whether it hung until now.
    fn let_go(&self) -> bool {
        self.let_go.store(true, Ordering::SeqCst);
        !self.given_up.load(Ordering::SeqCst)
    }
}

#[test]
fn a_full_queue_drops_counts_and_reports_the_count() {
    let sender = Gated::default();
    let client = Client::builder().sender(sender.clone()).queue_bytes(64 * 1024).build().unwrap();
    for number in 0..5000 {
        client.info(number.to_string());
    }
    let stats = client.stats();
    assert!(stats.dropped_for(DropReason::QueueFull) > 1000, "{stats:?}");
    assert_eq!(stats.accepted, stats.sent + stats.dropped() + stats.queued);
    assert!(stats.queued < 1000, "{stats:?}");
    assert!(!client.flush(Duration::from_millis(5)));

    sender.open();
    assert!(client.flush(LONG));
    let (reports, messages): (Vec<_>, Vec<_>) =
        sender.seen().into_iter().partition(|message| message["type"] == "metlog.dropped");
    let reported: u64 =
        reports.iter().map(|report| report["payload"].as_str().unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!(reported, stats.dropped());
    assert!(reports.iter().all(|report| report["fields"]["reason"] == "queue-full"));
    assert_eq!(reported as usize + messages.len(), 5000);
    // The drops are gaps in the numbers, and nothing else is.
    let numbers: std::collections::BTreeSet<u64> =
        messages.iter().chain(&reports).map(|message| message["metlog_seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers.len(), messages.len() + reports.len());
    assert_eq!(*numbers.last().unwrap(), 5000 + reports.len() as u64);
}

#[test]
fn drops_are_reported_without_a_flush() {
    let sender = Gated::default();
    let client = Client::builder().sender(sender.clone()).queue_bytes(16 * 1024).build().unwrap();
    for _ in 0..1000 {
        client.incr("hits");
    }
    sender.open();
    until("a report", || sender.seen().iter().any(|message| message["type"] == "metlog.dropped"));
}

#[test]
fn the_account_balances_at_every_moment() {
    let sender = Gated::default();
    let client = Client::builder().sender(sender.clone()).queue_bytes(256 * 1024).build().unwrap();
    let calls = AtomicU64::new(0);
    let running = AtomicU64::new(3);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..30_000 {
                    client.incr("hits");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                running.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut looks = 0_u64;
        while running.load(Ordering::SeqCst) > 0 {
            let stats = client.stats();
            assert_eq!(stats.accepted, stats.sent + stats.dropped() + stats.queued, "{stats:?}");
            looks += 1;
            sender.open.store(looks % 64 < 32, Ordering::SeqCst);
        }
    });
    sender.open();
    assert!(client.flush(LONG));
    let stats = client.stats();
    let seen = sender.seen();
    let reports = seen.iter().filter(|message| message["type"] == "metlog.dropped").count() as u64;
    assert_eq!(stats.accepted, calls.into_inner() + reports);
    assert_eq!(stats.sent, seen.len() as u64);
    assert_eq!(stats.queued, 0);
}

#[test]
fn a_call_never_waits_for_a_sender_that_hangs() {
    /// Comes back from `send` only when it is let go.
    #[derive(Clone)]
    struct Hanging(Arc<Hang>);
    impl Sender for Hanging {
        fn send(&mut self, _: &Batch<'_>) -> Answer {
            self.0.hang();
            Answer::retry(0, Duration::from_secs(60))
        }
        fn fresh(&self) -> Box<dyn Sender> {
            Box::new(self.clone())
        }
    }
    let hang = Arc::new(Hang::default());
    let client = Client::builder()
        .sender(Hanging(hang.clone()))
        .queue_bytes(64 * 1024)
        .close_timeout(Duration::from_millis(50))
        .build()
        .unwrap();
    client.incr("first");
    until("the sender hangs", || hang.has_begun());
    for _ in 0..1000 {
        client.incr("hits");
    }
    drop(client);
    assert!(hang.let_go(), "the calls and the end waited for the sender");
}

#[test]
fn closing_counts_what_is_left_behind_and_what_comes_later() {
    let client = Client::builder().sender(Gated::default()).build().unwrap();
    client.incr("hits");
    client.incr("hits");
    assert!(!client.close(Duration::from_millis(20)));
    client.incr("late");
    let stats = client.stats();
    assert_eq!(stats.dropped_for(DropReason::Shutdown), 2);
    assert_eq!(stats.dropped_for(DropReason::Closed), 1);
    assert_eq!((stats.accepted, stats.queued), (3, 0));
    assert!(!client.flush(Duration::ZERO));
}

#[test]
fn endless_times_are_taken_as_long_ones() {
    let client = Client::builder().linger(Duration::MAX).close_timeout(Duration::MAX).build().unwrap();
    client.incr("hits");
    assert!(client.flush(Duration::MAX));
    assert!(client.close(Duration::MAX));
}

#[test]
fn dropping_the_last_handle_sends_what_waits() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    let clone = client.clone();
    for _ in 0..100 {
        client.incr("hits");
    }
    drop(client);
    clone.incr("last");
    drop(clone);
    assert_eq!(udp.messages(101).len(), 101);
}

#[test]
fn a_sender_that_panics_loses_one_message_and_goes_on() {
    #[derive(Clone)]
    struct Clumsy(Gated);
    impl Sender for Clumsy {
        fn send(&mut self, batch: &Batch<'_>) -> Answer {
            let poison = batch.iter().position(|message| message.windows(6).any(|part| part == b"poison"));
            match poison {
                Some(0) => panic!("clumsy, as the test wants it"),
                Some(place) => {
                    Answer { sent: self.0.send(&batch.slice(0, place)).sent, ..Answer::all(batch) }
                }
                None => self.0.send(batch),
            }
        }
        fn fresh(&self) -> Box<dyn Sender> {
            Box::new(self.clone())
        }
    }
    let gated = Gated::default();
    gated.open();
    let client = Client::builder().sender(Clumsy(gated.clone())).build().unwrap();
    for text in ["one", "poison", "two"] {
        client.info(text);
    }
    assert!(client.flush(LONG));
    assert!(client.flush(LONG));
    let seen = gated.seen();
    let (reports, messages): (Vec<_>, Vec<_>) = seen.into_iter().partition(|m| m["type"] == "metlog.dropped");
    assert_eq!(payloads(&messages), ["one", "two"]);
    assert_eq!(client.stats().dropped_for(DropReason::Refused), 1);
    assert_eq!(reports[0]["fields"]["reason"], "refused");
}

#[test]
fn a_tcp_receiver_that_dies_and_returns_gets_whole_lines_in_order() {
    let (listener, address) = tcp_listener();
    let client = Client::builder().sender(TcpSender::new(&address).unwrap()).build().unwrap();
    client.info("before");
    let mut first = BufReader::new(listener.accept().unwrap().0);
    let mut line = String::new();
    first.read_line(&mut line).unwrap();
    assert_eq!(parse(line)["payload"], "before");

    // The receiver is gone, and nobody listens.
    drop((first, listener));
    let (silent, _) = silent_tcp_port(&address);
    for number in 0..2000 {
        client.info(number.to_string());
    }
    assert!(!client.flush(Duration::from_millis(50)));
    assert!(client.stats().queued > 0);

    silent.listen(8).unwrap();
    let listener = std::net::TcpListener::from(silent);
    let second = lines(listener.accept().unwrap().0);
    let mut last = None;
    while last != Some(1999) {
        let message = parse(second.recv_timeout(LONG).expect("a line"));
        let number: u64 = message["payload"].as_str().unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| number == last + 1), "{number} after {last:?}");
        last = Some(number);
    }
    assert!(client.flush(LONG));
    let stats = client.stats();
    assert_eq!((stats.sent, stats.dropped()), (2001, 0));
}

#[test]
fn a_tcp_receiver_that_is_not_there_yet_is_waited_for() {
    let (silent, address) = silent_tcp_port("127.0.0.1:0");
    let client = Client::tcp(&address).unwrap();
    client.info("early");
    assert!(!client.flush(Duration::from_millis(30)));
    silent.listen(8).unwrap();
    let listener = std::net::TcpListener::from(silent);
    let lines = lines(listener.accept().unwrap().0);
    assert_eq!(parse(lines.recv_timeout(LONG).unwrap())["payload"], "early");
}

#[test]
fn a_connection_cut_within_a_line_repeats_that_line_whole() {
    let (listener, address) = narrow_tcp_listener();
    let client = Client::builder().sender(TcpSender::new(&address).unwrap()).build().unwrap();
    let text = "x".repeat(900_000);
    for _ in 0..8 {
        client.info(&text);
    }
    // More than fits into the kernel's buffers, so the connection is closed in the middle of a line.
    let (mut first, _) = listener.accept().unwrap();
    let mut part = vec![0; 1_000_000];
    std::io::Read::read_exact(&mut first, &mut part).unwrap();
    assert!(client.stats().queued > 0);
    drop(first);
    let second = lines(listener.accept().unwrap().0);
    let mut numbers = Vec::new();
    while numbers.last() != Some(&8) {
        let message = parse(second.recv_timeout(LONG).expect("a line"));
        assert_eq!(message["payload"].as_str().unwrap().len(), text.len());
        numbers.push(message["metlog_seq"].as_u64().unwrap());
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

#[test]
fn a_message_too_large_for_udp_is_cut_and_counted() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    client.info("\u{20ac}\"".repeat(20_000));
    client.info("after");
    let messages = udp.messages(2);
    assert!(messages[0]["payload"].as_str().unwrap().contains(" [truncated from "));
    assert_eq!(messages[1]["payload"], "after");
    assert!(client.flush(LONG));
    assert_eq!((client.stats().sent, client.stats().truncated), (2, 1));
}

#[test]
fn a_message_too_large_for_udp_goes_by_the_tcp_fallback() {
    let udp = Udp::bind();
    let (listener, address) = tcp_listener();
    let sender = UdpSender::new(&udp.address).unwrap().tcp_fallback(TcpSender::new(&address).unwrap());
    let client = Client::builder().sender(sender).build().unwrap();
    let text = "x".repeat(100_000);
    client.info("before");
    client.info(&text);
    client.info("after");
    assert_eq!(payloads(&udp.messages(2)), ["before", "after"]);
    let lines = lines(listener.accept().unwrap().0);
    assert_eq!(parse(lines.recv_timeout(LONG).unwrap())["payload"], text);
    assert!(client.flush(LONG));
    assert_eq!((client.stats().sent, client.stats().truncated), (3, 0));
}

#[test]
fn a_message_whose_fields_are_too_large_is_dropped_and_reported() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    client.metlog("x").field("blob", "y".repeat(70_000).as_str()).send();
    assert!(client.flush(LONG));
    let report = &udp.messages(1)[0];
    assert_eq!(report["type"], "metlog.dropped");
    assert_eq!((&report["payload"], &report["fields"]["reason"]), (&"1".into(), &"too-large".into()));
    assert_eq!(client.stats().dropped_for(DropReason::TooLarge), 1);
}

#[test]
fn a_fallback_that_stalls_within_a_line_never_joins_two_messages() {
    let udp = Udp::bind();
    let (listener, address) = narrow_tcp_listener();
    let sender = UdpSender::new(&udp.address).unwrap().tcp_fallback(TcpSender::new(&address).unwrap());
    let client = Client::builder().sender(sender).build().unwrap();
    // Each message is of one letter, so that a line of two letters is of two messages.
    let large = |number: u8| String::from(char::from(b'a' + number)).repeat(900_000);
    let mut sent = 0;
    until("a message that was cut", || {
        client.info(large(sent % 26));
        sent += 1;
        assert!(client.flush(LONG));
        client.stats().truncated > 0
    });
    // The receiver wakes up, and takes connections as they come.
    let (letters, seen) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let letters = letters.clone();
            std::thread::spawn(move || {
                for line in lines(stream) {
                    let text = parse(line)["payload"].as_str().unwrap().to_owned();
                    let first = text.as_bytes()[0];
                    let whole = text.len() == 900_000 && text.bytes().all(|byte| byte == first);
                    let _ = letters.send(whole.then_some(first));
                }
            });
        }
    });
    let late = b'z';
    let mut came = false;
    until("a late message by the fallback", || {
        client.info(large(late - b'a'));
        assert!(client.flush(LONG));
        while let Ok(letter) = seen.recv_timeout(Duration::from_millis(50)) {
            came |= letter.expect("a line of one message") == late;
        }
        came
    });
}

#[test]
fn an_outage_gathers_no_reports() {
    let sender = Gated::default();
    let client = Client::builder().sender(sender.clone()).queue_bytes(16 * 1024).build().unwrap();
    let mut calls = 0;
    for _ in 0..100 {
        for _ in 0..200 {
            client.incr("hits");
            calls += 1;
        }
        assert!(!client.flush(Duration::from_millis(2)));
    }
    let stats = client.stats();
    assert!(stats.accepted - calls <= 3, "{} reports wait", stats.accepted - calls);

    sender.open();
    assert!(client.flush(LONG));
    let reported: u64 = sender
        .seen()
        .iter()
        .filter(|message| message["type"] == "metlog.dropped")
        .map(|report| report["payload"].as_str().unwrap().parse::<u64>().unwrap())
        .sum();
    assert_eq!(reported, client.stats().dropped());
}

#[test]
fn a_sender_that_is_slow_to_go_does_not_hold_up_the_application() {
    /// The copy that the sending thread has goes only when it is let go.
    struct Lingering(Arc<Hang>, bool);
    impl Sender for Lingering {
        fn send(&mut self, batch: &Batch<'_>) -> Answer {
            Answer::all(batch)
        }
        fn fresh(&self) -> Box<dyn Sender> {
            Box::new(Lingering(self.0.clone(), true))
        }
    }
    impl Drop for Lingering {
        fn drop(&mut self) {
            if self.1 {
                self.0.hang();
            }
        }
    }
    let hang = Arc::new(Hang::default());
    let timeout = Duration::from_millis(20);
    let client =
        Client::builder().sender(Lingering(hang.clone(), false)).close_timeout(timeout).build().unwrap();
    client.incr("hits");
    assert!(client.flush(LONG));
    drop(client);
    until("the sender goes", || hang.has_begun());
    assert!(hang.let_go(), "the end waited for the sender");
}

#[test]
fn after_a_close_that_left_nothing_behind_there_is_nothing_to_flush() {
    let client = Client::noop();
    client.incr("hits");
    assert!(client.close(LONG));
    assert!(client.flush(LONG));
    client.incr("late");
    assert!(client.flush(Duration::ZERO));
}

#[test]
fn a_message_larger_than_the_whole_queue_is_too_large() {
    let client = Client::builder().queue_bytes(16 * 1024).build().unwrap();
    client.info("x".repeat(16 * 1024));
    let stats = client.stats();
    assert_eq!(stats.dropped_for(DropReason::TooLarge), 1, "{stats:?}");
    client.info("x".repeat(8 * 1024));
    assert!(client.flush(LONG));
    assert_eq!(client.stats().dropped(), 1);
}

#[test]
fn a_client_without_a_logger_reports_drops_under_that_of_its_messages() {
    let udp = Udp::bind();
    let client = Client::udp(&udp.address).unwrap();
    let blob = "y".repeat(70_000);
    client.send_json(&format!(
        r#"{{"type":"x","timestamp":"2012-07-18T21:13:25Z","logger":"shop","fields":{{"blob":"{blob}"}}}}"#
    ));
    assert!(client.flush(LONG));
    let report = &udp.messages(1)[0];
    assert_eq!((&report["type"], &report["logger"]), (&"metlog.dropped".into(), &"shop".into()));
}

#[test]
fn who_waits_may_change_his_mind_and_the_client_ends_in_time_all_the_same() {
    let client = Client::builder().sender(Gated::default()).build().unwrap();
    client.incr("hits");
    let start = Instant::now();
    let mut asked = 0;
    let mut twice = || {
        asked += 1;
        asked < 2
    };
    assert!(!client.flush_while(LONG, &mut twice));
    assert!(!client.close_while(Duration::from_secs(1), &mut twice));
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
    assert_eq!(asked, 3);
    until("the client has ended", || client.stats().dropped_for(DropReason::Shutdown) == 1);
}
