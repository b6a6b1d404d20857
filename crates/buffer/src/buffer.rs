//! The queue between threads: a mutex around [`Queue`], the consumer's waker, and the wakers of producers that
//! wait for room.
//!
//! Wakers are `std::task::Waker`s, so a consumer may be an OS thread that parks or a task, and a producer may be an
//! event loop; the buffer does not know. The consumer is woken only when the queue was empty: at full speed nobody
//! wakes anybody. One that lets work come together ([`Buffer::linger`]) is woken when it is enough.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use crate::{Charge, Pushed, Queue, Status, Ticket, WhenFull};

/// A [`Queue`] shared by several producers and one consumer.
#[derive(Debug)]
pub struct Buffer<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    queue: Queue<T>,
    consumer: Option<Waker>,
    /// While the consumer lingers: how much is enough.
    enough_bytes: Option<usize>,
    /// Something did not fit while the consumer lingered.
    is_crowded: bool,
    producers: Vec<Waker>,
}

impl<T: Charge + Clone> State<T> {
    /// Whether a push with this outcome is what a lingering consumer waits for.
    fn ends_linger(&mut self, pushed: &Pushed<T>) -> bool {
        let Some(enough_bytes) = self.enough_bytes else { return false };
        self.is_crowded |= !matches!(pushed, Pushed::Accepted);
        self.is_crowded || self.queue.status().bytes >= enough_bytes
    }
}

impl<T: Charge + Clone> Buffer<T> {
    /// An empty buffer; see [`Queue::new`].
    pub fn new(limit_bytes: usize, when_full: WhenFull) -> Self {
        Buffer {
            state: Mutex::new(State {
                queue: Queue::new(limit_bytes, when_full),
                consumer: None,
                enough_bytes: None,
                is_crowded: false,
                producers: Vec::new(),
            }),
        }
    }

    /// The queue's own code does not panic, so a poisoned lock can only mean that an item's `Charge` or `Clone` did:
    /// the counts may then be off by that item, which is better than losing the rest.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends `item` and wakes the consumer if it was idle. What does not fit under [`WhenFull::Block`] is
    /// [`Pushed::Waiting`], and `waiter` is kept and woken once there is room again. A producer without one cannot wait;
    /// while others wait for room it gets none either, or it would take every free byte before they are woken.
    pub fn push(&self, item: T, now: Duration, waiter: Option<&Waker>) -> Pushed<T> {
        let mut state = self.lock();
        let had_work = state.queue.has_untaken();
        let may_wait = state.queue.when_full() == WhenFull::Block;
        if may_wait && waiter.is_none() && !state.producers.is_empty() && !state.queue.is_closed() {
            return Pushed::Full(item);
        }
        let pushed = match (state.queue.push(item, now), waiter) {
            (Pushed::Full(item), Some(waiter)) if may_wait => {
                if !state.producers.iter().any(|known| known.will_wake(waiter)) {
                    state.producers.push(waiter.clone());
                }
                Pushed::Waiting(item)
            }
            (pushed, _) => pushed,
        };
        let has_come = !had_work && state.queue.has_untaken();
        let consumer = if has_come || state.ends_linger(&pushed) { state.consumer.take() } else { None };
        drop(state);
        if let Some(consumer) = consumer {
            consumer.wake();
        }
        pushed
    }

    /// Hands out work as [`Queue::begin`] does. When there is none, `consumer` is kept and woken at the next push or at
    /// [`Buffer::close`].
    pub fn begin(&self, budget_bytes: usize, work: &mut Vec<T>, consumer: &Waker) -> usize {
        let mut state = self.lock();
        let cursor = state.queue.begin(budget_bytes, work);
        state.enough_bytes = None;
        if work.is_empty() {
            state.consumer = Some(consumer.clone());
        }
        cursor
    }

