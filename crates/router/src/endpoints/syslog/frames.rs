//! How messages lie one behind the other in a stream (RFC 6587), or alone in a datagram.

use super::record::{Encoder, Remarks, append_number};
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

    /// The length is known last. Most have three digits: these are written over a place that is kept free, others make
    /// the message move.
    fn append_counted(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Remarks {
        const DIGITS: usize = 3;
        let start = out.len();
        out.extend_from_slice(b"000 ");
        let remarks = self.encoder.append(message, out);
        let end = out.len();
        let length = end - start - DIGITS - 1;
        append_number(length, out);
        let digits = out.len() - end;
        if digits == DIGITS {
            out.copy_within(end.., start);
            out.truncate(end);
        } else {
            // The digits are behind the message: turned round they are in front, over the place that was kept free.
            if let Some(frame) = out.get_mut(start + DIGITS..) {
                frame.rotate_right(digits);
            }
            out.drain(start..start + DIGITS);
        }
        remarks
    }
}
