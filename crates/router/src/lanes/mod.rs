//! Drives an endpoint whose messages go several ways that must not wait for one another, each to its own server or under
//! its own limit: buffer → lanes → work → answer, with retry, breaker and waiting per lane.
//!
//! Everything is moved out of the buffer at once and sorted by the key that the endpoint finds in each message; it stays
//! charged to the buffer until it is answered for. A lane delivers in order, one delivery at a time, and holds a quarter of the
//! buffer at most: what comes for a lane that is held up for long is dropped before it takes the room of the others. Only where
//! the operator chose `when_full = "block"` may a lane fill the buffer. What another endpoint left in the buffer is kept,
//! however small the bound has become.
//!
//! [`Lanes`] is a state machine like [`Runner`](crate::runner::Runner): it is asked what to do next, and told what the endpoint
//! answered. [`drive_lanes`] is the loop around it.

mod asked;
mod lane;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    hash::BuildHasher,
    pin::pin,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use metlog_buffer::{Buffer, Charge, Ticket, WhenFull};
use tokio::{task::JoinSet, time::Instant};

pub use self::asked::AskedWait;
use self::lane::{Lane, Piece, State};
use crate::{
    batch::{Handover, Message},
    clock::Clock,
    control::Control,
    endpoints::{Answer, LaneEndpoint, Then, Work},
    ledger::{DropReason, EndpointCounters, Failure},
    runner::{Driven, MAKE_WAY_TIME, abandon},
};

/// A lane holds at most this part of the buffer.
const LANE_PART: usize = 4;

/// Messages that are sorted before other tasks get their turn; the hand-over in which they are reached is sorted whole.
const SORTED_AT_ONCE: usize = 1024;

/// While the router stops, failed deliveries are repeated sooner, but not in a tight loop.
const SHORTEST_LAST_WAIT: Duration = Duration::from_millis(20);

/// What a lane is called.
pub type LaneKey = Arc<[u8]>;

/// What a driver does next.
#[derive(Debug)]
pub enum Step {
    /// Hand this to the endpoint and tell [`Lanes::answered`] what it said; meanwhile ask for more.
    Deliver(LaneKey, Work),
    /// Much was done at once: others get their turn, and then there is more to do.
    Yield,
    /// Nothing to do until this moment, unless the waker rings or a delivery ends.
    SleepUntil(Duration),
    /// Nothing to do until the waker rings or a delivery ends.
    AwaitWork,
    /// All is delivered, or given up; deliveries that are under way are of no interest any more.
    Finished,
    /// Another endpoint goes on from here, over the same buffer, which holds again what was not delivered.
    MakeWay,
}

/// The state of one endpoint's deliveries.
#[derive(Debug)]
pub struct Lanes {
    name: String,
    buffer: Arc<Buffer<Handover>>,
    counters: Arc<EndpointCounters>,
    control: Arc<Control>,
    lanes: HashMap<LaneKey, Lane, RandomState>,
    most_lanes: usize,
    seed: u64,
    ready: VecDeque<LaneKey>,
    waiting: BTreeSet<(Duration, LaneKey)>,
    delivering: usize,
    failing: usize,
    /// How many of the next hand-overs are those that were in the buffer at the beginning. Unknown before that.
    inherited: Option<usize>,
    /// Messages sorted since others had their turn.
    sorted: usize,
    is_stopping: bool,
    /// When deliveries that are under way are broken off because another endpoint waits.
    makes_way_by: Option<Duration>,
    /// What peers had asked for when it made way.
    asked: Vec<AskedWait>,
    reopen_done: u64,
}

impl Lanes {
    /// Lanes for one endpoint, at most so many at a time. `seed` decides the jitter of retries.
    pub fn new(
        name: &str,
        buffer: Arc<Buffer<Handover>>,
        counters: Arc<EndpointCounters>,
        control: Arc<Control>,
        most_lanes: usize,
        seed: u64,
    ) -> Self {
        Lanes {
            name: name.to_owned(),
            buffer,
            counters,
            control,
            lanes: HashMap::default(),
            most_lanes: most_lanes.max(1),
            seed,
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            delivering: 0,
            failing: 0,
            inherited: None,
            sorted: 0,
            is_stopping: false,
            makes_way_by: None,
            asked: Vec::new(),
            reopen_done: 0,
        }
    }

