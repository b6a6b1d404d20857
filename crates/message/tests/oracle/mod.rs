//! What serde_json thinks of a frame, compared with what the decoder says. The fuzz targets use it too.
#![allow(clippy::panic, dead_code, missing_docs)]

use metlog_message::{Decoded, Decoder, Index, Key, Kind, Limits, Path, Reason, Timestamp, Value, lookup};
use serde::de::IgnoredAny;
use serde_json::Value as Tree;

/// The time of receipt in all tests.
pub const RECEIVED: Timestamp = Timestamp { seconds: 1_346_241_600, nanoseconds: 0 };

/// Decodes `frame` and panics unless the outcome is the one that serde_json lets expect.
pub fn check(frame: &[u8]) -> Result<Decoded, Reason> {
    let outcome = Decoder::default().decode(frame, RECEIVED);
    check_as_a_line(frame, &outcome);
    let Ok(text) = std::str::from_utf8(frame) else {
        assert_eq!(outcome, Err(Reason::InvalidUtf8), "{frame:?}");
        return outcome;
    };
    if let Ok(Decoded::InPlace { start, end, .. }) = &outcome {
        let white_space = |piece: &str| piece.trim_matches([' ', '\t', '\n', '\r']).is_empty();
        assert!(
            white_space(text[..*start].trim_start_matches('\u{FEFF}')) && white_space(&text[*end..]),
            "{text}"
        );
    }
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    if text.trim_matches([' ', '\t', '\n', '\r']).is_empty() {
        assert_eq!(outcome, Ok(Decoded::Blank), "{text:?}");
        return outcome;
    }
    // The leniencies have tests of their own: what serde_json would say of them means nothing here.
    if text.contains("NaN") || text.contains("Infinity") {
        return outcome;
    }
    let too_deep = deepest(text) > Limits::default().depth;
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        match outcome {
            Err(Reason::InvalidJson) => {}
            Err(Reason::TooDeep) if too_deep => {}
            _ => panic!("no JSON, and yet {outcome:?}: {text}"),
        }
        return outcome;
    }
    if too_deep {
        assert_eq!(outcome, Err(Reason::TooDeep), "{text}");
        return outcome;
    }
    match serde_json::from_str::<Tree>(text) {
        Ok(tree) => check_envelope(text, &tree, &outcome),
        // Valid JSON that a tree cannot hold: a lone surrogate, a number beyond what a float can be, the last
        // levels of nesting.
        Err(error) => {
            let error = error.to_string();
            let known = ["surrogate", "hex escape", "out of range", "recursion"];
            assert!(known.iter().any(|part| error.contains(part)), "{error}: {text}");
        }
    }
    outcome
}

/// The deepest nesting, brackets in strings apart; for valid JSON.
fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn check_envelope(text: &str, tree: &Tree, outcome: &Result<Decoded, Reason>) {
    let Tree::Object(object) = tree else {
        assert_eq!(*outcome, Err(Reason::NotAnObject), "{text}");
        return;
    };
    for key in Key::ALL {
        let value = object.get(key.name()).filter(|value| !value.is_null());
        let expected = match (key, value) {
            (Key::Type, None) => Some(Reason::MissingType),
            (_, None) | (Key::Payload, _) => None,
            (Key::Fields, Some(Tree::Object(_))) => None,
            (Key::Severity | Key::Pid, Some(Tree::Number(number))) => {
                let most = if key == Key::Severity { 7 } else { u64::MAX };
                match number.as_u64() {
                    Some(value) if value <= most => None,
                    None if number.is_f64() => {
                        // serde_json does not tell a large integer, a fraction and -0 apart.
                        if let Err(reason @ (Reason::WrongType(_) | Reason::OutOfRange(_))) = *outcome
                            && (reason == Reason::WrongType(key) || reason == Reason::OutOfRange(key))
                        {
                            return;
                        }
                        assert_eq!(number.as_f64(), Some(-0.0), "{text}");
                        None
                    }
                    _ => Some(Reason::OutOfRange(key)),
                }
            }
            (Key::Fields | Key::Severity | Key::Pid, _) => Some(Reason::WrongType(key)),
            (_, Some(Tree::String(_))) => None,
            (_, Some(_)) => Some(Reason::WrongType(key)),
        };
        if let Some(reason) = expected {
            assert_eq!(*outcome, Err(reason), "{text}");
            return;
        }
    }
    let has_timestamp = object.get("timestamp").is_some_and(Tree::is_string);
    match outcome {
        Ok(Decoded::InPlace { start, end, index }) => {
            assert!(has_timestamp, "{text}");
            // The offsets count from the frame's first byte, which may be that of a byte-order mark.
            let message = text.trim_matches([' ', '\t', '\n', '\r']);
            assert_eq!(message.len(), end - start);
            check_values(message.as_bytes(), index, tree);
        }
        Ok(Decoded::Rewritten { text: rewritten, index }) => {
            assert!(!rewritten.contains(&b'\n') && !rewritten.contains(&b'\r'));
            let mut expected = tree.clone();
            if !has_timestamp && let Tree::Object(object) = &mut expected {
                object.insert("timestamp".into(), "2012-08-29T12:00:00.000000Z".into());
            }
            check_values(rewritten, index, &expected);
        }
        _ => panic!("a message, and yet {outcome:?}: {text}"),
    }
}

