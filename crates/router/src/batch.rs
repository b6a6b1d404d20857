//! What flows: a batch of messages in one slab of bytes, and the hand-over of a selection of it to one endpoint.
//!
//! Every message in a slab is followed by a line break, so an endpoint that writes lines writes the slab's bytes.
//! Slabs are recycled: a batch gives its memory back to the pool it came from when the last endpoint lets go of it.

use std::{borrow::Cow, sync::Arc};

use metlog_buffer::Charge;
use metlog_message::{Index, Timestamp};

use crate::{acknowledgement::Acknowledgement, recycled::Recycled, slab_pool::Slab};

/// The most bytes that a batch gathers, unless a single message is larger.
pub const BATCH_BYTES: usize = 256 * 1024;

/// The most messages that a batch gathers.
pub const BATCH_MESSAGES: usize = 4096;

/// Where one message lies in its batch's slab.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// First byte in the slab.
    pub start: u32,
    /// One past the last byte; the slab has a line break there.
    pub end: u32,
    /// Which message of its batch it was when it was received, counted from 0. Stays the same in copies.
    pub number: u32,
    /// Where the message's own values lie, relative to `start`.
    pub index: Index,
}

impl Entry {
    /// The message's length with its line break.
    fn line_bytes(&self) -> usize {
        (self.end - self.start) as usize + 1
    }
}

/// A slab of messages from one source.
#[derive(Debug)]
pub struct Batch {
    slab: Slab,
    entries: Recycled<Entry>,
    /// The messages lie one behind the other, with nothing between them.
    is_contiguous: bool,
    received: Timestamp,
    /// Whether its input may send meta messages.
    allows_meta: bool,
}

/// One message, borrowed from its batch.
#[derive(Debug, Clone, Copy)]
pub struct Message<'b> {
    /// The message's JSON text.
    pub bytes: &'b [u8],
    /// The same with the line break behind it.
    pub line: &'b [u8],
    /// Where its values lie in `bytes`.
    pub index: &'b Index,
    /// When the router received it.
    pub received: Timestamp,
    /// Which message it was of those that were received together, counted from 0.
    pub number: u32,
    /// Whether its input may send messages that tell an endpoint what to do (`allow_meta`).
    pub allows_meta: bool,
}

impl Batch {
    /// Closes a batch. Every entry must lie inside the slab and be followed by a line break.
    pub fn new(slab: Slab, entries: impl Into<Recycled<Entry>>, received: Timestamp) -> Self {
        let mut entries = entries.into();
        entries.shrink();
        debug_assert!(entries.iter().all(|entry| slab.get(entry.end as usize) == Some(&b'\n')));
        let is_contiguous = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => {
                let span = (last.end + 1).checked_sub(first.start).map_or(0, |span| span as usize);
                entries.iter().map(Entry::line_bytes).sum::<usize>() == span
            }
            _ => false,
        };
        Batch { slab, entries, is_contiguous, received, allows_meta: false }
    }

    /// The same, from an input that may or may not send messages that tell an endpoint what to do.
    pub fn allowing_meta(mut self, allows_meta: bool) -> Self {
        self.allows_meta = allows_meta;
        self
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// When the router received them.
    pub fn received(&self) -> Timestamp {
        self.received
    }

    /// Its messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.entries.iter().map(|entry| self.message(entry))
    }

    /// One message by its number.
    pub fn get(&self, number: usize) -> Option<Message<'_>> {
        self.entries.get(number).map(|entry| self.message(entry))
    }

    #[inline]
    fn message<'b>(&'b self, entry: &'b Entry) -> Message<'b> {
        let (start, end) = (entry.start as usize, entry.end as usize);
        Message {
            bytes: self.slab.get(start..end).unwrap_or_default(),
            line: self.slab.get(start..=end).unwrap_or_default(),
            index: &entry.index,
            received: self.received,
            number: entry.number,
            allows_meta: self.allows_meta,
        }
    }

    fn memory(&self) -> usize {
        self.slab.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// The selected messages in a slab of their own.
    fn copy(&self, selected: &[u32], bytes: usize) -> Batch {
        let entries = selected.iter().filter_map(|&number| self.entries.get(number as usize));
        self.like(entries.map(|entry| (self, entry)), selected.len(), bytes)
    }

    /// These messages, of batches that were received together with this one, in a slab of their own.
    fn like<'b>(
        &self,
        messages: impl Iterator<Item = (&'b Batch, &'b Entry)>,
        count: usize,
        bytes: usize,
    ) -> Batch {
        let mut slab = self.slab.pool().take(bytes);
        let mut entries = self.entries.pool().take(count);
        for (batch, entry) in messages {
            let start = slab.len() as u32;
            slab.extend(batch.message(entry).line);
            entries.push(Entry { start, end: slab.len() as u32 - 1, ..*entry });
        }
        entries.shrink();
        Batch { slab, entries, is_contiguous: true, received: self.received, allows_meta: self.allows_meta }
    }
}