    /// What to do now. `waker` rings when a step that waits may be over; `sort` is [`LaneEndpoint::lane`].
    pub fn next(
        &mut self,
        now: Duration,
        waker: &Waker,
        sort: impl Fn(&Message<'_>, &mut Vec<u8>) -> Result<(), &'static str>,
    ) -> Step {
        self.control.listen(waker);
        let request = self.control.reopen_asked();
        if request > self.reopen_done {
            // It has no files; whoever asks wants to know when all is done.
            self.reopen_done = request;
            self.control.has_reopened(request, Ok(()));
        }
        let deadline = self.control.deadline();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return self.give_up();
        }
        if self.control.makes_way() {
            // Between two deliveries of each lane: nothing new begins, and what is under way is waited for, but not for ever.
            let until = *self.makes_way_by.get_or_insert(now + MAKE_WAY_TIME);
            if self.delivering == 0 || now >= until {
                self.say_what_is_broken_off();
                self.give_back();
                return Step::MakeWay;
            }
            return Step::SleepUntil(deadline.map_or(until, |deadline| until.min(deadline)));
        }
        if deadline.is_some() && !self.is_stopping {
            self.is_stopping = true;
            self.give_another_chance();
        }
        self.end_waits(now);
        // Closed is read before the buffer is found empty: what was pushed before the close is never missed.
        let closing = self.buffer.is_closed();
        let mut inherited = self.inherited.unwrap_or_else(|| self.buffer.untaken());
        while self.sorted < SORTED_AT_ONCE
            && let Some((ticket, handover)) = self.buffer.take(waker)
        {
            self.sort_in(now, ticket, &handover, inherited > 0, &sort);
            inherited = inherited.saturating_sub(1);
            self.sorted += handover.len().max(1);
        }
        self.inherited = Some(inherited);
        if let Some(key) = self.ready.pop_front()
            && let Some(lane) = self.lanes.get_mut(&key)
        {
            lane.state = State::Delivering;
            self.delivering += 1;
            return Step::Deliver(key, lane.work());
        }
        if std::mem::take(&mut self.sorted) >= SORTED_AT_ONCE {
            return Step::Yield;
        }
        if !closing
            && self.control.is_leaving()
            && self.lanes.values().all(Lane::is_empty)
            && !self.counters.is_waited_for()
        {
            self.buffer.close();
            return self.next(now, waker, sort);
        }
        if closing && self.delivering == 0 {
            if self.lanes.values().all(Lane::is_empty) {
                return Step::Finished;
            }
            if deadline.is_some_and(|deadline| self.nothing_moves_before(deadline)) {
                return self.give_up();
            }
        }
        let next_end = self.waiting.first().map(|(until, _)| *until);
        match (next_end, deadline) {
            (Some(until), Some(deadline)) => Step::SleepUntil(until.min(deadline)),
            (Some(moment), None) | (None, Some(moment)) => Step::SleepUntil(moment),
            (None, None) => Step::AwaitWork,
        }
    }

    fn give_up(&mut self) -> Step {
        // Otherwise who stops the router closes it, once nobody hands anything over any more.
        if self.control.is_leaving() {
            self.buffer.close();
        }
        self.withhold();
        abandon(&self.buffer, &self.counters);
        self.lanes.clear();
        self.ready.clear();
        self.waiting.clear();
        Step::Finished
    }

    /// What the lanes still hold must not count as acknowledged where the router ends.
    fn withhold(&self) {
        if self.counters.end() == DropReason::Shutdown {
            self.lanes.values().flat_map(Lane::pieces).for_each(|piece| piece.handover.withhold());
        }
    }

    fn say_what_is_broken_off(&self) {
        if self.delivering > 0 {
            tracing::warn!(
                endpoint = self.name,
                deliveries = self.delivering,
                "broken off, because the endpoint was changed; what they were to deliver is delivered anew"
            );
        }
    }

