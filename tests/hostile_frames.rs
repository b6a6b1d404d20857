//! Whatever is sent to the router gets its verdict and its reason, and the router keeps running.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{
    Ledger, Router, ledger,
    messages::{self, Hostile},
    receivers,
    router::with_udp_and_tcp,
    senders,
};

const CONFIGURATION: &str = r#"
[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#;

/// What an input's numbers grow by: messages, blank lines, and rejects by reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub received: u64,
    pub routed: u64,
    pub blank: u64,
    pub rejected: BTreeMap<String, u64>,
    pub timestamp_unreadable: u64,
}

impl Verdict {
    /// What `hostile.tsv` says of a frame. Text frames are split at newlines, and each line gets the verdict.
    pub fn expected(hostile: &Hostile) -> Verdict {
        let frame = hostile.frame.strip_suffix(b"\n").unwrap_or(&hostile.frame);
        let lines = frame.split(|byte| *byte == b'\n').count() as u64;
        let mut verdict = Verdict { received: lines, ..Verdict::default() };
        match hostile.verdict.as_str() {
            "accept" => verdict.routed = lines,
            "ignore" => verdict.blank = lines,
            "reject" => verdict.rejected = BTreeMap::from([(hostile.reason.clone(), lines)]),
            other => panic!("{other}"),
        }
        verdict.timestamp_unreadable = u64::from(hostile.reason.contains("timestamp-unreadable"));
        verdict
    }

    /// What an input has counted so far.
    pub fn counted(ledger: &Ledger, input: &str) -> Verdict {
        let account = ledger.input(input);
        let rejected = account["rejected"].as_object().expect("rejects by reason");
        Verdict {
            received: ledger::number(&account["received"]),
            routed: ledger::number(&account["routed"]),
            blank: ledger::number(&account["blank"]),
            rejected: rejected
                .iter()
                .map(|(reason, count)| (reason.clone(), ledger::number(count)))
                .collect(),
            timestamp_unreadable: ledger::number(&account["timestamp_unreadable"]),
        }
    }

    pub fn add(&mut self, other: &Verdict) {
        self.received += other.received;
        self.routed += other.routed;
        self.blank += other.blank;
        self.timestamp_unreadable += other.timestamp_unreadable;
        for (reason, count) in &other.rejected {
            *self.rejected.entry(reason.clone()).or_default() += count;
        }
    }
}

/// Sends frames one by one; after each, the input's numbers are what they should be. Then the router still works.
fn every_frame_gets_its_verdict(input: &str, frames: &[Hostile], send: impl Fn(&Router, &[u8])) {
    let router = Router::start(&with_udp_and_tcp(CONFIGURATION));
    let mut expected = Verdict::default();
    for hostile in frames {
        expected.add(&Verdict::expected(hostile));
        send(&router, &hostile.frame);
        let what = format!("`{}` is counted", hostile.label);
        router.wait(&what, |ledger| ledger.received(input) >= expected.received);
        assert_eq!(Verdict::counted(&router.balanced(), input), expected, "{}", hostile.label);
    }
    let last = messages::numbered_one("after", 1, 0);
    send(&router, last.as_bytes());
    expected.received += 1;
    expected.routed += 1;
    router.wait_until_delivered(expected.received);
    let stopped = router.stop();
    let lines = receivers::lines(&stopped.path("all.jsonl"));
    assert_eq!(lines.len() as u64, expected.routed);
    assert_eq!(lines.last(), Some(&last));
    assert_kept(frames, &lines);
}

/// What was accepted and needed no change arrives as it was sent; what needed a change is JSON all the same.
pub fn assert_kept(frames: &[Hostile], lines: &[String]) {
    let is_changed = |hostile: &&Hostile| {
        hostile.label == "missing key timestamp"
            || hostile.reason.contains("removed")
            || hostile.reason.contains("become")
    };
    for hostile in frames.iter().filter(|hostile| hostile.verdict == "accept" && !is_changed(hostile)) {
        let frame = String::from_utf8(hostile.frame.clone()).expect("accepted, so it is text");
        for message in frame.lines() {
            assert!(lines.iter().any(|line| line == message), "{} is not kept as it is", hostile.label);
        }
    }
    for line in lines {
        if let Err(error) = serde_json::from_str::<Value>(line) {
            // What is kept on purpose and serde_json finds too much: lone surrogates, and numbers past any double.
            let error = error.to_string();
            let is_kept =
                ["number out of range", "surrogate", "hex escape"].iter().any(|known| error.contains(known));
            assert!(is_kept, "{error}: {line:.200}");
        }
    }
}

#[test]
fn every_frame_that_fits_a_datagram_gets_its_verdict_over_udp() {
    let mut frames = messages::hostile();
    assert_eq!(frames.len(), 86);
    frames.retain(|hostile| hostile.frame.len() <= senders::LARGEST_DATAGRAM);
    assert!(frames.len() > 75);
    every_frame_gets_its_verdict("udp", &frames, |router, frame| {
        senders::udp_socket(router.address("udp")).send(frame).expect("send a datagram");
    });
}

#[test]
fn every_frame_gets_its_verdict_over_tcp() {
    let frames = messages::hostile();
    every_frame_gets_its_verdict("tcp", &frames, |router, frame| {
        let frame = frame.strip_suffix(b"\n").unwrap_or(frame);
        senders::tcp(router.address("tcp"), &[frame, b"\n"].concat());
    });
}

#[test]
fn all_frames_down_one_connection_do_not_disturb_each_other() {
    let router = Router::start(&with_udp_and_tcp(CONFIGURATION));
    let frames = messages::hostile();
    let (mut expected, mut stream) = (Verdict::default(), Vec::new());
    for hostile in &frames {
        expected.add(&Verdict::expected(hostile));
        stream.extend_from_slice(hostile.frame.strip_suffix(b"\n").unwrap_or(&hostile.frame));
        stream.push(b'\n');
    }
    senders::tcp(router.address("tcp"), &stream);
    let ledger = router.wait_until_delivered(expected.received);
    assert_eq!(Verdict::counted(&ledger, "tcp"), expected);
    let stopped = router.stop();
    assert_kept(&frames, &receivers::lines(&stopped.path("all.jsonl")));
}

#[test]
fn a_datagram_may_name_its_decoder_and_keeps_its_place_among_the_others() {
    let router = Router::start(&with_udp_and_tcp(CONFIGURATION));
    let socket = senders::udp_socket(router.address("udp"));
    let messages = messages::numbered("named", 60, 0);
    // Stopped, so that all datagrams are read in one go.
    router.signal("STOP");
    router.wait_until_stopped();
    for (number, message) in messages.iter().enumerate() {
        let prefix = if number % 3 == 1 { "\0json::" } else { "" };
        socket.send(format!("{prefix}{message}").as_bytes()).expect("send a datagram");
    }
    socket.send(b"\0nonsense::{}").expect("send a datagram");
    router.signal("CONT");
    let ledger = router.wait_until_delivered(61);
    assert_eq!(ledger.input("udp")["rejected"], serde_json::json!({ "unknown-decoder": 1 }));
    assert_eq!(receivers::lines(&router.stop().path("all.jsonl")), messages);
}
