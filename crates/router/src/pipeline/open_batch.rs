//! A batch while its messages are decoded and routed, until it is closed and shared.

use metlog_message::Timestamp;

use crate::{
    batch::{BATCH_MESSAGES, Batch, Entry},
    recycled::{Recycled, VecPool},
    slab_pool::Slab,
};

/// A batch while it is gathered.
pub(super) struct OpenBatch {
    pub slab: Slab,
    pub entries: Recycled<Entry>,
    pub received: Timestamp,
    /// Messages whose text had to change; they are appended to the slab when the batch is closed.
    pub rewritten: Vec<u8>,
    pub rewritten_entries: Vec<usize>,
}

impl OpenBatch {
    /// An empty one over the frames in `slab`.
    pub fn new(slab: Slab, entries: &VecPool<Entry>, received: Timestamp) -> Self {
        // A guess that is right for messages of 200 bytes and never far too large.
        let entries = entries.take((slab.len() / 200 + 1).min(BATCH_MESSAGES));
        OpenBatch { slab, entries, received, rewritten: Vec::new(), rewritten_entries: Vec::new() }
    }

    /// The batch, unless nothing was put into it.
    pub fn close(mut self) -> Option<Batch> {
        if self.entries.is_empty() {
            return None;
        }
        let offset = self.slab.len() as u32;
        for number in self.rewritten_entries {
            if let Some(entry) = self.entries.get_mut(number) {
                entry.start += offset;
                entry.end += offset;
            }
        }
        self.slab.extend(&self.rewritten);
        self.slab.shrink();
        Some(Batch::new(self.slab, self.entries, self.received))
    }
}
