//! One endpoint at work: its buffer, and whoever drives it.
//!
//! A reload may put another endpoint behind the same buffer. The one before ends between two deliveries, and the next one
//! begins where it left off: order is kept, and nothing is lost or sent twice. Until then both exist. A delivery over the network
//! that takes too long for that is broken off, and what it was to deliver is delivered anew.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::Duration,
};

use metlog_buffer::Buffer;
use tokio::runtime::Handle;

use super::{
    GRACE,
    claims::{Claimed, Claims, Turn},
};
use crate::{
    acknowledgement::Ack,
    clock::Clock,
    config::{self, Fingerprint},
    control::Control,
    endpoints::{
        Endpoint, EndpointContext, EndpointSettings, LaneEndpoint, NetworkEndpoint, OpenError, Opened,
    },
    lanes::{AskedWait, Lanes, drive_lanes},
    latch::Latch,
    ledger::{EndpointAccount, EndpointCounters, Failure},
    pipeline::Outlet,
    runner::{AskedRest, Driven, MAKE_WAY_TIME, Runner, abandon, drive_blocking, drive_network},
    territory::Territory,
};

pub(super) type Component = config::EndpointComponent<dyn EndpointSettings>;

/// What all endpoints stand on.
#[derive(Debug)]
pub(super) struct Ground {
    pub clock: Arc<dyn Clock>,
    pub network: Handle,
    /// Rings when an endpoint has ended without being told to.
    pub ended: Waker,
    /// Decides the jitter of retries.
    pub random: RandomState,
}

/// An endpoint of the configuration.
#[derive(Debug)]
pub(super) struct RunningEndpoint {
    pub name: String,
    pub kind: &'static str,
    own: Fingerprint,
    pub common: Fingerprint,
    has_lanes: bool,
    /// The files of the endpoint that was put in place last.
    pub claimed: Option<Arc<Claimed>>,
    pub outlet: Outlet,
    pub control: Arc<Control>,
    succession: Arc<Succession>,
}

/// Who an endpoint is to its server; see [`EndpointSettings::sender`].
type Sender = Option<u64>;

/// An opened endpoint that nobody drives yet.
pub(super) struct Candidate {
    opened: Opened,
    /// What it was opened with.
    own: Fingerprint,
    linger: Duration,
    sender: Sender,
    /// The files that it writes.
    territory: Option<Territory>,
    /// When it may write them. Behind the endpoint, so that it closes its files before others take them.
    turn: Turn,
}

impl Candidate {
    /// Opens an endpoint, which touches no file before its turn.
    pub fn open(
        component: &Component,
        counters: Arc<EndpointCounters>,
        clock: &Arc<dyn Clock>,
        open_files: usize,
    ) -> Result<Candidate, OpenError> {
        let settings = &component.settings;
        // Before it reads them: what changes in between is noticed by the next reload.
        let own = component.own();
        let context =
            EndpointContext { name: component.name.clone(), clock: clock.clone(), counters, open_files };
        let opened = settings.open(context)?;
        let (linger, territory, sender) = (settings.linger(), settings.territory(), settings.sender());
        Ok(Candidate { opened, own, linger, sender, territory, turn: Turn::default() })
    }

    /// Has it write its files when those of `ending` have let go of them.
    pub fn take_turn(&mut self, name: &str, claims: &mut Claims, ending: &[Arc<Claimed>]) {
        self.turn = claims.take_turn(name, self.territory.take(), ending);
    }

    fn has_lanes(&self) -> bool {
        matches!(self.opened, Opened::Lanes(..))
    }
}

impl RunningEndpoint {
    /// Has an endpoint driven, over an empty buffer.
    pub fn start(
        component: &Component,
        counters: Arc<EndpointCounters>,
        mut candidate: Candidate,
        ground: &Arc<Ground>,
    ) -> io::Result<RunningEndpoint> {
        let buffer = Arc::new(Buffer::new(component.buffer.memory.bytes() as usize, component.when_full()));
        let outlet =
            Outlet { name: component.name.as_str().into(), buffer, counters, ack: component.acknowledges() };
        let control = Arc::new(Control::default());
        let succession = Arc::new(Succession {
            name: component.name.clone(),
            outlet: outlet.clone(),
            control: control.clone(),
            ground: ground.clone(),
            next: Mutex::new(None),
            asked: Mutex::default(),
            asked_rest: Mutex::default(),
            ended: Latch::new(1),
        });
        let has_lanes = candidate.has_lanes();
        let (own, claimed) = (candidate.own, candidate.turn.claimed());
        let begun = candidate.turn.behind.is_empty();
        if begun && let Opened::Blocking(endpoint) = &mut candidate.opened {
            endpoint.begin();
        }
        succession.drive(candidate, begun)?;
        Ok(RunningEndpoint {
            name: component.name.clone(),
            kind: component.kind,
            own,
            common: component.common,
            has_lanes,
            claimed,
            outlet,
            control,
            succession,
        })
    }

