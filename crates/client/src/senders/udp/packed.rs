//! Several messages in a datagram.

use crate::senders::Batch;
use crate::senders::oversize::LARGEST_DATAGRAM_BYTES;
use crate::system::DATAGRAMS_PER_CALL;

/// Messages gathered into datagrams.
pub(super) struct Packed<'a> {
    pub(super) datagrams: [&'a [u8]; DATAGRAMS_PER_CALL],
    /// The number of the message after each datagram's last.
    pub(super) ends: [usize; DATAGRAMS_PER_CALL],
    /// How many datagrams there are; none where the first message is too large for one.
    pub(super) count: usize,
}

impl<'a> Packed<'a> {
    pub(super) fn from(batch: &Batch<'a>, packed_bytes: usize) -> Packed<'a> {
        let mut packed =
            Packed { datagrams: [&[]; DATAGRAMS_PER_CALL], ends: [0; DATAGRAMS_PER_CALL], count: 0 };
        let mut next = 0;
        while packed.count < DATAGRAMS_PER_CALL && next < batch.len() {
            let mut bytes = batch.message(next).len();
            if bytes > LARGEST_DATAGRAM_BYTES {
                break;
            }
            let start = next;
            next += 1;
            while next < batch.len() {
                bytes += 1 + batch.message(next).len();
                if bytes > packed_bytes {
                    break;
                }
                next += 1;
            }
            let lines = batch.lines(start, next);
            packed.datagrams[packed.count] = &lines[..lines.len() - 1];
            packed.ends[packed.count] = next;
            packed.count += 1;
        }
        packed
    }
}

/// How many messages some datagrams carry.
pub(super) fn messages_in(datagrams: &[&[u8]]) -> u64 {
    let messages = |datagram: &&[u8]| match datagram.first() {
        // It names its encoding and holds one message; a line break in it means nothing.
        Some(0) => 1,
        _ => 1 + datagram.iter().filter(|byte| **byte == b'\n').count() as u64,
    };
    datagrams.iter().map(messages).sum()
}
