//! From a validated message's JSON text to msgpack, in one pass, without a tree and without recursion.

use crate::{escapes, grammar::is_white_space, skip};

/// Appends the msgpack form of `message`, which must be one valid JSON text.
///
/// `false` if msgpack has no form for it that reads back as the same values: a whole number of more than 64 bits, a number
/// beyond what a float can be, half of a surrogate pair. What was appended is of no use then.
///
/// ```
/// use metlog_message::msgpack;
///
/// let mut out = Vec::new();
/// assert!(msgpack::from_json(br#"{"type":"counter","payload":"1"}"#, &mut out));
/// assert_eq!(out, b"\x82\xa4type\xa7counter\xa7payload\xa11");
/// ```
pub fn from_json(message: &[u8], out: &mut Vec<u8>) -> bool {
    let mut open: Vec<Container> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = message.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                count(&mut open);
                open.push(Container { is_map: byte == b'{', at: out.len(), values: 0 });
                // What this byte has to be is known at the closing bracket.
                out.push(0);
            }
            b'}' | b']' => {
                let Some(container) = open.pop() else { return false };
                container.complete(out);
            }
            b'"' => {
                count(&mut open);
                let (end, escaped) = skip::string(message, at - 1);
                let inside = message.get(at..end.saturating_sub(1)).unwrap_or_default();
                if escaped && holds_half_a_pair(inside) {
                    return false;
                }
                write_text(out, &escapes::decode(inside));
                at = end;
            }
            b',' | b':' => {}
            byte if is_white_space(byte) => {}
            _ => {
                count(&mut open);
                let end = skip::value(message, at - 1);
                let scalar = message.get(at - 1..end).unwrap_or_default();
                if !write_scalar(out, scalar) {
                    return false;
                }
                at = end;
            }
        }
    }
    open.is_empty()
}

/// An array or object of which something is still to come.
struct Container {
    is_map: bool,
    /// Where its first byte is.
    at: usize,
    /// Elements, or keys and values.
    values: usize,
}

fn count(open: &mut [Container]) {
    if let Some(container) = open.last_mut() {
        container.values += 1;
    }
}

impl Container {
    /// Writes its length in front of what it holds, which makes room where the length does not fit the first byte.
    fn complete(self, out: &mut Vec<u8>) {
        let (short, long, length) =
            if self.is_map { (0x80, 0xDE, self.values / 2) } else { (0x90, 0xDC, self.values) };
        let head: &[u8] = match (u8::try_from(length), u16::try_from(length)) {
            (Ok(length @ 0..16), _) => &[short | length],
            (_, Ok(length)) => &[&[long][..], &length.to_be_bytes()].concat(),
            // A message is far shorter than 4 GiB.
            _ => &[&[long + 1][..], &(length as u32).to_be_bytes()].concat(),
        };
        out.splice(self.at..=self.at, head.iter().copied());
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let length = text.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..32), _) => out.push(0xA0 | length),
        (Ok(length), _) => out.extend_from_slice(&[0xD9, length]),
        (_, Ok(length)) => {
            out.push(0xDA);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(0xDB);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

/// Writes a number, a truth value or null; `false` if there is no form for it.
fn write_scalar(out: &mut Vec<u8>, scalar: &[u8]) -> bool {
    match scalar {
        b"null" => out.push(0xC0),
        b"false" => out.push(0xC2),
        b"true" => out.push(0xC3),
        _ => {
            let Ok(text) = std::str::from_utf8(scalar) else { return false };
            if text.contains(['.', 'e', 'E']) {
                let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) else {
                    return false;
                };
                out.push(0xCB);
                out.extend_from_slice(&number.to_be_bytes());
            } else if let Ok(number) = text.parse::<u64>() {
                write_unsigned(out, number);
            } else if let Ok(number) = text.parse::<i64>() {
                write_negative(out, number);
            } else {
                return false;
            }
        }
    }
    true
}

