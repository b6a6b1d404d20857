//! The hot decoder: validates one message's JSON text and indexes it in place.
//!
//! Nearly every message is accepted as it stands: no tree, no copy, no allocation. The others take the slow
//! path, which accepts what senders are known to write although it is not quite a message:
//!
//! - a byte-order mark in front is left out, still in place, and so is white space around the message;
//! - `NaN`, `Infinity` and `-Infinity` become `null`;
//! - a line break between tokens becomes a space, so that a message is one line;
//! - a missing timestamp is appended as the last key, with the time of receipt.
//!
//! A frame that cannot be used gets one reason, the first of: too large; not UTF-8; nested too deep or not
//! JSON, whichever is met first from the left; not an object; then the envelope's keys in the order of [`Key`].

use crate::{
    Index, Key, Reason, Timestamp, careful,
    envelope::{self, Slots},
    fast,
    grammar::is_white_space,
    slow_path,
};

/// What a message may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes; default 1 MiB. More than [`Limits::MOST_MESSAGE_BYTES`] counts as that.
    ///
    /// It holds for what was sent: a message to which the slow path adds its timestamp may come out longer.
    pub message_bytes: usize,
    /// Deepest nesting, the envelope object being level 1; default 128. More than [`Limits::MOST_DEPTH`]
    /// counts as that.
    pub depth: usize,
}

impl Limits {
    /// The largest limit on a message's length: offsets are kept in 32 bits, also for rewritten text.
    pub const MOST_MESSAGE_BYTES: usize = 1 << 30;

    /// The largest limit on nesting.
    pub const MOST_DEPTH: usize = careful::DEEPEST;
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message_bytes: 1 << 20, depth: 128 }
    }
}

/// What became of one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A message whose bytes are used as they are: `frame[start..end]`.
    InPlace {
        /// First byte of the message (its `{`).
        start: usize,
        /// One past its last byte.
        end: usize,
        /// Where its values lie, relative to `start`.
        index: Index,
    },
    /// A message whose text had to change (see the module's slow path).
    Rewritten {
        /// The canonical text.
        text: Vec<u8>,
        /// Where its values lie in `text`.
        index: Index,
    },
    /// Nothing but white space.
    Blank,
}

