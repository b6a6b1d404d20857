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
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use metlog_buffer::{Buffer, Status};
use metlog_message::Reason;

use crate::batch::Handover;

mod accounts;
mod files;
mod last_minute;

use self::last_minute::LastMinute;
pub use self::{
    accounts::{Account, EndpointAccount, InputAccount, Ledger},
    files::{FileLedger, FilesLedger, LeftAlone, MOST_LISTED, Standing},
};

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
    /// Of those that accept connections for it: how many have some for which there is no place.
    waiting_for_places: AtomicUsize,
    /// Unfinished lines given up because their shared memory was used up (a part of `rejected`).
    pub lines_given_up: Counter,
    kernel_drops: Mutex<KernelDrops>,
    noticed: Mutex<BTreeMap<&'static str, u64>>,
    files: Mutex<Vec<AsksForFiles>>,
}

/// Asks an input how far it has come with its files; `None` when it is closed.
struct AsksForFiles(Box<dyn Fn() -> Option<FilesLedger> + Send + Sync>);

impl Debug for AsksForFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AsksForFiles")
    }
}

/// How many datagrams the kernel dropped at an input's sockets.
#[derive(Debug, Default)]
struct KernelDrops {
    open: Vec<AsksKernel>,
    /// At sockets that are closed.
    closed: u64,
}

/// Asks the operating system how many datagrams it dropped at one socket.
struct AsksKernel(Box<dyn Fn() -> SocketDrops + Send + Sync>);

/// How many datagrams the kernel dropped at one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketDrops {
    /// Until now.
    SoFar(u64),
    /// In all: the socket is not read any more, and need not be asked again.
    InAll(u64),
}

impl Debug for AsksKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AsksKernel")
    }
}

impl KernelDrops {
    fn total(&mut self) -> u64 {
        let mut total = 0;
        self.open.retain(|ask| match ask.0() {
            SocketDrops::SoFar(drops) => {
                total += drops;
                true
            }
            SocketDrops::InAll(drops) => {
                self.closed += drops;
                false
            }
        });
        total + self.closed
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
            waiting_for_places: AtomicUsize::new(0),
            lines_given_up: Counter::default(),
            kernel_drops: Mutex::default(),
            noticed: Mutex::default(),
            files: Mutex::default(),
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
    pub fn watch_kernel_drops(&self, ask: impl Fn() -> SocketDrops + Send + Sync + 'static) {
        let mut drops = self.kernel_drops.lock().unwrap_or_else(PoisonError::into_inner);
        // An input that is opened anew many times, and never looked at, must not gather closed sockets.
        drops.total();
        drops.open.push(AsksKernel(Box::new(ask)));
    }

    /// Counts something worth knowing that is not a message's fate, such as `file-truncated`.
    pub fn notice(&self, what: &'static str, times: u64) {
        *self.noticed.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += times;
    }

    /// Says that connections wait because as many are open as may be, or that no more do; each who says so once takes it back.
    pub(crate) fn waits_for_places(&self, waits: bool) {
        if waits {
            self.waiting_for_places.fetch_add(1, Ordering::AcqRel);
        } else {
            self.waiting_for_places.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Registers who knows how far the input has come with its files, until that answers `None`. While a reload tries out a
    /// successor there are two.
    pub fn watch_files(&self, ask: impl Fn() -> Option<FilesLedger> + Send + Sync + 'static) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|ask| ask.0().is_some());
        files.push(AsksForFiles(Box::new(ask)));
    }

    /// How far it has come with its files now; `None` for an input that reads none.
    pub fn files(&self) -> Option<FilesLedger> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().rev().find_map(|ask| ask.0())
    }

    /// The numbers now.
    pub fn read(&self) -> InputLedger {
        let rejected = Reason::all()
            .zip(&self.rejected)
            .filter(|(_, counter)| counter.get() > 0)
            .map(|(reason, counter)| (reason.to_string(), counter.get()))
            .collect();
        let kernel_drops = self.kernel_drops.lock().unwrap_or_else(PoisonError::into_inner).total();
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
            connections_waiting: self.waiting_for_places.load(Ordering::Acquire) > 0,
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
    /// Whether connections wait to be accepted, because as many are open as may be.
    pub connections_waiting: bool,
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
    /// The endpoint was taken out of the configuration, or the input that had read them, before they could be delivered.
    Removed,
}

impl DropReason {
    /// All of them.
    pub const ALL: [DropReason; 5] = [
        DropReason::BufferFull,
        DropReason::Shutdown,
        DropReason::LaneFull,
        DropReason::TooManyLanes,
        DropReason::Removed,
    ];

    /// Those that can occur at an endpoint, with lanes or without.
    pub fn possible(has_lanes: bool) -> impl Iterator<Item = DropReason> {
        let is_of_lanes =
            |reason: &DropReason| matches!(reason, DropReason::LaneFull | DropReason::TooManyLanes);
        DropReason::ALL.into_iter().filter(move |reason| has_lanes || !is_of_lanes(reason))
    }

    /// The name that the ledger uses.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::BufferFull => "buffer-full",
            DropReason::Shutdown => "shutdown",
            DropReason::LaneFull => "lane-full",
            DropReason::TooManyLanes => "too-many-lanes",
            DropReason::Removed => "removed",
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
    overflow: LastMinute,
    noticed_losses: LastMinute,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    noticed: Mutex<BTreeMap<&'static str, u64>>,
    failure: Mutex<Option<Failure>>,
    /// Hand-overs that wait outside of the buffer for room in it.
    waiting: AtomicUsize,
    /// The sources that they are of.
    held_up: AtomicUsize,
    is_removed: AtomicBool,
}

/// One hand-over that waits outside of a full buffer, as long as this exists.
#[derive(Debug)]
pub struct Waiting {
    counters: Arc<EndpointCounters>,
    is_first: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.counters.waiting.fetch_sub(1, Ordering::AcqRel);
        self.counters.held_up.fetch_sub(usize::from(self.is_first), Ordering::AcqRel);
    }
}

impl Default for EndpointCounters {
    fn default() -> Self {
        EndpointCounters {
            enqueued: Counter::default(),
            delivered: Counter::default(),
            retries: Counter::default(),
            dropped: std::array::from_fn(|_| Counter::default()),
            overflow: LastMinute::default(),
            noticed_losses: LastMinute::default(),
            refused: Mutex::default(),
            noticed: Mutex::default(),
            failure: Mutex::default(),
            waiting: AtomicUsize::new(0),
            held_up: AtomicUsize::new(0),
            is_removed: AtomicBool::new(false),
        }
    }
}

/// Why an endpoint is not delivering at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in words for an operator.
    pub error: String,
    /// How often in a row; 0 where nothing went wrong, but it was told to wait.
    pub attempts: u32,
    /// When this began, on the monotonic clock.
    pub since: Duration,
    /// When it was tried last.
    pub last: Duration,
    /// Whether it is tried again although there is nothing to deliver.
    pub tried_idle: bool,
}

impl Failure {
    /// A failure at this moment, after those that began at `since`, if there were any.
    pub fn now(now: Duration, since: Option<Duration>, error: String, attempts: u32) -> Failure {
        Failure { error, attempts, since: since.unwrap_or(now), last: now, tried_idle: false }
    }
}

impl EndpointCounters {
    /// Counts messages that were dropped.
    pub fn drop_messages(&self, reason: DropReason, messages: usize) {
        self.dropped[reason as usize].add(messages as u64);
    }

