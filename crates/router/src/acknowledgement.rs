//! The handle by which an input learns that every endpoint is done with a batch.
//!
//! The input keeps an [`Acknowledged`]; clones of the [`Acknowledgement`] travel with the batch's hand-overs. When the last
//! clone is gone, every message was delivered, refused or dropped under a policy that the operator chose, and counted as
//! such, and the input's waker rings. No endpoint has to do anything for it, so none can forget to. Only what the router could
//! not finish before it ended is different: it is [withheld](Acknowledgement::withhold), and the input brings it again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use crate::choices;

choices! {
    /// When an endpoint acknowledges a message to the input that brought it.
    pub enum Ack {
        /// Once it is delivered. An input that keeps a position (a file) brings everything else again after a crash.
        Durable = "durable",
        /// Once it waits in memory. What waits there is lost when the router is killed.
        Queued = "queued",
    }
}

/// Travels with a batch; see the module's text.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    last: Arc<RingsWhenDropped>,
}

/// The input's end.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    complete: AtomicBool,
    withheld: AtomicBool,
}

#[derive(Debug)]
struct RingsWhenDropped {
    state: Arc<State>,
    waker: Waker,
}

impl Drop for RingsWhenDropped {
    fn drop(&mut self) {
        if !self.state.withheld.load(Ordering::Acquire) {
            self.state.complete.store(true, Ordering::Release);
            self.waker.wake_by_ref();
        }
    }
}

impl Acknowledgement {
    /// A handle for one batch, and the input's end of it. `waker` rings when the batch is complete.
    pub fn new(waker: Waker) -> (Acknowledgement, Acknowledged) {
        let state = Arc::new(State::default());
        let last = RingsWhenDropped { state: state.clone(), waker };
        (Acknowledgement { last: Arc::new(last) }, Acknowledged { state })
    }

    /// Some of the batch was given up because the router or its input ends: it is never complete.
    pub fn withhold(&self) {
        self.last.state.withheld.store(true, Ordering::Release);
    }
}

impl Acknowledged {
    /// Whether every endpoint is done with the batch.
    pub fn is_complete(&self) -> bool {
        self.state.complete.load(Ordering::Acquire)
    }

    /// Whether some of it was given up, so that it will never be complete.
    pub fn is_withheld(&self) -> bool {
        self.state.withheld.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_acknowledged_when_its_last_copy_is_gone() {
        let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
        let copy = handle.clone();
        drop(handle);
        assert!(!acknowledged.is_complete());
        drop(copy);
        assert!(acknowledged.is_complete());
    }

    #[test]
    fn what_one_endpoint_could_not_finish_is_not_acknowledged_when_the_others_are_done() {
        let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
        let given_up = handle.clone();
        given_up.withhold();
        drop((given_up, handle));
        assert!(!acknowledged.is_complete() && acknowledged.is_withheld());
    }
}
