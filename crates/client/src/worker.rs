//! The handle of the sending thread: what the application's threads share with it, how they wake it, wait for it, and
//! read the account.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use metlog_message::encode::{Record, Template};

use crate::diagnostics::Listener;
use crate::queue::{Pushed, Queue, lock};
use crate::senders::Sender;
use crate::start::Start;
use crate::stats::{DropReason, Stats};
use crate::task::Task;

/// How long after its deadline a closing client waits for the sending thread to come back from a system call.
const GRACE: Duration = Duration::from_millis(50);

/// How often somebody who waits is asked whether to go on.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// No deadline is further away than this: a caller's `Duration::MAX` must not overflow.
pub(crate) const FAR: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) const AWAKE: u8 = 0;
/// Looks again in a moment; a queue that fills up wakes it.
pub(crate) const DOZING: u8 = 1;
/// The next message wakes it.
pub(crate) const ASLEEP: u8 = 2;
/// Waits for the sender's next try; messages do not wake it.
pub(crate) const WAITING: u8 = 3;

/// What the application's threads and the sending thread share.
pub(crate) struct Shared {
    pub(crate) template: Template,
    /// Whether the template names a logger; where not, each message brings its own.
    pub(crate) names_logger: bool,
    /// The last number given out as `metlog_seq`.
    pub(crate) sequence: AtomicU64,
    pub(crate) queue: Queue,
    /// `AWAKE`, `DOZING`, `ASLEEP` or `WAITING`.
    pub(crate) rest: AtomicU8,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) control: Mutex<Control>,
    pub(crate) progress: Condvar,
    pub(crate) linger: Duration,
}

impl Shared {
    pub(crate) fn new(
        template: Template,
        names_logger: bool,
        queue_bytes: usize,
        linger: Duration,
    ) -> Shared {
        Shared {
            template,
            names_logger,
            sequence: AtomicU64::new(0),
            queue: Queue::new(queue_bytes),
            rest: AtomicU8::new(AWAKE),
            ledger: Mutex::default(),
            control: Mutex::default(),
            progress: Condvar::new(),
            linger,
        }
    }

    /// Waits until something is so, for at most `timeout`, and as long as `go_on` says.
    fn wait<'a>(
        &'a self,
        mut control: MutexGuard<'a, Control>,
        timeout: Duration,
        mut go_on: impl FnMut() -> bool,
        is_so: impl Fn(&Control) -> bool,
    ) -> MutexGuard<'a, Control> {
        let deadline = Instant::now() + timeout.min(FAR);
        while !is_so(&control) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.progress.wait_timeout(control, left.min(ASK_EVERY));
            control = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !is_so(&control) {
                // It is the caller's code, which may do anything but find this locked.
                drop(control);
                let goes_on = go_on();
                control = lock(&self.control);
                if !goes_on {
                    break;
                }
            }
        }
        control
    }
}

/// The sending thread's part of the account. Messages move from the queue to here, and from `in_flight` to an end,
/// under its lock, so that who holds it sees every message once.
#[derive(Default)]
pub(crate) struct Ledger {
    /// The client's own messages, which never were in the queue.
    pub(crate) own: u64,
    pub(crate) in_flight: u64,
    pub(crate) sent: u64,
    pub(crate) truncated: u64,
    pub(crate) dropped: [u64; DropReason::COUNT],
}

impl Ledger {
    /// Moves messages that turned out to be lost from those that were sent; a sender from outside may claim too many.
    pub(crate) fn lose(&mut self, messages: u64) {
        let lost = messages.min(self.sent);
        self.sent -= lost;
        self.dropped[DropReason::Unreachable as usize] += lost;
    }
}

#[derive(Default)]
pub(crate) struct Control {
    pub(crate) flushes_asked: u64,
    pub(crate) flushes_done: u64,
    /// Set when the client is being closed: no later than then.
    pub(crate) stop: Option<Instant>,
    pub(crate) finished: bool,
}

/// A queue and the thread that empties it.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    start: Start,
    /// How long [`Drop`] may take.
    close_timeout: Duration,
}

impl Worker {
    /// Starts the sending thread, if there is a sender for it. Where the system has no thread now, later calls try again.
    pub(crate) fn start(
        shared: Shared,
        close_timeout: Duration,
        sender: std::io::Result<Box<dyn Sender>>,
        diagnostics: Option<Listener>,
    ) -> (Worker, std::io::Result<()>) {
        let shared = Arc::new(shared);
        let (task, lacks) = match sender {
            Ok(sender) => (Some(Task::new(Arc::clone(&shared), sender)), None),
            Err(error) => {
                // Nobody will ever empty the queue; what comes is counted as dropped.
                shared.queue.close();
                (None, Some(error))
            }
        };
        let start = Start::new(Arc::clone(&shared), task, diagnostics);
        let started = lacks.map_or_else(|| start.attempt(), Err);
        (Worker { shared, start, close_timeout }, started)
    }

    /// Says why the start has failed, where nobody is told by an error.
    pub(crate) fn say_why_not(&self, error: &std::io::Error) {
        self.start.say_why_not(error);
    }

    /// Queues one message.
    #[inline]
    pub(crate) fn push(&self, record: Record<'_>) {
        self.wake_for(self.shared.queue.push(&self.shared.template, record, &self.shared.sequence));
    }

