//! A simulated router: the real pipeline, buffers and runners, with a simulated clock and without threads.
//!
//! Each seed makes a world: endpoints that are slow, fail, refuse and are down for a while; connections that send in
//! pieces of random size and are parked when a buffer is full; datagrams that cannot wait; reloads that change the routes and
//! add, replace and remove endpoints. One event happens after the
//! other, in the order of simulated time, so that a run can be repeated exactly: `METLOG_SEED=17 cargo test --test
//! simulation`. `METLOG_LONG=1` runs many more seeds.
//!
//! What is checked, after every single event where it makes sense:
//!
//! * both equations of the ledger;
//! * no buffer is charged more than its limit (or one hand-over, where that alone is larger);
//! * the first delivery attempts of one source's messages come in the order in which they were sent, at each endpoint;
//! * no message is answered for twice, and under `block` none is lost;
//! * retries wait as long as they should, and no longer;
//! * after the deadline for stopping an endpoint is asked for nothing more, and whatever is left is counted as dropped.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is missing"
)]

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
    time::Duration,
};

use metlog_buffer::{Buffer, WhenFull};
use metlog_message::{Decoder, Path, Timestamp};
use metlog_router::{
    acknowledgement::Ack,
    batch::{Entry, Handover},
    clock::Clock,
    control::Control,
    decoders::FrameDecoder,
    endpoints::{Answer, Refusals, Then, Work},
    ledger::{DropReason, EndpointCounters, InputCounters},
    pipeline::{Outlet, Outlets, Parked, Pipeline},
    rejects::Rejects,
    routes::{
        condition::{Condition, Scalar, Test},
        table::{RouteSpec, RouteTable},
    },
    runner::{Runner, Step},
    slab_pool::SlabPool,
};

/// What `retry.rs` promises: the first and the longest wait; the jitter takes away up to half.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A world that is not done by then hangs.
const MOST_EVENTS: usize = 400_000;

#[test]
fn seeded_worlds_keep_every_promise() {
    if let Some(seed) = std::env::var("METLOG_SEED").ok().and_then(|seed| seed.parse().ok()) {
        World::new(seed).run();
        return;
    }
    let seeds = if std::env::var_os("METLOG_LONG").is_some() { 20_000 } else { 300 };
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed).run());
        if let Err(problem) = outcome {
            eprintln!("repeat it with METLOG_SEED={seed}");
            std::panic::resume_unwind(problem);
        }
    }
}

#[test]
fn the_worlds_are_worth_simulating() {
    // Guards against a simulation in which nothing ever goes wrong, and which therefore proves nothing.
    let mut seen = Seen::default();
    for seed in 0..100 {
        let world = World::new(seed).run();
        seen.parked += world.seen.parked;
        seen.failures += world.seen.failures;
        seen.breaker_open += world.seen.breaker_open;
        seen.refused += world.seen.refused;
        seen.dropped_full += world.seen.dropped_full;
        seen.dropped_at_stop += world.seen.dropped_at_stop;
        seen.made_way += world.seen.made_way;
        seen.left += world.seen.left;
        seen.dropped_removed += world.seen.dropped_removed;
    }
    let counts = [
        seen.parked,
        seen.failures,
        seen.breaker_open,
        seen.refused,
        seen.dropped_full,
        seen.dropped_at_stop,
        seen.made_way,
        seen.left,
        seen.dropped_removed,
    ];
    assert!(counts.iter().all(|count| *count > 20), "{seen:?}");
}

/// How often the interesting things happened.
#[derive(Debug, Default)]
struct Seen {
    parked: u64,
    failures: u64,
    breaker_open: u64,
    refused: u64,
    dropped_full: u64,
    dropped_at_stop: u64,
    made_way: u64,
    left: u64,
    dropped_removed: u64,
}

/// A source and a message of it, as the messages themselves say.
type Id = (usize, usize);

/// A message on its way.
struct Sent {
    text: String,
    /// Which route takes it, if that many exist; `None` for a line that is no message.
    kind: Option<usize>,
}

