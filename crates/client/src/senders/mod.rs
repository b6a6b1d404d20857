//! Senders: what puts messages on a transport.
//!
//! A sender runs on the client's own thread, so it may block, and it never sees the application's threads. It gets
//! a [`Batch`] of encoded messages and answers for a prefix of it: how many are out, and why it stopped.
//!
//! A sender of your own is one type and two methods:
//!
//! ```
//! use metlog::senders::{Answer, Batch, Sender};
//!
//! struct Shout;
//!
//! impl Sender for Shout {
//!     fn send(&mut self, batch: &Batch<'_>) -> Answer {
//!         for message in batch.iter() {
//!             eprintln!("{}", String::from_utf8_lossy(message).to_uppercase());
//!         }
//!         Answer::all(batch)
//!     }
//!
//!     fn fresh(&self) -> Box<dyn Sender> {
//!         Box::new(Shout)
//!     }
//! }
//!
//! let client = metlog::Client::builder().sender(Shout).build()?;
//! client.info("can you hear me");
//! # Ok::<(), metlog::BuildError>(())
//! ```

use std::time::Duration;

pub(crate) use crate::diagnostics::say;
use crate::stats::DropReason;

mod address;
mod backoff;
mod capture;
mod encoder;
mod file;
mod lines;
mod noop;
pub(crate) mod oversize;
mod probation;
mod stdout;
mod tcp;
mod udp;
mod unix;

pub use address::AddressError;
pub(crate) use address::pair_hosts_with_ports;
pub use capture::{Capture, CaptureSender};
pub use encoder::Encoder;
pub use file::FileSender;
pub use noop::NoopSender;
pub use stdout::StdoutSender;
pub use tcp::TcpSender;
pub use udp::UdpSender;
pub use unix::{UnixDatagramSender, UnixStreamSender};

/// Puts messages on a transport.
pub trait Sender: Send + Sync + 'static {
    /// Sends messages and says how far it came. It may block for a while, but should give up within a second or
    /// so and ask for another try, because a client that is being closed waits for it.
    fn send(&mut self, batch: &Batch<'_>) -> Answer;

    /// Another sender to the same destination that shares no connection with this one. A client keeps the sender
    /// that it was built with only to make others from it: one for this process, one more in each forked child,
    /// and one after a panic.
    fn fresh(&self) -> Box<dyn Sender>;

    /// Whether messages can get lost on the way, so that they carry `metlog_seq` and `metlog_src`, by which the
    /// receiver counts what is missing.
    fn over_network(&self) -> bool {
        false
    }

    /// How many messages, of those that were answered as sent, turned out to be lost since this was asked last. They
    /// move from `sent` to the drops for [`DropReason::Unreachable`].
    fn lost(&mut self) -> u64 {
        0
    }
}

impl Sender for Box<dyn Sender> {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        (**self).send(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        (**self).fresh()
    }

    fn over_network(&self) -> bool {
        (**self).over_network()
    }

    fn lost(&mut self) -> u64 {
        (**self).lost()
    }
}

/// Encoded messages on their way out, each followed by a line break.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    /// Where each message ends, its line break included.
    ends: &'a [u32],
    /// Where the first message starts.
    start: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(bytes: &'a [u8], ends: &'a [u32], start: usize) -> Batch<'a> {
        Batch { bytes, ends, start }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One message, without its line break; empty where there is none of this number.
    pub fn message(&self, number: usize) -> &'a [u8] {
        let line = self.lines(number, number + 1);
        &line[..line.len().saturating_sub(1)]
    }

    /// The messages from `first` up to `end`, without `end` itself, each with its line break.
    pub fn lines(&self, first: usize, end: usize) -> &'a [u8] {
        let end = end.min(self.ends.len());
        if first >= end { &[] } else { &self.bytes[self.place(first)..self.place(end)] }
    }

    /// The messages from `first` up to `end`, without `end` itself.
    pub fn slice(&self, first: usize, end: usize) -> Batch<'a> {
        let end = end.min(self.ends.len());
        let first = first.min(end);
        Batch { bytes: self.bytes, ends: &self.ends[first..end], start: self.place(first) }
    }

    /// All messages, without their line breaks.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        let batch = *self;
        (0..batch.len()).map(move |number| batch.message(number))
    }

    /// How many messages lie wholly within the first `bytes` bytes, and how many bytes of the next one do.
    fn split_at(&self, bytes: usize) -> (usize, usize) {
        let place = self.start + bytes;
        let whole = self.ends.partition_point(|end| *end as usize <= place);
        (whole, place - self.place(whole))
    }

    fn place(&self, number: usize) -> usize {
        if number == 0 { self.start } else { self.ends[number - 1] as usize }
    }
}

/// How far a sender came with a batch, and why it stopped there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// So many messages, from the first one on, are out.
    pub sent: usize,
    /// Of them, so many were cut to fit.
    pub truncated: usize,
    /// What to do about the next one.
    pub then: Then,
}

/// What to do about the first message that is not out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// There is none, or it is to be handed over again at once.
    GoOn,
    /// Try again after this time. It is kept, and so is all that follows.
    Retry(Duration),
    /// It will never be taken: drop it, count it, and go on with the one after it.
    Drop(DropReason),
}

impl Answer {
    /// All messages of the batch are out.
    pub fn all(batch: &Batch<'_>) -> Answer {
        Answer { sent: batch.len(), truncated: 0, then: Then::GoOn }
    }

    /// The first `sent` messages are out; the rest is to be tried again after `delay`.
    pub fn retry(sent: usize, delay: Duration) -> Answer {
        Answer { sent, truncated: 0, then: Then::Retry(delay) }
    }

    /// The first `sent` messages are out; the next one is refused for good.
    pub fn refuse(sent: usize, reason: DropReason) -> Answer {
        Answer { sent, truncated: 0, then: Then::Drop(reason) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A batch's memory, for tests.
    pub(crate) struct Lines {
        bytes: Vec<u8>,
        ends: Vec<u32>,
    }

    impl Lines {
        pub(crate) fn of<T: AsRef<[u8]>>(messages: &[T]) -> Lines {
            let mut lines = Lines { bytes: Vec::new(), ends: Vec::new() };
            for message in messages {
                lines.bytes.extend_from_slice(message.as_ref());
                lines.bytes.push(b'\n');
                lines.ends.push(lines.bytes.len() as u32);
            }
            lines
        }

        pub(crate) fn batch(&self) -> Batch<'_> {
            Batch::new(&self.bytes, &self.ends, 0)
        }
    }

    #[test]
    fn a_batch_knows_its_messages_and_its_slices() {
        let lines = Lines::of(&["one", "", "three"]);
        let batch = lines.batch();
        assert_eq!(batch.iter().collect::<Vec<_>>(), [b"one".as_slice(), b"", b"three"]);
        assert_eq!(batch.lines(1, 3), b"\nthree\n");
        let rest = batch.slice(2, 9);
        assert_eq!((rest.len(), rest.message(0), rest.message(1)), (1, b"three".as_slice(), b"".as_slice()));
        assert!(batch.slice(3, 3).is_empty());
    }

    #[test]
    fn a_number_of_bytes_is_so_many_messages_and_a_part() {
        let lines = Lines::of(&["one", "", "three"]);
        let batch = lines.batch();
        let split: Vec<_> = [0, 3, 4, 5, 7, 11].map(|bytes| batch.split_at(bytes)).into();
        assert_eq!(split, [(0, 0), (0, 3), (1, 0), (2, 0), (2, 2), (3, 0)]);
        assert_eq!(batch.slice(2, 3).split_at(2), (0, 2));
    }
}
