//! Messages to send: the real and the hostile ones of `tests/data`, and numbered ones.

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The repository's `tests` folder.
pub fn tests_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}

/// The lines of a file in `tests/data`, without their line breaks.
pub fn real(name: &str) -> Vec<String> {
    let path = tests_folder().join("data").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// `count` messages of one logger, numbered from 0 in `metlog_seq`, each of about `bytes`.
pub fn numbered(logger: &str, count: usize, bytes: usize) -> Vec<String> {
    (0..count).map(|number| numbered_one(logger, number, bytes)).collect()
}

/// One message as [`numbered`] makes them.
pub fn numbered_one(logger: &str, number: usize, bytes: usize) -> String {
    let head = format!(
        "{{\"type\":\"oldstyle\",\"timestamp\":\"2012-07-18T21:13:25.687518Z\",\"logger\":\"{logger}\",\"severity\":6,\"payload\":\""
    );
    let tail = format!("\",\"fields\":{{}},\"env_version\":\"0.8\",\"metlog_seq\":{number}}}");
    let filling = bytes.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(filling))
}

/// The `metlog_seq` of every line, which must be a whole message.
pub fn numbers<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Vec<usize> {
    lines
        .into_iter()
        .map(|line| {
            let line = line.as_ref();
            let message: Value = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("a torn line ({error}): {line:.200}"));
            message["metlog_seq"].as_u64().expect("a number") as usize
        })
        .collect()
}

/// Lines with a line break behind each.
pub fn text_of<S: AsRef<str>>(lines: &[S]) -> String {
    lines.iter().map(|line| format!("{}\n", line.as_ref())).collect()
}

/// A frame of `hostile.tsv`.
pub struct Hostile {
    pub verdict: String,
    /// Of a reject or an ignored frame: the router's name for it. Of an accepted one: what becomes of it, in words.
    pub reason: String,
    pub label: String,
    pub frame: Vec<u8>,
}

/// Every frame that a router may be sent and cannot use, or only just.
pub fn hostile() -> Vec<Hostile> {
    let lines = real("hostile.tsv").into_iter().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let mut next = || columns.next().unwrap_or_default();
            Hostile { verdict: next(), reason: next(), label: next(), frame: from_base64(&next()) }
        })
        .collect()
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|known| *known == byte).expect("base64");
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
