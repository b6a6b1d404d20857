//! The queue as a state machine: what is held, what it is charged, what is being delivered.
//!
//! An item stays in the queue, and stays charged, until the endpoint has answered for the last of its messages.
//! That makes the queue itself the only place that knows what is undelivered: the ledger's `queued` is read here,
//! never computed from other counters.
//!
//! An endpoint answers in one of two ways. [`Queue::begin`] and [`Queue::settle`] hand out the front and settle a prefix of
//! it: one stream, in order. [`Queue::take`] moves items out under a [`Ticket`] each, and [`Queue::release`] settles them in
//! any order, message by message: several streams that do not wait for one another. A queue is used in one way or the other.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use crate::WhenFull;

/// What an item costs while it is held.
pub trait Charge {
    /// The bytes of memory that the item keeps alive.
    fn charged_bytes(&self) -> usize;
    /// How many messages it carries; at least one.
    fn messages(&self) -> usize;
}

/// What became of a pushed item.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It is in the queue.
    Accepted,
    /// It is in the queue, and older ones were thrown out to make room.
    Displaced {
        /// The items thrown out.
        items: Vec<T>,
        /// How many undelivered messages they held: the front one may have been delivered in part.
        messages: usize,
    },
    /// It did not fit, and never will get in; here it is back. A [`Queue`] leaves it to its caller what that means, a
    /// [`Buffer`](crate::Buffer) says so of what is to be dropped.
    Full(T),
    /// It did not fit, and its producer waits for room; here it is back. Only a [`Buffer`](crate::Buffer) says so.
    Waiting(T),
    /// The queue takes nothing more; here it is back.
    Closed(T),
}

/// What a queue holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Status {
    /// Messages not yet answered for.
    pub messages: usize,
    /// Bytes charged.
    pub bytes: usize,
    /// When the oldest of them was pushed, on the caller's clock.
    pub oldest: Option<Duration>,
}

/// Stands for an item that was moved out of the queue and is not yet settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

#[derive(Debug)]
struct Held<T> {
    item: T,
    pushed_at: Duration,
}

/// What is still owed for an item that was moved out.
#[derive(Debug)]
struct Taken {
    messages: usize,
    bytes: usize,
    pushed_at: Duration,
}

/// A first-in first-out queue bounded in bytes.
///
/// ```
/// use std::time::Duration;
/// use metlog_buffer::{Charge, Pushed, Queue, WhenFull};
///
/// #[derive(Debug, Clone, PartialEq, Eq)]
/// struct Parcel(usize);
/// impl Charge for Parcel {
///     fn charged_bytes(&self) -> usize { 100 * self.0 }
///     fn messages(&self) -> usize { self.0 }
/// }
///
/// let mut queue = Queue::new(500, WhenFull::Block);
/// let now = Duration::ZERO;
/// assert_eq!(queue.push(Parcel(3), now), Pushed::Accepted);
/// assert_eq!(queue.push(Parcel(3), now), Pushed::Full(Parcel(3)));
///
/// let mut work = Vec::new();
/// assert_eq!(queue.begin(usize::MAX, &mut work), 0);
/// queue.settle(2); // two of the three messages arrived
/// assert_eq!(queue.status().messages, 1);
/// ```
#[derive(Debug)]
pub struct Queue<T> {
    held: VecDeque<Held<T>>,
    /// How many items at the front were handed to the endpoint and not yet answered for.
    in_delivery: usize,
    /// How many messages of the front item were already answered for.
    cursor: usize,
    /// What was moved out, the oldest first. Nothing stays behind for an item that is settled, however long an older one
    /// takes.
    taken: BTreeMap<Ticket, Taken>,
    next_ticket: u64,
    messages: usize,
    bytes: usize,
    limit_bytes: usize,
    when_full: WhenFull,
    closed: bool,
}

impl<T: Charge + Clone> Queue<T> {
    /// An empty queue that holds up to `limit_bytes`. A single item larger than the limit is taken when the queue is
    /// empty: otherwise it could never get through.
    pub fn new(limit_bytes: usize, when_full: WhenFull) -> Self {
        Queue {
            held: VecDeque::new(),
            in_delivery: 0,
            cursor: 0,
            taken: BTreeMap::new(),
            next_ticket: 0,
            messages: 0,
            bytes: 0,
            limit_bytes,
            when_full,
            closed: false,
        }
    }