    /// Whether it was opened with what the component says.
    pub fn is_opened_as(&self, component: &Component) -> bool {
        self.kind == component.kind && self.own == component.own()
    }

    /// Goes on as this component says, with `candidate` in place of the endpoint that is driven now, or with the same one.
    pub fn change(&mut self, component: &Component, candidate: Option<Candidate>) {
        self.kind = component.kind;
        self.common = component.common;
        self.outlet.ack = component.acknowledges();
        let (limit_bytes, when_full) = (component.buffer.memory.bytes() as usize, component.when_full());
        let buffer = &self.outlet.buffer;
        if (buffer.limit_bytes(), buffer.when_full()) != (limit_bytes, when_full) {
            buffer.set_bound(limit_bytes, when_full);
        }
        if let Some(candidate) = candidate {
            self.has_lanes = candidate.has_lanes();
            self.own = candidate.own;
            self.claimed = candidate.turn.claimed();
            self.succession.put_behind(candidate);
        }
    }

    /// Delivers what it holds, until `deadline` at the latest, and ends. Nothing may be routed to it any more.
    pub fn leave(&self, deadline: Duration) {
        let Ground { clock, network, .. } = &*self.succession.ground;
        self.outlet.counters.remove();
        self.control.leave_by(deadline);
        let (succession, clock) = (self.succession.clone(), clock.clone());
        network.spawn(async move {
            tokio::time::sleep((deadline + GRACE).saturating_sub(clock.monotonic())).await;
            succession.give_up();
        });
    }

    /// Waits at most `longest` for the end that it was told to come to; returns whether it came.
    pub fn wait(&self, longest: Duration) -> bool {
        self.succession.ended.wait(longest)
    }

    /// Whether it is driven no more.
    pub fn has_ended(&self) -> bool {
        self.succession.ended.is_open()
    }

    /// Whether it writes nothing more: it has ended, or was left behind with nothing to deliver.
    pub fn is_done(&self) -> bool {
        let buffer = &self.outlet.buffer;
        self.has_ended() || (buffer.is_closed() && buffer.status().messages == 0)
    }

    /// Takes nothing more, and counts what is left as dropped.
    pub fn give_up(&self) {
        self.succession.give_up();
    }

    /// Its account in the ledger.
    pub fn account(&self) -> EndpointAccount {
        EndpointAccount {
            name: self.name.clone(),
            kind: self.kind,
            has_lanes: self.has_lanes,
            counters: self.outlet.counters.clone(),
            buffer: self.outlet.buffer.clone(),
        }
    }
}

impl Component {
    /// What only its kind takes, with the content of the files that it names.
    fn own(&self) -> Fingerprint {
        self.own.and_files(self.settings.named_files())
    }

    /// What its buffer does when it is full: as configured, or as its kind does.
    pub fn when_full(&self) -> metlog_buffer::WhenFull {
        self.buffer.when_full.map_or_else(|| self.settings.when_full(), Into::into)
    }

    /// When it acknowledges: as configured, or as its kind does.
    pub fn acknowledges(&self) -> Ack {
        self.ack.unwrap_or_else(|| self.settings.ack())
    }
}

/// One buffer, and the endpoints that empty it, one after the other.
#[derive(Debug)]
struct Succession {
    name: String,
    outlet: Outlet,
    control: Arc<Control>,
    ground: Arc<Ground>,
    next: Mutex<Option<Candidate>>,
    /// What the peers of an endpoint with lanes asked for, for the next one with lanes.
    asked: Mutex<Vec<AskedWait>>,
    /// What the peer of one without lanes asked for, for the next one that is the same to it.
    asked_rest: Mutex<Option<(Sender, AskedRest)>>,
    ended: Latch,
}