fn write_unsigned(out: &mut Vec<u8>, number: u64) {
    match (u8::try_from(number), u16::try_from(number), u32::try_from(number)) {
        (Ok(number @ 0..0x80), ..) => out.push(number),
        (Ok(number), ..) => out.extend_from_slice(&[0xCC, number]),
        (_, Ok(number), _) => {
            out.push(0xCD);
            out.extend_from_slice(&number.to_be_bytes());
        }
        (_, _, Ok(number)) => {
            out.push(0xCE);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(0xCF);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A number below zero, or the zero that is written with a sign.
fn write_negative(out: &mut Vec<u8>, number: i64) {
    match (i8::try_from(number), i16::try_from(number), i32::try_from(number)) {
        (Ok(number @ -32..), ..) => out.push(number as u8),
        (Ok(number), ..) => out.extend_from_slice(&[0xD0, number as u8]),
        (_, Ok(number), _) => {
            out.push(0xD1);
            out.extend_from_slice(&number.to_be_bytes());
        }
        (_, _, Ok(number)) => {
            out.push(0xD2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        _ => {
            out.push(0xD3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Whether the inside of a string holds an escape that is half of a surrogate pair.
fn holds_half_a_pair(inside: &[u8]) -> bool {
    let mut rest = inside;
    while let Some(backslash) = memchr::memchr(b'\\', rest) {
        let escape = &rest[backslash..];
        let unit = unit_of(escape);
        let length = match unit {
            None => 2,
            Some(0xD800..0xDC00) => match escape.get(6..).and_then(unit_of) {
                Some(0xDC00..0xE000) => 12,
                _ => return true,
            },
            Some(0xDC00..0xE000) => return true,
            Some(_) => 6,
        };
        rest = escape.get(length..).unwrap_or_default();
    }
    false
}

/// The unit of UTF-16 that an escape of six characters stands for.
fn unit_of(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(br"\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, msgpack::to_json};

    /// Writes `json` as msgpack and reads it back.
    fn there_and_back(json: &str) -> Option<String> {
        let mut out = Vec::new();
        if !from_json(json.as_bytes(), &mut out) {
            return None;
        }
        let mut back = Vec::new();
        to_json(&out, &Limits::default(), &mut back).unwrap();
        Some(String::from_utf8(back).unwrap())
    }

    #[test]
    fn compact_json_comes_back_as_it_was() {
        for json in [
            "null",
            "true",
            "false",
            "\"\"",
            "[]",
            "{}",
            "0",
            "127",
            "128",
            "255",
            "256",
            "65535",
            "65536",
            "4294967295",
            "4294967296",
            "18446744073709551615",
            "-1",
            "-32",
            "-33",
            "-128",
            "-129",
            "-32768",
            "-32769",
            "-2147483648",
            "-2147483649",
            "-9223372036854775808",
            "0.1",
            "-2.5",
            "1e300",
            r#"{"type":"t","fields":{"a":[1,[2,{}],"x\"\\\n"],"é😀":null}}"#,
        ] {
            assert_eq!(there_and_back(json).as_deref(), Some(json));
        }
    }

    #[test]
    fn lengths_of_every_size_come_back() {
        for length in [15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let text = format!("{{\"a\":\"{}\"}}", "x".repeat(length));
            assert_eq!(there_and_back(&text), Some(text));
            let array = format!("[[{}]]", vec!["1"; length].join(","));
            assert_eq!(there_and_back(&array), Some(array));
            let members: Vec<String> = (0..length).map(|number| format!("\"{number}\":[]")).collect();
            let object = format!("[{{{}}}]", members.join(","));
            assert_eq!(there_and_back(&object), Some(object));
        }
    }

    #[test]
    fn white_space_and_escapes_go() {
        assert_eq!(
            there_and_back(r#" { "a" : [ 1 , -0 ] , "\u0062" : "\ud83d\ude00\/" } "#).as_deref(),
            Some(r#"{"a":[1,0],"b":"😀/"}"#)
        );
    }

    #[test]
    fn what_msgpack_cannot_hold_is_left_to_json() {
        for json in [
            "18446744073709551616",
            "-9223372036854775809",
            "[1e400]",
            r#"["\ud800"]"#,
            r#"["\udc00\ud800"]"#,
            r#"["\ud83dx\ude00"]"#,
            r#"{"\udc00":1}"#,
        ] {
            assert_eq!(there_and_back(json), None, "{json}");
        }
        assert_eq!(there_and_back(r#"["\\ud800"]"#).as_deref(), Some(r#"["\\ud800"]"#));
    }

    #[test]
    fn text_that_was_never_validated_does_no_harm() {
        for text in ["{", "]", "[\"", "[\"\\", "{\"a\"", "tru", "-", "[}", "\u{1}"] {
            let _ = from_json(text.as_bytes(), &mut Vec::new());
        }
    }
}
