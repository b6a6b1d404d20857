//! From a message's payload to the JSON text of an event: what Raven wrote (base64 of zlib of JSON), or JSON itself.
//!
//! The text is checked whole, as a message is, because a server would refuse it only after it was sent. Where a message's
//! text would be repaired (`NaN` becomes `null`: Python writes it), so is an event's.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flate2::{Decompress, FlushDecompress, Status};
use metlog_message::{
    Decoded, Decoder, Index, Key, Limits, Path, Timestamp,
    value::{Kind, Value, lookup},
};

use crate::batch::Message;

/// The payload is no event.
pub(super) const REFUSED_PAYLOAD: &str = "sentry-payload";
/// The event is larger than `max_event`.
pub(super) const REFUSED_SIZE: &str = "sentry-too-large";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What stands around an event so that it can be checked as part of a message.
const BEFORE: &[u8] = br#"{"type":"","timestamp":"2000-01-01T00:00:00Z","payload":"#;
const AFTER: &[u8] = b"}";

/// Deeper ones are refused by today's Sentry.
const EVENT_DEPTH: usize = 128;

/// Memory that grew beyond this for a large event is given back.
const KEPT_BYTES: usize = 256 * 1024;

/// An event's JSON text, and what has to be known of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'e> {
    pub(super) json: &'e [u8],
    /// Its identifier, where it has one that Sentry takes.
    pub(super) id: Option<[u8; 32]>,
    pub(super) has_id: bool,
    pub(super) has_timestamp: bool,
}

/// Unpacks events, in memory that is used again.
#[derive(Debug)]
pub(super) struct Unpacker {
    most_bytes: usize,
    decoder: Decoder,
    payload: Option<Path>,
    zlib: Decompress,
    packed: Vec<u8>,
    /// The event with [`BEFORE`] and [`AFTER`] around it.
    framed: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new(most_bytes: usize) -> Unpacker {
        let limits =
            Limits { message_bytes: most_bytes + BEFORE.len() + AFTER.len(), depth: EVENT_DEPTH + 1 };
        Unpacker {
            most_bytes,
            decoder: Decoder::new(limits),
            payload: Path::parse("payload").ok(),
            zlib: Decompress::new(true),
            packed: Vec::new(),
            framed: Vec::new(),
        }
    }

    /// The event in a message's payload.
    pub(super) fn unpack<'u>(&'u mut self, message: &Message<'u>) -> Result<Event<'u>, &'static str> {
        self.packed.shrink_to(KEPT_BYTES);
        self.framed.shrink_to(KEPT_BYTES);
        let payload = self.payload.as_ref().ok_or(REFUSED_PAYLOAD)?;
        let value = lookup(message.bytes, message.index, payload).ok_or(REFUSED_PAYLOAD)?;
        if value.kind() == Kind::Object {
            // A part of the message, and checked with it.
            return if value.raw().len() > self.most_bytes {
                Err(REFUSED_SIZE)
            } else {
                Ok(Event::of(value))
            };
        }
        if value.kind() != Kind::String {
            return Err(REFUSED_PAYLOAD);
        }
        let text = match value.plain() {
            Some(plain) => Cow::Borrowed(plain),
            None => match value.text() {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        };
        self.framed.clear();
        self.framed.extend_from_slice(BEFORE);
        let text = text.trim_ascii();
        if text.starts_with(b"{") {
            self.framed.extend_from_slice(text);
        } else {
            self.decode(text)?;
        }
        self.check()
    }

