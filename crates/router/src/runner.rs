//! Drives one endpoint: buffer → work → answer → cursor, retry, breaker, shutdown.
//!
//! [`Runner`] is a state machine: it is asked what to do next, and told what the endpoint answered. The two drivers in
//! `driving` are loops around it, one on an OS thread and one as a task; the simulation in the tests is a third.

mod driving;

use std::{sync::Arc, task::Waker, time::Duration};

use metlog_buffer::Buffer;

pub use self::driving::{Driven, drive_blocking, drive_network};
use crate::{
    batch::Handover,
    control::Control,
    endpoints::{Answer, Then, Work},
    ledger::{DropReason, EndpointCounters, Failure},
    moderation,
    retry::Retry,
};

/// The most bytes handed to an endpoint at once. Bounds how much is sent again when an endpoint fails in the middle. It is
/// never more than half of the buffer: what is being delivered cannot make room for newer messages.
const WORK_BYTES: usize = 4 * 1024 * 1024;

/// While the router stops, failed deliveries are repeated sooner, but not in a tight loop.
const SHORTEST_LAST_WAIT: Duration = Duration::from_millis(20);

/// How long an endpoint that is to make way for another may go on with a delivery that can be broken off. Most take less;
/// what is broken off is delivered again, and may then arrive twice.
pub(crate) const MAKE_WAY_TIME: Duration = Duration::from_secs(3);

/// How long an endpoint waits at most before it tries again to begin. That costs next to nothing, and what comes when the obstacle
/// is gone is not to wait long.
const BEGIN_AGAIN: Duration = Duration::from_secs(2);

/// What is handed out while the circuit breaker is open: one hand-over.
const PROBE_BYTES: usize = 1;

/// What a driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand [`Runner::work`] to the endpoint and tell [`Runner::answered`] what it said.
    Deliver,
    /// Have the endpoint begin, which it could not before, and tell [`Runner::began`] what it said.
    Begin,
    /// Nothing to do until this moment, whatever is pushed, unless the waker rings.
    SleepUntil(Duration),
    /// Nothing to do until the waker rings.
    AwaitWork,
    /// All is delivered, or given up; the endpoint can be closed.
    Finished,
    /// Another endpoint goes on from here, with a runner of its own over the same buffer.
    MakeWay,
}

/// A wait that an endpoint's peer asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRest {
    /// On the monotonic clock.
    until: Duration,
    /// Since when it is in the way.
    since: Duration,
    /// What happened, in words.
    error: String,
}

/// The state of one endpoint's deliveries.
#[derive(Debug)]
pub struct Runner {
    name: String,
    buffer: Arc<Buffer<Handover>>,
    counters: Arc<EndpointCounters>,
    control: Arc<Control>,
    linger: Duration,
    work: Work,
    retry: Retry,
    /// When what is in its way began.
    failing_since: Option<Duration>,
    not_before: Option<Duration>,
    /// The peer itself asked for the wait until `not_before`.
    peer_asked: bool,
    /// What was said then, for whoever comes next.
    asked: Option<AskedRest>,
    is_stopping: bool,
    lingers_until: Option<Duration>,
    /// The last request to open files anew that was done.
    reopen_done: u64,
    /// The endpoint's last answer was to wait.
    is_waiting: bool,
    /// The endpoint could not open what should be there from the start on.
    has_to_begin: bool,
    /// Since when it has been without work.
    idle_since: Duration,
}

impl Runner {
    /// A runner for one endpoint. `seed` decides the jitter of its retries.
    pub fn new(
        name: &str,
        buffer: Arc<Buffer<Handover>>,
        counters: Arc<EndpointCounters>,
        control: Arc<Control>,
        linger: Duration,
        seed: u64,
    ) -> Self {
        Runner {
            name: name.to_owned(),
            buffer,
            counters,
            control,
            linger,
            work: Work::default(),
            retry: Retry::new(seed),
            failing_since: None,
            not_before: None,
            peer_asked: false,
            asked: None,
            is_stopping: false,
            lingers_until: None,
            reopen_done: 0,
            is_waiting: false,
            has_to_begin: false,
            idle_since: Duration::ZERO,
        }
    }

    /// What the peer asked for and still holds: a limit is about who sends, and a successor that is the same to the peer is to
    /// [`heed`](Runner::heed) it.
    pub fn take_asked(&mut self) -> Option<AskedRest> {
        self.asked.take()
    }