fn check_values(message: &[u8], index: &Index, tree: &Tree) {
    let Tree::Object(object) = tree else { panic!("not an object") };
    for key in Key::ALL {
        match object.get(key.name()) {
            None | Some(Tree::Null) => assert_eq!(index.raw(message, key), None),
            Some(Tree::String(string)) => {
                assert_eq!(index.text(message, key), *string);
                if let Some(plain) = index.plain(message, key) {
                    assert_eq!(plain, string.as_bytes());
                }
            }
            Some(_) => assert!(index.raw(message, key).is_some() && index.plain(message, key).is_none()),
        }
    }
    let severity = object.get("severity").filter(|value| !value.is_null());
    assert_eq!(u64::from(index.severity()), severity.map_or(6, |value| value.as_u64().unwrap_or(0)));
    for (key, expected) in object {
        let quoted = key.replace('\\', r"\\").replace('"', "\\\"");
        let Ok(path) = Path::parse(&format!("\"{quoted}\"")) else { panic!("{key}") };
        match lookup(message, index, &path) {
            Some(value) if expected.is_null() && path.key().is_some() => assert!(value.kind() != Kind::Null),
            None => assert!(expected.is_null() && path.key().is_some(), "{key}"),
            Some(value) => check_value(value, expected),
        }
    }
}

/// Panics unless a value is the same as serde_json's.
fn check_value(value: Value<'_>, tree: &Tree) {
    match tree {
        Tree::Null => assert_eq!((value.kind(), value.raw()), (Kind::Null, &b"null"[..])),
        Tree::Bool(truth) => assert_eq!((value.kind(), value.boolean()), (Kind::Bool, Some(*truth))),
        Tree::Number(expected) => {
            let Some(number) = value.number() else { panic!("{expected} is a number") };
            let approximate: Tree = serde_json::from_str(number.as_str()).unwrap_or_default();
            assert_eq!(approximate, *tree);
        }
        Tree::String(string) => assert_eq!((value.kind(), &*value.text()), (Kind::String, string.as_str())),
        Tree::Array(elements) => {
            assert_eq!(value.kind(), Kind::Array);
            assert_eq!(value.elements().count(), elements.len());
            value.elements().zip(elements).for_each(|(value, tree)| check_value(value, tree));
        }
        Tree::Object(members) => {
            assert_eq!(value.kind(), Kind::Object);
            assert!(value.members().all(|member| members.contains_key(&*member.name())));
            for (name, tree) in members.iter().take(50) {
                let Some(value) = value.get(name) else { panic!("{name} is a member") };
                check_value(value, tree);
            }
        }
    }
}

/// What is read as the first of several lines is what the line alone is, whatever follows it.
fn check_as_a_line(frame: &[u8], outcome: &Result<Decoded, Reason>) {
    for behind in ["\n", "\n{\"type\":\"next\"}\n", "\n\"\u{e9}"] {
        let lines = [frame, behind.as_bytes()].concat();
        let mut found = Index::EMPTY;
        let Some(length) = Decoder::default().decode_line(&lines, &mut found) else { continue };
        if length == frame.len() {
            assert_eq!(outcome, &Ok(Decoded::InPlace { start: 0, end: length, index: found }), "{frame:?}");
        } else {
            assert_eq!(frame.get(length), Some(&b'\n'), "{frame:?}");
            let line = Decoder::default().decode(&frame[..length], RECEIVED);
            assert_eq!(line, Ok(Decoded::InPlace { start: 0, end: length, index: found }), "{frame:?}");
        }
    }
}
