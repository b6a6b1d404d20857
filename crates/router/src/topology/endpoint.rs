//! One endpoint at work: its buffer, and whoever drives it.
//!
//! A reload may put another endpoint behind the same buffer. The one before ends between two deliveries, and the next one
//! begins where it left off: order is kept, and nothing is lost or sent twice. Until then both exist. A delivery over the network
//! that takes too long for that is broken off, and what it was to deliver is delivered anew.

mod succession;

use std::{fmt, hash::RandomState, io, sync::Arc, task::Waker, time::Duration};

use metlog_buffer::Buffer;
use tokio::runtime::Handle;

use self::succession::Succession;
use super::{
    GRACE,
    claims::{Claimed, Claims, Turn},
};
use crate::{
    acknowledgement::Ack,
    clock::Clock,
    config::{self, Fingerprint},
    control::Control,
    endpoints::{EndpointContext, EndpointSettings, OpenError, Opened},
    ledger::{EndpointAccount, EndpointCounters},
    pipeline::Outlet,
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

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").finish_non_exhaustive()
    }
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
        let succession = Succession::new(&component.name, outlet.clone(), control.clone(), ground.clone());
        let has_lanes = candidate.has_lanes();
        let (own, claimed) = (candidate.own, candidate.turn.claimed());
        let begun = match &mut candidate.opened {
            Opened::Blocking(endpoint) if candidate.turn.behind.is_empty() => Some(endpoint.begin()),
            _ => None,
        };
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
