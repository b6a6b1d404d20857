//! How long one message takes to validate and index, beside what other JSON libraries need.
//!
//! `cargo run --release -p metlog-message --example decode_speed` compares with serde_json. The workspace in
//! `crates/message/compare` builds the same program with sonic-rs and simd-json beside it: nothing else needs them.
//! With arguments only the cases run whose names contain them all.
#![allow(unexpected_cfgs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fmt::Write, hint::black_box, time::Instant};

use metlog_message::{Decoded, Decoder, Index, Path, Timestamp, lookup};
use serde::de::IgnoredAny;

const MESSAGES: usize = 20_000;
const PASSES: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    println!("{:<52}{:>10}{:>14}{:>12}{:>12}", "case", "ns/message", "bytes/message", "GB/s", "messages");
    for (corpus, messages) in corpora() {
        for (candidate, run) in CANDIDATES {
            let name = format!("{corpus} / {candidate}");
            if arguments.iter().all(|part| name.contains(part)) {
                report(&name, &messages, run);
            }
        }
    }
}

/// The messages one behind the other in one slab of bytes, as an input reads them.
struct Slab {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Slab {
    fn new(messages: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Slab {
        let mut slab = Slab { bytes: Vec::new(), ends: Vec::new() };
        for message in messages {
            slab.bytes.extend_from_slice(message.as_ref());
            slab.ends.push(slab.bytes.len());
            slab.bytes.push(b'\n');
        }
        slab
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end + 1)..end])
    }
}