/// The messages of one batch that go to one endpoint. Cheap to clone; the last clone lets the slab go.
#[derive(Debug, Clone)]
pub struct Handover {
    batch: Arc<Batch>,
    selected: Selected,
    /// Of the hand-over, not of the batch: an endpoint that has acknowledged may still hold the bytes.
    acknowledgement: Option<Acknowledgement>,
}

#[derive(Debug, Clone)]
enum Selected {
    All,
    Some(Arc<[u32]>),
}

impl Handover {
    /// Hands over the whole batch.
    pub fn all(batch: &Arc<Batch>) -> Handover {
        Handover { batch: batch.clone(), selected: Selected::All, acknowledgement: None }
    }

    /// The same, and whoever waits for `acknowledgement` waits for this too.
    pub fn acknowledged_by(mut self, acknowledgement: Option<Acknowledgement>) -> Handover {
        self.acknowledgement = acknowledgement;
        self
    }

    /// What [`Handover::acknowledged_by`] set; afterwards nobody waits for this hand-over any more.
    pub fn take_acknowledgement(&mut self) -> Option<Acknowledgement> {
        self.acknowledgement.take()
    }

    /// The router ends before this was delivered: it must not count as acknowledged.
    pub fn withhold(&self) {
        if let Some(acknowledgement) = &self.acknowledgement {
            acknowledgement.withhold();
        }
    }

    /// Whether there may be messages in it that tell an endpoint what to do.
    pub fn allows_meta(&self) -> bool {
        self.batch.allows_meta
    }

    /// Hands over the messages with these numbers, ascending. A selection of less than half of the slab's bytes is
    /// copied, so that a few messages in a slow endpoint's buffer do not keep a whole slab alive.
    pub fn select(batch: &Arc<Batch>, selected: &[u32]) -> Handover {
        if selected.len() == batch.len() {
            return Handover::all(batch);
        }
        let bytes: usize = selected
            .iter()
            .filter_map(|&number| batch.entries.get(number as usize))
            .map(Entry::line_bytes)
            .sum();
        if bytes < batch.slab.len() / 2 {
            Handover::all(&Arc::new(batch.copy(selected, bytes)))
        } else {
            let selected = Selected::Some(selected.into());
            Handover { batch: batch.clone(), selected, acknowledgement: None }
        }
    }

