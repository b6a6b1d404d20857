//! One endpoint at work: its buffer, and whoever drives it.
//!
//! A reload may put another endpoint behind the same buffer. The one before ends between two deliveries, and the next one
//! begins where it left off: order is kept, and nothing is lost or sent twice. Until then both exist, and a delivery that
//! takes long holds up nobody but its own messages.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    io,
    sync::{Arc, Mutex, PoisonError},
    task::Waker,
    thread,
    time::Duration,
};

use metlog_buffer::Buffer;
use tokio::runtime::Handle;

use super::GRACE;
use crate::{
    acknowledgement::Ack,
    clock::Clock,
    config::{self, Fingerprint},
    control::Control,
    endpoints::{
        Endpoint, EndpointContext, EndpointSettings, LaneEndpoint, NetworkEndpoint, OpenError, Opened,
    },
    lanes::{Lanes, drive_lanes},
    latch::Latch,
    ledger::{EndpointAccount, EndpointCounters},
    pipeline::Outlet,
    runner::{Runner, abandon, drive_blocking, drive_network},
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
    pub outlet: Outlet,
    pub control: Arc<Control>,
    succession: Arc<Succession>,
}

/// An opened endpoint that nobody drives yet.
pub(super) struct Candidate {
    opened: Opened,
    linger: Duration,
}

impl Candidate {
    /// Opens an endpoint; `behind` another one of its name that is still at work, where there is one.
    pub fn open(
        component: &Component,
        counters: Arc<EndpointCounters>,
        clock: &Arc<dyn Clock>,
        open_files: usize,
        behind: bool,
    ) -> Result<Candidate, OpenError> {
        let settings = &component.settings;
        let context =
            EndpointContext { name: component.name.clone(), clock: clock.clone(), counters, open_files };
        let opened = if behind { settings.open_behind(context)? } else { settings.open(context)? };
        Ok(Candidate { opened, linger: settings.linger() })
    }
}

impl RunningEndpoint {
    /// Has an endpoint driven, over an empty buffer.
    pub fn start(
        component: &Component,
        counters: Arc<EndpointCounters>,
        candidate: Candidate,
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
            ended: Latch::new(1),
        });
        succession.drive(candidate)?;
        Ok(RunningEndpoint {
            name: component.name.clone(),
            kind: component.kind,
            own: component.own,
            common: component.common,
            outlet,
            control,
            succession,
        })
    }

    /// Whether it was opened with what the component says.
    pub fn is_opened_as(&self, component: &Component) -> bool {
        self.kind == component.kind && self.own == component.own
    }

    /// Goes on as this component says, with `candidate` in place of the endpoint that is driven now, or with the same one.
    pub fn change(&mut self, component: &Component, candidate: Option<Candidate>) {
        self.kind = component.kind;
        self.own = component.own;
        self.common = component.common;
        self.outlet.ack = component.acknowledges();
        let (limit_bytes, when_full) = (component.buffer.memory.bytes() as usize, component.when_full());
        let buffer = &self.outlet.buffer;
        if (buffer.limit_bytes(), buffer.when_full()) != (limit_bytes, when_full) {
            buffer.set_bound(limit_bytes, when_full);
        }
        if let Some(candidate) = candidate {
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

    /// Takes nothing more, and counts what is left as dropped.
    pub fn give_up(&self) {
        self.succession.give_up();
    }

    /// Its account in the ledger.
    pub fn account(&self) -> EndpointAccount {
        EndpointAccount {
            name: self.name.clone(),
            kind: self.kind,
            counters: self.outlet.counters.clone(),
            buffer: self.outlet.buffer.clone(),
        }
    }
}

impl Component {
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
    ended: Latch,
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
}

impl Succession {
    /// Who is driven now makes way for this one. Another one that waited for that never begins.
    fn put_behind(&self, candidate: Candidate) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(candidate);
        self.control.make_way();
    }

    fn take_next(&self) -> Option<Candidate> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let candidate = next.take();
        self.control.has_made_way();
        if candidate.is_some() {
            // What went wrong for the one before says nothing of the next one.
            self.outlet.counters.set_failure(None);
        }
        candidate
    }

    fn runner(&self, linger: Duration) -> Runner {
        Runner::new(
            &self.name,
            self.outlet.buffer.clone(),
            self.outlet.counters.clone(),
            self.control.clone(),
            linger,
            self.ground.random.hash_one(&self.name),
        )
    }

    fn drive(self: &Arc<Self>, candidate: Candidate) -> io::Result<()> {
        let (this, linger) = (self.clone(), candidate.linger);
        match candidate.opened {
            Opened::Blocking(endpoint) => {
                let thread = thread::Builder::new().name(format!("endpoint-{}", self.name));
                thread.spawn(move || this.drive_blocking(endpoint, linger))?;
            }
            Opened::Network(endpoint) => {
                self.ground.network.spawn(this.drive_network(endpoint, linger));
            }
            Opened::Lanes(endpoint, most_lanes) => {
                self.ground.network.spawn(this.drive_lanes(endpoint, most_lanes));
            }
        }
        Ok(())
    }

    /// One blocking endpoint follows another on the same thread.
    fn drive_blocking(self: Arc<Self>, mut endpoint: Box<dyn Endpoint>, mut linger: Duration) {
        loop {
            drive_blocking(self.runner(linger), endpoint, &*self.ground.clock);
            match self.take_next() {
                None => return self.end(),
                Some(Candidate { opened: Opened::Blocking(mut next), linger: its_linger }) => {
                    if let Err(problem) = next.reopen() {
                        tracing::warn!(endpoint = self.name, "{problem}; trying again");
                    }
                    (endpoint, linger) = (next, its_linger);
                }
                Some(other) => return self.go_on(other),
            }
        }
    }

    async fn drive_network(self: Arc<Self>, endpoint: Box<dyn NetworkEndpoint>, linger: Duration) {
        drive_network(self.runner(linger), endpoint, self.ground.clock.clone()).await;
        match self.take_next() {
            None => self.end(),
            Some(next) => self.go_on(next),
        }
    }

    async fn drive_lanes(self: Arc<Self>, endpoint: Arc<dyn LaneEndpoint>, most_lanes: usize) {
        let Outlet { buffer, counters, .. } = self.outlet.clone();
        let seed = self.ground.random.hash_one(&self.name);
        let lanes = Lanes::new(&self.name, buffer, counters, self.control.clone(), most_lanes, seed);
        drive_lanes(lanes, endpoint, self.ground.clock.clone()).await;
        match self.take_next() {
            None => self.end(),
            Some(next) => self.go_on(next),
        }
    }

    fn go_on(self: Arc<Self>, next: Candidate) {
        if let Err(error) = self.drive(next) {
            tracing::error!(endpoint = self.name, %error, "cannot go on: no thread for it");
            self.end();
        }
    }

    fn end(&self) {
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
