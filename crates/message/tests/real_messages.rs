//! Messages that real clients wrote are accepted byte for byte, and hostile ones get the verdict on record.
#![allow(clippy::panic)]

mod oracle;

use metlog_message::{Decoded, Decoder, Key, Reason};
use oracle::RECEIVED;

const CLIENT: &[u8] = include_bytes!("../../../tests/data/metlog-0.8.jsonl");
const SERVICE_2012: &[u8] = include_bytes!("../../../tests/data/aitc-2012-07-18.jsonl");
const HOSTILE: &str = include_str!("../../../tests/data/hostile.tsv");

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

#[test]
fn every_real_message_is_used_as_it_was_sent() {
    let mut count = 0;
    for line in lines(CLIENT).chain(lines(SERVICE_2012)) {
        match oracle::check(line) {
            Ok(Decoded::InPlace { start: 0, end, index }) if end == line.len() => {
                assert!(!index.timestamp_unreadable());
                assert!(index.timestamp(line).is_some());
            }
            other => panic!("{other:?}: {}", String::from_utf8_lossy(line)),
        }
        count += 1;
    }
    assert_eq!(count, 225 + 290);
}

#[test]
fn every_truncation_of_a_real_message_is_no_json() {
    for line in lines(CLIENT).chain(lines(SERVICE_2012).take(20)).filter(|line| line.len() < 2000) {
        for length in 1..line.len() {
            let outcome = Decoder::default().decode(&line[..length], RECEIVED);
            let cut_in_character = std::str::from_utf8(&line[..length]).is_err();
            let expected = if cut_in_character { Reason::InvalidUtf8 } else { Reason::InvalidJson };
            assert_eq!(outcome, Err(expected), "{length} of {}", String::from_utf8_lossy(line));
        }
    }
}

#[test]
fn every_hostile_frame_gets_the_verdict_on_record() {
    let mut count = 0;
    for row in HOSTILE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let [verdict, reason, label, encoded] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {row:.80}");
        };
        let frame = from_base64(encoded);
        // Frames that name a decoder are the router's.
        if frame.starts_with(b"\0") && frame.windows(2).any(|pair| pair == b"::") {
            continue;
        }
        // A frame of text is split into lines, each of which is judged on its own.
        let outcomes: Vec<_> = frame.split(|&byte| byte == b'\n').map(|line| judge(line, label)).collect();
        let (verdicts, reasons): (Vec<_>, Vec<_>) = outcomes.into_iter().unzip();
        assert!(verdicts.iter().all(|found| *found == verdict), "{label}: {verdicts:?} {reasons:?}");
        if verdict == "reject" {
            assert!(reasons.iter().all(|found| found == reason), "{label}: {reasons:?}");
        }
        count += 1;
    }
    assert!(count >= 84, "only {count} frames");
}

/// The verdict on one line, and the reason; checks what the label says becomes of an accepted one.
fn judge(line: &[u8], label: &str) -> (&'static str, String) {
    let (message, index) = match Decoder::default().decode(line, RECEIVED) {
        Err(reason) => return ("reject", reason.to_string()),
        Ok(Decoded::Blank) => return ("ignore", "blank".into()),
        Ok(Decoded::InPlace { start, end, index }) => {
            let removed = if label.contains("BOM") { 3 } else { 0 };
            assert_eq!((start, end), (removed, line.len()), "{label}");
            (line[start..end].to_vec(), index)
        }
        Ok(Decoded::Rewritten { text, index }) => {
            assert!(label.contains("missing key timestamp") || label.contains("literal"), "{label}");
            (text, index)
        }
    };
    let text = |key| index.text(&message, key);
    match label {
        "duplicate key severity (6 then 0)" => assert_eq!(index.severity(), 0),
        "duplicate key type, escaped the second time" => assert_eq!(text(Key::Type), "evil"),
        "payload is an object" => assert_eq!(text(Key::Payload), r#"{"a": 1}"#),
        "fields is null" => assert_eq!(text(Key::Fields), "{}"),
        "metlog_hostname is null" => assert_eq!(index.raw(&message, Key::Hostname), None),
        "missing key timestamp" => {
            assert!(
                message.ends_with(br#""metlog_hostname": "h","timestamp":"2012-08-29T12:00:00.000000Z"}"#)
            );
            assert_eq!(index.timestamp(&message), Some(RECEIVED));
        }
        "missing key severity" => assert_eq!(index.severity(), 6),
        "NaN literal, as the old client writes it" => assert_eq!(text(Key::Fields), r#"{"x": null}"#),
        "Infinity and -Infinity literals" => assert_eq!(text(Key::Fields), r#"{"x": null, "y": null}"#),
        "lone high surrogate escape" => assert_eq!(text(Key::Payload), "\u{FFFD}"),
        "lone low surrogate escape then text" => assert_eq!(text(Key::Payload), "\u{FFFD}abc"),
        _ => {}
    }
    assert_eq!(index.timestamp_unreadable(), label == "timestamp is not a date", "{label}");
    ("accept", String::new())
}

fn from_base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut decoded = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes().filter(|&byte| byte != b'=') {
        let value = ALPHABET
            .iter()
            .position(|&letter| letter == byte)
            .unwrap_or_else(|| panic!("base64, not {byte}"));
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
        }
    }
    decoded
}