struct Source {
    input: usize,
    /// Datagrams cannot wait: what does not fit is dropped.
    can_wait: bool,
    unsent: VecDeque<Sent>,
    parked: Vec<Parked>,
    bell: Arc<Bell>,
    waker: Waker,
    largest_piece: usize,
}

struct Destination {
    when_full: WhenFull,
    buffer: Arc<Buffer<Handover>>,
    counters: Arc<EndpointCounters>,
    control: Arc<Control>,
    runner: Runner,
    bell: Arc<Bell>,
    waker: Waker,
    state: State,
    linger: Duration,
    /// The largest bound that its buffer ever had.
    largest_limit: usize,
    /// A reload has removed it.
    is_leaving: bool,
    /// Every delivery fails until then.
    down_until: Duration,
    /// One in so many deliveries fails; 0 for never.
    fails_one_in: u64,
    slowest: Duration,
    /// Messages meant for it that were offered to its buffer.
    offered: u64,
    attempted: HashSet<Id>,
    /// By source: the last message that was attempted for the first time.
    last_first_attempt: HashMap<usize, usize>,
    answered: HashSet<Id>,
    delivered: u64,
    refused: u64,
    failures: u32,
    /// After a failure: the next attempt's earliest and latest moment.
    retry_between: Option<(Duration, Duration)>,
}

enum State {
    Idle,
    Sleeping,
    Delivering(Answer),
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A source may send its next piece.
    Send(usize),
    /// An endpoint's driver looks what to do.
    Drive(usize),
    /// An endpoint answers.
    Answer(usize),
    /// Another configuration.
    Reload,
    /// SIGTERM.
    Stop,
    /// The deadline for stopping.
    Deadline,
}

