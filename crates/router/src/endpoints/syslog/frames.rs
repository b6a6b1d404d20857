//! How messages lie one behind the other in a stream (RFC 6587), or alone in a datagram.

use super::record::{Encoder, Remarks};
use crate::{batch::Message, config::choices};

choices! {
    /// What separates messages in a stream.
    pub enum Framing {
        /// The length of each stands in front of it: `47 <166>1 …`.
        OctetCounting = "octet_counting",
        /// A line break behind each; there is none inside.
        Newline = "newline",
    }
}

/// Writes messages with their frames.
#[derive(Debug)]
pub(super) struct Frames {
    encoder: Encoder,
    /// `None` in datagrams.
    framing: Option<Framing>,
}

impl Frames {
    pub(super) fn new(encoder: Encoder, framing: Option<Framing>) -> Frames {
        Frames { encoder, framing }
    }

    /// Appends the message as it travels.
    pub(super) fn append(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Remarks {
        match self.framing {
            None => self.encoder.append(message, out),
            Some(Framing::Newline) => {
                let remarks = self.encoder.append(message, out);
                out.push(b'\n');
                remarks
            }
            Some(Framing::OctetCounting) => self.append_counted(message, out),
        }
    }

    /// The length is known last. Most have three digits: these are written into a place that is kept free, others make
    /// the message move.
    fn append_counted(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Remarks {
        const DIGITS: usize = 3;
        // More than the longest message has.
        const MOST_DIGITS: usize = 10;
        let start = out.len();
        out.extend_from_slice(b"000 ");
        let remarks = self.encoder.append(message, out);
        let mut rest = out.len() - start - DIGITS - 1;
        let mut digits = [b'0'; MOST_DIGITS];
        let mut first = MOST_DIGITS;
        while rest > 0 && first > 0 {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        match (out.get_mut(start..start + DIGITS), digits.get(first..).unwrap_or_default()) {
            (Some(place), digits) if digits.len() == DIGITS => place.copy_from_slice(digits),
            (_, digits) => drop(out.splice(start..start + DIGITS, digits.iter().copied())),
        }
        remarks
    }
}
