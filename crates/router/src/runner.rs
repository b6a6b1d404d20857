//! Drives one endpoint: buffer → work → answer → cursor, retry, breaker, shutdown.
//!
//! [`Runner`] is a state machine: it is asked what to do next, and told what the endpoint answered. The two drivers below
//! it are loops around it, one on an OS thread and one as a task; the simulation in the tests is a third.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use metlog_buffer::Buffer;

use crate::{
    batch::Handover,
    clock::Clock,
    control::Control,
    endpoints::{Answer, Delivery, Endpoint, NetworkEndpoint, Then, Work},
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

/// What is handed out while the circuit breaker is open: one hand-over.
const PROBE_BYTES: usize = 1;

/// What a driver does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hand [`Runner::work`] to the endpoint and tell [`Runner::answered`] what it said.
    Deliver,
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

/// How driving an endpoint came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driven {
    /// After [`Step::Finished`].
    Finished,
    /// After [`Step::MakeWay`].
    MakesWay,
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
        self.control.has_reopened(request, outcome);
    }

    fn clip(&self, moment: Duration) -> Duration {
        self.control.deadline().map_or(moment, |deadline| moment.min(deadline))
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
                }
                self.failed(now, error, after);
            }
            Then::Wait { until, longest } => {
                // No failure: neither the back-off nor the breaker is to know.
                if settled > 0 {
                    self.failing_since = None;
                }
                if self.show(now, until.clone(), 0) {
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
        self.counters.set_failure(Some(Failure::now(now, Some(since), error, attempts)))
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
        if std::mem::take(&mut self.is_waiting) || self.retry.failures() > 0 {
            self.retry.succeeded();
            self.failing_since = None;
            self.counters.set_failure(None);
            tracing::info!(endpoint = self.name, "delivering again");
        }
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
        self.counters.retries.add(1);
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

/// Unparks a thread; remembers having done so, because a park may end for no reason.
#[derive(Debug)]
struct Unpark {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.thread.unpark();
        }
    }
}

/// Drives an endpoint on the calling thread until its buffer is closed and empty, the deadline for stopping passes, or it
/// makes way for another.
pub fn drive_blocking(runner: &mut Runner, endpoint: &mut dyn Endpoint, clock: &dyn Clock) -> Driven {
    let unpark = Arc::new(Unpark { thread: thread::current(), rung: AtomicBool::new(false) });
    let waker = Waker::from(unpark.clone());
    loop {
        let now = clock.monotonic();
        unpark.rung.store(false, Ordering::Release);
        if let Some(request) = runner.reopen_asked() {
            runner.reopened(request, endpoint.reopen());
        }
        let tick = endpoint.next_tick();
        if tick.is_some_and(|tick| now >= tick) {
            endpoint.tick(now);
            continue;
        }
        let wake_at = match runner.next(now, &waker) {
            Step::Deliver => {
                let answer = endpoint.deliver(runner.work());
                runner.answered(clock.monotonic(), answer);
                continue;
            }
            Step::Finished => return Driven::Finished,
            Step::MakeWay => return Driven::MakesWay,
            Step::SleepUntil(moment) => Some(tick.map_or(moment, |tick| moment.min(tick))),
            Step::AwaitWork => tick,
        };
        if !unpark.rung.load(Ordering::Acquire) {
            match wake_at {
                Some(moment) => thread::park_timeout(moment.saturating_sub(now)),
                None => thread::park(),
            }
        }
    }
}

/// Drives an endpoint as a task; the same loop as [`drive_blocking`].
pub async fn drive_network(
    runner: &mut Runner,
    endpoint: &mut dyn NetworkEndpoint,
    clock: Arc<dyn Clock>,
) -> Driven {
    loop {
        let now = clock.monotonic();
        if let Some(request) = runner.reopen_asked() {
            // It has no files; whoever asks wants to know when all is done.
            runner.reopened(request, Ok(()));
        }
        // Inside `poll_fn` because the buffer keeps this task's own waker.
        match poll_fn(|context| Poll::Ready(runner.next(now, context.waker()))).await {
            Step::Deliver => {
                match unless_broken_off(endpoint.deliver(runner.work()), &runner.control, MAKE_WAY_TIME).await
                {
                    Some(answer) => runner.answered(clock.monotonic(), answer),
                    None => runner.broken_off(),
                }
            }
            Step::SleepUntil(moment) => {
                let _ = tokio::time::timeout(moment.saturating_sub(now), woken()).await;
            }
            Step::AwaitWork => woken().await,
            Step::Finished => return Driven::Finished,
            Step::MakeWay => return Driven::MakesWay,
        }
    }
}