struct World {
    random: Random,
    clock: Arc<SimulatedClock>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    event_count: u64,
    pool: SlabPool,
    pipelines: Vec<Pipeline>,
    inputs: Vec<Arc<InputCounters>>,
    sources: Vec<Source>,
    destinations: Vec<Destination>,
    /// By route: the endpoints that its messages are meant for now.
    routes: Vec<Vec<usize>>,
    largest_handover: usize,
    lines_sent: u64,
    stopping_by: Option<Duration>,
    buffers_closed: bool,
    seen: Seen,
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2545_F491_4F6C_DD1D);
        let clock = Arc::new(SimulatedClock::default());
        let endpoint_count = random.between(1, 4) as usize;
        let destinations: Vec<Destination> =
            (0..endpoint_count).map(|number| Destination::new(number, &mut random)).collect();
        let routes: Vec<Vec<usize>> = (0..random.between(1, 5))
            .map(|_| (0..endpoint_count).filter(|_| random.one_in(2)).collect())
            .collect();
        let outlets = outlets(&routes, &destinations);
        let pool = SlabPool::new(1 << 20);
        let inputs: Vec<Arc<InputCounters>> = (0..2).map(|_| Arc::default()).collect();
        let pipelines = inputs
            .iter()
            .map(|counters| {
                Pipeline::new(
                    "in",
                    FrameDecoder::Json(Decoder::default()),
                    outlets.clone(),
                    counters.clone(),
                    clock.clone(),
                    pool.clone(),
                )
            })
            .collect();
        let sources: Vec<Source> = (0..random.between(1, 6) as usize)
            .map(|number| Source::new(number, routes.len(), &mut random))
            .collect();
        let mut world = World {
            random,
            clock,
            events: BinaryHeap::new(),
            event_count: 0,
            pool,
            pipelines,
            inputs,
            sources,
            destinations,
            routes,
            largest_handover: 0,
            lines_sent: 0,
            stopping_by: None,
            buffers_closed: false,
            seen: Seen::default(),
        };
        (0..world.sources.len()).for_each(|source| world.after(Duration::ZERO, Event::Send(source)));
        (0..world.destinations.len())
            .for_each(|endpoint| world.after(Duration::ZERO, Event::Drive(endpoint)));
        for _ in 0..world.random.between(0, 4) {
            let moment = Duration::from_millis(world.random.between(0, 3_000));
            world.after(moment, Event::Reload);
        }
        if world.random.one_in(2) {
            let moment = Duration::from_millis(world.random.between(0, 5_000));
            world.after(moment, Event::Stop);
        }
        world
    }

    /// Runs until nothing moves any more, then stops what has not been stopped, and looks at what became of everything.
    fn run(mut self) -> World {
        self.run_until_quiet();
        if self.stopping_by.is_none() {
            self.assert_all_sent_and_settled();
            self.stop();
            self.run_until_quiet();
        }
        self.assert_stopped();
        self
    }

    fn run_until_quiet(&mut self) {
        let mut events = 0;
        while let Some(Reverse((moment, _, event))) = self.events.pop() {
            events += 1;
            assert!(events < MOST_EVENTS, "it never comes to rest");
            self.clock.set(moment);
            match event {
                Event::Send(source) => self.send(source),
                Event::Drive(endpoint) => self.drive(endpoint),
                Event::Answer(endpoint) => self.answer(endpoint),
                Event::Reload => self.reload(),
                Event::Stop if self.stopping_by.is_none() => self.stop(),
                Event::Stop => {}
                Event::Deadline => self.give_up_what_is_parked(),
            }
            self.answer_bells();
            self.close_buffers_when_sources_are_done();
            self.assert_balanced();
        }
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now() + wait, event);
    }

    fn at(&mut self, moment: Duration, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse((moment.max(self.now()), self.event_count, event)));
    }

    /// A source's turn: what is parked first; then the next piece, of random size.
    fn send(&mut self, number: usize) {
        let is_stopping = self.stopping_by.is_some();
        let source = &mut self.sources[number];
        let pipeline = &mut self.pipelines[source.input];
        if !source.parked.is_empty() {
            pipeline.unpark(&source.waker, &mut source.parked);
            if !source.parked.is_empty() {
                return;
            }
        }
        if is_stopping {
            // The kernel holds nothing for it any more.
            source.unsent.clear();
        }
        if source.unsent.is_empty() {
            return;
        }
        let count = self.random.between(1, source.largest_piece as u64) as usize;
        let piece: Vec<Sent> = source.unsent.drain(..count.min(source.unsent.len())).collect();
        let text: String = piece.iter().map(|sent| format!("{}\n", sent.text)).collect();
        let charge =
            2 * text.len().next_power_of_two().max(1024) + 2 * piece.len() * (size_of::<Entry>() + 4);
        self.largest_handover = self.largest_handover.max(charge);
        self.lines_sent += piece.len() as u64;
        let routes = piece.iter().filter_map(|sent| self.routes.get(sent.kind?));
        for endpoint in routes.flatten() {
            self.destinations[*endpoint].offered += 1;
        }
        let mut slab = self.pool.take(text.len());
        slab.extend(text.as_bytes());
        let waiter = source.can_wait.then_some(&source.waker);
        pipeline.lines(slab, waiter, &mut source.parked);
        self.seen.parked += u64::from(!source.parked.is_empty());
        assert!(source.can_wait || source.parked.is_empty(), "what cannot wait is never parked");
        let pause = Duration::from_micros(self.random.between(0, 20_000));
        self.after(pause, Event::Send(number));
    }

    /// The third driver of a runner, beside the thread's and the task's.
    fn drive(&mut self, number: usize) {
        let now = self.now();
        let endpoint = &mut self.destinations[number];
        if !matches!(endpoint.state, State::Idle | State::Sleeping) {
            return;
        }
        match endpoint.runner.next(now, &endpoint.waker) {
            Step::Deliver => {
                assert!(self.stopping_by.is_none_or(|deadline| now < deadline), "asked after the deadline");
                if let Some((earliest, latest)) = endpoint.retry_between {
                    // While the router stops, waits are shortened so that a few more attempts fit in.
                    assert!(
                        now >= earliest || self.stopping_by.is_some() || endpoint.is_leaving,
                        "tried again after too short a wait"
                    );
                    assert!(now <= latest, "tried again after too long a wait");
                }
                self.seen.breaker_open += u64::from(endpoint.failures >= 5);
                let answer = endpoint.attempt(now, &mut self.random);
                endpoint.state = State::Delivering(answer);
                let latency =
                    Duration::from_micros(self.random.between(0, endpoint.slowest.as_micros() as u64));
                self.after(latency, Event::Answer(number));
            }
            Step::SleepUntil(moment) => {
                assert!(moment > now, "a sleep that is over already: the driver would spin");
                assert!(
                    self.stopping_by.is_none_or(|deadline| moment <= deadline),
                    "sleeps past the deadline"
                );
                if let Some((earliest, latest)) = endpoint.retry_between {
                    let is_ending = self.stopping_by.is_some() || endpoint.is_leaving;
                    assert!(moment >= earliest || is_ending, "waits for too short a time");
                    assert!(moment <= latest, "waits for too long");
                }
                endpoint.state = State::Sleeping;
                self.at(moment, Event::Drive(number));
            }
            Step::AwaitWork => {
                endpoint.state = State::Idle;
                assert_eq!(endpoint.buffer.status().messages, 0, "idle, and there is work");
            }
            Step::Begin => panic!("it was never told that it has to begin"),
            Step::MakeWay => {
                self.seen.made_way += 1;
                endpoint.take_over(self.random.next());
                endpoint.state = State::Idle;
                self.after(Duration::ZERO, Event::Drive(number));
            }
            Step::Finished => {
                endpoint.state = State::Finished;
                assert_eq!(endpoint.buffer.status().messages, 0, "finished, and something is left");
            }
        }
    }

    fn answer(&mut self, number: usize) {
        let now = self.now();
        let endpoint = &mut self.destinations[number];
        let State::Delivering(answer) = std::mem::replace(&mut endpoint.state, State::Idle) else { return };
        self.seen.refused += answer.refused.total() as u64;
        self.seen.failures += u64::from(answer.then != Then::Done);
        endpoint.take_note_of(now, &answer);
        endpoint.runner.answered(now, answer);
        self.after(Duration::ZERO, Event::Drive(number));
    }

    /// Whoever was woken gets a turn soon; now and then somebody is woken for no reason.
    fn answer_bells(&mut self) {
        for number in 0..self.sources.len() {
            if self.sources[number].bell.was_rung() {
                let soon = Duration::from_micros(self.random.between(0, 500));
                self.after(soon, Event::Send(number));
            }
        }
        for number in 0..self.destinations.len() {
            let is_rung = self.destinations[number].bell.was_rung();
            if is_rung || (!self.events.is_empty() && self.random.one_in(200)) {
                let soon = Duration::from_micros(self.random.between(0, 500));
                self.after(soon, Event::Drive(number));
            }
        }
    }

    /// As the topology does it: new endpoints, then the routes, and then the end of those to which nothing leads any more.
    fn reload(&mut self) {
        if self.stopping_by.is_some() {
            return;
        }
        if self.random.one_in(3) {
            let number = self.destinations.len();
            self.destinations.push(Destination::new(number, &mut self.random));
            self.after(Duration::ZERO, Event::Drive(number));
        }
        let present: Vec<usize> =
            (0..self.destinations.len()).filter(|number| !self.destinations[*number].is_leaving).collect();
        let removed = if self.random.one_in(2) { present.first().copied() } else { None };
        let random = &mut self.random;
        for route in &mut self.routes {
            *route = present
                .iter()
                .copied()
                .filter(|number| Some(*number) != removed && random.one_in(2))
                .collect();
        }
        let outlets = outlets(&self.routes, &self.destinations);
        self.pipelines.iter_mut().for_each(|pipeline| pipeline.route_by(outlets.clone()));
        for number in present.into_iter().filter(|number| Some(*number) != removed) {
            let endpoint = &mut self.destinations[number];
            if self.random.one_in(2) {
                endpoint.control.make_way();
            }
            if self.random.one_in(3) {
                let limit = 1usize << self.random.between(12, 20);
                endpoint.buffer.set_bound(limit, endpoint.when_full);
                endpoint.largest_limit = endpoint.largest_limit.max(limit);
            }
        }
        if let Some(number) = removed {
            let deadline = self.now() + Duration::from_millis(self.random.between(1, 3_000));
            let endpoint = &mut self.destinations[number];
            endpoint.is_leaving = true;
            endpoint.counters.remove();
            endpoint.control.leave_by(deadline);
            self.seen.left += 1;
        }
    }

    /// As the topology does it: a deadline for the endpoints, then the inputs end, then the buffers are closed.
    fn stop(&mut self) {
        let timeout = Duration::from_millis(self.random.between(1, 3_000));
        let deadline = self.now() + timeout;
        self.stopping_by = Some(deadline);
        for endpoint in &self.destinations {
            endpoint.control.stop_by(deadline);
        }
        (0..self.sources.len()).for_each(|source| self.after(Duration::ZERO, Event::Send(source)));
        self.at(deadline, Event::Deadline);
    }

    fn give_up_what_is_parked(&mut self) {
        for source in &mut self.sources {
            self.pipelines[source.input].abandon(&mut source.parked, DropReason::Shutdown);
            source.unsent.clear();
        }
    }

    fn close_buffers_when_sources_are_done(&mut self) {
        let is_done = |source: &Source| source.parked.is_empty() && source.unsent.is_empty();
        if self.stopping_by.is_some() && !self.buffers_closed && self.sources.iter().all(is_done) {
            self.buffers_closed = true;
            self.destinations.iter().for_each(|endpoint| endpoint.buffer.close());
            self.answer_bells();
        }
    }

    fn assert_balanced(&self) {
        let mut received = 0;
        for input in &self.inputs {
            let ledger = input.read();
            assert!(ledger.balances(), "{ledger:?}");
            received += ledger.received;
        }
        assert_eq!(received, self.lines_sent);
        for endpoint in &self.destinations {
            let ledger = endpoint.counters.read(&endpoint.buffer, self.now());
            assert!(ledger.balances(), "{ledger:?}");
            assert_eq!((ledger.delivered, ledger.refused_total()), (endpoint.delivered, endpoint.refused));
            let bound = endpoint.largest_limit.max(self.largest_handover);
            assert!(ledger.queued_bytes <= bound as u64, "{} bytes are held", ledger.queued_bytes);
            if endpoint.when_full == WhenFull::Block && self.sources.iter().all(|source| source.can_wait) {
                assert_eq!(ledger.dropped.get("buffer-full"), None, "dropped under `block`");
            }
        }
    }

    /// Nothing moves any more, so nothing may wait: a bell that never rang shows here.
    fn assert_all_sent_and_settled(&mut self) {
        for (number, source) in self.sources.iter().enumerate() {
            assert!(source.parked.is_empty(), "source {number} waits for ever");
            assert!(source.unsent.is_empty(), "source {number} is read no more");
        }
        for endpoint in &self.destinations {
            let ledger = endpoint.counters.read(&endpoint.buffer, self.now());
            assert_eq!(ledger.queued, 0);
            assert_eq!(ledger.enqueued, endpoint.offered, "what was meant for it was offered to it");
            assert_eq!(ledger.dropped.get("shutdown"), None);
            let removed = ledger.dropped.get("removed").copied().unwrap_or_default();
            assert!(removed == 0 || endpoint.is_leaving, "dropped as removed, and it is not");
            self.seen.dropped_removed += removed;
            self.seen.dropped_full += ledger.dropped_total() - removed;
            let can_wait = self.sources.iter().all(|source| source.can_wait);
            if endpoint.when_full == WhenFull::Block && can_wait && removed == 0 {
                assert_eq!(endpoint.answered.len() as u64, endpoint.offered, "nothing is lost");
            }
        }
    }

    fn assert_stopped(&mut self) {
        for endpoint in &self.destinations {
            assert!(matches!(endpoint.state, State::Finished), "an endpoint has not ended");
            let ledger = endpoint.counters.read(&endpoint.buffer, self.now());
            assert_eq!(ledger.queued, 0);
            assert_eq!(ledger.enqueued, endpoint.offered, "every message is accounted for");
            self.seen.dropped_at_stop += ledger.dropped.get("shutdown").copied().unwrap_or_default();
            assert_eq!(
                endpoint.answered.len() as u64 + ledger.dropped_total(),
                endpoint.offered,
                "what was not answered for was dropped"
            );
        }
    }
}

