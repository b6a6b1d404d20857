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

    /// Validates one frame (a line without its line break, or a whole datagram) and says where its values lie.
    /// `received` becomes the timestamp of a message that has none.
    pub fn decode(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        if frame.len() > self.limits.message_bytes {
            return Err(Reason::TooLarge);
        }
        let (start, end) = without_white_space(frame);
        let text = &frame[start..end];
        if text.first() == Some(&b'{')
            && let Some(fast::Scanned { slots, backslashes }) = fast::scan(text, &self.limits)
        {
            let index = envelope::check(text, &slots, backslashes)?;
            if index.raw(text, Key::Timestamp).is_some() {
                return Ok(Decoded::InPlace { start, end, index });
            }
            return Ok(complete(text.to_vec(), index, received));
        }
        self.decode_carefully(frame, received)
    }

    /// Decides about every frame that the fast scanner did not accept.
    #[cold]
    #[inline(never)]
    fn decode_carefully(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        if std::str::from_utf8(frame).is_err() {
            return Err(Reason::InvalidUtf8);
        }
        let mark = if frame.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        let (start, end) = without_white_space(&frame[mark..]);
        let (start, end) = (mark + start, mark + end);
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
            let index = envelope::check(&rewritten, &slots, true)?;
            return Ok(complete(rewritten, index, received));
        }
        let slots: Slots = scanned.slots;
        let index = envelope::check(text, &slots, true)?;
        if index.raw(text, Key::Timestamp).is_none() {
            return Ok(complete(text.to_vec(), index, received));
        }
        Ok(Decoded::InPlace { start, end, index })
    }
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
