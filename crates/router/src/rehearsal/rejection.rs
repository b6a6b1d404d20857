//! Why a frame was rejected, for people: what is wrong where, and what would be right.
//!
//! The reason and the place are the decoder's; this room only finds the words. It looks at the bytes around the place for the
//! usual causes: a cut message, Python's notation, plain log lines, two messages on one line.

use metlog_message::{Decoder, Key, Reason};

/// A rejected frame's reason, with the words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// As the ledger counts it.
    pub reason: Reason,
    /// Where it shows, in bytes of the frame; `None` where no one place is to blame.
    pub position: Option<usize>,
    /// What is wrong there.
    pub problem: String,
    /// What to do about it, where that can be told.
    pub help: Option<&'static str>,
}

const CUT: &str = "the message was cut short: look for a limit on its way, or send it over TCP";
const ONE_MAP: &str =
    "a message in msgpack is one map with text as keys, and nothing else is in its datagram";
const MSGPACK: &str =
    "this looks like msgpack: put `\\0msgpack::` in front, or give the input `decoder = \"msgpack\"`";
const PLAIN_TEXT: &str = "for lines of plain text, give the input `decoder = \"line\"`";

impl Rejection {
    /// Finds words for a frame that was rejected for this reason, which shows at `position`.
    pub(super) fn new(reason: Reason, frame: &[u8], position: Option<usize>) -> Rejection {
        let (problem, help) = match reason {
            Reason::TooLarge => (
                "it is longer than `limits.message`".to_owned(),
                Some("raise `message` under [limits], or send less in one message"),
            ),
            Reason::InvalidUtf8 => not_utf8(frame, position),
            Reason::TooDeep => (
                "it is nested deeper than `limits.depth`".to_owned(),
                Some("send nested data as text, or raise `depth` under [limits]"),
            ),
            Reason::InvalidJson => not_json(frame, position.unwrap_or(frame.len())),
            Reason::NotAnObject => (
                "it is JSON, but a message is an object".to_owned(),
                Some("send each message as an object of its own: {\"type\": …}"),
            ),
            Reason::MissingType => {
                ("it has no `type`".to_owned(), Some("every message says what it is: \"type\": \"oldstyle\""))
            }
            Reason::WrongType(key) => (format!("`{}` must be {}", key.name(), expected(key)), None),
            Reason::OutOfRange(Key::Severity) => (
                "`severity` goes from 0 (emergency) to 7 (debug)".to_owned(),
                Some("Python's levels are others: 10 is 7, 20 is 6, 30 is 4, 40 is 3, 50 is 2"),
            ),
            Reason::OutOfRange(key) => (format!("the number at `{}` is out of range", key.name()), None),
            Reason::UnknownDecoder => (
                "the datagram names a decoder that this input does not have".to_owned(),
                Some("without a name in front (`\\0name::`) it is taken as JSON"),
            ),
            Reason::InvalidMsgpack => not_msgpack(frame, position),
        };
        Rejection { reason, position, problem, help }
    }

    /// The same for a frame with so many bytes more in front.
    pub(super) fn moved(mut self, bytes: usize) -> Rejection {
        self.position = self.position.map(|position| position + bytes);
        self
    }
}

fn expected(key: Key) -> &'static str {
    match key {
        Key::Severity => "a whole number from 0 to 7",
        Key::Pid => "a whole number",
        Key::Fields => "an object",
        _ => "a string",
    }
}

fn not_utf8(frame: &[u8], position: Option<usize>) -> (String, Option<&'static str>) {
    let help = match frame {
        [0x1F, 0x8B, ..] => "this is compressed with gzip; send it as it is",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "this is compressed with zstd; send it as it is",
        // A map of few keys, or of more.
        [0x80..=0x8F | 0xDE | 0xDF, ..] => MSGPACK,
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => "this is UTF-16; send UTF-8",
        _ => "send UTF-8; Latin-1 and other encodings must be converted by the sender",
    };
    let byte = position.and_then(|position| frame.get(position));
    let found = byte.map_or_else(String::new, |byte| format!(" 0x{byte:02X}"));
    (format!("the byte{found} is not UTF-8"), Some(help))
}

fn not_msgpack(frame: &[u8], position: Option<usize>) -> (String, Option<&'static str>) {
    if let [b'{', ..] = frame {
        return ("this is no msgpack".to_owned(), Some("it looks like JSON, which needs no `decoder`"));
    }
    match position.and_then(|position| frame.get(position)) {
        None => ("it ends in the middle, or goes on behind its end".to_owned(), Some(ONE_MAP)),
        Some(0xC1) => ("there is no msgpack value that begins with 0xC1".to_owned(), None),
        Some(0xC7..=0xC9 | 0xD4..=0xD8) => (
            "it holds an extension type that is no timestamp".to_owned(),
            Some("send the value as text, or as binary data"),
        ),
        Some(_) => (
            "it is cut short, has a key that is a map or an array, or goes on behind its end".to_owned(),
            Some(ONE_MAP),
        ),
    }
}