impl Source {
    fn new(number: usize, routes: usize, random: &mut Random) -> Source {
        let is_burst = random.one_in(8);
        let count = if is_burst { 9_000 } else { random.between(1, 400) };
        let longest = if is_burst { 4 } else { random.between(1, 1_500) };
        let unsent = (0..count as usize)
            .map(|sequence| {
                if random.one_in(50) {
                    let text = ["nonsense", "", "{}", "[1]"][random.between(0, 3) as usize].to_owned();
                    return Sent { text, kind: None };
                }
                let kind = random.between(0, routes as u64) as usize;
                let filling = "x".repeat(random.between(0, longest) as usize);
                let text = format!(
                    "{{\"type\":\"t{kind}\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"payload\":\"{number} {sequence} {filling}\"}}"
                );
                Sent { text, kind: Some(kind) }
            })
            .collect();
        let (bell, waker) = Bell::new();
        Source {
            input: number % 2,
            can_wait: !random.one_in(5),
            unsent,
            parked: Vec::new(),
            bell,
            waker,
            largest_piece: if is_burst { 5_000 } else { random.between(1, 60) as usize },
        }
    }
}

impl Destination {
    fn new(number: usize, random: &mut Random) -> Destination {
        let when_full = match random.between(0, 3) {
            0 => WhenFull::DropNewest,
            1 => WhenFull::DropOldest,
            _ => WhenFull::Block,
        };
        let limit = 1usize << random.between(12, 20);
        let buffer = Arc::new(Buffer::new(limit, when_full));
        let (counters, control) = (Arc::<EndpointCounters>::default(), Arc::<Control>::default());
        let linger =
            if random.one_in(3) { Duration::from_millis(random.between(1, 1_000)) } else { Duration::ZERO };
        let name = format!("endpoint-{number}");
        let runner =
            Runner::new(&name, buffer.clone(), counters.clone(), control.clone(), linger, random.next());
        let (bell, waker) = Bell::new();
        Destination {
            when_full,
            buffer,
            counters,
            control,
            runner,
            bell,
            waker,
            state: State::Idle,
            linger,
            largest_limit: limit,
            is_leaving: false,
            down_until: if random.one_in(3) {
                Duration::from_millis(random.between(1, 60_000))
            } else {
                Duration::ZERO
            },
            fails_one_in: if random.one_in(2) { random.between(2, 10) } else { 0 },
            slowest: Duration::from_micros(random.between(1, 300_000)),
            offered: 0,
            attempted: HashSet::new(),
            last_first_attempt: HashMap::new(),
            answered: HashSet::new(),
            delivered: 0,
            refused: 0,
            failures: 0,
            retry_between: None,
        }
    }