    /// Puts what is not delivered back into the buffer, in the order in which it came. Whoever goes on may know nothing of
    /// lanes.
    fn give_back(&mut self) {
        let mut divided: BTreeMap<Ticket, Vec<(u32, &Handover, usize)>> = BTreeMap::new();
        for piece in self.lanes.values().flat_map(Lane::pieces) {
            divided.entry(piece.ticket).or_default().extend(piece.rest());
        }
        let whole = divided.into_iter().filter_map(|(ticket, mut rest)| {
            rest.sort_unstable_by_key(|(position, ..)| *position);
            let rest: Vec<_> = rest.into_iter().map(|(_, handover, index)| (handover, index)).collect();
            Some((ticket, Handover::gathered(&rest)?))
        });
        self.buffer.put_back(whole.collect());
        self.asked = self.asked_waits();
        self.lanes.clear();
        self.ready.clear();
        self.waiting.clear();
    }

    /// Peers may be back by now, and there is little time left to find out.
    fn give_another_chance(&mut self) {
        let lanes = &self.lanes;
        let own_wait = |key: &LaneKey| lanes.get(key).is_some_and(|lane| !lane.peer_asked);
        let over: Vec<LaneKey> =
            self.waiting.iter().filter(|(_, key)| own_wait(key)).map(|(_, key)| key.clone()).collect();
        for key in over {
            self.end_wait(&key);
        }
    }

    /// Whether all that is left waits because its peer asked for it, for longer than there is time.
    fn nothing_moves_before(&self, deadline: Duration) -> bool {
        self.lanes
            .values()
            .filter(|lane| !lane.is_empty())
            .all(|lane| matches!(lane.state, State::Waiting(until) if lane.peer_asked && until >= deadline))
    }

    fn end_waits(&mut self, now: Duration) {
        while let Some((until, key)) = self.waiting.first()
            && *until <= now
        {
            let key = key.clone();
            self.end_wait(&key);
        }
    }

    fn end_wait(&mut self, key: &LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if let State::Waiting(until) = lane.state {
            self.waiting.remove(&(until, key.clone()));
        }
        lane.state = State::Idle;
        lane.told = None;
        if !lane.is_empty() {
            self.get_ready(key);
        } else if lane.failure.take().is_some() {
            // All of it was answered for, and nothing is in the way of more.
            self.recovered();
        }
    }

