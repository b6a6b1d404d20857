//! The tap: live copies of what passes, for whoever watches, and never at the expense of what passes.
//!
//! The pipeline shows each batch to the tap when it closes it. With nobody watching that costs one relaxed load per batch.
//! A watcher's filter runs on the thread on which the batch arrived, where its bytes are in the cache; only what it
//! accepts is copied. Everything about it is bounded:
//!
//! | what | bound | beyond it |
//! | --- | --- | --- |
//! | watchers | [`SUBSCRIBERS`] | the next one is turned away |
//! | messages a second, and rejects a second, per watcher | [`Filter::max_per_second`] | counted as `over_rate` |
//! | bytes that wait for a watcher | [`QUEUE_BYTES`] | counted as `queue_full` |
//! | rejects that are remembered for those who come later | [`REMEMBERED`] of each reason | the oldest go |
//! | the part of a pipeline's time spent on filters | one in [`TIME_SHARE`] | whole batches are counted as `unexamined` |
//!
//! Nothing here waits for a watcher, and the ledger does not know of it: what a watcher missed was delivered all the same.

mod allowance;
mod queue;
mod recent;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use metlog_message::{Reason, Timestamp};

pub use self::allowance::Allowance;
pub use self::recent::REMEMBERED;
use self::{
    queue::{Lane, Queue},
    recent::Recent,
};
use crate::{batch::Batch, clock::Clock, ledger::Counter, pipeline::Outlet, routes::matcher::Matcher};

/// Watchers at the same time.
pub const SUBSCRIBERS: usize = 16;

/// What may wait for one watcher.
pub const QUEUE_BYTES: usize = 1024 * 1024;

/// Filters get one part in so many of a pipeline's time.
pub const TIME_SHARE: i64 = 20;

/// What a watcher wants to see.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Which messages.
    pub matcher: Matcher,
    /// Only what came in here.
    pub input: Option<String>,
    /// What about frames that could not be used. The matcher does not apply to them: they have no keys to match.
    pub rejects: ShowRejects,
    /// One in so many of the messages that match; 0 is taken as 1.
    pub sample: u32,
    /// At most so many a second.
    pub max_per_second: u32,
}

/// Whether a watcher sees rejects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ShowRejects {
    /// Messages alone.
    #[default]
    No,
    /// Messages and rejects.
    Also,
    /// Rejects alone.
    Only,
}

/// One message as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tapped {
    /// The input that it came in by.
    pub input: Arc<str>,
    /// The endpoints that it was routed to; none if no route took it.
    pub to: Vec<Arc<str>>,
    /// Why it was rejected. The message then is the `metlog.reject` that tells of it.
    pub reject: Option<Reason>,
    /// Its JSON text.
    pub message: Box<[u8]>,
}

/// Messages that a watcher was not shown, since it began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed {
    /// They matched, but were more than so many a second.
    pub over_rate: u64,
    /// They matched, but the watcher had not yet taken what came before.
    pub queue_full: u64,
    /// Nobody looked whether they match: looking would have taken too much of the router's time.
    pub unexamined: u64,
}

/// All watchers are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are {SUBSCRIBERS} taps open already, and there may be no more")]
pub struct TooMany;

/// What the pipelines show, and who watches.
#[derive(Debug, Default)]
pub struct Tap {
    /// How many watch: what a pipeline looks at when nobody does.
    open: AtomicUsize,
    subscribers: RwLock<Vec<Arc<Subscriber>>>,
    recent: Recent,
}

#[derive(Debug)]
struct Subscriber {
    filter: Filter,
    queue: Queue,
    matched: AtomicU64,
    unexamined: Counter,
}

/// A watcher's end of the tap. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    tap: Arc<Tap>,
    subscriber: Arc<Subscriber>,
}

/// A batch at the moment at which it is closed.
#[derive(Debug, Clone, Copy)]
pub struct Passing<'p> {
    /// The input that it came in by.
    pub input: &'p Arc<str>,
    /// Its messages.
    pub batch: &'p Batch,
    /// By endpoint: the numbers of the messages that go there, ascending.
    pub selections: &'p [Vec<u32>],
    /// The endpoints, in the same order.
    pub outlets: &'p [Outlet],
}

/// A frame that could not be used.
#[derive(Debug, Clone, Copy)]
pub struct Rejected<'r> {
    /// The input that it came in by.
    pub input: &'r Arc<str>,
    /// Why.
    pub reason: Reason,
    /// When.
    pub received: Timestamp,
    /// The endpoints that are told of it.
    pub to: &'r [Outlet],
}