    /// Appends `item`, or says why not. `now` is the caller's clock, for [`Status::oldest`].
    pub fn push(&mut self, item: T, now: Duration) -> Pushed<T> {
        if self.closed {
            return Pushed::Closed(item);
        }
        let displaced = if self.fits(&item) {
            None
        } else if self.when_full == WhenFull::DropOldest {
            match self.displace_for(&item) {
                Some(displaced) => Some(displaced),
                None => return Pushed::Full(item),
            }
        } else {
            return Pushed::Full(item);
        };
        self.bytes += item.charged_bytes();
        self.messages += item.messages();
        self.held.push_back(Held { item, pushed_at: now });
        match displaced {
            None => Pushed::Accepted,
            Some((items, messages)) => Pushed::Displaced { items, messages },
        }
    }

    fn fits(&self, item: &T) -> bool {
        self.is_empty() || self.bytes + item.charged_bytes() <= self.limit_bytes
    }

    /// Throws out the oldest items that are not being delivered until `item` fits; nothing at all if that cannot be
    /// enough.
    fn displace_for(&mut self, item: &T) -> Option<(Vec<T>, usize)> {
        let mut missing = (self.bytes + item.charged_bytes()).checked_sub(self.limit_bytes)?;
        let mut count = 0;
        for held in self.held.iter().skip(self.in_delivery) {
            if missing == 0 {
                break;
            }
            missing = missing.saturating_sub(held.item.charged_bytes());
            count += 1;
        }
        if missing > 0 && (count < self.held.len() || !self.taken.is_empty()) {
            return None;
        }
        let mut messages = 0;
        let items: Vec<T> =
            self.held.drain(self.in_delivery..self.in_delivery + count).map(|held| held.item).collect();
        for item in &items {
            self.bytes -= item.charged_bytes();
            messages += item.messages();
        }
        if self.in_delivery == 0 {
            // The front item may have been answered for in part; that part was delivered, not dropped.
            messages -= self.cursor;
            self.cursor = 0;
        }
        self.messages -= messages;
        Some((items, messages))
    }

    /// Hands out items from the front, up to about `budget_bytes` and at least one, and marks them as being delivered.
    /// Returns how many messages of the first one were answered for before.
    pub fn begin(&mut self, budget_bytes: usize, work: &mut Vec<T>) -> usize {
        work.clear();
        let mut bytes = 0;
        for held in &self.held {
            bytes += held.item.charged_bytes();
            if !work.is_empty() && bytes > budget_bytes {
                break;
            }
            work.push(held.item.clone());
        }
        self.in_delivery = work.len();
        self.cursor
    }

    /// The endpoint answered for the next `messages` messages: they leave the queue. Whatever else was handed out
    /// is no longer being delivered; it waits at the front for the next [`Queue::begin`]. Items that are done with are
    /// given back: what their owner does when they are dropped is none of the queue's business.
    pub fn settle(&mut self, messages: usize) -> Vec<T> {
        let mut done = Vec::new();
        self.in_delivery = 0;
        let settled = messages.min(self.messages);
        self.messages -= settled;
        self.cursor += settled;
        while let Some(front) = self.held.front() {
            let size = front.item.messages();
            if self.cursor < size {
                break;
            }
            self.cursor -= size;
            self.bytes -= front.item.charged_bytes();
            done.extend(self.held.pop_front().map(|held| held.item));
        }
        done
    }

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

    /// Changes the bound and what happens at it. What is held stays, even if it is more than the new bound.
    pub fn set_bound(&mut self, limit_bytes: usize, when_full: WhenFull) {
        self.limit_bytes = limit_bytes;
        self.when_full = when_full;
    }

    /// Takes nothing more; what is held can still be delivered.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Empties the queue; returns how many messages were in it, and the items that were not moved out.
    pub fn abandon(&mut self) -> (usize, Vec<T>) {
        self.taken.clear();
        (self.in_delivery, self.cursor, self.bytes) = (0, 0, 0);
        let items = self.held.drain(..).map(|held| held.item).collect();
        (std::mem::take(&mut self.messages), items)
    }