    fn get_ready(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key)
            && lane.state == State::Idle
            && !lane.is_empty()
        {
            lane.state = State::Ready;
            self.ready.push_back(key.clone());
        }
    }

    /// Divides a hand-over among the lanes. Messages of different lanes get memory of their own, so that none keeps the
    /// memory of another alive.
    fn sort_in(
        &mut self,
        now: Duration,
        ticket: Ticket,
        handover: &Handover,
        is_inherited: bool,
        sort: impl Fn(&Message<'_>, &mut Vec<u8>) -> Result<(), &'static str>,
    ) {
        let mut groups: Vec<(LaneKey, Vec<u32>)> = Vec::new();
        let mut numbers: HashMap<LaneKey, usize, RandomState> = HashMap::default();
        // Neighbours are often of one lane.
        let mut latest = 0;
        let mut settled = 0;
        let mut key = Vec::new();
        for position in 0..handover.len() {
            let Some(message) = handover.message(position) else { continue };
            key.clear();
            match sort(&message, &mut key) {
                Err(reason) => {
                    self.counters.refuse(reason, 1);
                    settled += 1;
                }
                Ok(()) => {
                    if groups.get(latest).is_none_or(|(known, _)| **known != *key) {
                        latest = match numbers.get(&key[..]) {
                            Some(&number) => number,
                            None => {
                                let key = self.key(&key);
                                numbers.insert(key.clone(), groups.len());
                                groups.push((key, Vec::new()));
                                groups.len() - 1
                            }
                        };
                    }
                    if let Some((_, positions)) = groups.get_mut(latest) {
                        positions.push(position as u32);
                    }
                }
            }
        }
        let part =
            |positions: Vec<u32>| Piece { ticket, handover: handover.part(&positions), positions, cursor: 0 };
        let pieces: Vec<(LaneKey, Piece)> =
            groups.into_iter().map(|(key, positions)| (key, part(positions))).collect();
        let bytes = pieces.iter().map(|(_, piece)| piece.handover.charged_bytes()).sum();
        self.buffer.recharge(ticket, bytes);
        self.buffer.release(ticket, settled, 0);
        for (key, piece) in pieces {
            self.push(now, key, piece, is_inherited);
        }
    }

    fn key(&self, key: &[u8]) -> LaneKey {
        self.lanes.get_key_value(key).map_or_else(|| key.into(), |(known, _)| known.clone())
    }

    fn new_lane(&self, key: &LaneKey) -> Lane {
        Lane::new(self.lanes.hasher().hash_one(&**key) ^ self.seed)
    }

    fn push(&mut self, now: Duration, key: LaneKey, piece: Piece, is_inherited: bool) {
        if !self.lanes.contains_key(&key) {
            if self.lanes.len() >= self.most_lanes && !self.evict() && !is_inherited {
                return self.drop_piece(now, DropReason::TooManyLanes, &piece);
            }
            self.lanes.insert(key.clone(), self.new_lane(&key));
        }
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.last_used = now;
        let is_bounded = !is_inherited && self.buffer.when_full() != WhenFull::Block;
        let limit = is_bounded.then(|| self.buffer.limit_bytes() / LANE_PART);
        if let Err(piece) = lane.push(piece, limit) {
            return self.drop_piece(now, DropReason::LaneFull, &piece);
        }
        if let Some(told) = lane.told.take() {
            self.show(now, &key, told, 0);
        }
        self.get_ready(&key);
    }

    fn drop_piece(&self, now: Duration, reason: DropReason, piece: &Piece) {
        self.counters.overflow(now, reason, piece.messages());
        self.buffer.release(piece.ticket, piece.messages(), piece.handover.charged_bytes());
    }

    /// Forgets the lane that has been without work for longest: one that waits for nothing, or else one that does.
    fn evict(&mut self) -> bool {
        let unused = self.lanes.iter().filter(|(_, lane)| lane.is_empty() && lane.state != State::Delivering);
        let least = unused.min_by_key(|(_, lane)| (lane.state != State::Idle, lane.last_used));
        let Some(key) = least.map(|(key, _)| key.clone()) else { return false };
        self.end_wait(&key);
        self.lanes.remove(&key);
        true
    }

    /// The endpoint's answer for the work of this lane.
    pub fn answered(&mut self, now: Duration, key: &LaneKey, answer: Answer) {
        self.delivering = self.delivering.saturating_sub(1);
        // The deadline has passed, and what was under way is counted as dropped.
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let settled = lane.settle(answer.settled, &self.buffer);
        let refused = answer.refused.total().min(settled);
        for (reason, messages) in answer.refused.iter() {
            self.counters.refuse(reason, messages as u64);
        }
        self.counters.delivered.add((settled - refused) as u64);
        lane.state = State::Idle;
        lane.last_used = now;
        match answer.then {
            Then::Done => {
                self.succeeded(key);
                self.get_ready(key);
            }
            Then::Retry { error, after } => {
                if settled > 0 {
                    // It got somewhere: this is not the failure that the last one was.
                    lane.retry.succeeded();
                    lane.failure.iter_mut().for_each(|failure| failure.since = now);
                }
                self.failed(now, key, error, after);
            }
            // No failure: neither the back-off nor the breaker is to know.
            Then::Wait { until, longest } => {
                if settled > 0 {
                    self.succeeded(key);
                }
                self.wait_as_told(now, longest, key, until);
            }
            Then::Gone { error } => {
                // Closed first: what comes later is counted by whoever brings it.
                self.buffer.close();
                tracing::warn!(endpoint = self.name, error, "can never deliver again; the router ends");
                self.give_up();
                self.counters.set_failure(Some(Failure::now(now, None, error, 1)));
            }
        }
    }

    fn failed(&mut self, now: Duration, key: &LaneKey, error: String, after: Option<Duration>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let mut wait = lane.retry.failed(after);
        lane.peer_asked = after.is_some();
        if let Some(deadline) = self.control.deadline()
            && !lane.peer_asked
        {
            // Several more attempts fit into the time that is left.
            wait = wait.min((deadline.saturating_sub(now) / 4).max(SHORTEST_LAST_WAIT));
        }
        let attempts = lane.retry.failures();
        self.counters.retries.add(1);
        self.hold(now + wait, key);
        self.show(now, key, error, attempts);
    }

    fn succeeded(&mut self, key: &LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.retry.succeeded();
        if lane.failure.take().is_some() {
            tracing::info!(endpoint = self.name, "delivering again");
            self.recovered();
        }
    }

    /// Leaves a lane alone for so long because its peer said so, and shows that once it holds something up.
    fn wait_as_told(&mut self, now: Duration, longest: Duration, key: &LaneKey, told: String) {
        self.hold(now + longest, key);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.peer_asked = true;
        if lane.is_empty() {
            lane.told = Some(told);
        } else {
            self.show(now, key, told, 0);
        }
    }

    /// Leaves a lane alone until a moment.
    fn hold(&mut self, until: Duration, key: &LaneKey) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.state = State::Waiting(until);
        self.waiting.insert((until, key.clone()));
    }

    /// Shows what is in the way of a lane.
    fn show(&mut self, now: Duration, key: &LaneKey, error: String, attempts: u32) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.failure.is_none() {
            self.failing += 1;
            tracing::warn!(endpoint = self.name, error, "one of its servers takes nothing now; trying again");
        }
        let since = lane.failure.as_ref().map(|failure| failure.since);
        let failure = Failure::now(now, since, error, attempts);
        lane.failure = Some(failure.clone());
        self.show_failing(Some(failure));
    }

    /// A lane fails no longer: another that does is shown in its place.
    fn recovered(&mut self) {
        self.failing = self.failing.saturating_sub(1);
        self.show_failing(self.lanes.values().find_map(|lane| lane.failure.clone()));
    }

    /// Shows one lane's failure, and that it is not the only one.
    fn show_failing(&self, failure: Option<Failure>) {
        let others = self.failing.saturating_sub(1);
        self.counters.set_failure(failure.map(|mut failure| {
            if others > 0 {
                failure.error = format!("{} (and {others} more)", failure.error);
            }
            failure
        }));
    }
}

