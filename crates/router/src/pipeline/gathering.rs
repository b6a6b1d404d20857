//! Datagrams on their way to the pipeline: many small ones become one slab of lines.

use crate::{
    batch::BATCH_BYTES,
    slab_pool::{Slab, SlabPool},
};

/// Gathers datagrams into a slab of lines for [`Pipeline::lines`](super::Pipeline::lines).
#[derive(Debug)]
pub struct DatagramGatherer {
    slab: Slab,
}

impl DatagramGatherer {
    /// Nothing gathered yet.
    pub fn new(pool: &SlabPool) -> Self {
        DatagramGatherer { slab: pool.take(BATCH_BYTES) }
    }

    /// Adds a datagram; its lines stay its own, with or without a line break at its end.
    pub fn push(&mut self, datagram: &[u8]) {
        self.slab.extend(datagram);
        if datagram.last() != Some(&b'\n') {
            self.slab.extend(b"\n");
        }
    }

    /// Whether `datagram` would make it larger than a batch.
    pub fn is_full_for(&self, datagram: &[u8]) -> bool {
        !self.slab.is_empty() && self.slab.len() + datagram.len() + 1 > BATCH_BYTES
    }

    /// What was gathered, if anything; starts anew.
    pub fn take(&mut self) -> Option<Slab> {
        if self.slab.is_empty() {
            return None;
        }
        let fresh = self.slab.pool().take(BATCH_BYTES);
        Some(std::mem::replace(&mut self.slab, fresh))
    }
}