/// Validates and indexes messages.
///
/// ```
/// use metlog_message::{Decoded, Decoder, Key, Timestamp};
///
/// let frame = br#"{"type":"counter","timestamp":"2012-07-18T21:13:25Z","payload":"1"}"#;
/// let Ok(Decoded::InPlace { start, end, index }) = Decoder::default().decode(frame, Timestamp::now()) else {
///     panic!("not a message");
/// };
/// assert_eq!(index.text(&frame[start..end], Key::Type), "counter");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder that enforces `limits`.
    pub fn new(limits: Limits) -> Self {
        Decoder {
            limits: Limits {
                message_bytes: limits.message_bytes.min(Limits::MOST_MESSAGE_BYTES),
                depth: limits.depth.min(Limits::MOST_DEPTH),
            },
        }
    }

    /// What it enforces.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Validates one frame (a line without its line break, or a whole datagram) and says where its values lie.
    /// `received` becomes the timestamp of a message that has none.
    pub fn decode(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        let (start, end) = without_white_space(frame);
        // The index is written where it is returned: to copy what was only just written takes long.
        let mut decoded = Ok(Decoded::InPlace { start, end, index: Index::EMPTY });
        if let Ok(Decoded::InPlace { index, .. }) = &mut decoded {
            let text = &frame[start..end];
            match self.decode_in_place(text, frame.len(), index) {
                Verdict::Message if index.raw(text, Key::Timestamp).is_some() => {}
                Verdict::Message => decoded = Ok(complete(text.to_vec(), *index, received)),
                Verdict::Bad(reason) => decoded = Err(reason),
                Verdict::Unknown => decoded = self.decode_carefully(frame, received),
            }
        }
        decoded
    }

    /// Reads the message that fills the first of these lines, if it needs no change, as nearly every message does: writes
    /// where its values lie into `index`, which must be [`Index::EMPTY`], and answers where its line break is.
    ///
    /// `None` says nothing about the line, and leaves the index without meaning; [`Decoder::decode`] tells. To look for the
    /// line break first, and to copy the index afterwards, costs a fifth more (`examples/decode_speed`).
    ///
    /// ```
    /// use metlog_message::{Decoder, Index, Key};
    ///
    /// let lines = b"{\"type\":\"a\",\"timestamp\":\"2012-07-18T21:13:25Z\"}\n{\"type\":";
    /// let mut index = Index::EMPTY;
    /// let end = Decoder::default().decode_line(lines, &mut index);
    /// assert_eq!(end, Some(47));
    /// assert_eq!(index.text(&lines[..47], Key::Type), "a");
    /// ```
    #[inline]
    pub fn decode_line(&self, lines: &[u8], index: &mut Index) -> Option<usize> {
        if lines.first() != Some(&b'{') {
            return None;
        }
        let scanned = fast::scan(lines, &self.limits, &mut index.slots)?;
        let end = scanned.end as usize;
        let text = lines.get(..end)?;
        let is_message = lines.get(end) == Some(&b'\n')
            && end <= self.limits.message_bytes
            && envelope::check(text, &scanned, index).is_ok()
            && index.raw(text, Key::Timestamp).is_some();
        is_message.then_some(end)
    }

    /// Reads what needs no change, as nearly every message does; says nothing about the others.
    #[inline(always)]
    fn decode_in_place(&self, text: &[u8], frame_bytes: usize, index: &mut Index) -> Verdict {
        if frame_bytes > self.limits.message_bytes {
            return Verdict::Bad(Reason::TooLarge);
        }
        if text.first() != Some(&b'{') {
            return Verdict::Unknown;
        }
        let Some(scanned) = fast::scan(text, &self.limits, &mut index.slots) else { return Verdict::Unknown };
        if scanned.end as usize != text.len() {
            return Verdict::Unknown;
        }
        match envelope::check(text, &scanned, index) {
            Ok(()) => Verdict::Message,
            Err(reason) => Verdict::Bad(reason),
        }
    }

    /// Decides about every frame that the fast scanner did not accept.
    #[cold]
    #[inline(never)]
    fn decode_carefully(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        if std::str::from_utf8(frame).is_err() {
            return Err(Reason::InvalidUtf8);
        }
        let (start, end) = without_mark_and_white_space(frame);
        let text = &frame[start..end];
        if text.is_empty() {
            return Ok(Decoded::Blank);
        }
        let scanned = careful::scan(text, &self.limits)?;
        if !scanned.object {
            return Err(Reason::NotAnObject);
        }
        if scanned.rewrite {
            let rewritten = slow_path::rewrite(text);
            let slots = careful::scan(&rewritten, &self.limits)?.slots;
            let index = envelope::check_each(&rewritten, &slots)?;
            return Ok(complete(rewritten, index, received));
        }
        let slots: Slots = scanned.slots;
        let index = envelope::check_each(text, &slots)?;
        if index.raw(text, Key::Timestamp).is_none() {
            return Ok(complete(text.to_vec(), index, received));
        }
        Ok(Decoded::InPlace { start, end, index })
    }

    /// Where it shows why `frame` is rejected, as a byte offset, for people who look for what is wrong: the first byte that
    /// cannot be, or the beginning of the value that is wrong. `None` where the frame is used, or no place is to blame.
    ///
    /// ```
    /// use metlog_message::Decoder;
    ///
    /// assert_eq!(Decoder::default().locate(br#"{"type": 'counter'}"#), Some(9));
    /// assert_eq!(Decoder::default().locate(br#"{"type": "t", "severity": 9}"#), Some(26));
    /// ```
    pub fn locate(&self, frame: &[u8]) -> Option<usize> {
        let reason = self.decode(frame, Timestamp { seconds: 0, nanoseconds: 0 }).err()?;
        match reason {
            Reason::TooLarge | Reason::MissingType | Reason::UnknownDecoder | Reason::InvalidMsgpack => {
                return None;
            }
            Reason::InvalidUtf8 => return std::str::from_utf8(frame).err().map(|error| error.valid_up_to()),
            _ => {}
        }
        let (start, end) = without_mark_and_white_space(frame);
        let place = match (careful::scan_placed(&frame[start..end], &self.limits), reason) {
            (Err((_, place)), _) => place,
            (Ok(scanned), Reason::WrongType(key) | Reason::OutOfRange(key)) => {
                scanned.slots[key as usize].start as usize
            }
            (Ok(_), _) => 0,
        };
        Some(start + place)
    }
}

/// What the fast scanner and the checks of the envelope say about a text.
enum Verdict {
    Message,
    Bad(Reason),
    Unknown,
}