/// However it ends, also when the runtime ends it.
impl Drop for Lanes {
    fn drop(&mut self) {
        self.withhold();
    }
}

/// Drives an endpoint as a task, until its buffer is closed and empty, the deadline for stopping passes, or it makes way for
/// another.
pub async fn drive_lanes(
    lanes: &mut Lanes,
    endpoint: Arc<dyn LaneEndpoint>,
    clock: Arc<dyn Clock>,
) -> Driven {
    let mut deliveries = JoinSet::new();
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    poll_fn(|context| {
        loop {
            while let Poll::Ready(Some(ended)) = deliveries.poll_join_next(context) {
                match ended {
                    Ok((key, answer)) => lanes.answered(clock.monotonic(), &key, answer),
                    // As when an endpoint without lanes panics.
                    Err(error) => {
                        if let Ok(panic) = error.try_into_panic() {
                            std::panic::resume_unwind(panic);
                        }
                    }
                }
            }
            let now = clock.monotonic();
            match lanes.next(now, context.waker(), |message, key| endpoint.lane(message, key)) {
                Step::Deliver(key, work) => {
                    let endpoint = endpoint.clone();
                    deliveries.spawn(async move {
                        let answer = endpoint.deliver(&key, &work).await;
                        (key, answer)
                    });
                }
                Step::Yield => {
                    // More than to wake oneself: the runtime looks at its sockets before it comes back.
                    let mut others = pin!(tokio::task::yield_now());
                    if others.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Step::SleepUntil(moment) => {
                    sleep.as_mut().reset(Instant::now() + moment.saturating_sub(now));
                    if sleep.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Step::AwaitWork => return Poll::Pending,
                Step::Finished => return Poll::Ready(Driven::Finished),
                Step::MakeWay => return Poll::Ready(Driven::MakesWay),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests;
