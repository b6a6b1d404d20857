//! What the API looks at: the running router, and what it was made from.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use metlog_router::{
    clock::Clock,
    ledger::Ledger,
    tap::Tap,
    topology::{Configuration, Topology},
};

use super::{
    condition_text,
    pipeline::{Pipeline, Route, State},
};

/// What is told of a configuration, taken from it before the router swallows it.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) routes: Vec<Route>,
}

impl Plan {
    /// What there is to tell.
    pub fn of(configuration: &Configuration) -> Plan {
        let name = |position: &usize| Some(configuration.endpoints.get(*position)?.name.clone());
        let routes = configuration
            .routes
            .iter()
            .map(|route| Route {
                number: route.number,
                name: route.name.clone(),
                condition: condition_text::of(&route.written),
                to: route.to.iter().filter_map(name).collect(),
                is_final: route.is_final,
                unrouted: route.unrouted,
            })
            .collect();
        Plan { routes }
    }
}

/// A running router, as its API and its views see it.
#[derive(Debug)]
pub struct Observed {
    pub(super) ledger: Arc<Ledger>,
    pub(super) tap: Arc<Tap>,
    pub(super) clock: Arc<dyn Clock>,
    plan: RwLock<Plan>,
    pub(super) started_at: SystemTime,
    /// The same moment on `clock`.
    started: Duration,
    stopping: AtomicBool,
}

impl Observed {
    /// Looks at a router that has just been started.
    pub fn new(topology: &Topology, plan: Plan) -> Observed {
        Observed {
            ledger: topology.ledger().clone(),
            tap: topology.tap().clone(),
            clock: topology.clock().clone(),
            plan: RwLock::new(plan),
            started_at: SystemTime::now(),
            started: topology.clock().monotonic(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Nothing to look at.
    #[cfg(test)]
    pub fn for_tests() -> Observed {
        Observed {
            ledger: Arc::default(),
            tap: Arc::default(),
            clock: Arc::new(metlog_router::clock::SystemClock::new()),
            plan: RwLock::new(Plan { routes: Vec::new() }),
            started_at: SystemTime::now(),
            started: Duration::ZERO,
            stopping: AtomicBool::new(false),
        }
    }

    /// The router goes on with another configuration.
    pub fn follow(&self, plan: Plan) {
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// The routes of the configuration that the router runs with.
    pub(super) fn routes(&self) -> Vec<Route> {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).routes.clone()
    }

    /// Says from now on that the router stops: it takes no more messages and delivers what it has.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What the router does at the moment.
    pub fn state(&self) -> State {
        if self.stopping.load(Ordering::Relaxed) { State::Stopping } else { State::Running }
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    /// The pipeline and its ledger now.
    pub fn pipeline(&self) -> Pipeline {
        Pipeline::read(self)
    }
}
