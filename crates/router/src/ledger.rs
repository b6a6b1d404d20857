//! The ledger: counters that account for every message.
//!
//! Two equations hold whenever nothing is under way. Per input: received = routed + unrouted + rejected + blank. Per
//! endpoint: enqueued = delivered + refused + dropped + queued, where `queued` is read from the buffer itself. Counters
//! are added to once per batch, so that they cost nothing per message.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use metlog_buffer::{Buffer, Status};
use metlog_message::Reason;

use crate::batch::Handover;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        if amount > 0 {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// The sum so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one batch adds to an input's counters; gathered without any sharing while the batch is built.
#[derive(Debug, Clone)]
pub struct InputTally {
    /// Frames taken from the transport: routed + unrouted + rejected + blank.
    pub received: u64,
    /// Messages that matched at least one route.
    pub routed: u64,
    /// Messages that matched none.
    pub unrouted: u64,
    /// Frames of nothing but white space.
    pub blank: u64,
    /// Frames that could not be used, by [`Reason::index`].
    pub rejected: [u64; Reason::COUNT],
    /// Messages whose timestamp is no date.
    pub timestamp_unreadable: u64,
    /// Bytes taken from the transport.
    pub bytes: u64,
}

impl Default for InputTally {
    fn default() -> Self {
        InputTally {
            received: 0,
            routed: 0,
            unrouted: 0,
            blank: 0,
            rejected: [0; Reason::COUNT],
            timestamp_unreadable: 0,
            bytes: 0,
        }
    }
}

/// An input's side of the ledger.
#[derive(Debug)]
pub struct InputCounters {
    received: Counter,
    routed: Counter,
    unrouted: Counter,
    blank: Counter,
    rejected: [Counter; Reason::COUNT],
    timestamp_unreadable: Counter,
    bytes: Counter,
    /// Connections accepted.
    pub connections_opened: Counter,
    /// Connections that ended.
    pub connections_closed: Counter,
    /// Connections turned away because the limit was reached.
    pub connections_refused: Counter,
    /// Unfinished lines given up because their shared memory was used up (a part of `rejected`).
    pub lines_given_up: Counter,
    kernel_drops: Mutex<Vec<KernelDrops>>,
    noticed: Mutex<BTreeMap<&'static str, u64>>,
}

/// Asks the operating system how many datagrams it dropped at one socket.
struct KernelDrops(Box<dyn Fn() -> u64 + Send + Sync>);

impl Debug for KernelDrops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KernelDrops")
    }
}

impl Default for InputCounters {
    fn default() -> Self {
        InputCounters {
            received: Counter::default(),
            routed: Counter::default(),
            unrouted: Counter::default(),
            blank: Counter::default(),
            rejected: std::array::from_fn(|_| Counter::default()),
            timestamp_unreadable: Counter::default(),
            bytes: Counter::default(),
            connections_opened: Counter::default(),
            connections_closed: Counter::default(),
            connections_refused: Counter::default(),
            lines_given_up: Counter::default(),
            kernel_drops: Mutex::default(),
            noticed: Mutex::default(),
        }
    }
}

impl InputCounters {
    /// Adds one batch's numbers.
    pub fn add(&self, tally: &InputTally) {
        self.received.add(tally.received);
        self.routed.add(tally.routed);
        self.unrouted.add(tally.unrouted);
        self.blank.add(tally.blank);
        for (counter, &amount) in self.rejected.iter().zip(&tally.rejected) {
            counter.add(amount);
        }
        self.timestamp_unreadable.add(tally.timestamp_unreadable);
        self.bytes.add(tally.bytes);
    }

    /// Registers a socket's own drop counter; it is asked each time the ledger is read.
    pub fn watch_kernel_drops(&self, ask: impl Fn() -> u64 + Send + Sync + 'static) {
        self.kernel_drops.lock().unwrap_or_else(PoisonError::into_inner).push(KernelDrops(Box::new(ask)));
    }

    /// Counts something worth knowing that is not a message's fate, such as `file-truncated`.
    pub fn notice(&self, what: &'static str, times: u64) {
        *self.noticed.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += times;
    }