    fn decode(&mut self, text: &[u8]) -> Result<(), &'static str> {
        self.packed.clear();
        if BASE64.decode_vec(text, &mut self.packed).is_err() {
            // Python's older functions break lines.
            let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            self.packed.clear();
            BASE64.decode_vec(text, &mut self.packed).map_err(|_| REFUSED_PAYLOAD)?;
        }
        if self.packed.trim_ascii_start().starts_with(b"{") {
            self.framed.extend_from_slice(self.packed.trim_ascii());
            return Ok(());
        }
        self.inflate()
    }

    fn inflate(&mut self) -> Result<(), &'static str> {
        // One byte more than is allowed, to notice what is larger.
        let longest = BEFORE.len() + self.most_bytes + 1;
        self.zlib.reset(true);
        self.framed.reserve(self.packed.len().saturating_mul(4).clamp(4096, longest));
        loop {
            let read = usize::try_from(self.zlib.total_in()).unwrap_or(usize::MAX);
            let rest = self.packed.get(read..).unwrap_or_default();
            let before = self.framed.len();
            match self.zlib.decompress_vec(rest, &mut self.framed, FlushDecompress::Finish) {
                Ok(Status::StreamEnd) => return Ok(()),
                Err(_) => return Err(REFUSED_PAYLOAD),
                Ok(_) if self.framed.len() >= longest => return Err(REFUSED_SIZE),
                // There was room, and still nothing came: the end is missing.
                Ok(_) if self.framed.len() < self.framed.capacity() && self.framed.len() == before => {
                    return Err(REFUSED_PAYLOAD);
                }
                Ok(_) => self.framed.reserve(self.framed.len().min(longest + 1 - self.framed.len())),
            }
        }
    }

    /// Checks the event in its frame. It must fill the place that was left for it: `{},"x":{}` is no event.
    fn check(&mut self) -> Result<Event<'_>, &'static str> {
        let end = BEFORE.len() + self.framed.get(BEFORE.len()..).unwrap_or_default().trim_ascii_end().len();
        self.framed.truncate(end);
        if end - BEFORE.len() > self.most_bytes {
            return Err(REFUSED_SIZE);
        }
        self.framed.extend_from_slice(AFTER);
        let no_time = Timestamp { seconds: 0, nanoseconds: 0 };
        let index = match self.decoder.decode(&self.framed, no_time) {
            Ok(Decoded::InPlace { start: 0, index, .. }) => index,
            Ok(Decoded::Rewritten { text, index }) => {
                self.framed = text;
                index
            }
            Ok(_) | Err(_) => return Err(REFUSED_PAYLOAD),
        };
        let payload = self.payload.as_ref().ok_or(REFUSED_PAYLOAD)?;
        let value = lookup(&self.framed, &index, payload).ok_or(REFUSED_PAYLOAD)?;
        if value.kind() == Kind::Object && fills_its_frame(&self.framed, &index) {
            Ok(Event::of(value))
        } else {
            Err(REFUSED_PAYLOAD)
        }
    }
}

/// Whether the event begins where its frame ends, and ends where the frame goes on.
fn fills_its_frame(framed: &[u8], index: &Index) -> bool {
    let event = index.raw(framed, Key::Payload).unwrap_or_default();
    framed.len() == BEFORE.len() + event.len() + AFTER.len()
        && framed.get(BEFORE.len()..).is_some_and(|rest| rest.as_ptr() == event.as_ptr())
}

impl<'e> Event<'e> {
    fn of(value: Value<'e>) -> Event<'e> {
        let mut event = Event { json: value.raw(), id: None, has_id: false, has_timestamp: false };
        for member in value.members() {
            match &*member.name() {
                "event_id" => {
                    event.has_id = true;
                    event.id = event_id(&member.value.text());
                }
                "timestamp" => event.has_timestamp = member.value.kind() != Kind::Null,
                _ => continue,
            }
            if event.id.is_some() && event.has_timestamp {
                // The rest, which is most of it, need not be looked at.
                break;
            }
        }
        event
    }
}

/// A UUID's 32 digits, written with or without dashes.
fn event_id(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.bytes().filter(|&byte| byte != b'-').map(|byte| byte.to_ascii_lowercase());
    let mut id = [0; 32];
    for place in &mut id {
        *place = digits.next().filter(u8::is_ascii_hexdigit)?;
    }
    (digits.next().is_none() && matches!(text.len(), 32 | 36)).then_some(id)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::ZlibEncoder};

    use super::*;
    use crate::testing::work_of;

    fn packed(bytes: &[u8]) -> String {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        BASE64.encode(encoder.finish().unwrap())
    }

    /// The event in a message with this JSON text as its payload.
    fn unpacked(payload: &str) -> Result<(String, Option<String>, bool), &'static str> {
        let line = format!(r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25Z","payload":{payload}}}"#);
        let work = work_of(&[line]);
        let mut unpacker = Unpacker::new(10_000);
        let event = unpacker.unpack(&work.messages().next().unwrap())?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok((text(event.json), event.id.map(|id| text(&id)), event.has_timestamp))
    }

