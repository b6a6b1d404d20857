//! Real messages changed at random, with serde_json as the judge: the short form of the fuzz targets, which needs
//! no fuzzer. Always the same changes, so that a failure can be repeated.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is wrong")]

mod oracle;

use metlog_message::{Decoded, Decoder, Index};

const CLIENT: &[u8] = include_bytes!("../../../tests/data/metlog-0.8.jsonl");
const SERVICE_2012: &[u8] = include_bytes!("../../../tests/data/aitc-2012-07-18.jsonl");

/// How many changed messages are judged: more where the compiler made the code fast.
/// `METLOG_LONG=1` tries a hundred times as many.
fn rounds() -> usize {
    let rounds = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    if std::env::var_os("METLOG_LONG").is_some() { 100 * rounds } else { rounds }
}

/// A small random generator (a linear congruential one): enough to choose changes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// What is likely to hit a special case.
const PIECES: [&[u8]; 41] = [
    b",\"ty\\u0070e\":7",
    b"\"",
    b"\\",
    b"\\\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\\u0041",
    b"\\ud83d",
    b"\\ude00",
    b"\\x",
    b"\\u12",
    b"\0",
    b"\x1f",
    b"\x7f",
    b"\x80",
    b"\xc3\xa9",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"\xed\xa0\x80",
    b"null",
    b"true",
    b"false",
    b"-",
    b"0",
    b"1e5",
    b"0.5",
    b"-0",
    b"18446744073709551616",
    b"\"type\":",
    b"\"severity\":",
    b"\"timestamp\":null",
    b"{\"a\":[]}",
    b"\xef\xbb\xbf",
];

fn change(random: &mut Random, message: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(message.len() + 1);
    let end = at + random.below(message.len() - at + 1).min(random.below(40));
    match random.below(9) {
        0 | 1 => drop(message.splice(at..at, random.of(&PIECES).iter().copied())),
        2 | 3 => drop(message.splice(at..end, random.of(&PIECES).iter().copied())),
        4 => drop(message.drain(at..end)),
        5 => message.truncate(at),
        6 => {
            if let Some(byte) = message.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        7 => {
            let from = random.below(other.len());
            let piece = &other[from..other.len().min(from + random.below(60))];
            drop(message.splice(at..end, piece.iter().copied()));
        }
        _ => {
            let piece = message[at..end].to_vec();
            drop(message.splice(end..end, piece));
        }
    }
}

/// The same messages without the spaces behind commas and colons (and a few in texts), and with the keys that senders
/// over the network add.
fn without_spaces(lines: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(lines).replace("\": ", "\":").replace(", \"", ",\"");
    text.replace("\"}\n", "\",\"metlog_seq\":7,\"metlog_src\":\"7d1f00c53c9e4b1a\"}\n").into()
}

#[test]
fn changed_messages_are_judged_as_serde_json_judges_them() {
    let without_spaces = without_spaces(CLIENT);
    let lines: Vec<&[u8]> = [CLIENT, &without_spaces, SERVICE_2012]
        .iter()
        .flat_map(|file| file.split(|&byte| byte == b'\n'))
        .filter(|line| !line.is_empty() && line.len() < 1000)
        .collect();
    let mut random = Random(20_120_718);
    let (mut accepted, mut rejected) = (0, 0);
    let rounds = rounds();
    for _ in 0..rounds {
        let mut message = random.of(&lines).to_vec();
        let other = random.of(&lines);
        for _ in 0..=random.below(3) {
            change(&mut random, &mut message, other);
        }
        match oracle::check(&message) {
            Ok(_) => accepted += 1,
            Err(_) => rejected += 1,
        }
    }
    assert!(accepted > rounds / 20 && rejected > rounds / 20, "{accepted} accepted, {rejected} rejected");
}

/// The message with everything that the decoder is lenient about written as JSON has it, on one line. Found in another way
/// than the decoder's: by cutting the text at its strings and replacing words in what lies between.
fn without_leniencies(text: &str) -> String {
    let mut rewritten = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (between, string) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
        let between = between.replace("-Infinity", "null").replace("Infinity", "null");
        rewritten += &between.replace("NaN", "null").replace(['\n', '\r'], " ");
        let is_end = |at: &usize| {
            let before = string[1..*at].bytes().rev();
            before.take_while(|&byte| byte == b'\\').count() % 2 == 0
        };
        let end = string.match_indices('"').map(|(at, _)| at).skip(1).find(is_end);
        let (string, after) = string.split_at(end.map_or(string.len(), |at| at + 1));
        rewritten += string;
        rest = after;
    }
    rewritten
}