    /// Another endpoint goes on over the same buffer: it knows nothing of what failed before.
    fn take_over(&mut self, seed: u64) {
        self.control.has_made_way();
        let (buffer, counters, control) = (self.buffer.clone(), self.counters.clone(), self.control.clone());
        self.runner = Runner::new("successor", buffer, counters, control, self.linger, seed);
        self.failures = 0;
        self.retry_between = None;
    }

    /// Takes as much of the work as it will, and says so. The messages that it looks at are its attempts.
    fn attempt(&mut self, now: Duration, random: &mut Random) -> Answer {
        let work: &Work = self.runner.work();
        let ids: Vec<Id> = work.messages().map(|message| id_of(message.bytes)).collect();
        assert_eq!(ids.len(), work.len());
        assert!(!ids.is_empty(), "asked to deliver nothing");
        let is_down = now < self.down_until;
        let fails = is_down || (self.fails_one_in > 0 && random.one_in(self.fails_one_in));
        let settled = match (is_down, fails) {
            (true, _) => 0,
            (false, true) => random.between(0, ids.len() as u64 - 1) as usize,
            (false, false) => ids.len(),
        };
        for &(source, sequence) in ids.iter().take(settled + 1) {
            if self.attempted.insert((source, sequence)) {
                let before = self.last_first_attempt.insert(source, sequence);
                assert!(
                    before.is_none_or(|before| before < sequence),
                    "{sequence} of source {source} came late"
                );
            }
        }
        for id in &ids[..settled] {
            assert!(self.answered.insert(*id), "{id:?} was answered for before");
        }
        let mut refused = Refusals::default();
        (0..settled).filter(|_| random.one_in(100)).for_each(|_| refused.add("unsuitable"));
        let then = if fails {
            let after = random.one_in(4).then(|| Duration::from_millis(random.between(0, 60_000)));
            Then::Retry { error: "out of order".to_owned(), after }
        } else {
            Then::Done
        };
        Answer { settled, refused, then }
    }