/// What an endpoint that waits for its turn comes to.
enum Waited {
    /// Nobody else writes its files.
    Begins,
    /// Another endpoint is to go on in its place.
    MakesWay,
    /// There is nothing left for it to do.
    GivenUp,
}

/// While an endpoint waits for its turn, it looks after so long whether it is still wanted.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// Who comes after an endpoint that is driven no more.
enum Next {
    Nobody,
    Candidate(Candidate),
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

impl Succession {
    fn next(&self) -> MutexGuard<'_, Option<Candidate>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<AskedWait>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is driven now makes way for this one. Another one that waited for that never begins.
    fn put_behind(self: &Arc<Self>, candidate: Candidate) {
        let mut next = self.next();
        let never_begun = next.replace(candidate);
        // Under the lock: otherwise who is driven could take the candidate for an earlier request and withdraw that, and
        // this request would come after it with nobody behind.
        self.control.make_way();
        drop(next);
        // It may have connections and files to close.
        drop(never_begun);
        let this = self.clone();
        self.ground.network.spawn(async move {
            tokio::time::sleep(MAKE_WAY_TIME + GRACE).await;
            this.show_wait();
        });
    }

    /// A thread that hangs in a system call (a disk that does not answer) cannot be interrupted, and two that write the same file
    /// would spoil it. So the next one waits, and that is shown.
    fn show_wait(&self) {
        if self.next().is_some() && !self.ended.is_open() {
            let error =
                "it was changed, and begins anew when the delivery that is under way has ended".to_owned();
            self.show(error);
        }
    }

    fn show(&self, wait: String) {
        tracing::warn!(endpoint = self.name, "{wait}");
        let now = self.ground.clock.monotonic();
        self.outlet.counters.set_failure(Some(Failure::now(now, None, wait, 0)));
    }

    /// Waits until those that write the same files have ended. That is no longer than they may take to leave, unless one hangs
    /// in a system call; meanwhile messages queue up.
    fn wait_for(&self, turn: &Turn) -> Waited {
        let show_at = self.ground.clock.monotonic() + MAKE_WAY_TIME + GRACE;
        let mut is_shown = false;
        for other in &turn.behind {
            while !other.wait(TURN_PAUSE) {
                // No file is open yet, and the next one to be opened is a new one.
                self.control.has_reopened(self.control.reopen_asked(), Ok(()));
                if self.control.makes_way() {
                    return Waited::MakesWay;
                }
                let buffer = &self.outlet.buffer;
                if buffer.is_closed() && buffer.status().messages == 0 {
                    return Waited::GivenUp;
                }
                if !is_shown && self.ground.clock.monotonic() >= show_at {
                    is_shown = true;
                    let other = &other.endpoint;
                    self.show(format!(
                        "it begins when endpoint `{other}` of before, which still writes the same files, has ended"
                    ));
                }
            }
        }
        if is_shown {
            self.outlet.counters.set_failure(None);
        }
        Waited::Begins
    }

    fn take_next(&self) -> Option<Candidate> {
        let mut next = self.next();
        let candidate = next.take();
        self.control.has_made_way();
        if candidate.is_some() {
            // What went wrong for the one before says nothing of the next one.
            self.outlet.counters.set_failure(None);
        }
        candidate
    }

    /// A runner that leaves the peer alone where it has asked `sender` to do so.
    fn runner(&self, linger: Duration, sender: Sender) -> Runner {
        let mut runner = Runner::new(
            &self.name,
            self.outlet.buffer.clone(),
            self.outlet.counters.clone(),
            self.control.clone(),
            linger,
            self.ground.random.hash_one(&self.name),
        );
        if let Some((asked, rest)) = self.asked_rest().take()
            && sender.is_some()
            && asked == sender
        {
            runner.heed(self.ground.clock.monotonic(), rest);
        }
        runner
    }

    fn asked_rest(&self) -> MutexGuard<'_, Option<(Sender, AskedRest)>> {
        self.asked_rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drive(self: &Arc<Self>, candidate: Candidate, begun: bool) -> io::Result<()> {
        let Candidate { opened, linger, sender, turn, .. } = candidate;
        let this = self.clone();
        match opened {
            Opened::Blocking(endpoint) => {
                let thread = thread::Builder::new().name(format!("endpoint-{}", self.name));
                thread.spawn(move || this.drive_blocking(endpoint, linger, turn, begun))?;
            }
            Opened::Network(endpoint) => {
                self.ground.network.spawn(this.drive_network(endpoint, linger, sender));
            }
            Opened::Lanes(endpoint, most_lanes) => {
                self.ground.network.spawn(this.drive_lanes(endpoint, most_lanes));
            }
        }
        Ok(())
    }