    /// Lets more come together before it is delivered: what was handed out is handed out again by the next
    /// [`Buffer::begin`], and `consumer` is kept and woken once `enough_bytes` are charged, once something does not fit, or
    /// at [`Buffer::close`]. Returns `false` if that is so already: what was handed out is to be delivered now.
    pub fn linger(&self, enough_bytes: usize, consumer: &Waker) -> bool {
        let mut state = self.lock();
        let is_crowded = std::mem::take(&mut state.is_crowded);
        if is_crowded || state.queue.is_closed() || state.queue.status().bytes >= enough_bytes {
            return false;
        }
        // Nothing is done with, so there is nothing to drop under the lock.
        state.queue.settle(0);
        state.consumer = Some(consumer.clone());
        state.enough_bytes = Some(enough_bytes);
        true
    }

    /// See [`Queue::settle`]; wakes producers that wait, once there is room.
    pub fn settle(&self, messages: usize) {
        self.settle_and_count(messages, |_| {});
    }

    /// As [`Buffer::settle`]. `count` is told how many messages really left: none that were abandoned in the meantime.
    /// It is called under the lock, before anybody can see that they are gone, and must not look at this buffer.
    pub fn settle_and_count(&self, messages: usize, count: impl FnOnce(usize)) {
        let done = self.make_room(|queue| {
            let before = queue.status().messages;
            let done = queue.settle(messages);
            count(before - queue.status().messages);
            done
        });
        // Not dropped under the lock: the last owner of an item may have to tell somebody, who may look at this buffer.
        drop(done);
    }

    /// Moves an item out as [`Queue::take`] does. When there is none, `consumer` is kept and woken at the next push or at
    /// [`Buffer::close`].
    pub fn take(&self, consumer: &Waker) -> Option<(Ticket, T)> {
        let mut state = self.lock();
        let taken = state.queue.take();
        if taken.is_none() {
            state.consumer = Some(consumer.clone());
        }
        taken
    }

    /// See [`Queue::untaken`].
    pub fn untaken(&self) -> usize {
        self.lock().queue.untaken()
    }

    /// See [`Queue::recharge`]; wakes producers that wait, once there is room.
    pub fn recharge(&self, ticket: Ticket, bytes: usize) {
        self.make_room(|queue| queue.recharge(ticket, bytes));
    }

    /// See [`Queue::release`]; wakes producers that wait, once there is room.
    pub fn release(&self, ticket: Ticket, messages: usize, bytes: usize) {
        self.make_room(|queue| queue.release(ticket, messages, bytes));
    }

    /// See [`Queue::put_back`].
    pub fn put_back(&self, items: Vec<(Ticket, T)>) {
        self.make_room(|queue| queue.put_back(items));
    }

    fn make_room<R>(&self, change: impl FnOnce(&mut Queue<T>) -> R) -> R {
        let mut state = self.lock();
        let changed = change(&mut state.queue);
        let producers =
            if state.queue.has_room() { std::mem::take(&mut state.producers) } else { Vec::new() };
        drop(state);
        producers.into_iter().for_each(Waker::wake);
        changed
    }

    /// Changes the bound and what happens at it, and wakes the producers that wait: what that means for them has changed.
    pub fn set_bound(&self, limit_bytes: usize, when_full: WhenFull) {
        let mut state = self.lock();
        state.queue.set_bound(limit_bytes, when_full);
        let producers = std::mem::take(&mut state.producers);
        drop(state);
        producers.into_iter().for_each(Waker::wake);
    }

    /// Takes nothing more, and wakes everybody so that they notice.
    pub fn close(&self) {
        let mut state = self.lock();
        state.queue.close();
        let wakers: Vec<Waker> = state.consumer.take().into_iter().chain(state.producers.drain(..)).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Empties the buffer; returns how many messages were in it, and the items that were not moved out.
    pub fn abandon(&self) -> (usize, Vec<T>) {
        self.lock().queue.abandon()
    }

    /// Whether [`Buffer::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.lock().queue.is_closed()
    }

    /// What is held now.
    pub fn status(&self) -> Status {
        self.lock().queue.status()
    }