    /// What the answer means for the counters, and for the time of the next attempt.
    fn take_note_of(&mut self, now: Duration, answer: &Answer) {
        self.delivered += (answer.settled - answer.refused.total()) as u64;
        self.refused += answer.refused.total() as u64;
        match &answer.then {
            Then::Done => {
                self.failures = 0;
                self.retry_between = None;
            }
            Then::Retry { after, .. } => {
                self.failures = if answer.settled > 0 { 1 } else { self.failures + 1 };
                let ceiling = FIRST_WAIT.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_WAIT);
                let asked = after.unwrap_or_default();
                // What is tried again may wait for company, like everything.
                let latest = now + ceiling.max(asked) + self.linger;
                self.retry_between = Some((now + (ceiling / 2).max(asked), latest));
            }
            Then::Wait { .. } | Then::Gone { .. } => panic!("no simulated endpoint says so"),
        }
    }
}

/// The table of these routes, over all endpoints that ever were.
fn outlets(routes: &[Vec<usize>], destinations: &[Destination]) -> Arc<Outlets> {
    let table = RouteTable::compile(routes.iter().enumerate().map(route).collect(), destinations.len());
    let outlet = |endpoint: &Destination| Outlet {
        name: "endpoint".into(),
        buffer: endpoint.buffer.clone(),
        counters: endpoint.counters.clone(),
        ack: Ack::Durable,
    };
    Arc::new(Outlets {
        table: table.expect("routes"),
        outlets: destinations.iter().map(outlet).collect(),
        rejects: Rejects::new(Vec::new(), 0),
        tap: Arc::default(),
    })
}