/// The answer of a delivery; none if another endpoint has waited for it for `longest`. Runs in the task whose waker the control
/// has, so that it hears of the other.
async fn unless_broken_off(
    mut delivery: Delivery<'_>,
    control: &Control,
    longest: Duration,
) -> Option<Answer> {
    let mut patience = None;
    poll_fn(|context| {
        if let Poll::Ready(answer) = delivery.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        if !control.makes_way() {
            return Poll::Pending;
        }
        let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(longest)));
        patience.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// Ends when the task's waker rings, whoever rings it. A ring between taking the waker and waiting here is not lost:
/// the task is then polled again at once.
fn woken() -> impl Future<Output = ()> {
    let mut waited = false;
    poll_fn(move |_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending })
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Instant};

    use super::*;
    use crate::endpoints::Refusals;
    use crate::testing::{Taking, batch_of, buffer, lines};
    use crate::{clock::SystemClock, network::NetworkRuntime};

    fn runner(linger: Duration) -> (Runner, Arc<Buffer<Handover>>, Arc<Control>) {
        let buffer = buffer(1 << 20);
        let control = Arc::new(Control::default());
        let runner = Runner::new("test", buffer.clone(), Arc::default(), control.clone(), linger, 1);
        (runner, buffer, control)
    }

    fn push(buffer: &Buffer<Handover>, messages: usize) {
        buffer.push(Handover::all(&Arc::new(batch_of(&lines(messages)))), Duration::ZERO, None);
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_a_peer_asked_for_is_heeded_by_a_successor_and_what_was_backed_off_is_not() {
        let waker = Waker::noop();
        let busy = |after| Answer {
            settled: 0,
            refused: Refusals::default(),
            then: Then::Retry { error: "busy".to_owned(), after },
        };
        let (mut before, buffer, _control) = runner(Duration::ZERO);
        push(&buffer, 1);
        assert_eq!(before.next(SECOND, waker), Step::Deliver);
        before.answered(SECOND, busy(Some(SECOND * 60)));
        let asked = before.take_asked().expect("the peer asked");

        let (mut after, buffer, _control) = runner(Duration::ZERO);
        push(&buffer, 1);
        after.heed(SECOND * 2, asked.clone());
        assert_eq!(after.next(SECOND * 2, waker), Step::SleepUntil(SECOND * 61));
        let failure = after.counters.read(&buffer, SECOND * 2).failure.expect("it is shown");
        assert_eq!((failure.error.as_str(), failure.since), ("busy", SECOND));
        assert_eq!(after.take_asked(), Some(asked.clone()), "also for the one after that");
        assert_eq!(after.next(SECOND * 61, waker), Step::Deliver);
        after.answered(SECOND * 61, Answer::delivered(1));
        assert_eq!(after.counters.read(&buffer, SECOND * 61).failure, None);

        let (mut late, buffer, _control) = runner(Duration::ZERO);
        push(&buffer, 1);
        late.heed(SECOND * 61, asked);
        assert_eq!(late.next(SECOND * 61, waker), Step::Deliver, "it is over");
        late.answered(SECOND * 61, busy(None));
        assert_eq!(late.take_asked(), None);
    }

    #[test]
    fn when_the_router_stops_a_failing_endpoint_gets_another_chance_at_once() {
        let (mut runner, buffer, control) = runner(Duration::ZERO);
        let waker = Waker::noop();
        push(&buffer, 10);
        let mut now = SECOND;
        for _ in 0..12 {
            assert_eq!(runner.next(now, waker), Step::Deliver);
            runner.answered(now, Answer::retry(0, "down"));
            now += SECOND * 60;
        }
        now -= SECOND * 60;
        assert!(matches!(runner.next(now, waker), Step::SleepUntil(moment) if moment > now + SECOND * 10));
        control.stop_by(now + SECOND * 8);
        assert_eq!(runner.next(now, waker), Step::Deliver);
        runner.answered(now, Answer::retry(0, "still down"));
        assert!(matches!(runner.next(now, waker), Step::SleepUntil(moment) if moment <= now + SECOND * 2));
    }

    #[test]
    fn a_peers_own_wish_to_be_left_alone_is_honoured_even_then() {
        let (mut runner, buffer, control) = runner(Duration::ZERO);
        push(&buffer, 10);
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
        runner.answered(
            SECOND,
            Answer {
                then: Then::Retry { error: "busy".to_owned(), after: Some(SECOND * 5) },
                ..Answer::delivered(0)
            },
        );
        control.stop_by(SECOND * 9);
        assert_eq!(runner.next(SECOND * 2, Waker::noop()), Step::SleepUntil(SECOND * 6));
    }

    #[test]
    fn an_endpoint_that_was_told_to_wait_is_asked_again_soon_with_all_that_has_come() {
        let (mut runner, buffer, _) = runner(Duration::ZERO);
        let waker = Waker::noop();
        let mut now = SECOND;
        for round in 1..=20 {
            push(&buffer, 10);
            assert_eq!(runner.next(now, waker), Step::Deliver);
            assert_eq!(runner.work().len(), round * 10, "no breaker makes it less");
            let then = Then::Wait { until: "told to go on".to_owned(), longest: SECOND };
            runner.answered(now, Answer { then, ..Answer::delivered(0) });
            assert_eq!(runner.next(now, waker), Step::SleepUntil(now + SECOND), "no back-off makes it more");
            now += SECOND;
        }
        assert!(runner.counters.read(&buffer, now).failure.is_some(), "the operator sees why nothing moves");
        assert_eq!(runner.next(now, waker), Step::Deliver);
        runner.answered(now, Answer::delivered(200));
        assert_eq!(runner.counters.read(&buffer, now).failure, None);
    }

    #[test]
    fn an_answer_that_comes_after_its_messages_were_given_up_counts_nothing() {
        let (mut runner, buffer, _) = runner(Duration::ZERO);
        push(&buffer, 10);
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
        buffer.close();
        abandon(&buffer, &runner.counters);
        let mut answer = Answer::delivered(10);
        answer.refused.add_many("late", 3);
        runner.answered(SECOND, answer);
        let ledger = runner.counters.read(&buffer, SECOND);
        assert_eq!((ledger.delivered, ledger.refused_total(), ledger.dropped_total()), (0, 0, 10));
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::Finished);
    }

    /// Pushes one message, lets the driver come to rest, and pushes more than a delivery is to wait for; the endpoint must
    /// have it long before the linger ends.
    fn is_delivered_while_it_lingers(buffer: &Buffer<Handover>, taken: &AtomicUsize) {
        let deadline = Instant::now() + SECOND * 20;
        push(buffer, 1);
        for _ in 0..20 {
            push(buffer, 400);
            thread::yield_now();
        }
        while taken.load(Ordering::SeqCst) < 4001 {
            assert!(Instant::now() < deadline, "it lingers beside a full buffer: {:?}", buffer.status());
            thread::sleep(Duration::from_millis(1));
        }
        buffer.close();
    }

    #[test]
    fn a_blocking_driver_that_lingers_goes_on_when_a_delivery_is_full() {
        let (runner, buffer, _) = runner(SECOND * 3600);
        let taken = Arc::new(AtomicUsize::new(0));
        thread::scope(|scope| {
            let mut endpoint = Taking(taken.clone());
            let mut runner = runner;
            scope.spawn(move || drive_blocking(&mut runner, &mut endpoint, &SystemClock::new()));
            is_delivered_while_it_lingers(&buffer, &taken);
        });
    }

    #[test]
    fn a_network_driver_that_lingers_goes_on_when_a_delivery_is_full() {
        let (runner, buffer, _) = runner(SECOND * 3600);
        let taken = Arc::new(AtomicUsize::new(0));
        let network = NetworkRuntime::start().unwrap();
        let mut endpoint = Taking(taken.clone());
        network.handle().spawn(async move {
            let mut runner = runner;
            drive_network(&mut runner, &mut endpoint, Arc::new(SystemClock::new())).await
        });
        is_delivered_while_it_lingers(&buffer, &taken);
        network.stop();
    }

    #[test]
    fn a_delivery_that_hangs_is_broken_off_for_another_endpoint_and_its_messages_are_kept() {
        let (mut runner, buffer, control) = runner(Duration::ZERO);
        push(&buffer, 10);
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
        let network = NetworkRuntime::start().unwrap();
        let patience = SECOND / 100;
        let asking = control.clone();
        let answer = network.handle().spawn(async move {
            let hangs = Box::pin(std::future::pending());
            asking.make_way();
            unless_broken_off(hangs, &asking, patience).await
        });
        assert_eq!(network.handle().block_on(answer).unwrap(), None);
        runner.broken_off();
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::MakeWay);
        let mut work = Vec::new();
        assert_eq!((buffer.begin(usize::MAX, &mut work, Waker::noop()), work.len()), (0, 1));
        assert_eq!(buffer.status().messages, 10);
        network.stop();
    }

    #[test]
    fn a_full_delivery_does_not_linger() {
        let (mut runner, buffer, _) = runner(SECOND);
        push(&buffer, 1);
        assert!(matches!(runner.next(SECOND, Waker::noop()), Step::SleepUntil(_)));
        push(&buffer, 4000);
        assert_eq!(runner.next(SECOND, Waker::noop()), Step::Deliver);
    }
}