    /// Whether [`Queue::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether nothing is held and nothing moved out.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty() && self.taken.is_empty()
    }

    /// Whether at least half of the limit is free: the moment at which waiting producers are told, so that they do not
    /// take turns with the endpoint over every single batch.
    pub fn has_room(&self) -> bool {
        self.bytes <= self.limit_bytes / 2
    }

    /// What is held now.
    pub fn status(&self) -> Status {
        let oldest_taken = self.taken.first_key_value().map(|(_, taken)| taken.pushed_at);
        Status {
            messages: self.messages,
            bytes: self.bytes,
            oldest: oldest_taken.or_else(|| self.held.front().map(|held| held.pushed_at)),
        }
    }

    /// What a hand-over that does not fit means here.
    pub fn when_full(&self) -> WhenFull {
        self.when_full
    }

    /// The bound in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Parcel {
        number: usize,
        messages: usize,
    }

    impl Charge for Parcel {
        fn charged_bytes(&self) -> usize {
            10 * self.messages
        }
        fn messages(&self) -> usize {
            self.messages
        }
    }

    fn parcel(number: usize, messages: usize) -> Parcel {
        Parcel { number, messages }
    }

    const NOW: Duration = Duration::from_secs(1);

    #[test]
    fn an_item_larger_than_the_limit_passes_through_an_empty_queue() {
        let mut queue = Queue::new(50, WhenFull::Block);
        assert_eq!(queue.push(parcel(1, 9), NOW), Pushed::Accepted);
        assert_eq!(queue.push(parcel(2, 1), NOW), Pushed::Full(parcel(2, 1)));
    }

    #[test]
    fn a_partly_delivered_item_is_handed_out_again_with_its_cursor() {
        let mut queue = Queue::new(1000, WhenFull::Block);
        queue.push(parcel(1, 3), NOW);
        queue.push(parcel(2, 3), NOW);
        let mut work = Vec::new();
        assert_eq!(queue.begin(usize::MAX, &mut work), 0);
        assert_eq!(work.len(), 2);
        queue.settle(4);
        assert_eq!(queue.status().messages, 2);
        assert_eq!(queue.begin(usize::MAX, &mut work), 1);
        assert_eq!(work, [parcel(2, 3)]);
    }

    #[test]
    fn drop_oldest_never_touches_what_is_being_delivered() {
        let mut queue = Queue::new(60, WhenFull::DropOldest);
        queue.push(parcel(1, 3), NOW);
        queue.push(parcel(2, 3), NOW);
        let mut work = Vec::new();
        queue.begin(1, &mut work);
        assert_eq!(work, [parcel(1, 3)]);
        assert_eq!(
            queue.push(parcel(3, 3), NOW),
            Pushed::Displaced { items: vec![parcel(2, 3)], messages: 3 }
        );
        queue.begin(usize::MAX, &mut work);
        assert_eq!(queue.push(parcel(4, 3), NOW), Pushed::Full(parcel(4, 3)), "everything is in delivery");
    }

    #[test]
    fn dropping_a_partly_delivered_item_does_not_count_its_delivered_part() {
        let mut queue = Queue::new(40, WhenFull::DropOldest);
        queue.push(parcel(1, 4), NOW);
        let mut work = Vec::new();
        queue.begin(usize::MAX, &mut work);
        queue.settle(1);
        assert_eq!(
            queue.push(parcel(2, 4), NOW),
            Pushed::Displaced { items: vec![parcel(1, 4)], messages: 3 }
        );
        assert_eq!(queue.status().messages, 4);
    }

    #[test]
    fn a_smaller_bound_drops_nothing_that_is_held() {
        let mut queue = Queue::new(100, WhenFull::Block);
        queue.push(parcel(1, 4), NOW);
        queue.push(parcel(2, 4), NOW);
        queue.set_bound(50, WhenFull::DropNewest);
        assert_eq!((queue.status().messages, queue.limit_bytes()), (8, 50));
        assert_eq!(queue.push(parcel(3, 1), NOW), Pushed::Full(parcel(3, 1)));
        queue.settle(4);
        assert_eq!(queue.push(parcel(3, 1), NOW), Pushed::Accepted);
    }

    #[test]
    fn a_closed_queue_still_delivers_what_it_holds() {
        let mut queue = Queue::new(40, WhenFull::Block);
        queue.push(parcel(1, 2), NOW);
        queue.close();
        assert_eq!(queue.push(parcel(2, 1), NOW), Pushed::Closed(parcel(2, 1)));
        let mut work = Vec::new();
        queue.begin(usize::MAX, &mut work);
        queue.settle(2);
        assert!(queue.is_empty());
    }

    #[test]
    fn what_was_moved_out_is_settled_in_any_order_and_charged_until_then() {
        let mut queue = Queue::new(60, WhenFull::DropNewest);
        let at = Duration::from_secs;
        queue.push(parcel(1, 3), at(1));
        queue.push(parcel(2, 3), at(2));
        let (first, second) = (queue.take().unwrap(), queue.take().unwrap());
        assert_eq!((first.1, second.1), (parcel(1, 3), parcel(2, 3)));
        assert!(!queue.has_untaken() && !queue.is_empty());
        assert_eq!(queue.push(parcel(3, 1), at(3)), Pushed::Full(parcel(3, 1)));
        queue.release(second.0, 3, 0);
        assert_eq!(queue.status(), Status { messages: 3, bytes: 30, oldest: Some(at(1)) });
        assert_eq!(queue.push(parcel(3, 3), at(3)), Pushed::Accepted);
        queue.release(first.0, 2, 20);
        assert_eq!(queue.status(), Status { messages: 4, bytes: 40, oldest: Some(at(1)) });
        queue.release(first.0, 9, 0);
        assert_eq!(queue.status(), Status { messages: 3, bytes: 30, oldest: Some(at(3)) });
        queue.release(first.0, 1, 10);
        assert_eq!(queue.status().messages, 3, "a ticket is good once");
        assert_eq!(queue.abandon().0, 3);
    }

    #[test]
    fn an_item_that_was_divided_is_charged_what_its_parts_keep_alive() {
        let mut queue = Queue::new(100, WhenFull::DropNewest);
        queue.push(parcel(1, 10), NOW);
        let (ticket, _) = queue.take().unwrap();
        queue.recharge(ticket, 44);
        assert_eq!(queue.status().bytes, 44);
        queue.release(ticket, 4, 22);
        assert_eq!((queue.status().messages, queue.status().bytes), (6, 22));
        assert_eq!(queue.abandon(), (6, vec![]));
        queue.release(ticket, 6, 22);
        assert_eq!(queue.status(), Status::default(), "nothing is owed for what was abandoned");
    }

    #[test]
    fn what_was_moved_out_can_be_taken_back() {
        let mut queue = Queue::new(100, WhenFull::DropNewest);
        let at = Duration::from_secs;
        for number in 1..=3 {
            queue.push(parcel(number, 3), at(number as u64));
        }
        let (first, second) = (queue.take().unwrap().0, queue.take().unwrap().0);
        queue.release(first, 2, 0);
        queue.put_back(vec![(first, parcel(11, 1)), (second, parcel(21, 2)), (second, parcel(22, 1))]);
        assert_eq!(queue.status(), Status { messages: 7, bytes: 70, oldest: Some(at(1)) });
        let mut work = Vec::new();
        assert_eq!(queue.begin(usize::MAX, &mut work), 0);
        assert_eq!(work, [parcel(11, 1), parcel(21, 2), parcel(22, 1), parcel(3, 3)]);
        queue.settle(7);
        queue.put_back(vec![(second, parcel(4, 1))]);
        assert_eq!(queue.status(), Status::default(), "a ticket is good once");
    }

    #[test]
    fn an_item_that_is_too_large_waits_for_those_that_were_moved_out() {
        for policy in [WhenFull::DropNewest, WhenFull::DropOldest] {
            let mut queue = Queue::new(50, policy);
            queue.push(parcel(1, 1), NOW);
            let (ticket, _) = queue.take().unwrap();
            assert_eq!(queue.push(parcel(2, 9), NOW), Pushed::Full(parcel(2, 9)));
            queue.release(ticket, 1, 0);
            assert_eq!(queue.push(parcel(2, 9), NOW), Pushed::Accepted);
        }
    }

    proptest! {
        /// Whatever is pushed, delivered in part, retried and displaced: every message is accounted for exactly once,
        /// order is kept, and the charge is that of the items held.
        #[test]
        fn every_message_is_accounted_for(
            operations in prop::collection::vec((0u8..4, 1usize..6), 1..200),
            drop_oldest in any::<bool>(),
        ) {
            let policy = if drop_oldest { WhenFull::DropOldest } else { WhenFull::DropNewest };
            let mut queue = Queue::new(120, policy);
            let (mut offered, mut settled, mut dropped) = (0, 0, 0);
            let mut work = Vec::new();
            let mut handed = 0;
            for (number, (operation, size)) in operations.into_iter().enumerate() {
                match operation {
                    0 | 1 => {
                        offered += size;
                        match queue.push(parcel(number, size), NOW) {
                            Pushed::Accepted => {}
                            Pushed::Displaced { messages, .. } => dropped += messages,
                            Pushed::Full(back) => dropped += back.messages,
                            Pushed::Waiting(_) => prop_assert!(false, "a queue lets nobody wait"),
                            Pushed::Closed(_) => prop_assert!(false, "nobody closed it"),
                        }
                    }
                    2 => {
                        let cursor = queue.begin(size * 20, &mut work);
                        handed = work.iter().map(Charge::messages).sum::<usize>().saturating_sub(cursor);
                        for pair in work.windows(2) {
                            prop_assert!(pair[0].number < pair[1].number, "out of order");
                        }
                    }
                    _ => {
                        let part = handed.min(size);
                        queue.settle(part);
                        settled += part;
                        handed = 0;
                    }
                }
                let status = queue.status();
                prop_assert_eq!(offered, settled + dropped + status.messages);
                prop_assert!(status.bytes <= 120);
                prop_assert_eq!(status.messages == 0, queue.is_empty());
            }
        }
    }
}