/// Messages of type `tN` go to the endpoints of route N.
fn route((number, to): (usize, &Vec<usize>)) -> RouteSpec {
    let path = Path::parse("type").expect("a path");
    RouteSpec {
        condition: Condition::Test(path, Test::OneOf(vec![Scalar::String(format!("t{number}"))])),
        to: to.clone(),
        is_final: false,
        unrouted: false,
    }
}

fn id_of(message: &[u8]) -> Id {
    let message: serde_json::Value = serde_json::from_slice(message).expect("a whole message");
    let mut words = message["payload"].as_str().expect("a text").split(' ').map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(source)), Some(Ok(sequence))) => (source, sequence),
        _ => panic!("not a message of this simulation: {message}"),
    }
}

/// Notes that a waker rang.
#[derive(Default)]
struct Bell(AtomicBool);

impl Bell {
    fn new() -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell::default());
        (bell.clone(), bell.into())
    }

    fn was_rung(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Time stands still between events.
#[derive(Debug, Default)]
struct SimulatedClock(Mutex<Duration>);

impl SimulatedClock {
    fn set(&self, now: Duration) {
        let mut time = self.0.lock().expect("the time");
        assert!(now >= *time, "time goes back");
        *time = now;
    }
}

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Duration {
        *self.0.lock().expect("the time")
    }

    fn wall(&self) -> Timestamp {
        Timestamp { seconds: 1_342_646_005 + self.monotonic().as_secs() as i64, nanoseconds: 0 }
    }
}

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `least` to `most`, both included.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}
