//! The message mix of the benchmarks: the same bytes on every machine, and what each output must hold.
//!
//! 40 % counter, 30 % timer, 24 % oldstyle (a log line of 60 to 200 characters), 2 % sentry (a payload of about
//! 1.5 kB), 1 % cef, 3 % other types; about 305 bytes a message on average. A few in a thousand log lines hold
//! escaped quotes, non-ASCII text, or the same as `\u` escapes.
//!
//! [`Mix::write`] writes `sent.jsonl` and, beside it, the files that a correct router writes for it, so that an
//! output is compared byte for byte and not only counted.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// How the messages differ from the plain mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variation {
    /// Keys in the order of the original client, `type` first.
    Plain,
    /// Keys in another order in every message, `type` last.
    Shuffled,
    /// Types `kind-0000` up to this many, instead of the usual ones.
    Types(usize),
    /// Loggers `application-00` … and `service-00.worker-…`, half of this many each.
    Loggers(usize),
    /// Log lines alone, each of this many bytes with its line break.
    Lines(usize),
}

/// The three outputs of the main job, as their file names.
pub const OUTPUTS: [&str; 3] = ["metrics.jsonl", "app.log", "other.jsonl"];

/// A mix on disk, and in memory to be sent.
pub struct Mix {
    /// What is sent: newline-delimited JSON.
    pub sent: Vec<u8>,
    /// Where each message begins in `sent`, and the end: one more than there are messages.
    pub starts: Vec<usize>,
    /// The folder with `sent.jsonl` and the expected outputs.
    pub folder: PathBuf,
    /// Messages of each type.
    pub types: Vec<(String, usize)>,
    /// Lines that each of [`OUTPUTS`] must hold.
    pub lines: [usize; 3],
}

impl Mix {
    /// Generates `count` messages and writes them and the expected outputs below `folder`.
    pub fn write(folder: &Path, variation: Variation, count: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let create = |name: &str| -> anyhow::Result<BufWriter<File>> {
            let file = File::create(folder.join(name)).with_context(|| format!("create {name}"))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        };
        let [metrics, app, other] = OUTPUTS;
        let mut outputs = [create(metrics)?, create(app)?, create(other)?];
        // The floor writes the raw line where the router writes text.
        let mut raw_app = create("app.jsonl")?;
        let mut generator = Generator::new(variation);
        let mut mix = Self {
            sent: Vec::with_capacity(count * 310),
            starts: vec![0],
            folder: folder.to_path_buf(),
            types: Vec::new(),
            lines: [0; 3],
        };
        let mut types = std::collections::BTreeMap::<String, usize>::new();
        for _ in 0..count {
            let message = generator.next();
            let start = mix.sent.len();
            mix.sent.extend_from_slice(message.json.as_bytes());
            mix.sent.push(b'\n');
            let line = &mix.sent[start..];
            match message.output {
                1 => {
                    writeln!(outputs[1], "{} {}", message.timestamp, message.payload)?;
                    raw_app.write_all(line)?;
                }
                output => outputs[output].write_all(line)?,
            }
            mix.lines[message.output] += 1;
            mix.starts.push(mix.sent.len());
            if let Some(known) = types.get_mut(&message.kind) {
                *known += 1;
            } else {
                types.insert(message.kind, 1);
            }
        }
        for output in outputs.iter_mut().chain([&mut raw_app]) {
            output.flush().context("write the expected outputs")?;
        }
        fs::write(folder.join("sent.jsonl"), &mix.sent).context("write sent.jsonl")?;
        mix.types = types.into_iter().collect();
        Ok(mix)
    }

    /// How many messages.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// The message at this place, without its line break.
    pub fn message(&self, place: usize) -> &[u8] {
        &self.sent[self.starts[place]..self.starts[place + 1] - 1]
    }

    /// The average length of a message with its line break.
    pub fn average_bytes(&self) -> f64 {
        self.sent.len() as f64 / self.count().max(1) as f64
    }
}

/// A small generator of random numbers (a Weyl sequence, mixed): the mix must never change with a dependency.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

struct Message {
    json: String,
    kind: String,
    timestamp: String,
    /// The decoded payload, for the text output.
    payload: String,
    /// Index into [`OUTPUTS`].
    output: usize,
}

struct Generator {
    random: Random,
    variation: Variation,
    microseconds: u64,
}

const LOGGERS: [&str; 6] =
    ["sync-storage", "sync-registration", "accounts", "marketplace", "tokenserver", "aitc"];
