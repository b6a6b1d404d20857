//! The sending thread: it takes what the application's threads have queued, hands it to the sender, keeps what the
//! sender could not take, and accounts for each message.
//!
//! A wake-up costs the thread that gives it 5 to 20 µs, a hundred times what the rest of a call does, so there are few
//! of them. After work the sending thread only dozes for the linger and looks again, without being called, for less
//! than 1 % of a processor; only when there was nothing for two seconds does it sleep, and then the next message wakes it.
//! An application that keeps sending never does.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metlog_message::encode::{Fields, MemberBuffer, Payload, Record, SecondCache, When};
use metlog_message::{Decoder, Index, Key};

use crate::pool::Chunk;
use crate::queue::lock;
use crate::senders::{Answer, Batch, Sender, Then};
use crate::severity::Severity;
use crate::stats::DropReason;
use crate::worker::{ASLEEP, AWAKE, DOZING, FAR, Shared, WAITING};

/// How many dozes without a message come before sleep: two seconds at the default linger.
const DOZES_BEFORE_SLEEP: usize = 1000;

/// After so long asleep, memory that a burst needed goes back to the system.
const SHRINK_AFTER: Duration = Duration::from_secs(30);

/// Drops are reported no more often than this, unless somebody flushes.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// The sending thread's own state.
pub(crate) struct Task {
    shared: Arc<Shared>,
    sender: Box<dyn Sender>,
    pending: VecDeque<Pending>,
    /// Between the queue and `pending`; kept for its memory.
    chunks: VecDeque<Chunk>,
    idle_rounds: usize,
    /// How many of `pending` are reports of ours.
    own_pending: usize,
    /// How many flushes had been asked for when this round began.
    asked: u64,
    /// How many drops of each reason have been reported.
    reported: [u64; DropReason::COUNT],
    reported_at: Option<Instant>,
    clock: SecondCache,
    /// The logger of a message that was sent lately, for reports of a client whose messages each bring their own.
    logger: String,
}

/// A chunk of which the first `done` messages are accounted for.
struct Pending {
    chunk: Chunk,
    done: usize,
    /// A report of ours and not the application's.
    own: bool,
}

impl Pending {
    fn batch(&self) -> Batch<'_> {
        let start = if self.done == 0 { 0 } else { self.chunk.ends[self.done - 1] as usize };
        Batch::new(&self.chunk.bytes, &self.chunk.ends[self.done..], start)
    }
}

impl Task {
    pub(crate) fn new(shared: Arc<Shared>, sender: Box<dyn Sender>) -> Task {
        Task {
            shared,
            sender,
            pending: VecDeque::new(),
            chunks: VecDeque::new(),
            idle_rounds: 0,
            own_pending: 0,
            asked: 0,
            reported: [0; DropReason::COUNT],
            reported_at: None,
            clock: SecondCache::default(),
            logger: String::new(),
        }
    }

