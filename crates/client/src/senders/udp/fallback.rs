//! Another way for what is too large for a datagram.

use std::time::Instant;

use crate::senders::backoff::Backoff;
use crate::senders::{Batch, Sender as _, TcpSender};

/// A connection for what no datagram holds.
#[derive(Debug)]
pub(super) struct Fallback {
    pub(super) sender: TcpSender,
    backoff: Backoff,
    /// When it failed last, the time until which it is left alone: UDP does not wait for it.
    not_before: Option<Instant>,
}

impl Fallback {
    pub(super) fn new(sender: TcpSender) -> Fallback {
        Fallback { sender, backoff: Backoff::default(), not_before: None }
    }

    /// Whether the message is out. If not, it is not offered again: it goes another way.
    pub(super) fn send(&mut self, batch: &Batch<'_>) -> bool {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return false;
        }
        if self.sender.send(batch).sent == 1 {
            self.backoff.succeeded();
            return true;
        }
        // A part of it may be written, and what comes next must not be taken for its end.
        self.sender.abandon_part();
        self.not_before = Some(Instant::now() + self.backoff.failed());
        false
    }
}
