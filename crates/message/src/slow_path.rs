//! The rewriting of the few messages whose text has to change.
//!
//! Only valid text comes here, valid apart from the two leniencies that the careful scanner takes note of.

use crate::{Timestamp, careful, index::Slot};

/// Puts `null` for `NaN` and the infinities, and a space for a line break between tokens. Inside strings
/// nothing changes.
pub(crate) fn rewrite(text: &[u8]) -> Vec<u8> {
    let mut rewritten = Vec::with_capacity(text.len() + 16);
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let mut length = 1;
        match byte {
            b'"' => {
                in_string = !in_string;
                rewritten.push(byte);
            }
            b'\\' if in_string => {
                length = 2;
                rewritten.extend_from_slice(&text[at..text.len().min(at + 2)]);
            }
            b'\n' | b'\r' if !in_string => rewritten.push(b' '),
            b'N' | b'I' | b'-' if !in_string => match careful::not_a_number(&text[at..]) {
                0 => rewritten.push(byte),
                found => {
                    length = found;
                    rewritten.extend_from_slice(b"null");
                }
            },
            _ => rewritten.push(byte),
        }
        at += length;
    }
    rewritten
}

/// Appends the time of receipt as the last key of a message that has no timestamp, and says where it lies. The
/// object is not empty: it has a type.
pub(crate) fn append_timestamp(message: &mut Vec<u8>, received: Timestamp) -> Slot {
    if message.last() == Some(&b'}') {
        message.pop();
    }
    message.extend_from_slice(br#","timestamp":"#);
    let start = message.len() as u32;
    message.push(b'"');
    received.write_to(message);
    message.push(b'"');
    let end = message.len() as u32;
    message.push(b'}');
    Slot { start, end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        String::from_utf8(rewrite(text.as_bytes())).unwrap()
    }

    #[test]
    fn only_what_stands_outside_strings_changes() {
        assert_eq!(rewritten("[NaN, -Infinity,Infinity]"), "[null, null,null]");
        assert_eq!(rewritten("{\r\n\"a\":\n-1}"), "{  \"a\": -1}");
        for kept in [r#"["NaN"]"#, r#"["\"NaN,\\"]"#, r#"{"NaN":"-Infinity"}"#, "[-1,-0.5e-3]"] {
            assert_eq!(rewritten(kept), kept);
        }
    }

    #[test]
    fn the_time_of_receipt_becomes_the_last_key() {
        let mut message = br#"{"type":"t"}"#.to_vec();
        let slot = append_timestamp(&mut message, Timestamp { seconds: 0, nanoseconds: 1_500 });
        assert_eq!(message, br#"{"type":"t","timestamp":"1970-01-01T00:00:00.000001Z"}"#);
        assert_eq!(&message[slot.start as usize..slot.end as usize], br#""1970-01-01T00:00:00.000001Z""#);
    }
}