impl Tap {
    /// Whether anybody watches. All that a batch pays while nobody does.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed) != 0
    }

    /// Begins to watch.
    pub fn subscribe(self: &Arc<Self>, filter: Filter) -> Result<Subscription, TooMany> {
        let mut subscribers = self.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        if subscribers.len() >= SUBSCRIBERS {
            return Err(TooMany);
        }
        let queue = Queue::new(filter.max_per_second);
        let subscriber = Arc::new(Subscriber {
            filter,
            queue,
            matched: AtomicU64::new(0),
            unexamined: Counter::default(),
        });
        subscribers.push(subscriber.clone());
        self.open.store(subscribers.len(), Ordering::Relaxed);
        Ok(Subscription { tap: self.clone(), subscriber })
    }

    /// Shows a batch to everybody who watches, as far as the allowance goes.
    #[cold]
    pub fn show(&self, passing: Passing<'_>, allowance: &mut Allowance, clock: &dyn Clock) {
        let begin = clock.monotonic();
        let may_look = allowance.is_left(begin);
        let subscribers = self.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.wants_messages(passing.input)) {
            if may_look {
                subscriber.look(passing);
            } else {
                subscriber.unexamined.add(passing.batch.len() as u64);
            }
        }
        if may_look {
            allowance.spend(clock.monotonic().saturating_sub(begin));
        }
    }

    /// Shows a reject. Its message is only made if somebody takes it.
    #[cold]
    pub fn show_reject(&self, rejected: Rejected<'_>, message: impl Fn() -> Vec<u8>) {
        let subscribers = self.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.iter().filter(|subscriber| subscriber.wants_rejects(rejected.input)) {
            let tapped = |()| rejected.tapped(message());
            subscriber.queue.offer(Lane::Rejects, rejected.received, [()], tapped);
        }
    }
}

impl Tap {
    /// Whether a reject is to be remembered for those who watch later: a few of each reason a second are.
    pub fn remembers(&self, reason: Reason, received: Timestamp) -> bool {
        self.recent.permits(reason, received)
    }

    /// Remembers a reject, in place of an older one.
    #[cold]
    pub fn remember(&self, rejected: Rejected<'_>, message: Vec<u8>) {
        self.recent.add(rejected.received, rejected.tapped(message));
    }

    /// The rejects that are remembered, of one input or of all, the oldest first.
    pub fn remembered(&self, input: Option<&str>) -> Vec<Tapped> {
        self.recent.all(input)
    }
}

impl Rejected<'_> {
    fn tapped(&self, message: Vec<u8>) -> Tapped {
        Tapped {
            input: self.input.clone(),
            to: self.to.iter().map(|outlet| outlet.name.clone()).collect(),
            reject: Some(self.reason),
            message: message.into(),
        }
    }
}

impl Subscriber {
    fn is_of(&self, input: &str) -> bool {
        self.filter.input.as_deref().is_none_or(|wanted| wanted == input)
    }

    fn wants_messages(&self, input: &str) -> bool {
        self.filter.rejects != ShowRejects::Only && self.is_of(input)
    }

    fn wants_rejects(&self, input: &str) -> bool {
        self.filter.rejects != ShowRejects::No && self.is_of(input)
    }

    fn look(&self, passing: Passing<'_>) {
        let matcher = &self.filter.matcher;
        let mut matching = (0..)
            .zip(passing.batch.messages())
            .filter(|(_, message)| matcher.matches(message.bytes, message.index))
            .map(|(number, _)| number)
            .peekable();
        if matching.peek().is_none() {
            return;
        }
        // Numbers first, so that the queue is never held while a condition is evaluated.
        let mut matching: Vec<u32> = matching.collect();
        let sample = u64::from(self.filter.sample.max(1));
        if sample > 1 {
            let mut count = self.matched.fetch_add(matching.len() as u64, Ordering::Relaxed);
            matching.retain(|_| {
                let is_sampled = count.is_multiple_of(sample);
                count += 1;
                is_sampled
            });
        }
        self.queue.offer(Lane::Messages, passing.batch.received(), matching, |number| passing.tapped(number));
    }
}

impl Passing<'_> {
    fn tapped(&self, number: u32) -> Tapped {
        let to = self.outlets.iter().zip(self.selections);
        Tapped {
            input: self.input.clone(),
            to: to
                .filter(|(_, selection)| selection.binary_search(&number).is_ok())
                .map(|(outlet, _)| outlet.name.clone())
                .collect(),
            reject: None,
            message: self.batch.get(number as usize).map_or(&[][..], |message| message.bytes).into(),
        }
    }
}

impl Subscription {
    /// Takes what waits, up to roughly `most_bytes`; wakes the task when there is something.
    pub fn poll_take(&self, context: &mut Context<'_>, most_bytes: usize) -> Poll<Vec<Tapped>> {
        self.subscriber.queue.poll_take(context, most_bytes)
    }

    /// What it was not shown so far.
    pub fn missed(&self) -> Missed {
        let (over_rate, queue_full) = self.subscriber.queue.missed();
        Missed { over_rate, queue_full, unexamined: self.subscriber.unexamined.get() }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscribers = self.tap.subscribers.write().unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| !Arc::ptr_eq(subscriber, &self.subscriber));
        self.tap.open.store(subscribers.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
