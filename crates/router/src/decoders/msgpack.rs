//! `decoder = "msgpack"`: every datagram is a message in msgpack. Datagrams that say so themselves (`\0msgpack::…`) need no
//! setting.
//!
//! The message is transcoded to JSON and then checked as any other, so routes and endpoints see no difference.

use metlog_message::{Decoded, Decoder, Reason, Timestamp, msgpack};

/// Turns msgpack into messages.
#[derive(Debug, Clone)]
pub struct MsgpackDecoder {
    json: Decoder,
}

/// An input with this decoder, for the reference page and the tests.
pub const SAMPLE: &str = r#"
decoder = "msgpack"
"#;

impl MsgpackDecoder {
    /// A decoder that judges messages as `json` does once they are transcoded.
    pub fn new(json: Decoder) -> Self {
        MsgpackDecoder { json }
    }

    /// What judges the transcoded messages.
    pub fn json(&self) -> Decoder {
        self.json
    }

    /// Turns one frame into a message. `received` becomes the timestamp of a message that has none.
    pub fn decode(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        if frame.is_empty() {
            return Ok(Decoded::Blank);
        }
        let mut text = Vec::with_capacity(2 * frame.len());
        msgpack::to_json(frame, self.json.limits(), &mut text).map_err(|fault| fault.reason)?;
        match self.json.decode(&text, received)? {
            // What was transcoded has no white space around it.
            Decoded::InPlace { index, .. } => Ok(Decoded::Rewritten { text, index }),
            decoded => Ok(decoded),
        }
    }

    /// Where it shows why `frame` is rejected, as a byte offset. A message that is wrong as an envelope has no such place.
    pub fn locate(&self, frame: &[u8]) -> Option<usize> {
        let fault = msgpack::to_json(frame, self.json.limits(), &mut Vec::new()).err()?;
        (fault.reason != Reason::TooLarge).then_some(fault.position)
    }
}

#[cfg(test)]
mod tests {
    use metlog_message::{Key, Limits};

    use super::*;
    use crate::testing::RECEIVED;

    fn decoder() -> MsgpackDecoder {
        MsgpackDecoder::new(Decoder::new(Limits { message_bytes: 200, depth: 3 }))
    }

    fn decode(frame: &[u8]) -> Result<String, Reason> {
        match decoder().decode(frame, RECEIVED)? {
            Decoded::Rewritten { text, index } => {
                assert_eq!(index.text(&text, Key::Type), "t");
                Ok(String::from_utf8(text).unwrap())
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_map_becomes_a_message() {
        let frame = b"\x82\xa4type\xa1t\xa9timestamp\xd6\xff\x50\x3e\x00\x80";
        assert_eq!(decode(frame).unwrap(), r#"{"type":"t","timestamp":"2012-08-29T11:44:00.000000Z"}"#);
        let without_time = r#"{"type":"t","timestamp":"2012-07-18T21:13:25.687518Z"}"#;
        assert_eq!(decode(b"\x81\xa4type\xa1t").unwrap(), without_time);
        assert_eq!(decoder().decode(b"", RECEIVED), Ok(Decoded::Blank));
    }

    #[test]
    fn what_is_no_message_is_rejected_for_the_reason_that_json_would_have() {
        assert_eq!(decode(b"\x91\x01"), Err(Reason::NotAnObject));
        assert_eq!(decode(b"\x80"), Err(Reason::MissingType));
        assert_eq!(decode(b"\x82\xa4type\xa1t\xa8severity\xa16"), Err(Reason::WrongType(Key::Severity)));
        assert_eq!(decode(b"\x82\xa4type\xa1t\xa8severity\x08"), Err(Reason::OutOfRange(Key::Severity)));
        assert_eq!(decode(b"\x82\xa4type\xa1t\xa1a\x91\x91\x90"), Err(Reason::TooDeep));
        assert_eq!(decode(b"\x82\xa4type\xa1t"), Err(Reason::InvalidMsgpack));
        assert_eq!(decode(&[0xC0; 201]), Err(Reason::TooLarge));
    }

    #[test]
    fn the_place_is_that_of_the_value_that_is_wrong() {
        assert_eq!(decoder().locate(b"\x81\xa4type\xc1"), Some(6));
        assert_eq!(decoder().locate(b"\x81\xa4type\x05"), None);
        assert_eq!(decoder().locate(&[0xC0; 201]), None);
    }
}
