//! The queue as a state machine: what is held, what it is charged, what is being delivered.
//!
//! An item stays in the queue, and stays charged, until the endpoint has answered for the last of its messages.
//! That makes the queue itself the only place that knows what is undelivered: the ledger's `queued` is read here,
//! never computed from other counters.
//!
//! An endpoint answers in one of two ways. [`Queue::begin`] and [`Queue::settle`] hand out the front and settle a prefix of
//! it: one stream, in order. [`Queue::take`] moves items out under a [`Ticket`] each, and [`Queue::release`] settles them in
//! any order, message by message: several streams that do not wait for one another. A queue is used in one way or the other.

mod moved_out;

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
mod tests;