    /// Leaves the peer alone as it has asked the endpoint before to do.
    pub fn heed(&mut self, now: Duration, asked: AskedRest) {
        if now >= asked.until {
            return;
        }
        self.retry.failed(None);
        self.not_before = Some(asked.until);
        self.peer_asked = true;
        self.failing_since = Some(asked.since);
        self.show(now, asked.error.clone(), self.retry.failures());
        self.asked = Some(asked);
    }

    /// What to do now. `waker` rings when a step that waits may be over.
    pub fn next(&mut self, now: Duration, waker: &Waker) -> Step {
        self.control.listen(waker);
        if self.control.deadline().is_some_and(|deadline| now >= deadline) {
            // Otherwise who stops the router closes it, once nobody hands anything over any more.
            if self.control.is_leaving() {
                self.buffer.close();
            }
            abandon(&self.buffer, &self.counters);
            return Step::Finished;
        }
        if self.control.makes_way() {
            return Step::MakeWay;
        }
        let closing = self.buffer.is_closed();
        if self.control.deadline().is_some() && !self.is_stopping {
            self.is_stopping = true;
            // The peer may be back by now, and there is little time left to find out.
            if !self.peer_asked {
                self.not_before = None;
            }
        }
        if let Some(moment) = self.not_before {
            if now < moment {
                return Step::SleepUntil(self.clip(moment));
            }
            self.not_before = None;
        }
        let budget = if self.retry.is_open() { PROBE_BYTES } else { self.work_bytes() };
        let cursor = self.buffer.begin(budget, self.work.handovers_mut(), waker);
        self.work.set_cursor(cursor);
        if self.work.is_empty() {
            // Closed is read before the buffer is found empty: what was pushed before the close is never missed.
            if closing {
                return Step::Finished;
            }
            if self.control.is_leaving() && !self.counters.is_waited_for() {
                self.buffer.close();
                return self.next(now, waker);
            }
            // What waits for room may be given up without a word.
            return if self.control.is_leaving() {
                Step::SleepUntil(self.clip(Duration::MAX))
            } else if self.has_to_begin && !self.is_stopping {
                Step::Begin
            } else {
                Step::AwaitWork
            };
        }
        if !closing
            && let Some(until) = self.lingers_until(now)
            // A full delivery gains nothing by waiting.
            && self.buffer.linger(self.work_bytes() / 2, waker)
        {
            self.work.handovers_mut().clear();
            return Step::SleepUntil(self.clip(until));
        }
        self.lingers_until = None;
        Step::Deliver
    }

    /// Until when to wait for more to come together, if at all: the endpoint's own linger, or a moderating pause.
    fn lingers_until(&mut self, now: Duration) -> Option<Duration> {
        if self.retry.failures() > 0 {
            // What is tried again has waited.
            return None;
        }
        let until = match self.lingers_until {
            Some(until) => until,
            None if !self.linger.is_zero() => now + self.linger,
            None => {
                let waited = now.saturating_sub(self.idle_since);
                now + moderation::pause(waited, self.work.charged_bytes())?
            }
        };
        self.lingers_until = Some(until);
        (now < until).then_some(until)
    }

    /// The bound of the buffer may change while it runs.
    fn work_bytes(&self) -> usize {
        WORK_BYTES.min(self.buffer.limit_bytes() / 2)
    }

    /// A request to open files anew that is not done yet.
    fn reopen_asked(&self) -> Option<u64> {
        let request = self.control.reopen_asked();
        (request > self.reopen_done).then_some(request)
    }

    fn reopened(&mut self, request: u64, outcome: Result<(), String>) {
        self.reopen_done = request;
        if outcome.is_ok() && self.has_to_begin {
            self.not_before = None;
            self.has_begun_after_all();
        }
        self.control.has_reopened(request, outcome);
    }

    fn clip(&self, moment: Duration) -> Duration {
        self.control.deadline().map_or(moment, |deadline| moment.min(deadline))
    }

    /// What the endpoint said when it was to begin. As long as it cannot it fails, whether or not there is anything to deliver.
    pub fn began(&mut self, now: Duration, outcome: Result<(), String>) {
        match outcome {
            Ok(()) if self.has_to_begin => self.has_begun_after_all(),
            Ok(()) => {}
            Err(error) => {
                self.has_to_begin = true;
                self.failed(now, error, None);
                self.not_before = self.not_before.map(|moment| moment.min(now + BEGIN_AGAIN));
            }
        }
    }

    fn has_begun_after_all(&mut self) {
        self.has_to_begin = false;
        self.recovered("it has what it needs now");
    }