fn not_json(frame: &[u8], position: usize) -> (String, Option<&'static str>) {
    let before = frame.get(..position).unwrap_or(frame);
    let rest = frame.get(position..).unwrap_or_default();
    let last = before.trim_ascii_end().last().copied();
    let Some(&byte) = rest.first() else {
        return ("it ends in the middle".to_owned(), Some(CUT));
    };
    if last.is_none() {
        return match byte {
            0 => ("it begins with a NUL byte".to_owned(), None),
            0x80..=0x8F | 0xDE | 0xDF => ("this is no JSON".to_owned(), Some(MSGPACK)),
            _ => ("this is no JSON".to_owned(), Some(PLAIN_TEXT)),
        };
    }
    if is_whole(before) {
        let help = match byte {
            b'{' => "put each message on a line of its own",
            _ => "nothing may stand behind the message",
        };
        return ("the message has ended before this".to_owned(), Some(help));
    }
    let behind_comma = last == Some(b',');
    match byte {
        b'\'' => (
            "strings take double quotes".to_owned(),
            Some("this looks like Python's repr(): use json.dumps()"),
        ),
        b'}' | b']' if behind_comma => {
            ("there is a comma before the closing bracket".to_owned(), Some("remove the comma"))
        }
        b'/' | b'#' => ("JSON has no comments".to_owned(), None),
        b'\\' => ("there is no such escape in JSON".to_owned(), Some("a backslash itself is written \\\\")),
        0..0x20 => (
            format!("a control character (0x{byte:02X}) cannot stand in a string as it is"),
            Some("escape it: a line break is \\n, a tab \\t, any other \\u00XX"),
        ),
        _ if ["True", "False", "None"].iter().any(|word| rest.starts_with(word.as_bytes())) => (
            "JSON has true, false and null".to_owned(),
            Some("this looks like Python's repr(): use json.dumps()"),
        ),
        _ if rest.starts_with(b"undefined") => {
            ("JSON has no undefined".to_owned(), Some("leave the key out"))
        }
        b'A'..=b'Z' | b'a'..=b'z' | b'_' if behind_comma || last == Some(b'{') => {
            ("a key is a string in double quotes".to_owned(), Some("quote it: {\"type\": …}"))
        }
        b'0'..=b'9' | b'+' | b'.' | b'-' => ("JSON has no number like this".to_owned(), None),
        b'"' | b'{' | b'[' if !matches!(last, Some(b'{' | b'[' | b',' | b':')) => {
            ("a comma is missing before this".to_owned(), None)
        }
        _ => ("this cannot stand here".to_owned(), None),
    }
}

/// Whether a text is JSON as far as it goes, with nothing missing.
fn is_whole(text: &[u8]) -> bool {
    !matches!(
        Decoder::default().decode(text, metlog_message::Timestamp { seconds: 0, nanoseconds: 0 }),
        Err(Reason::InvalidJson | Reason::InvalidUtf8 | Reason::TooLarge | Reason::TooDeep)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frame: &str, problem: &str, help: &str) {
        let frame = frame.as_bytes();
        let decoder = Decoder::default();
        let reason = decoder.decode(frame, crate::testing::RECEIVED).unwrap_err();
        let rejection = Rejection::new(reason, frame, decoder.locate(frame));
        assert!(rejection.problem.contains(problem), "{rejection:?}");
        assert!(rejection.help.unwrap_or_default().contains(help), "{rejection:?}");
    }

    #[test]
    fn the_usual_causes_of_broken_json_are_known() {
        check(r#"{"type":"t","payl"#, "ends in the middle", "cut short");
        check(r#"{'type': 't'}"#, "double quotes", "json.dumps");
        check(r#"{"type": "t", "fields": {"a": True}}"#, "true, false", "json.dumps");
        check(r#"{"type": "t",}"#, "comma before the closing", "remove");
        check(r#"{"type": "t"} {"type": "t"}"#, "has ended before", "line of its own");
        check(r#"{"type": "t"}}"#, "has ended before", "behind the message");
        check(r#"{type: "t"}"#, "double quotes", "quote it");
        check(r#"{"type": "t" "logger": "l"}"#, "comma is missing", "");
        check(r#"{"type": "a\x41"}"#, "escape", "backslash");
        check("{\"type\": \"a\tb\"}", "control character (0x09)", "\\t");
        check(r#"{"type": "t", "n": 01}"#, "number", "");
        check(r#"{/* x */"type": "t"}"#, "comments", "");
        check("<34>Oct 11 22:14:15 host su: failed", "no JSON", "decoder = \"line\"");
        check("\0", "NUL", "");
    }

    #[test]
    fn what_begins_like_a_map_in_msgpack_says_how_it_is_sent() {
        for first in [0x80, 0x8F, 0xDE, 0xDF] {
            let frame = [first, 0xA4, b't', b'y', b'p', b'e'];
            for reason in [Reason::InvalidUtf8, Reason::InvalidJson] {
                let help = Rejection::new(reason, &frame, Some(0)).help.unwrap_or_default();
                assert!(help.contains("`\\0msgpack::`") && help.contains("decoder = \"msgpack\""), "{help}");
            }
        }
        let help = Rejection::new(Reason::InvalidUtf8, &[0xE4, b'h'], Some(0)).help.unwrap_or_default();
        assert!(help.contains("Latin-1"), "{help}");
    }

    #[test]
    fn what_is_json_but_no_message_says_what_a_message_has() {
        check("[]", "an object", "of its own");
        check("{}", "no `type`", "every message");
        check(r#"{"type": 5}"#, "`type` must be a string", "");
        check(r#"{"type": "t", "severity": 30}"#, "0 (emergency)", "Python");
        check(r#"{"type": "t", "fields": []}"#, "an object", "");
    }
}