/// A message whose text is its own, with the time of receipt where it has no timestamp.
#[cold]
fn complete(mut text: Vec<u8>, mut index: Index, received: Timestamp) -> Decoded {
    if index.raw(&text, Key::Timestamp).is_none() {
        index.slots[Key::Timestamp as usize] = slow_path::append_timestamp(&mut text, received);
    }
    Decoded::Rewritten { text, index }
}

/// What editors on some systems put in front of a UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The range of `frame` that is left without the white space around it.
#[inline]
fn without_white_space(frame: &[u8]) -> (usize, usize) {
    let mut end = frame.len();
    while end > 0 && is_white_space(frame[end - 1]) {
        end -= 1;
    }
    let mut start = 0;
    while start < end && is_white_space(frame[start]) {
        start += 1;
    }
    (start, end)
}

/// The same without a byte-order mark in front either.
fn without_mark_and_white_space(frame: &[u8]) -> (usize, usize) {
    let mark = if frame.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let (start, end) = without_white_space(&frame[mark..]);
    (mark + start, mark + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: Timestamp = Timestamp { seconds: 0, nanoseconds: 0 };
    const CLIENT: &[u8] = include_bytes!("../../../tests/data/metlog-0.8.jsonl");
    const SERVICE_2012: &[u8] = include_bytes!("../../../tests/data/aitc-2012-07-18.jsonl");

    fn decode(frame: &[u8]) -> Result<Decoded, Reason> {
        Decoder::default().decode(frame, RECEIVED)
    }

    #[test]
    fn the_fast_scanner_accepts_every_real_message_and_sees_what_the_careful_one_sees() {
        let lines = CLIENT.split(|&byte| byte == b'\n').chain(SERVICE_2012.split(|&byte| byte == b'\n'));
        for line in lines.filter(|line| !line.is_empty()) {
            let mut index = Index::EMPTY;
            let fast = fast::scan(line, &Limits::default(), &mut index.slots).expect("a real message");
            let careful = careful::scan(line, &Limits::default()).expect("a real message");
            assert_eq!(index.slots, careful.slots);
            assert_eq!(envelope::check(line, &fast, &mut index).is_ok(), careful.object);
        }
    }

    #[test]
    fn every_real_message_is_read_where_its_line_begins() {
        for lines in [CLIENT, SERVICE_2012] {
            let mut rest = lines;
            while !rest.is_empty() {
                let mut index = Index::EMPTY;
                let end = Decoder::default().decode_line(rest, &mut index).expect("a real message");
                assert_eq!(decode(&rest[..end]), Ok(Decoded::InPlace { start: 0, end, index }));
                rest = &rest[end + 1..];
            }
        }
    }

    #[test]
    fn a_line_that_needs_more_than_a_look_is_left_alone() {
        for line in [
            "",
            "\n",
            " {}\n",
            "{\"type\":\"t\",\"timestamp\":\"\"}",
            "{\"type\":\"t\",\"timestamp\":\"\"} \n",
            "{\"type\":\"t\"}\n",
            "{\"type\":7,\"timestamp\":\"\"}\n",
            "{\"type\":\"t\n\",\"timestamp\":\"\"}\n",
            "{\"type\":\"t\",\n\"timestamp\":\"\"}\n",
        ] {
            assert_eq!(
                Decoder::default().decode_line(line.as_bytes(), &mut { Index::EMPTY }),
                None,
                "{line}"
            );
        }
        let small = Decoder::new(Limits { message_bytes: 27, depth: 2 });
        let line = b"{\"type\":\"t\",\"timestamp\":\"\"}\n";
        assert_eq!(small.decode_line(line, &mut { Index::EMPTY }), Some(27));
        let small = Decoder::new(Limits { message_bytes: 26, depth: 2 });
        assert_eq!(small.decode_line(line, &mut { Index::EMPTY }), None);
    }

    #[test]
    fn white_space_and_a_byte_order_mark_are_left_out_in_place() {
        let message = br#"{"type":"t","timestamp":"2012-08-29T12:00:00Z"}"#;
        for (before, after) in [("", "\r"), (" \t", " "), ("\u{FEFF}", ""), ("\u{FEFF}\r\n", "\r\n")] {
            let frame = [before.as_bytes(), message, after.as_bytes()].concat();
            let Ok(Decoded::InPlace { start, end, index }) = decode(&frame) else { panic!("{before:?}") };
            assert_eq!(&frame[start..end], message);
            assert_eq!(index.text(&frame[start..end], Key::Type), "t");
        }
        for blank in ["", " ", "\r\n", "\t \t", "\u{FEFF}", "\u{FEFF} "] {
            assert_eq!(decode(blank.as_bytes()), Ok(Decoded::Blank), "{blank:?}");
        }
        assert_eq!(decode("\u{FEFF}\u{FEFF}{}".as_bytes()), Err(Reason::InvalidJson));
    }

    #[test]
    fn what_is_rewritten_is_read_as_if_it_had_been_sent_so() {
        for (frame, expected) in [
            ("{\"type\":\r\n\"t\"\n}", r#"{"type":  "t" ,"timestamp":"1970-01-01T00:00:00.000000Z"}"#),
            (
                r#"{"timestamp":NaN,"severity":-Infinity,"type":"NaN"}"#,
                r#"{"timestamp":null,"severity":null,"type":"NaN","timestamp":"1970-01-01T00:00:00.000000Z"}"#,
            ),
        ] {
            let Ok(Decoded::Rewritten { text, index }) = decode(frame.as_bytes()) else { panic!("{frame}") };
            assert_eq!(String::from_utf8_lossy(&text), expected);
            assert_eq!(decode(&text), Ok(Decoded::InPlace { start: 0, end: text.len(), index }));
        }
        assert_eq!(decode(br#"{"type":NaN}"#), Err(Reason::MissingType));
        assert_eq!(decode(b"NaN"), Err(Reason::NotAnObject));
    }

    #[test]
    fn where_a_frame_is_wrong_can_be_found() {
        for (frame, place) in [
            ("{\"type\":\"t\"", Some(11)),
            (" {\"type\": t}", Some(10)),
            ("\u{FEFF}{\"type\":\"t\",}", Some(15)),
            ("{\"type\":\"a\\x\"}", Some(10)),
            ("{\"type\":\"t\"} {}", Some(13)),
            ("{\"type\":\"a\tb\"}", Some(10)),
            (" [1]", Some(1)),
            ("{\"severity\":1.5,\"type\":\"t\"}", Some(12)),
            ("{\"a\":[[]],\"type\":\"t\"}", Some(6)),
            ("{}", None),
            ("{\"type\":\"t\"}", None),
            ("", None),
        ] {
            let decoder = Decoder::new(Limits { depth: 2, ..Limits::default() });
            assert_eq!(decoder.locate(frame.as_bytes()), place, "{frame}");
        }
        assert_eq!(Decoder::default().locate(b"{\"type\":\"\xff\"}"), Some(9));
    }

    #[test]
    fn the_limits_hold_and_are_bounded_themselves() {
        let decoder = Decoder::new(Limits { message_bytes: 60, depth: 2 });
        let message = r#"{"type":"t","timestamp":"","fields":{}}"#;
        assert!(decoder.decode(message.as_bytes(), RECEIVED).is_ok());
        let deep = message.replace("{}", r#"{"a":[]}"#);
        assert_eq!(decoder.decode(deep.as_bytes(), RECEIVED), Err(Reason::TooDeep));
        assert_eq!(decoder.decode(&[b' '; 61], RECEIVED), Err(Reason::TooLarge));
        let none = Decoder::new(Limits { depth: 0, ..Limits::default() });
        assert_eq!(none.decode(message.as_bytes(), RECEIVED), Err(Reason::TooDeep));
        let bounded = Decoder::new(Limits { message_bytes: usize::MAX, depth: usize::MAX });
        let (most, beyond) = (Limits::MOST_DEPTH - 1, Limits::MOST_DEPTH);
        for (levels, expected) in [(most, None), (beyond, Some(Reason::TooDeep))] {
            let nested = message.replace("{}", &format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
            let outcome = bounded.decode(nested.replace("fields", "other").as_bytes(), RECEIVED);
            assert_eq!(outcome.err(), expected, "{levels}");
        }
    }

    #[test]
    fn long_strings_are_read() {
        for length in [60_000, 65_535, 65_600, 131_072, 500_000] {
            let message = format!(r#"{{"payload":"{}","timestamp":"","type":"end"}}"#, "x".repeat(length));
            let Ok(Decoded::InPlace { index, .. }) = decode(message.as_bytes()) else { panic!("{length}") };
            assert_eq!(index.text(message.as_bytes(), Key::Payload).len(), length);
            assert_eq!(index.plain(message.as_bytes(), Key::Type), Some(&b"end"[..]));
            assert!(fast::scan(message.as_bytes(), &Limits::default(), &mut Slots::default()).is_some());
        }
    }
}
