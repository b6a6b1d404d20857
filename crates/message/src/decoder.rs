//! The hot decoder: validates one message's JSON text and indexes it in place.

use crate::{Index, Reason, Timestamp};

/// What a message may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes; default 1 MiB.
    pub message_bytes: usize,
    /// Deepest nesting, the envelope object being level 1; default 128.
    pub depth: usize,
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Decoder {
    limits: Limits,
}

impl Decoder {
    /// A decoder that enforces `limits`.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits }
    }

    /// Validates one frame (a line without its line break, or a whole datagram) and says where its values lie.
    /// `received` becomes the timestamp of a message that has none.
    pub fn decode(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        let _ = (frame, received, self.limits);
        Err(Reason::InvalidJson)
    }
}
