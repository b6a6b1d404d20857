//! The part of a queue for endpoints that do not deliver in its order: items are moved out, stay charged, and are settled or
//! taken back one by one.

use super::{Charge, Held, Queue, Taken, Ticket};

impl<T: Charge + Clone> Queue<T> {
    /// Moves the oldest item out. It stays charged, and its messages stay queued, until they are released.
    pub fn take(&mut self) -> Option<(Ticket, T)> {
        let Held { item, pushed_at } = self.held.pop_front()?;
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let taken = Taken { messages: item.messages(), bytes: item.charged_bytes(), pushed_at };
        self.taken.insert(ticket, taken);
        Some((ticket, item))
    }

    /// Whether there is something to [`take`](Queue::take).
    pub fn has_untaken(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many items there are to [`take`](Queue::take).
    pub fn untaken(&self) -> usize {
        self.held.len()
    }

    /// What was moved out under `ticket` was divided, and keeps `bytes` of memory alive from now on.
    pub fn recharge(&mut self, ticket: Ticket, bytes: usize) {
        if let Some(taken) = self.taken.get_mut(&ticket) {
            self.bytes = self.bytes - taken.bytes + bytes;
            taken.bytes = bytes;
        }
    }

    /// So many messages of what was moved out under `ticket` are done with, and so many bytes of its memory are free. With
    /// its last message goes what is left of its charge.
    pub fn release(&mut self, ticket: Ticket, messages: usize, bytes: usize) {
        let Some(taken) = self.taken.get_mut(&ticket) else { return };
        let messages = messages.min(taken.messages);
        taken.messages -= messages;
        let bytes = if taken.messages == 0 { taken.bytes } else { bytes.min(taken.bytes) };
        taken.bytes -= bytes;
        if taken.messages == 0 {
            self.taken.remove(&ticket);
        }
        self.messages -= messages;
        self.bytes -= bytes;
    }

    /// Takes back what was moved out and is not settled, in this order: it is at the front again. Items may be parts of
    /// what was moved out; those of tickets that are settled or abandoned are not taken.
    pub fn put_back(&mut self, items: Vec<(Ticket, T)>) {
        let mut returned = Vec::new();
        let owed = std::mem::take(&mut self.taken);
        for taken in owed.values() {
            self.messages -= taken.messages;
            self.bytes -= taken.bytes;
        }
        for (ticket, item) in items {
            if let Some(taken) = owed.get(&ticket) {
                self.messages += item.messages();
                self.bytes += item.charged_bytes();
                returned.push(Held { item, pushed_at: taken.pushed_at });
            }
        }
        for held in returned.into_iter().rev() {
            self.held.push_front(held);
        }
    }
}