/// Measures the best of several passes over all messages: what is least disturbed by the rest of the machine.
fn report(name: &str, messages: &Slab, run: fn(&Slab)) {
    let best = (0..PASSES)
        .map(|_| {
            let start = Instant::now();
            run(black_box(messages));
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    let (bytes, count) = (messages.bytes.len(), messages.ends.len());
    println!(
        "{name:<52}{:>10.1}{:>14.0}{:>12.2}{:>12}",
        best.as_nanos() as f64 / count as f64,
        bytes as f64 / count as f64,
        bytes as f64 / best.as_nanos() as f64,
        count,
    );
}

type Candidate = (&'static str, fn(&Slab));

#[cfg(not(feature = "compare"))]
const CANDIDATES: [Candidate; 6] =
    [OURS, OURS_AND_LOOKUP, LINES_FOUND_FIRST, LINES_IN_PLACE, GRAMMAR_ONLY, TREE];
#[cfg(feature = "compare")]
const CANDIDATES: [Candidate; 9] = [
    OURS,
    OURS_AND_LOOKUP,
    LINES_FOUND_FIRST,
    LINES_IN_PLACE,
    GRAMMAR_ONLY,
    TREE,
    compare::SONIC_VALUE,
    compare::SONIC_ITERATOR,
    compare::SIMD_TAPE,
];

const OURS: Candidate = ("metlog", |messages| {
    for message in messages.iter() {
        black_box(decode(message));
    }
});

const OURS_AND_LOOKUP: Candidate = ("metlog + name, rate", |messages| {
    let (name, rate) = (Path::parse("fields.name").unwrap(), Path::parse("fields.rate").unwrap());
    for message in messages.iter() {
        let index = decode(message);
        black_box((lookup(message, &index, &name), lookup(message, &index, &rate)));
    }
});

/// What a router keeps of a message in its slab.
struct Entry {
    _start: usize,
    _end: usize,
    index: Index,
}

const LINES_FOUND_FIRST: Candidate = ("metlog, line found first", |messages| {
    let mut entries = Vec::with_capacity(4096);
    let mut start = 0;
    while let Some(length) = memchr::memchr(b'\n', &messages.bytes[start..]) {
        let end = start + length;
        if entries.len() == entries.capacity() {
            black_box(&mut entries).clear();
        }
        entries.push(Entry { _start: start, _end: end, index: decode(&messages.bytes[start..end]) });
        start = end + 1;
    }
});

const LINES_IN_PLACE: Candidate = ("metlog, line in place", |messages| {
    let decoder = black_box(Decoder::default());
    let mut entries = Vec::with_capacity(4096);
    let mut start = 0;
    while start < messages.bytes.len() {
        if entries.len() == entries.capacity() {
            black_box(&mut entries).clear();
        }
        entries.push(Entry { _start: start, _end: 0, index: Index::EMPTY });
        let entry = entries.last_mut().unwrap();
        let end = start + decoder.decode_line(&messages.bytes[start..], &mut entry.index).unwrap();
        entry._end = end;
        start = end + 1;
    }
});

const GRAMMAR_ONLY: Candidate = ("serde_json grammar", |messages| {
    for message in messages.iter() {
        black_box(serde_json::from_slice::<IgnoredAny>(message).unwrap());
    }
});

const TREE: Candidate = ("serde_json tree", |messages| {
    for message in messages.iter() {
        black_box(serde_json::from_slice::<serde_json::Value>(message).unwrap());
    }
});

fn decode(message: &[u8]) -> Index {
    const RECEIVED: Timestamp = Timestamp { seconds: 0, nanoseconds: 0 };
    match black_box(Decoder::default()).decode(message, RECEIVED) {
        Ok(Decoded::InPlace { index, .. }) => index,
        other => panic!("{other:?}: {}", String::from_utf8_lossy(message)),
    }
}

#[cfg(feature = "compare")]
mod compare {
    use super::{Candidate, black_box};

    pub const SONIC_VALUE: Candidate = ("sonic-rs value", |messages| {
        for message in messages.iter() {
            black_box(sonic_rs::from_slice::<sonic_rs::Value>(message).unwrap());
        }
    });

    pub const SONIC_ITERATOR: Candidate = ("sonic-rs object iterator", |messages| {
        for message in messages.iter() {
            for member in sonic_rs::to_object_iter(message) {
                black_box(member.unwrap());
            }
        }
    });

    pub const SIMD_TAPE: Candidate = ("simd-json tape", |messages| {
        let mut buffers = simd_json::Buffers::new(1 << 20);
        let mut copy = Vec::with_capacity(1 << 20);
        for message in messages.iter() {
            // It writes into its input, which the router could not let it do: the copy is part of the price.
            copy.clear();
            copy.extend_from_slice(message);
            // It refuses integers beyond 64 bits, which the client's messages have.
            let _ = black_box(simd_json::to_tape_with_buffers(&mut copy, &mut buffers));
        }
    });
}

/// The messages to decode, by the name of the case.
fn corpora() -> [(&'static str, Slab); 9] {
    let client = || lines(include_bytes!("../../../tests/data/metlog-0.8.jsonl"));
    let service = || lines(include_bytes!("../../../tests/data/aitc-2012-07-18.jsonl"));
    [
        ("mix", mix(Order::AsClients)),
        ("mix, type last", mix(Order::TypeLast)),
        ("mix, numbered", mix(Order::Numbered)),
        ("mix, sorted", mix(Order::Sorted)),
        ("mix, shuffled", mix(Order::Shuffled)),
        (
            "one message again and again",
            Slab::new((0..2000).map(|_| message(&mut Random(18), 0, Order::AsClients))),
        ),
        ("client, below 1 kB", Slab::new(client().filter(|line| line.len() < 1000))),
        ("client, all", Slab::new(client())),
        ("service 2012", Slab::new(service())),
    ]
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

#[derive(Clone, Copy)]
enum Order {
    AsClients,
    TypeLast,
    /// As senders over the network write them, with two more keys at the end.
    Numbered,
    /// As a map that is sorted by key is written.
    Sorted,
    Shuffled,
}

/// A small random generator with a fixed seed, so that every run decodes the same bytes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn words(&mut self, length: usize) -> String {
        const WORDS: [&str; 10] =
            ["request", "for", "user", "took", "storage", "backend", "timed", "out", "after", "retrying"];
        let mut text = String::new();
        while text.len() < length {
            let word = WORDS[self.below(10) as usize];
            let _ = write!(text, "{word} {} ", self.below(1000));
        }
        text.truncate(length);
        text
    }
}

/// What a busy site sends: 40 % counters, 30 % timers, 24 % log lines, 2 % errors, 1 % CEF, 3 % others.
fn mix(order: Order) -> Slab {
    let mut random = Random(18);
    Slab::new((0..MESSAGES).map(|number| message(&mut random, number, order)))
}

fn message(random: &mut Random, number: usize, order: Order) -> String {
    let metric = |random: &mut Random| {
        let rate = ["1", "1.0", "0.5", "0.25"][random.below(4) as usize];
        let id = random.below(1_000_000);
        format!(
            r#"{{"name":"sync.storage.op{}","rate":{rate},"request_id":"req-{id:08}"}}"#,
            random.below(200)
        )
    };
    let (kind, mut payload, fields) = match random.below(100) {
        0..40 => ("counter", (1 + random.below(20)).to_string(), metric(random)),
        40..70 => ("timer", random.below(5000).to_string(), metric(random)),
        70..94 => {
            let length = 60 + random.below(141) as usize;
            ("oldstyle", random.words(length), "{}".to_owned())
        }
        94..96 => {
            let payload = (0..1500).map(|_| char::from(b'A' + random.below(26) as u8)).collect();
            (
                "sentry",
                payload,
                r#"{"dsn":"https://key@sentry.example.org/1","epoch_timestamp":1346241600.5}"#.to_owned(),
            )
        }
        96 => {
            let payload = "CEF:0|mozilla|weave|3|Captcha|Captcha failed|5|suser=none src=10.0.0.7".to_owned();
            (
                "cef",
                payload,
                r#"{"cef_meta":{"syslog_priority":"ALERT","syslog_facility":"LOCAL4"}}"#.to_owned(),
            )
        }
        _ => {
            ("services", random.words(30), r#"{"status":200,"path":"/1.0/11224/apps/","ok":true}"#.to_owned())
        }
    };
    match random.below(1000) {
        0..3 => payload.push_str(" é ダチヂ"),
        3..6 => payload.push_str(r#" said \"no\"\n"#),
        _ => {}
    }
    let severity = if random.below(10) < 8 { 6 } else { random.below(8) };
    let mut keys = vec![
        format!(r#""type":"{kind}""#),
        format!(
            r#""timestamp":"2026-11-22T{:02}:{:02}:{:02}.{:06}Z""#,
            number / 3600 % 24,
            number / 60 % 60,
            number % 60,
            random.below(1_000_000)
        ),
        format!(r#""logger":"{}""#, ["syncstorage", "addons-marketplace", "aitc"][random.below(3) as usize]),
        format!(r#""severity":{severity}"#),
        format!(r#""payload":"{payload}""#),
        format!(r#""fields":{fields}"#),
        r#""env_version":"0.8""#.to_owned(),
        format!(r#""metlog_pid":{}"#, 1 + random.below(65_535)),
        format!(r#""metlog_hostname":"web{}.services.example.com""#, random.below(40)),
    ];
    match order {
        Order::AsClients => {}
        Order::TypeLast => keys.rotate_left(1),
        Order::Numbered => keys.extend([
            format!(r#""metlog_seq":{}"#, number + 1),
            r#""metlog_src":"7d1f00c53c9e4b1a""#.to_owned(),
        ]),
        Order::Sorted => keys.sort(),
        Order::Shuffled => {
            for last in (1..keys.len()).rev() {
                keys.swap(last, random.below(last as u64 + 1) as usize);
            }
        }
    }
    format!("{{{}}}", keys.join(","))
}
