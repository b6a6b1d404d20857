//! What is sent in one go, and the answer for as much of it as was taken.

use super::STREAM_WRITE_BYTES;
use crate::endpoints::Answer;

/// Bytes that leave together, and which messages they are of.
#[derive(Debug, Default)]
pub(crate) struct Parcel {
    pub(crate) bytes: Vec<u8>,
    pub(crate) messages: Vec<Encoded>,
}

/// A message in a parcel.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Where its bytes end; where those of the one in front of it end, if it has none.
    pub(crate) end: usize,
    /// Why the server will never get it.
    pub(crate) refused: Option<&'static str>,
}

impl Parcel {
    /// The message whose bytes were just appended, or that has none.
    pub(crate) fn add(&mut self, outcome: Result<(), &'static str>) {
        self.messages.push(Encoded { end: self.bytes.len(), refused: outcome.err() });
    }

    /// Takes out the first `taken` bytes and the messages that lie in them whole, and answers for these: delivered, or
    /// refused. What is left of a torn message is only good to be cleared.
    pub(crate) fn settle(&mut self, taken: usize) -> Answer {
        let settled = self.messages.partition_point(|message| message.end <= taken);
        let mut answer = Answer::delivered(settled);
        for message in self.messages.drain(..settled) {
            if let Some(reason) = message.refused {
                answer.refused.add(reason);
            }
        }
        self.bytes.drain(..taken);
        answer
    }

    /// Forgets everything, but not the memory, unless a huge message had made it grow.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * STREAM_WRITE_BYTES);
    }
}