    /// One blocking endpoint follows another on the same thread.
    fn drive_blocking(
        self: Arc<Self>,
        mut endpoint: Box<dyn Endpoint>,
        mut linger: Duration,
        mut turn: Turn,
        mut begun: bool,
    ) {
        loop {
            match self.wait_for(&turn) {
                Waited::GivenUp => break,
                Waited::MakesWay => {}
                Waited::Begins => {
                    if !std::mem::replace(&mut begun, true) {
                        endpoint.begin();
                    }
                    // No server asks anything of these.
                    let mut runner = self.runner(linger, None);
                    let driven = drive_blocking(&mut runner, &mut *endpoint, &*self.ground.clock);
                    if driven != Driven::MakesWay {
                        break;
                    }
                }
            }
            let Some(next) = self.take_next() else {
                // Nobody is there to make way for.
                continue;
            };
            // Its files first: the next one may wait for them, and so may others.
            drop(endpoint);
            drop(turn);
            match next {
                Candidate { opened: Opened::Blocking(next), linger: its_linger, turn: its_turn, .. } => {
                    (endpoint, linger, turn, begun) = (next, its_linger, its_turn, false);
                }
                other => return self.go_on(other),
            }
        }
        drop(endpoint);
        drop(turn);
        self.end();
    }

    async fn drive_network(
        self: Arc<Self>,
        mut endpoint: Box<dyn NetworkEndpoint>,
        linger: Duration,
        sender: Sender,
    ) {
        let next = loop {
            let clock = self.ground.clock.clone();
            let mut runner = self.runner(linger, sender);
            let driven = drive_network(&mut runner, &mut *endpoint, clock).await;
            *self.asked_rest() = runner.take_asked().map(|rest| (sender, rest));
            if let Some(next) = self.next_after(driven) {
                break next;
            }
        };
        drop(endpoint);
        self.follow(next);
    }

    async fn drive_lanes(self: Arc<Self>, endpoint: Arc<dyn LaneEndpoint>, most_lanes: usize) {
        let Outlet { buffer, counters, .. } = self.outlet.clone();
        let seed = self.ground.random.hash_one(&self.name);
        let next = loop {
            let (buffer, counters, control) = (buffer.clone(), counters.clone(), self.control.clone());
            let mut lanes = Lanes::new(&self.name, buffer, counters, control, most_lanes, seed);
            lanes.heed(std::mem::take(&mut *self.asked()));
            let driven = drive_lanes(&mut lanes, endpoint.clone(), self.ground.clock.clone()).await;
            *self.asked() = lanes.take_asked();
            if let Some(next) = self.next_after(driven) {
                break next;
            }
        };
        drop(endpoint);
        self.follow(next);
    }

    /// Who comes after an endpoint that was driven so far; `None` if it is to go on itself.
    fn next_after(&self, driven: Driven) -> Option<Next> {
        match driven {
            Driven::Finished => Some(Next::Nobody),
            Driven::MakesWay => self.take_next().map(Next::Candidate),
        }
    }

    fn follow(self: Arc<Self>, next: Next) {
        match next {
            Next::Nobody => self.end(),
            Next::Candidate(candidate) => self.go_on(candidate),
        }
    }

    fn go_on(self: Arc<Self>, next: Candidate) {
        if let Err(error) = self.drive(next, false) {
            tracing::error!(endpoint = self.name, %error, "cannot go on: no thread for it");
            self.end();
        }
    }

    fn end(&self) {
        let never_begun = self.next().take();
        drop(never_begun);
        self.control.has_ended();
        self.ended.count_down();
        if !self.control.is_leaving() {
            // News only if the router was not stopping yet.
            self.ground.ended.wake_by_ref();
        }
    }

    fn give_up(&self) {
        if !self.ended.is_open() {
            tracing::error!(endpoint = self.name, "does not answer and is left behind");
        }
        self.outlet.buffer.close();
        // Also where it ended in time: a batch may have come in between its last look and the close.
        abandon(&self.outlet.buffer, &self.outlet.counters);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
        time::Instant,
    };