    /// Queues one message that is encoded already; `false` if it was dropped.
    pub(crate) fn push_encoded(&self, object: &str) -> bool {
        let pushed = self.shared.queue.push_encoded(&self.shared.template, object, &self.shared.sequence);
        self.wake_for(pushed);
        pushed != Pushed::Dropped
    }

    /// Wakes the sending thread, if it must not sleep after this.
    #[inline]
    fn wake_for(&self, pushed: Pushed) {
        match pushed {
            // Relaxed is enough: the thread that sleeps looks into the queue once more after it has said so, under
            // the lock that the push has held. Either it sees the message, or this sees that it sleeps.
            Pushed::Queued | Pushed::Dropped if self.shared.rest.load(Ordering::Relaxed) != ASLEEP => {}
            Pushed::Queued | Pushed::Dropped | Pushed::Filling => self.wake(),
        }
    }

    #[cold]
    fn wake(&self) {
        let Some(thread) = self.start.thread() else { return self.start.attempt_now_and_then() };
        let rest = self.shared.rest.load(Ordering::SeqCst);
        if matches!(rest, DOZING | ASLEEP)
            // Of several threads that see this, one wakes it.
            && self.shared.rest.compare_exchange(rest, AWAKE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            thread.unpark();
        }
    }

    /// Counts a message that a filter dropped.
    pub(crate) fn count_filtered(&self) {
        self.shared.queue.count_filtered();
    }

    /// Counts a message that its sample rate dropped.
    pub(crate) fn count_sampled_out(&self) {
        self.shared.queue.count_sampled_out();
    }

    /// Waits until everything that was queued before is out or dropped, but not longer than `timeout`, and only as long as
    /// `go_on` says.
    pub(crate) fn flush(&self, timeout: Duration, mut go_on: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + timeout.min(FAR);
        let Some(thread) = self.thread_until(deadline, &mut go_on) else {
            return self.shared.queue.is_empty() && self.left_nothing_behind();
        };
        let mut control = lock(&self.shared.control);
        control.flushes_asked += 1;
        let ticket = control.flushes_asked;
        thread.unpark();
        let left = deadline.saturating_duration_since(Instant::now());
        let control = self
            .shared
            .wait(control, left, go_on, |control| control.flushes_done >= ticket || control.finished);
        let (flushed, finished) = (control.flushes_done >= ticket, control.finished);
        drop(control);
        flushed || finished && self.left_nothing_behind()
    }

    /// The sending thread. Where there is none yet, it is tried to start it, until the deadline and as long as `go_on` says,
    /// if anything waits for it.
    fn thread_until(&self, deadline: Instant, go_on: &mut impl FnMut() -> bool) -> Option<&Thread> {
        while self.start.thread().is_none() && !self.shared.queue.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.start.attempt().is_err() {
                if left.is_zero() || !go_on() {
                    break;
                }
                std::thread::sleep(left.min(ASK_EVERY));
            }
        }
        self.start.thread()
    }

    /// Whether everything was out, or dropped for a reason of its own, when the sending thread ended.
    fn left_nothing_behind(&self) -> bool {
        lock(&self.shared.ledger).dropped[DropReason::Shutdown as usize] == 0
    }

    /// Takes no more messages, sends what waits, and ends the sending thread, all within `timeout`. Whether nothing
    /// was left behind. It is waited for only as long as `go_on` says.
    pub(crate) fn close(&self, timeout: Duration, mut go_on: impl FnMut() -> bool) -> bool {
        self.shared.queue.close();
        let deadline = Instant::now() + timeout.min(FAR);
        let thread = self.thread_until(deadline, &mut go_on);
        if thread.is_none() && self.start.give_up() {
            return self.left_nothing_behind();
        }
        let mut control = lock(&self.shared.control);
        control.stop = Some(control.stop.map_or(deadline, |earlier| earlier.min(deadline)));
        if let Some(thread) = self.start.thread() {
            thread.unpark();
        }
        let left = deadline.saturating_duration_since(Instant::now()) + GRACE;
        let control = self.shared.wait(control, left, go_on, |control| control.finished);
        let finished = control.finished;
        drop(control);
        finished && self.left_nothing_behind()
    }

    /// The account, all numbers from one moment.
    pub(crate) fn stats(&self) -> Stats {
        let ledger = lock(&self.shared.ledger);
        let counts = self.shared.queue.counts();
        let mut dropped = counts.dropped;
        for (total, more) in dropped.iter_mut().zip(ledger.dropped) {
            *total += more;
        }
        Stats {
            accepted: counts.accepted + ledger.own,
            sent: ledger.sent,
            queued: counts.queued + ledger.in_flight,
            filtered: counts.filtered,
            sampled_out: counts.sampled_out,
            truncated: counts.truncated + ledger.truncated,
            source: self.shared.template.source(),
            dropped,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A sender or filter may own the last handle of its own client; a thread cannot wait for itself.
        let myself = |thread: &Thread| thread.id() == std::thread::current().id();
        if self.start.thread().is_some_and(myself) {
            lock(&self.shared.control).stop = Some(Instant::now());
            return;
        }
        self.close(self.close_timeout, || true);
        if let Some(thread) = self.start.take()
            && lock(&self.shared.control).finished
        {
            // It has only its last lines to go, and nobody else's code in them.
            let _ = thread.join();
        }
    }
}
