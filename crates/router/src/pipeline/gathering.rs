//! Datagrams on their way to the pipeline: many small ones become one slab of lines.

use super::origin::Senders;
use crate::{
    batch::BATCH_BYTES,
    slab_pool::{Slab, SlabPool},
    sys::SenderName,
};

/// Gathers datagrams into a slab of lines for [`Pipeline::gathered`](super::Pipeline::gathered).
#[derive(Debug)]
pub struct DatagramGatherer {
    slab: Slab,
    pub(super) senders: Senders,
}

impl DatagramGatherer {
    /// Nothing gathered yet.
    pub fn new(pool: &SlabPool) -> Self {
        DatagramGatherer { slab: pool.take(BATCH_BYTES), senders: Senders::default() }
    }

    /// Adds a datagram; its lines stay its own, with or without a line break at its end.
    pub fn push(&mut self, datagram: &[u8], sender: Option<SenderName>) {
        if let Some(sender) = sender {
            self.senders.push(self.slab.len(), sender);
        }
        self.slab.extend(datagram);
        if datagram.last() != Some(&b'\n') {
            self.slab.extend(b"\n");
        }
    }

    /// Whether `datagram` would make it larger than a batch.
    pub fn is_full_for(&self, datagram: &[u8]) -> bool {
        !self.slab.is_empty() && self.slab.len() + datagram.len() + 1 > BATCH_BYTES
    }

    /// What was gathered, if anything; starts anew. Who sent it stays until that is cleared.
    pub(super) fn take(&mut self) -> Option<Slab> {
        if self.slab.is_empty() {
            return None;
        }
        let fresh = self.slab.pool().take(BATCH_BYTES);
        Some(std::mem::replace(&mut self.slab, fresh))
    }
}