    /// The bound in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.lock().queue.limit_bytes()
    }

    /// What a hand-over that does not fit means here.
    pub fn when_full(&self) -> WhenFull {
        self.lock().queue.when_full()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Parcel(usize);

    impl Charge for Parcel {
        fn charged_bytes(&self) -> usize {
            self.0
        }
        fn messages(&self) -> usize {
            1
        }
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn bell() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        (bell.clone(), bell.into())
    }

    #[test]
    fn an_item_that_is_done_with_may_look_at_the_buffer_when_it_is_dropped() {
        #[derive(Clone)]
        struct Curious(std::sync::Weak<Buffer<Curious>>);

        impl Charge for Curious {
            fn charged_bytes(&self) -> usize {
                1
            }
            fn messages(&self) -> usize {
                1
            }
        }

        impl Drop for Curious {
            fn drop(&mut self) {
                let buffer = self.0.upgrade();
                assert!(
                    buffer.is_none_or(|buffer| buffer.state.try_lock().is_ok()),
                    "dropped under the lock"
                );
            }
        }

        let buffer = Arc::new(Buffer::new(100, WhenFull::Block));
        for _ in 0..2 {
            buffer.push(Curious(Arc::downgrade(&buffer)), Duration::ZERO, None);
        }
        buffer.settle(1);
        assert_eq!(buffer.abandon().0, 1);
    }

    #[test]
    fn the_consumer_is_woken_only_when_the_buffer_was_empty() {
        let buffer = Buffer::new(100, WhenFull::Block);
        let (rung, consumer) = bell();
        let mut work = Vec::new();
        buffer.begin(usize::MAX, &mut work, &consumer);
        buffer.push(Parcel(1), Duration::ZERO, None);
        buffer.push(Parcel(1), Duration::ZERO, None);
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_consumer_that_lingers_is_woken_when_enough_has_come_and_not_before() {
        let buffer = Buffer::new(100, WhenFull::DropNewest);
        let (rung, consumer) = bell();
        let rung = || rung.0.load(Ordering::SeqCst);
        let mut work = Vec::new();
        buffer.push(Parcel(10), Duration::ZERO, None);
        buffer.begin(usize::MAX, &mut work, &consumer);
        assert!(buffer.linger(50, &consumer));
        buffer.push(Parcel(39), Duration::ZERO, None);
        assert_eq!(rung(), 0);
        buffer.push(Parcel(1), Duration::ZERO, None);
        buffer.push(Parcel(1), Duration::ZERO, None);
        assert_eq!(rung(), 1);
        buffer.begin(usize::MAX, &mut work, &consumer);
        assert!(!buffer.linger(50, &consumer), "there is enough");
        buffer.settle(4);
        buffer.push(Parcel(90), Duration::ZERO, None);
        assert_eq!(rung(), 1, "it does not linger any more");
    }

    #[test]
    fn a_consumer_that_lingers_is_woken_when_something_does_not_fit_and_lingers_no_longer() {
        let buffer = Buffer::new(100, WhenFull::DropNewest);
        let (rung, consumer) = bell();
        let mut work = Vec::new();
        buffer.push(Parcel(10), Duration::ZERO, None);
        buffer.begin(usize::MAX, &mut work, &consumer);
        assert!(buffer.linger(50, &consumer));
        buffer.push(Parcel(95), Duration::ZERO, None);
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
        buffer.begin(usize::MAX, &mut work, &consumer);
        assert!(!buffer.linger(50, &consumer), "what came would be lost again");
        buffer.settle(1);
        buffer.push(Parcel(10), Duration::ZERO, None);
        buffer.begin(usize::MAX, &mut work, &consumer);
        assert!(buffer.linger(50, &consumer), "that was then");
    }

    #[test]
    fn what_was_abandoned_is_not_settled_as_well() {
        let buffer = Buffer::new(100, WhenFull::Block);
        let (_, consumer) = bell();
        for _ in 0..3 {
            buffer.push(Parcel(10), Duration::ZERO, None);
        }
        let mut counted = Vec::new();
        buffer.begin(usize::MAX, &mut Vec::new(), &consumer);
        buffer.settle_and_count(1, |settled| counted.push(settled));
        assert_eq!(buffer.abandon().0, 2);
        buffer.settle_and_count(2, |settled| counted.push(settled));
        assert_eq!(counted, [1, 0]);
    }

    #[test]
    fn a_waiting_producer_is_told_once_when_half_of_the_room_is_free() {
        let buffer = Buffer::new(100, WhenFull::Block);
        let (rung, producer) = bell();
        let (_, consumer) = bell();
        for _ in 0..4 {
            assert_eq!(buffer.push(Parcel(25), Duration::ZERO, Some(&producer)), Pushed::Accepted);
        }
        for _ in 0..3 {
            assert_eq!(buffer.push(Parcel(25), Duration::ZERO, Some(&producer)), Pushed::Waiting(Parcel(25)));
        }
        let mut work = Vec::new();
        buffer.begin(usize::MAX, &mut work, &consumer);
        buffer.settle(1);
        assert_eq!(rung.0.load(Ordering::SeqCst), 0, "a quarter is not enough");
        buffer.settle(1);
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_producer_that_cannot_wait_does_not_overtake_one_that_does() {
        let buffer = Buffer::new(100, WhenFull::Block);
        let (rung, producer) = bell();
        let (_, consumer) = bell();
        for _ in 0..4 {
            buffer.push(Parcel(25), Duration::ZERO, None);
        }
        buffer.push(Parcel(25), Duration::ZERO, Some(&producer));
        let mut work = Vec::new();
        for _ in 0..2 {
            buffer.begin(1, &mut work, &consumer);
            buffer.settle(1);
            assert_eq!(rung.0.load(Ordering::SeqCst), usize::from(buffer.status().messages == 2));
            if buffer.status().messages > 2 {
                assert_eq!(buffer.push(Parcel(25), Duration::ZERO, None), Pushed::Full(Parcel(25)));
            }
        }
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn nobody_is_kept_waiting_where_full_means_dropped() {
        let buffer = Buffer::new(10, WhenFull::DropNewest);
        buffer.push(Parcel(10), Duration::ZERO, None);
        for _ in 0..3 {
            let (_, producer) = bell();
            assert_eq!(buffer.push(Parcel(10), Duration::ZERO, Some(&producer)), Pushed::Full(Parcel(10)));
        }
        assert!(buffer.lock().producers.is_empty());
    }

    #[test]
    fn a_consumer_that_moves_items_out_is_woken_for_new_ones_while_older_ones_are_unsettled() {
        let buffer = Buffer::new(100, WhenFull::Block);
        let (rung, consumer) = bell();
        buffer.push(Parcel(25), Duration::ZERO, None);
        let (ticket, _) = buffer.take(&consumer).unwrap();
        assert!(buffer.take(&consumer).is_none());
        buffer.push(Parcel(25), Duration::ZERO, None);
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
        let (producer_rung, producer) = bell();
        assert_eq!(buffer.push(Parcel(75), Duration::ZERO, Some(&producer)), Pushed::Waiting(Parcel(75)));
        buffer.release(ticket, 1, 0);
        assert_eq!(producer_rung.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_waits_is_told_when_the_bound_changes() {
        let buffer = Buffer::new(10, WhenFull::Block);
        let (rung, producer) = bell();
        buffer.push(Parcel(10), Duration::ZERO, None);
        assert_eq!(buffer.push(Parcel(10), Duration::ZERO, Some(&producer)), Pushed::Waiting(Parcel(10)));
        buffer.set_bound(10, WhenFull::DropNewest);
        assert_eq!(rung.0.load(Ordering::SeqCst), 1);
        assert_eq!(buffer.push(Parcel(10), Duration::ZERO, Some(&producer)), Pushed::Full(Parcel(10)));
    }

    #[test]
    fn closing_wakes_the_consumer_and_whoever_waits() {
        let buffer = Buffer::new(10, WhenFull::Block);
        let (consumer_rung, consumer) = bell();
        let (producer_rung, producer) = bell();
        let mut work: Vec<Parcel> = Vec::new();
        buffer.push(Parcel(10), Duration::ZERO, None);
        buffer.push(Parcel(10), Duration::ZERO, Some(&producer));
        buffer.settle(0);
        buffer.abandon();
        buffer.begin(usize::MAX, &mut work, &consumer);
        buffer.close();
        assert_eq!(consumer_rung.0.load(Ordering::SeqCst), 1);
        assert_eq!(producer_rung.0.load(Ordering::SeqCst), 1);
    }
}