/// Puts something that JSON does not allow, or a line break, where it may be allowed all the same.
fn loosen(random: &mut Random, message: &mut Vec<u8>) {
    let marks: Vec<usize> = (0..message.len()).filter(|&at| b":,{}[]".contains(&message[at])).collect();
    if marks.is_empty() {
        return;
    }
    let mark = marks[random.below(marks.len())];
    let after = mark + 1;
    match random.below(4) {
        0 => drop(
            message.splice(after..after, random.of(&[&b"\n"[..], b"\r\n", b"\n  ", b"\r"]).iter().copied()),
        ),
        1 => drop(message.splice(mark..mark, *b"\n")),
        _ => {
            let end = message[after..].iter().position(|byte| b",}]".contains(byte));
            let end = end.map_or(message.len(), |length| after + length);
            let word = random.of(&[&b"NaN"[..], b"Infinity", b"-Infinity", b" NaN\n", b"-NaN", b"NaNs"]);
            drop(message.splice(after..end, word.iter().copied()));
        }
    }
}

#[test]
fn what_the_decoder_is_lenient_about_is_rewritten_as_another_way_rewrites_it() {
    let lines: Vec<&[u8]> = [CLIENT, SERVICE_2012]
        .iter()
        .flat_map(|file| file.split(|&byte| byte == b'\n'))
        .filter(|line| !line.is_empty() && line.len() < 1000)
        .collect();
    let mut random = Random(19_850_318);
    let (mut rewritten, mut rejected) = (0, 0);
    let rounds = rounds() / 2;
    for _ in 0..rounds {
        let mut message = random.of(&lines).to_vec();
        let other = random.of(&lines);
        for _ in 0..=random.below(3) {
            loosen(&mut random, &mut message);
        }
        if random.below(3) == 0 {
            change(&mut random, &mut message, other);
        }
        let Ok(text) = std::str::from_utf8(&message) else { continue };
        let strict = without_leniencies(text);
        let expected = oracle::check(strict.as_bytes());
        let outcome = Decoder::default().decode(text.as_bytes(), oracle::RECEIVED);
        match (&outcome, &expected) {
            (Err(reason), Err(expected)) => {
                assert_eq!(reason, expected, "{text}");
                rejected += 1;
            }
            (Ok(Decoded::Blank), Ok(Decoded::Blank)) => {}
            (Ok(outcome), Ok(expected)) => {
                assert_eq!(shown(outcome, text), shown(expected, &strict), "{text}");
                rewritten += usize::from(matches!(outcome, Decoded::Rewritten { .. }));
            }
            _ => panic!("{outcome:?} and not {expected:?}: {text}"),
        }
    }
    assert!(rewritten > rounds / 5 && rejected > rounds / 20, "{rewritten} rewritten, {rejected} rejected");
}

/// A decoded message's text and index.
fn shown<'a>(decoded: &'a Decoded, frame: &'a str) -> (&'a str, &'a Index) {
    match decoded {
        Decoded::InPlace { start, end, index } => (&frame[*start..*end], index),
        Decoded::Rewritten { text, index } => (std::str::from_utf8(text).unwrap(), index),
        Decoded::Blank => panic!("blank"),
    }
}