    fn unpacked_text(payload: &str) -> Result<String, &'static str> {
        unpacked(&serde_json::to_string(payload).unwrap()).map(|(json, ..)| json)
    }

    #[test]
    fn every_way_of_writing_an_event_leads_to_its_json() {
        let event = r#"{"message": "bukanýrka \n", "level": 40}"#;
        let base64 = packed(event.as_bytes());
        let (first, second) = base64.split_at(20);
        for payload in [
            event.to_owned(),
            format!("  {event}\n"),
            base64.clone(),
            base64.trim_end_matches('=').to_owned(),
            format!("{first}\n{second}\n"),
            BASE64.encode(event),
            packed(format!("{event}\n").as_bytes()),
        ] {
            assert_eq!(unpacked_text(&payload).as_deref(), Ok(event), "{payload}");
        }
        assert_eq!(unpacked(event).unwrap().0, event, "an object");
    }

    #[test]
    fn what_python_writes_and_json_does_not_know_is_repaired() {
        assert_eq!(
            unpacked_text(&packed(b"{\"extra\": {\"a\": NaN,\n\"b\": -Infinity}}")).unwrap(),
            r#"{"extra": {"a": null, "b": null}}"#
        );
    }

    #[test]
    fn identifier_and_timestamp_are_found() {
        let id = "fc6d8c0c43fc4630ad850ee518f1b9d0";
        let dashed = "FC6D8C0C-43FC-4630-AD85-0EE518F1B9D0";
        for (event, expected, has_timestamp) in [
            (format!(r#"{{"event_id":"{id}","timestamp":"x"}}"#), Some(id), true),
            (format!(r#"{{"event_id":"{dashed}","timestamp":null}}"#), Some(id), false),
            (format!(r#"{{"extra":{{"event_id":"{id}","timestamp":1}}}}"#), None, false),
            (r#"{"event_id":"no","timestamp":1.5}"#.to_owned(), None, true),
            (r#"{"event_id":null}"#.to_owned(), None, false),
        ] {
            let found = unpacked(&event).unwrap();
            assert_eq!((found.1.as_deref(), found.2), (expected, has_timestamp), "{event}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let whole = packed(br#"{"message":"m"}"#);
        for payload in [
            "",
            " ",
            "hello",
            "{",
            "[]",
            "1",
            "{}{}",
            "{},\"x\":{}",
            "{},\"payload\":{}",
            "{}}",
            &whole[..12],
            &packed(b"[1]"),
            &packed(b""),
            &packed(b"{\"a\":\xff}"),
            &BASE64.encode("hello"),
            &packed(b"{},\"payload\":{}"),
            &packed("{\"a\":".repeat(200).as_bytes()),
            "eJzVlE1v2zAM",
        ] {
            assert_eq!(unpacked_text(payload), Err(REFUSED_PAYLOAD), "{payload}");
        }
        for payload in ["1", "[]", "null", "true", "[{}]"] {
            assert_eq!(unpacked(payload), Err(REFUSED_PAYLOAD), "{payload}");
        }
    }

    #[test]
    fn a_decompression_bomb_is_given_up_at_the_bound() {
        let bomb = packed(&vec![b' '; 50_000_000]);
        let line = format!(r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25Z","payload":"{bomb}"}}"#);
        let work = work_of(&[line]);
        let mut unpacker = Unpacker::new(10_000);
        assert_eq!(unpacker.unpack(&work.messages().next().unwrap()), Err(REFUSED_SIZE));
        assert!(unpacker.framed.capacity() < 40_000, "{}", unpacker.framed.capacity());

        let exactly = |bytes: usize| format!(r#"{{"m":"{}"}}"#, "x".repeat(bytes - 8));
        assert_eq!(unpacked_text(&packed(exactly(10_000).as_bytes())).unwrap().len(), 10_000);
        assert_eq!(unpacked_text(&packed(exactly(10_001).as_bytes())), Err(REFUSED_SIZE));
        assert_eq!(unpacked_text(&exactly(10_001)), Err(REFUSED_SIZE));
        assert_eq!(unpacked(&exactly(10_001)), Err(REFUSED_SIZE));
    }
}
