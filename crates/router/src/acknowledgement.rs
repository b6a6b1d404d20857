//! The handle by which an input learns that every endpoint is done with a batch.
//!
//! The input keeps an [`Acknowledged`]; clones of the [`Acknowledgement`] travel with the batch and its copies. When the
//! last clone is gone, every message was delivered, refused or dropped, and counted as such, and the input's waker rings.
//! No endpoint has to do anything for it, so none can forget to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

/// Travels with a batch; see the module's text.
#[derive(Debug, Clone)]
pub struct Acknowledgement {
    _last: Arc<RingsWhenDropped>,
}

/// The input's end.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    complete: Arc<AtomicBool>,
}

#[derive(Debug)]
struct RingsWhenDropped {
    complete: Arc<AtomicBool>,
    waker: Waker,
}

impl Drop for RingsWhenDropped {
    fn drop(&mut self) {
        self.complete.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}

impl Acknowledgement {
    /// A handle for one batch, and the input's end of it. `waker` rings when the batch is complete.
    pub fn new(waker: Waker) -> (Acknowledgement, Acknowledged) {
        let complete = Arc::new(AtomicBool::new(false));
        let last = RingsWhenDropped { complete: complete.clone(), waker };
        (Acknowledgement { _last: Arc::new(last) }, Acknowledged { complete })
    }
}

impl Acknowledged {
    /// Whether every endpoint is done with the batch.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
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
}