    /// Whether the endpoint has what should be there from the start on.
    pub fn has_begun(&self) -> bool {
        !self.has_to_begin
    }

    /// What to deliver, after [`Step::Deliver`].
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// The endpoint's answer for [`Runner::work`].
    pub fn answered(&mut self, now: Duration, answer: Answer) {
        debug_assert!(answer.settled <= self.work.len(), "an answer is for what was handed out");
        let mut settled = 0;
        self.buffer.settle_and_count(answer.settled.min(self.work.len()), |messages| {
            settled = messages;
            // An answer that comes after the endpoint was given up settles nothing: its messages are counted as dropped.
            let mut left = messages;
            for (reason, refused) in answer.refused.iter() {
                let refused = refused.min(left);
                if refused > 0 {
                    self.counters.refuse(reason, refused as u64);
                    left -= refused;
                }
            }
            self.counters.delivered.add(left as u64);
        });
        self.work.handovers_mut().clear();
        self.idle_since = now;
        self.asked = None;
        match answer.then {
            Then::Done => self.succeeded(),
            Then::Retry { error, after } => {
                if settled > 0 {
                    // It got somewhere: this is not the failure that the last one was.
                    self.retry.succeeded();
                    self.failing_since = None;
                    self.has_to_begin = false;
                }
                self.counters.retries.add(1);
                self.failed(now, error, after);
            }
            Then::Wait { until, longest } => {
                // No failure: neither the back-off nor the breaker is to know. Nor does it end a row of failures.
                if settled > 0 && self.retry.failures() == 0 {
                    self.failing_since = None;
                }
                if self.show(now, until.clone(), self.retry.failures()) {
                    tracing::info!(endpoint = self.name, "waiting: {until}");
                }
                self.is_waiting = true;
                self.not_before = Some(now + longest);
            }
            Then::Gone { error } => {
                // Closed first: what comes later is counted by whoever brings it.
                self.buffer.close();
                abandon(&self.buffer, &self.counters);
                tracing::warn!(endpoint = self.name, error, "can never deliver again; the router ends");
                self.show(now, error, 1);
            }
        }
    }

    /// Shows what is in the way. Returns whether that is news.
    fn show(&mut self, now: Duration, error: String, attempts: u32) -> bool {
        let since = *self.failing_since.get_or_insert(now);
        let failure = Failure::now(now, Some(since), error, attempts);
        self.counters.set_failure(Some(Failure { tried_idle: self.has_to_begin, ..failure }))
    }

    /// [`Runner::work`] was handed to the endpoint, whose answer nobody waits for any more: it counts as not delivered.
    pub fn broken_off(&mut self) {
        self.buffer.settle(0);
        self.work.handovers_mut().clear();
        tracing::warn!(
            endpoint = self.name,
            "a delivery is broken off, because the endpoint was changed; what it was to deliver is delivered anew"
        );
    }

    fn succeeded(&mut self) {
        self.has_to_begin = false;
        if std::mem::take(&mut self.is_waiting) || self.retry.failures() > 0 {
            self.recovered("delivering again");
        }
    }

    fn recovered(&mut self, what: &str) {
        self.retry.succeeded();
        self.failing_since = None;
        self.counters.set_failure(None);
        tracing::info!(endpoint = self.name, "{what}");
    }

    fn failed(&mut self, now: Duration, error: String, after: Option<Duration>) {
        let mut wait = self.retry.failed(after);
        self.peer_asked = after.is_some();
        if let Some(deadline) = self.control.deadline()
            && !self.peer_asked
        {
            // Several more attempts fit into the time that is left.
            wait = wait.min((deadline.saturating_sub(now) / 4).max(SHORTEST_LAST_WAIT));
        }
        let attempts = self.retry.failures();
        if self.show(now, error.clone(), attempts) {
            tracing::warn!(endpoint = self.name, error, "cannot deliver; trying again");
        }
        self.not_before = Some(now + wait);
        let since = self.failing_since.unwrap_or(now);
        self.asked = after.map(|_| AskedRest { until: now + wait, since, error });
    }
}

/// Gives up what a buffer still holds because the router ends, or the endpoint is not part of the configuration any more. In
/// the first case an input that keeps a position brings it again.
pub fn abandon(buffer: &Buffer<Handover>, counters: &EndpointCounters) {
    let (messages, handovers) = buffer.abandon();
    let reason = counters.end();
    if reason == DropReason::Shutdown {
        handovers.iter().for_each(Handover::withhold);
    }
    counters.drop_messages(reason, messages);
}

#[cfg(test)]
mod tests;