    use metlog_buffer::Pushed;

    use super::*;
    use crate::{
        batch::Handover,
        clock::SystemClock,
        network::NetworkRuntime,
        testing::{Taking, batch_of, buffer, lines},
    };

    const KINDS: [fn(Taking) -> Opened; 3] = [
        |taking| Opened::Blocking(Box::new(taking)),
        |taking| Opened::Network(Box::new(taking)),
        |taking| Opened::Lanes(Arc::new(taking), 10),
    ];

    #[derive(Default)]
    struct Ended(AtomicUsize);

    impl Wake for Ended {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// An endpoint at work on a network of its own.
    struct Rig {
        network: NetworkRuntime,
        succession: Arc<Succession>,
        ended: Arc<Ended>,
        pushed: usize,
    }

    impl Rig {
        fn start(candidate: Candidate) -> Rig {
            let network = NetworkRuntime::start().unwrap();
            let ended = Arc::new(Ended::default());
            let ground = Ground {
                clock: Arc::new(SystemClock::new()),
                network: network.handle().clone(),
                ended: ended.clone().into(),
                random: RandomState::new(),
            };
            let outlet = Outlet {
                name: "test".into(),
                buffer: buffer(1 << 20),
                counters: Arc::default(),
                ack: Ack::Queued,
            };
            let succession = Arc::new(Succession {
                name: "test".to_owned(),
                outlet,
                control: Arc::default(),
                ground: Arc::new(ground),
                next: Mutex::new(None),
                asked: Mutex::default(),
                asked_rest: Mutex::default(),
                ended: Latch::new(1),
            });
            succession.drive(candidate, false).unwrap();
            Rig { network, succession, ended, pushed: 0 }
        }

        fn push(&mut self) {
            let handover = Handover::all(&Arc::new(batch_of(&lines(1))));
            let pushed = self.succession.outlet.buffer.push(handover, Duration::ZERO, None);
            self.pushed += usize::from(matches!(pushed, Pushed::Accepted));
        }

        /// Whoever takes it, and whenever: all that was pushed arrives, and nobody ends before the buffer is closed.
        fn stop(self) {
            let counters = &self.succession.outlet.counters;
            let deadline = Instant::now() + Duration::from_secs(20);
            while (counters.delivered.get() as usize) < self.pushed {
                assert!(Instant::now() < deadline, "{} of {}", counters.delivered.get(), self.pushed);
                thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(self.ended.0.load(Ordering::SeqCst), 0, "it ended before it was told to");
            self.succession.outlet.buffer.close();
            assert!(self.succession.ended.wait(Duration::from_secs(20)));
            self.network.stop();
        }
    }

    fn candidate(opened: fn(Taking) -> Opened) -> (Candidate, Arc<AtomicUsize>) {
        let taken = Arc::new(AtomicUsize::new(0));
        let opened = opened(Taking(taken.clone()));
        let (own, linger) = (Fingerprint::default(), Duration::ZERO);
        (Candidate { opened, own, linger, sender: None, territory: None, turn: Turn::default() }, taken)
    }

    #[test]
    fn an_endpoint_that_is_to_make_way_for_nobody_goes_on() {
        for opened in KINDS {
            let (first, taken) = candidate(opened);
            let mut rig = Rig::start(first);
            for _ in 0..3 {
                rig.succession.control.make_way();
                let deadline = Instant::now() + Duration::from_secs(20);
                while rig.succession.control.makes_way() && !rig.succession.ended.is_open() {
                    assert!(Instant::now() < deadline);
                    thread::yield_now();
                }
                rig.push();
            }
            rig.stop();
            assert_eq!(taken.load(Ordering::SeqCst), 3);
        }
    }

    #[test]
    fn endpoints_that_follow_one_another_at_any_moment_take_each_message_once() {
        for opened in KINDS {
            let (first, taken) = candidate(opened);
            let mut rig = Rig::start(first);
            let mut all = vec![taken];
            for round in 0..2000 {
                let (next, taken) = candidate(KINDS[round % KINDS.len()]);
                all.push(taken);
                rig.succession.put_behind(next);
                rig.push();
            }
            let pushed = rig.pushed;
            rig.stop();
            assert_eq!(all.iter().map(|taken| taken.load(Ordering::SeqCst)).sum::<usize>(), pushed);
        }
    }
}