    /// The messages at these positions within this hand-over, ascending, in memory of their own unless they are all. Who
    /// waits for the whole waits for each part.
    pub fn part(&self, positions: &[u32]) -> Handover {
        if positions.len() == self.len() {
            return self.clone();
        }
        let selected: Cow<'_, [u32]> = match &self.selected {
            Selected::All => positions.into(),
            Selected::Some(selected) => {
                positions.iter().filter_map(|&position| selected.get(position as usize).copied()).collect()
            }
        };
        let entries = selected.iter().filter_map(|&number| self.batch.entries.get(number as usize));
        let bytes = entries.map(Entry::line_bytes).sum();
        let part = Handover::all(&Arc::new(self.batch.copy(&selected, bytes)));
        part.acknowledged_by(self.acknowledgement.clone())
    }

    /// Puts together again what [`Handover::part`] has divided: these messages, each with its position in the part where it is
    /// now. `None` where there are none.
    pub fn gathered(messages: &[(&Handover, usize)]) -> Option<Handover> {
        let (first, _) = *messages.first()?;
        let is_whole = messages.len() == first.len()
            && messages.iter().all(|(part, _)| Arc::ptr_eq(&part.batch, &first.batch));
        if is_whole {
            return Some(first.clone());
        }
        let found = || messages.iter().filter_map(|(part, at)| Some((&*part.batch, part.entry(*at)?)));
        let bytes = found().map(|(_, entry)| entry.line_bytes()).sum();
        let whole = Handover::all(&Arc::new(first.batch.like(found(), messages.len(), bytes)));
        Some(whole.acknowledged_by(first.acknowledgement.clone()))
    }

    /// How many messages are handed over.
    pub fn len(&self) -> usize {
        match &self.selected {
            Selected::All => self.batch.len(),
            Selected::Some(selected) => selected.len(),
        }
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, position: usize) -> Option<&Entry> {
        match &self.selected {
            Selected::All => self.batch.entries.get(position),
            Selected::Some(selected) => self.batch.entries.get(*selected.get(position)? as usize),
        }
    }

    /// The message at a position within this hand-over.
    pub fn message(&self, position: usize) -> Option<Message<'_>> {
        self.entry(position).map(|entry| self.batch.message(entry))
    }

    /// The longest run of messages from `position` on that lie one behind the other in the slab: how many they are,
    /// and their bytes with every line break. `None` past the end.
    pub fn run(&self, position: usize) -> Option<(usize, &[u8])> {
        let first = self.entry(position)?;
        if let (Selected::All, true, Some(last)) =
            (&self.selected, self.batch.is_contiguous, self.batch.entries.last())
        {
            let bytes = self.batch.slab.get(first.start as usize..=last.end as usize)?;
            return Some((self.batch.len() - position, bytes));
        }
        let mut last = first;
        let mut count = 1;
        while let Some(next) = self.entry(position + count) {
            if next.start != last.end + 1 {
                break;
            }
            last = next;
            count += 1;
        }
        Some((count, self.batch.slab.get(first.start as usize..=last.end as usize)?))
    }
}

impl Charge for Handover {
    fn charged_bytes(&self) -> usize {
        let selection = match &self.selected {
            Selected::All => 0,
            Selected::Some(selected) => size_of_val::<[u32]>(selected),
        };
        self.batch.memory() + selection
    }

    fn messages(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch_of, lines};

    #[test]
    fn a_small_selection_is_copied_and_lets_the_slab_go() {
        let batch = Arc::new(batch_of(&lines(10)));
        let handover = Handover::select(&batch, &[1, 4]);
        assert_eq!(Arc::strong_count(&batch), 1);
        assert_eq!(handover.len(), 2);
        assert_eq!(handover.message(1).unwrap().bytes, batch.message(&batch.entries[4]).bytes);
        assert_eq!(handover.run(0).unwrap().0, 2, "copied messages lie side by side");
    }

    #[test]
    fn a_large_selection_shares_the_slab_and_is_read_in_runs() {
        let batch = Arc::new(batch_of(&lines(10)));
        let handover = Handover::select(&batch, &[0, 1, 2, 5, 6, 7, 8]);
        assert_eq!(Arc::strong_count(&batch), 2);
        let (count, bytes) = handover.run(0).unwrap();
        assert_eq!(count, 3);
        assert_eq!(bytes, lines(3).concat().as_bytes());
        assert_eq!(handover.run(3).unwrap().0, 4);
        assert!(handover.run(7).is_none());
    }

    #[test]
    fn a_part_of_a_handover_has_memory_of_its_own() {
        let batch = Arc::new(batch_of(&lines(10)));
        for handover in [Handover::all(&batch), Handover::select(&batch, &[0, 1, 2, 3, 4, 6, 8])] {
            let part = handover.part(&[1, 5, 6]);
            let expected = [1, 5, 6].map(|position| handover.message(position).unwrap().bytes);
            let found: Vec<_> =
                (0..part.len()).map(|position| part.message(position).unwrap().bytes).collect();
            assert_eq!(found, expected);
            assert!(!Arc::ptr_eq(&part.batch, &batch));
        }
        let whole = Handover::all(&batch).part(&(0..10).collect::<Vec<u32>>());
        assert!(Arc::ptr_eq(&whole.batch, &batch));
    }

    #[test]
    fn a_handover_is_charged_what_it_keeps_alive() {
        let batch = Arc::new(batch_of(&lines(100)));
        let whole = Handover::all(&batch).charged_bytes();
        let most = Handover::select(&batch, &(0..90).collect::<Vec<u32>>()).charged_bytes();
        assert!(most >= whole, "most of a slab keeps all of it: {most} < {whole}");
        assert!(Handover::select(&batch, &[3]).charged_bytes() < whole / 4);
    }
}