    /// The numbers now.
    pub fn read(&self) -> InputLedger {
        let rejected = Reason::all()
            .zip(&self.rejected)
            .filter(|(_, counter)| counter.get() > 0)
            .map(|(reason, counter)| (reason.to_string(), counter.get()))
            .collect();
        let kernel_drops = self
            .kernel_drops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|drops| drops.0())
            .sum();
        InputLedger {
            received: self.received.get(),
            routed: self.routed.get(),
            unrouted: self.unrouted.get(),
            blank: self.blank.get(),
            rejected,
            timestamp_unreadable: self.timestamp_unreadable.get(),
            bytes: self.bytes.get(),
            connections_opened: self.connections_opened.get(),
            connections_closed: self.connections_closed.get(),
            connections_refused: self.connections_refused.get(),
            lines_given_up: self.lines_given_up.get(),
            kernel_drops,
            noticed: self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// An input's numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the same words as in `InputTally` and `InputCounters`")]
pub struct InputLedger {
    pub received: u64,
    pub routed: u64,
    pub unrouted: u64,
    pub blank: u64,
    pub rejected: BTreeMap<String, u64>,
    pub timestamp_unreadable: u64,
    pub bytes: u64,
    pub connections_opened: u64,
    pub connections_closed: u64,
    pub connections_refused: u64,
    pub lines_given_up: u64,
    /// Datagrams that the kernel dropped before the router could read them: not part of `received`.
    pub kernel_drops: u64,
    pub noticed: BTreeMap<&'static str, u64>,
}

impl InputLedger {
    /// All rejected frames.
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Whether the equation holds.
    pub fn balances(&self) -> bool {
        self.received == self.routed + self.unrouted + self.rejected_total() + self.blank
    }
}

/// Why messages were dropped at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The buffer was full, under a policy that drops or for an input that cannot wait.
    BufferFull,
    /// The router stopped before they could be delivered.
    Shutdown,
    /// One of the endpoint's lanes held its share of the buffer already.
    LaneFull,
    /// They were of a new lane, and none of the endpoint's lanes was idle.
    TooManyLanes,
}

impl DropReason {
    /// All of them.
    pub const ALL: [DropReason; 4] =
        [DropReason::BufferFull, DropReason::Shutdown, DropReason::LaneFull, DropReason::TooManyLanes];

    /// The name that the ledger uses.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::BufferFull => "buffer-full",
            DropReason::Shutdown => "shutdown",
            DropReason::LaneFull => "lane-full",
            DropReason::TooManyLanes => "too-many-lanes",
        }
    }
}

/// An endpoint's side of the ledger, shared by those who fill its buffer and the one who empties it.
#[derive(Debug)]
pub struct EndpointCounters {
    /// Messages offered to the buffer, those that it then dropped included.
    pub enqueued: Counter,
    /// Messages that the endpoint delivered.
    pub delivered: Counter,
    /// Deliveries that failed and were tried again.
    pub retries: Counter,
    dropped: [Counter; DropReason::ALL.len()],
    refused: Mutex<BTreeMap<&'static str, u64>>,
    noticed: Mutex<BTreeMap<&'static str, u64>>,
    failure: Mutex<Option<Failure>>,
}

impl Default for EndpointCounters {
    fn default() -> Self {
        EndpointCounters {
            enqueued: Counter::default(),
            delivered: Counter::default(),
            retries: Counter::default(),
            dropped: std::array::from_fn(|_| Counter::default()),
            refused: Mutex::default(),
            noticed: Mutex::default(),
            failure: Mutex::default(),
        }
    }
}

/// Why an endpoint is not delivering at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in words for an operator.
    pub error: String,
    /// How often in a row.
    pub attempts: u32,
}

impl EndpointCounters {
    /// Counts messages that were dropped.
    pub fn drop_messages(&self, reason: DropReason, messages: usize) {
        self.dropped[reason as usize].add(messages as u64);
    }

    /// Counts messages that the endpoint refused for good.
    pub fn refuse(&self, reason: &'static str, messages: u64) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += messages;
    }

    /// Counts something worth knowing that is not a message's fate, such as `peer-unreachable`.
    pub fn notice(&self, what: &'static str, times: u64) {
        *self.noticed.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += times;
    }