const HOSTS: [&str; 4] = ["web1.example.com", "web2.example.com", "sync17.example.com", "aitc1.example.com"];
const NAMES: [&str; 8] = [
    "storage.read",
    "storage.write",
    "http.requests",
    "auth.validated",
    "queue.outgoing",
    "cache.missed",
    "database.checkout",
    "worker.finished",
];
const WORDS: [&str; 24] = [
    "request",
    "for",
    "user",
    "failed",
    "after",
    "retry",
    "connection",
    "to",
    "database",
    "was",
    "reset",
    "by",
    "peer",
    "while",
    "reading",
    "the",
    "response",
    "headers",
    "from",
    "upstream",
    "cache",
    "expired",
    "session",
    "token",
];
const ODD_TEXTS: [(&str, &str); 3] = [
    ("said \\\"no such key\\\" and stopped", "said \"no such key\" and stopped"),
    ("Grüße aus Zürich, 東京 says ok", "Grüße aus Zürich, 東京 says ok"),
    ("caf\\u00e9 path C:\\\\temp \\ud83d\\ude00 done", "café path C:\\temp 😀 done"),
];
const OTHER_TYPES: [&str; 4] = ["wsgi", "procinfo", "gauge", "audit.login"];

impl Generator {
    fn new(variation: Variation) -> Self {
        // 2026-11-22T00:00:00Z is where the timestamps begin; only the time of day moves.
        Self { random: Random(0x4D65_746C_6F67), variation, microseconds: 0 }
    }

    fn next(&mut self) -> Message {
        self.microseconds += 1 + self.random.next() % 60;
        let timestamp = time_of_day(self.microseconds);
        let logger = self.random.pick(&LOGGERS).to_owned();
        let host = self.random.pick(&HOSTS);
        let process = 1000 + self.random.below(30_000);
        let share = if let Variation::Lines(_) = self.variation { 80 } else { self.random.below(100) };
        let (kind, output) = match share {
            0..40 => ("counter", 0),
            40..70 => ("timer", 0),
            70..94 => ("oldstyle", 1),
            94..96 => ("sentry", 2),
            96 => ("cef", 2),
            _ => (self.random.pick(&OTHER_TYPES), 2),
        };
        let (mut payload, mut decoded) = self.payload(kind);
        let fields = self.fields(kind);
        let severity = if kind == "oldstyle" { 2 + self.random.below(6) } else { 6 };
        let (kind, logger) = match self.variation {
            Variation::Types(count) => (format!("kind-{:04}", self.random.below(count)), logger),
            Variation::Loggers(count) => {
                let chosen = self.random.below(count);
                let worker = self.random.below(8);
                let logger = match chosen % 2 {
                    0 => format!("application-{:02}", chosen / 2),
                    _ => format!("service-{:02}.worker-{worker}", chosen / 2),
                };
                (kind.to_owned(), logger)
            }
            Variation::Plain | Variation::Shuffled | Variation::Lines(_) => (kind.to_owned(), logger),
        };
        if let Variation::Lines(bytes) = self.variation {
            // What else stands in the line; a payload that needs no escaping fills it up.
            let around = line_of_text(&timestamp, &logger, severity, "").len() + 1;
            decoded =
                decoded.chars().filter(char::is_ascii_alphanumeric).cycle().take(bytes - around).collect();
            payload = decoded.clone();
            let json = line_of_text(&timestamp, &logger, severity, &payload);
            return Message { json, kind, timestamp, payload: decoded, output };
        }
        let mut pairs = [
            format!("\"type\":\"{kind}\""),
            format!("\"timestamp\":\"{timestamp}\""),
            format!("\"logger\":\"{logger}\""),
            format!("\"severity\":{severity}"),
            format!("\"payload\":\"{payload}\""),
            format!("\"fields\":{fields}"),
            "\"env_version\":\"0.8\"".to_owned(),
            format!("\"metlog_pid\":{process}"),
            format!("\"metlog_hostname\":\"{host}\""),
        ];
        if self.variation == Variation::Shuffled {
            let last = pairs.len() - 1;
            pairs.swap(0, last);
            for place in (1..last).rev() {
                pairs.swap(place, self.random.below(place + 1));
            }
        }
        Message { json: format!("{{{}}}", pairs.join(",")), kind, timestamp, payload: decoded, output }
    }

    /// The payload as it stands in the JSON text, and decoded.
    fn payload(&mut self, kind: &str) -> (String, String) {
        match kind {
            "counter" => same(format!("{}", 1 + self.random.below(5))),
            "timer" => same(format!("{}", 1 + self.random.below(3000))),
            "oldstyle" => self.log_line(),
            "sentry" => {
                let length = 1400 + self.random.below(200);
                same(self.base64(length))
            }
            "cef" => {
                let user = self.random.below(100_000);
                same(format!(
                    "Nov 22 09:05:24 web1 CEF:0|mozilla|sync|3|login|authentication attempt|5|\
                     cs1Label=requestClientApplication cs1=firefox request=/1.0/{user} suser={user}"
                ))
            }
            _ => same(format!("{}", self.random.below(1_000_000))),
        }
    }