    /// Counts messages that were dropped at this moment of the monotonic clock because there was no room for them: the endpoint
    /// is in trouble for a minute.
    pub fn overflow(&self, now: Duration, reason: DropReason, messages: usize) {
        self.drop_messages(reason, messages);
        self.overflow.add(now, reason.name(), messages as u64);
    }

    /// Counts messages that the endpoint refused for good.
    pub fn refuse(&self, reason: &'static str, messages: u64) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += messages;
    }

    /// Counts something worth knowing that is not a message's fate, such as `peer-unreachable`.
    pub fn notice(&self, what: &'static str, times: u64) {
        *self.noticed.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += times;
    }

    /// As [`notice`](Self::notice), for what tells that something may have been lost at this moment of the monotonic clock: the
    /// endpoint is in trouble for a minute.
    pub fn notice_loss(&self, now: Duration, what: &'static str) {
        self.notice(what, 1);
        self.noticed_losses.add(now, what, 1);
    }

    /// Says that deliveries fail, or (with `None`) that they work again. Returns whether that is news.
    pub fn set_failure(&self, failure: Option<Failure>) -> bool {
        let mut current = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        let news = current.is_some() != failure.is_some();
        *current = failure;
        news
    }

    /// Counts a hand-over that waits for room in the buffer. `is_first`: its source waits with no other one for that.
    pub(crate) fn wait(self: &Arc<Self>, is_first: bool) -> Waiting {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.held_up.fetch_add(usize::from(is_first), Ordering::AcqRel);
        Waiting { counters: self.clone(), is_first }
    }

    /// Whether hand-overs wait for room in the buffer.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// The endpoint is no longer part of the configuration: what it cannot deliver any more counts as `removed`.
    pub fn remove(&self) {
        self.is_removed.store(true, Ordering::Release);
    }

    /// Why messages are dropped that the endpoint cannot deliver before it ends.
    pub fn end(&self) -> DropReason {
        if self.is_removed.load(Ordering::Acquire) { DropReason::Removed } else { DropReason::Shutdown }
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
            dropped_last_minute: self.overflow.read(now),
            noticed_last_minute: self.noticed_losses.read(now),
            queued: messages as u64,
            queued_bytes: bytes as u64,
            buffer_limit_bytes: buffer.limit_bytes() as u64,
            held_up: self.held_up.load(Ordering::Acquire) as u64,
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
    /// Those of them that found no room in the last minute, to five seconds.
    pub dropped_last_minute: BTreeMap<&'static str, u64>,
    /// What of `noticed` tells that something may have been lost in the last minute, to five seconds.
    pub noticed_last_minute: BTreeMap<&'static str, u64>,
    pub queued: u64,
    /// Bytes of memory that the buffer is charged.
    pub queued_bytes: u64,
    /// What it may be charged at most.
    pub buffer_limit_bytes: u64,
    /// Connections and files that are not read at the moment, because what they brought finds no room in the buffer.
    pub held_up: u64,
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
        counters.watch_kernel_drops(|| SocketDrops::SoFar(3));
        counters.watch_kernel_drops(|| SocketDrops::InAll(4));
        assert_eq!(counters.read().kernel_drops, 7);
        assert_eq!(counters.read().kernel_drops, 7, "a closed socket is asked once, and remembered");
        assert_eq!(counters.kernel_drops.lock().unwrap().open.len(), 1);
    }
}