    /// Says that deliveries fail, or (with `None`) that they work again. Returns whether that is news.
    pub fn set_failure(&self, failure: Option<Failure>) -> bool {
        let mut current = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let news = current.is_some() != failure.is_some();
        *current = failure;
        news
    }

    /// The numbers now, with what `buffer` holds.
    pub fn read(&self, buffer: &Buffer<Handover>, now: Duration) -> EndpointLedger {
        let Status { messages, bytes, oldest } = buffer.status();
        let dropped = DropReason::ALL
            .iter()
            .zip(&self.dropped)
            .filter(|(_, counter)| counter.get() > 0)
            .map(|(reason, counter)| (reason.name(), counter.get()))
            .collect();
        EndpointLedger {
            enqueued: self.enqueued.get(),
            delivered: self.delivered.get(),
            refused: self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            dropped,
            queued: messages as u64,
            queued_bytes: bytes as u64,
            buffer_limit_bytes: buffer.limit_bytes() as u64,
            oldest_undelivered: oldest.map(|pushed_at| now.saturating_sub(pushed_at)),
            retries: self.retries.get(),
            noticed: self.noticed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            failure: self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// An endpoint's numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the same words as in `EndpointCounters`")]
pub struct EndpointLedger {
    pub enqueued: u64,
    pub delivered: u64,
    pub refused: BTreeMap<&'static str, u64>,
    pub dropped: BTreeMap<&'static str, u64>,
    pub queued: u64,
    /// Bytes of memory that the buffer is charged.
    pub queued_bytes: u64,
    /// What it may be charged at most.
    pub buffer_limit_bytes: u64,
    /// Age of the oldest message that is neither delivered nor given up: the endpoint's health.
    pub oldest_undelivered: Option<Duration>,
    pub retries: u64,
    pub noticed: BTreeMap<&'static str, u64>,
    pub failure: Option<Failure>,
}

impl EndpointLedger {
    /// All refused messages.
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// All dropped messages.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether the equation holds.
    pub fn balances(&self) -> bool {
        self.enqueued == self.delivered + self.refused_total() + self.dropped_total() + self.queued
    }
}

/// Every component's counters, by name.
#[derive(Debug, Default)]
pub struct Ledger {
    inputs: Vec<(String, &'static str, Arc<InputCounters>)>,
    endpoints: Vec<EndpointAccount>,
}

/// What the ledger knows of one endpoint.
#[derive(Debug)]
pub struct EndpointAccount {
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its counters.
    pub counters: Arc<EndpointCounters>,
    /// Its buffer.
    pub buffer: Arc<Buffer<Handover>>,
}

impl Ledger {
    /// Opens an input's account.
    pub fn add_input(&mut self, name: &str, kind: &'static str) -> Arc<InputCounters> {
        let counters = Arc::new(InputCounters::default());
        self.inputs.push((name.to_owned(), kind, counters.clone()));
        counters
    }

    /// Opens an endpoint's account.
    pub fn add_endpoint(&mut self, account: EndpointAccount) {
        self.endpoints.push(account);
    }

    /// Every input's name, kind and numbers.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &'static str, InputLedger)> {
        self.inputs.iter().map(|(name, kind, counters)| (name.as_str(), *kind, counters.read()))
    }

    /// Every endpoint's name, kind and numbers; `now` is the monotonic clock.
    pub fn endpoints(&self, now: Duration) -> impl Iterator<Item = (&str, &'static str, EndpointLedger)> {
        self.endpoints.iter().map(move |account| {
            (account.name.as_str(), account.kind, account.counters.read(&account.buffer, now))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_are_listed_by_reason_and_balance() {
        let counters = InputCounters::default();
        let mut tally = InputTally { received: 5, routed: 2, blank: 1, ..InputTally::default() };
        tally.rejected[Reason::InvalidJson.index()] = 2;
        counters.add(&tally);
        let ledger = counters.read();
        assert_eq!(ledger.rejected, BTreeMap::from([("invalid-json".to_owned(), 2)]));
        assert!(ledger.balances());
    }

    #[test]
    fn the_kernels_own_counter_is_asked_when_the_ledger_is_read() {
        let counters = InputCounters::default();
        counters.watch_kernel_drops(|| 3);
        counters.watch_kernel_drops(|| 4);
        assert_eq!(counters.read().kernel_drops, 7);
    }
}
