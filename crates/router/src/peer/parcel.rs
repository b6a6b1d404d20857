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

/// A message of which a stream has taken a part.
#[derive(Debug)]
pub(crate) struct Begun {
    /// All of its bytes.
    pub(super) message: Vec<u8>,
    /// How many of them are out.
    pub(super) written: usize,
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

    /// Whether these are the bytes of its first message that has any.
    pub(super) fn begins_with(&self, message: &[u8]) -> bool {
        let first = self.messages.iter().map(|encoded| encoded.end).find(|&end| end > 0);
        first.is_some_and(|end| self.bytes.get(..end) == Some(message))
    }

    /// The message that was torn when the first `taken` bytes had been taken.
    pub(super) fn begun_at(&self, taken: usize) -> Option<Begun> {
        let whole = self.messages.partition_point(|message| message.end <= taken);
        let start = whole.checked_sub(1).and_then(|last| self.messages.get(last)).map_or(0, |last| last.end);
        let message = self.bytes.get(start..self.messages.get(whole)?.end)?;
        (start < taken).then(|| Begun { message: message.to_vec(), written: taken - start })
    }

    /// Forgets everything, but not the memory, unless a huge message had made it grow.
    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes.clear();
        self.bytes.shrink_to(2 * STREAM_WRITE_BYTES);
    }
}