    fn log_line(&mut self) -> (String, String) {
        let length = 60 + self.random.below(141);
        let mut line = String::with_capacity(length + 12);
        while line.len() < length {
            line.push_str(self.random.pick(&WORDS));
            line.push(' ');
        }
        line.truncate(length);
        if self.random.below(1000) >= 12 {
            return same(line);
        }
        let (written, decoded) = ODD_TEXTS[self.random.below(ODD_TEXTS.len())];
        (format!("{line} {written}"), format!("{line} {decoded}"))
    }

    fn base64(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        (0..length).map(|_| char::from(ALPHABET[self.random.below(64)])).collect()
    }

    fn fields(&mut self, kind: &str) -> String {
        match kind {
            "counter" | "timer" => format!(
                "{{\"name\":\"{}\",\"rate\":1.0,\"request\":\"{:012x}\"}}",
                self.random.pick(&NAMES),
                self.random.next() >> 16
            ),
            "oldstyle" => "{}".to_owned(),
            "sentry" => format!(
                "{{\"dsn\":\"https://key@sentry.example.org/{}\",\"epoch_timestamp\":1795338324.99}}",
                self.random.below(20)
            ),
            "cef" => "{\"cef_meta\":{\"syslog_options\":0,\"syslog_facility\":\"LOCAL4\",\
                      \"syslog_ident\":\"sync\",\"syslog_priority\":\"INFO\"}}"
                .to_owned(),
            _ => format!(
                "{{\"user\":{{\"id\":{}}},\"ok\":true,\"path\":\"/1.0/info\",\"elapsed\":{}.5}}",
                self.random.below(100_000),
                self.random.below(500)
            ),
        }
    }
}

/// A log line without what only the sender's machine would add.
fn line_of_text(timestamp: &str, logger: &str, severity: usize, payload: &str) -> String {
    format!(
        "{{\"type\":\"oldstyle\",\"timestamp\":\"{timestamp}\",\"logger\":\"{logger}\",\"severity\":{severity},\
         \"payload\":\"{payload}\",\"fields\":{{}},\"env_version\":\"0.8\"}}"
    )
}

fn same(text: String) -> (String, String) {
    (text.clone(), text)
}

fn time_of_day(microseconds: u64) -> String {
    let seconds = microseconds / 1_000_000;
    format!(
        "2026-11-22T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        microseconds % 1_000_000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(variation: Variation, count: usize) -> (tempfile::TempDir, Mix) {
        let folder = tempfile::tempdir().unwrap();
        let mix = Mix::write(folder.path(), variation, count).unwrap();
        (folder, mix)
    }

    #[test]
    fn the_mix_has_the_promised_shares_and_size() {
        let (_folder, mix) = write(Variation::Plain, 20_000);
        let share = |kind: &str| {
            let found = mix.types.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count);
            found as f64 / 200.0
        };
        for (kind, expected) in
            [("counter", 40.0), ("timer", 30.0), ("oldstyle", 24.0), ("sentry", 2.0), ("cef", 1.0)]
        {
            assert!((share(kind) - expected).abs() < 1.2, "{kind}: {} %", share(kind));
        }
        assert!((295.0..=315.0).contains(&mix.average_bytes()), "{} bytes a message", mix.average_bytes());
        assert_eq!(mix.lines.iter().sum::<usize>(), 20_000);
    }

    #[test]
    fn every_message_is_an_object_and_the_text_output_is_its_decoded_payload() {
        for variation in [Variation::Plain, Variation::Shuffled, Variation::Types(7), Variation::Loggers(6)] {
            let (folder, mix) = write(variation, 3_000);
            let text = fs::read_to_string(folder.path().join("app.log")).unwrap();
            let mut text = text.lines();
            for place in 0..mix.count() {
                let message: serde_json::Value = serde_json::from_slice(mix.message(place)).unwrap();
                if variation == Variation::Shuffled {
                    assert!(
                        mix.message(place).ends_with(format!("\"type\":{}}}", message["type"]).as_bytes())
                    );
                }
                if message["type"] == "oldstyle" {
                    let expected = format!(
                        "{} {}",
                        message["timestamp"].as_str().unwrap(),
                        message["payload"].as_str().unwrap()
                    );
                    assert_eq!(text.next(), Some(expected.as_str()));
                }
            }
        }
    }

    #[test]
    fn lines_of_one_length_are_messages_of_this_length() {
        let (_folder, mix) = write(Variation::Lines(200), 500);
        for place in 0..mix.count() {
            assert_eq!(mix.message(place).len(), 199);
            let message: serde_json::Value = serde_json::from_slice(mix.message(place)).unwrap();
            assert_eq!(message["type"], "oldstyle");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_a_shorter_mix_is_a_prefix() {
        let (_one, long) = write(Variation::Plain, 500);
        let (_two, short) = write(Variation::Plain, 200);
        assert_eq!(short.sent, long.sent[..short.sent.len()]);
    }
}