    pub(crate) fn run(mut self) {
        crate::system::block_signals();
        #[cfg(any(feature = "log", feature = "tracing"))]
        crate::reentry::never_from_this_thread();
        // Nothing in here is known to panic. If it does all the same, nobody may wait for this thread, and what
        // the application still sends is counted as dropped instead of queued for ever.
        if catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.shared.queue.close();
        }
        self.drop_the_rest();
        // The sender goes before the end is said: whoever waits for the end waits for a bounded time only, whoever
        // joins this thread afterwards does not.
        let shared = Arc::clone(&self.shared);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self)));
        lock(&shared.control).finished = true;
        shared.progress.notify_all();
    }

    /// Drops and counts what waits: there is no thread for this, and nobody waits for one any longer.
    pub(crate) fn give_up(mut self) {
        self.drop_the_rest();
        lock(&self.shared.control).finished = true;
        self.shared.progress.notify_all();
    }

    fn work(&mut self) {
        loop {
            let control = lock(&self.shared.control);
            self.asked = control.flushes_asked;
            let urgent = control.stop.is_some() || control.flushes_asked > control.flushes_done;
            drop(control);
            let found = self.collect();
            self.report_drops(urgent);
            let mut delay = self.send();
            if urgent && delay.is_none() {
                // What came to light while an earlier report was on its way.
                self.report_drops(urgent);
                delay = self.send();
            }
            if delay.is_none() {
                self.flushed();
            }
            let stop = lock(&self.shared.control).stop;
            if let Some(deadline) = stop {
                let now = Instant::now();
                if delay.is_none() && self.shared.queue.is_empty() || now >= deadline {
                    return;
                }
                // Also with nothing to retry: a message may have come in between, and goes in the next round.
                std::thread::park_timeout(delay.unwrap_or_default().min(deadline - now));
            } else if let Some(delay) = delay {
                self.rest(WAITING, Some(delay.min(FAR)));
            } else {
                self.idle(found);
            }
        }
    }

    /// Takes over what is queued, and says how many messages it was.
    fn collect(&mut self) -> u64 {
        let mut ledger = lock(&self.shared.ledger);
        let found = self.shared.queue.collect(&mut self.chunks);
        ledger.in_flight += found;
        drop(ledger);
        if !self.shared.names_logger
            && let Some(chunk) = self.chunks.front()
        {
            let mut index = Index::EMPTY;
            if let Some(end) = Decoder::default().decode_line(&chunk.bytes, &mut index) {
                self.logger = index.text(&chunk.bytes[..end], Key::Logger).into_owned();
            }
        }
        self.pending.extend(self.chunks.drain(..).map(|chunk| Pending { chunk, done: 0, own: false }));
        found
    }

    /// Hands over what is pending; with a delay when the sender wants to be asked again.
    fn send(&mut self) -> Option<Duration> {
        while let Some(pending) = self.pending.front_mut() {
            let batch = pending.batch();
            let length = batch.len();
            let send = || (self.sender.send(&batch), self.sender.lost());
            let (answer, lost) = catch_unwind(AssertUnwindSafe(send)).unwrap_or_else(|_| {
                self.sender = self.sender.fresh();
                (Answer::refuse(0, DropReason::Refused), 0)
            });
            // A sender from outside may claim more than it was given.
            let sent = answer.sent.min(length);
            let mut ended = sent;
            let mut ledger = lock(&self.shared.ledger);
            ledger.sent += sent as u64;
            ledger.truncated += answer.truncated.min(sent) as u64;
            ledger.lose(lost);
            if let Then::Drop(reason) = answer.then
                && sent < length
            {
                ledger.dropped[reason as usize] += 1;
                ended += 1;
                if pending.own {
                    // A report that is refused is not worth another report.
                    self.reported[reason as usize] += 1;
                }
            }
            ledger.in_flight -= ended as u64;
            drop(ledger);
            pending.done += ended;
            if ended == length {
                if let Some(pending) = self.pending.pop_front() {
                    self.own_pending -= usize::from(pending.own);
                    self.shared.queue.give_back(pending.chunk);
                }
            } else if let Then::Retry(delay) = answer.then {
                return Some(delay);
            } else if ended == 0 {
                // It took nothing and said nothing: not to be asked again in a tight loop.
                return Some(Duration::from_millis(100));
            }
        }
        None
    }

    /// Puts a message about drops that no message has told of yet at the end of what is pending. While one waits
    /// there, the next one waits with its making: an outage must not fill the memory with reports about itself.
    fn report_drops(&mut self, now: bool) {
        if self.own_pending > 0 {
            return;
        }
        if !now && self.reported_at.is_some_and(|time| time.elapsed() < REPORT_EVERY) {
            return;
        }
        let queue = self.shared.queue.counts();
        let ledger_dropped = lock(&self.shared.ledger).dropped;
        for reason in [DropReason::QueueFull, DropReason::TooLarge, DropReason::Refused] {
            let total = queue.dropped[reason as usize] + ledger_dropped[reason as usize];
            let news = total.saturating_sub(self.reported[reason as usize]);
            if news > 0 {
                if self.reported[reason as usize] == 0 {
                    crate::diagnostics::say(format_args!(
                        "a message was dropped: {reason}; this is said once, the statistics count them all"
                    ));
                }
                self.reported[reason as usize] = total;
                self.reported_at = Some(Instant::now());
                self.report(reason, news);
            }
        }
    }

    fn report(&mut self, reason: DropReason, count: u64) {
        let mut members = MemberBuffer::new();
        members.write("reason", reason.name().into());
        let record = Record {
            kind: "metlog.dropped",
            when: When::At(crate::clock::now()),
            logger: (!self.shared.names_logger).then_some(self.logger.as_str()),
            severity: Severity::Warning as u8,
            payload: Payload::Integer(i64::try_from(count).unwrap_or(i64::MAX)),
            fields: Fields::Members(members.members()),
            sequence: self.shared.sequence.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let mut chunk = Chunk::default();
        self.shared.template.write(&mut chunk.bytes, &record, &mut self.clock);
        chunk.end_message();
        let mut ledger = lock(&self.shared.ledger);
        ledger.own += 1;
        ledger.in_flight += 1;
        drop(ledger);
        self.own_pending += 1;
        self.pending.push_back(Pending { chunk, done: 0, own: true });
    }

    fn flushed(&mut self) {
        let is_awaited = lock(&self.shared.control).flushes_done < self.asked;
        if is_awaited {
            // Whoever flushes looks at the account next.
            self.ask_for_losses();
        }
        let mut control = lock(&self.shared.control);
        if control.flushes_done < self.asked {
            control.flushes_done = self.asked;
            drop(control);
            self.shared.progress.notify_all();
        }
    }

    /// Everything is out: looks again in a moment, or sleeps until the next message.
    fn idle(&mut self, found: u64) {
        self.idle_rounds = if found > 0 { 0 } else { self.idle_rounds + 1 };
        if self.idle_rounds < DOZES_BEFORE_SLEEP && !self.shared.linger.is_zero() {
            self.rest(DOZING, Some(self.shared.linger));
            return;
        }
        if self.has_news() {
            // Then it is time for a report, if no message comes before.
            if self.rest(ASLEEP, Some(REPORT_EVERY)) {
                return;
            }
        } else if self.rest(ASLEEP, Some(SHRINK_AFTER)) {
            self.shared.queue.shrink();
            self.rest(ASLEEP, None);
        }
        // The first message is seldom alone: what comes with it goes out with it.
        self.rest(DOZING, Some(self.shared.linger));
        self.idle_rounds = 0;
    }

    /// Whether there are drops that no message has told of.
    fn has_news(&self) -> bool {
        let queue = self.shared.queue.counts();
        let ledger = lock(&self.shared.ledger).dropped;
        [DropReason::QueueFull, DropReason::TooLarge, DropReason::Refused].iter().any(|reason| {
            let reason = *reason as usize;
            queue.dropped[reason] + ledger[reason] > self.reported[reason]
        })
    }

    /// Rests until it is woken or the time is over; `true` if it was the time.
    fn rest(&self, depth: u8, time: Option<Duration>) -> bool {
        if time.is_some_and(|time| time.is_zero()) {
            return true;
        }
        let deadline = time.map(|time| Instant::now() + time);
        self.shared.rest.store(depth, Ordering::SeqCst);
        let timed_out = loop {
            // Whoever flushes or closes does not look at `rest`; whoever queues does, and has done so already
            // if the message is there.
            let control = lock(&self.shared.control);
            if control.stop.is_some() || control.flushes_asked > self.asked {
                break false;
            }
            drop(control);
            if self.shared.rest.load(Ordering::SeqCst) == AWAKE
                || depth == ASLEEP && !self.shared.queue.is_empty()
            {
                break false;
            }
            match deadline {
                None => std::thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                    _ => break true,
                },
            }
        };
        self.shared.rest.store(AWAKE, Ordering::SeqCst);
        timed_out
    }

    /// Has the sender say which messages it has learned to be lost, and accounts for them.
    fn ask_for_losses(&mut self) {
        let lost = catch_unwind(AssertUnwindSafe(|| self.sender.lost())).unwrap_or_default();
        lock(&self.shared.ledger).lose(lost);
    }

    /// Counts everything that did not leave as dropped.
    fn drop_the_rest(&mut self) {
        self.ask_for_losses();
        self.collect();
        let mut ledger = lock(&self.shared.ledger);
        let given_up = std::mem::take(&mut ledger.in_flight);
        ledger.dropped[DropReason::Shutdown as usize] += given_up;
        drop(ledger);
        self.pending.clear();
        if given_up > 0 {
            crate::diagnostics::say(format_args!(
                "messages given up because they still waited when the time for closing was over: {given_up}"
            ));
        }
    }
}
