//! How the topology speaks to a running endpoint: stop by then, open your files anew, let another one go on, leave.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// One endpoint's ear. The runner looks at it before each step and leaves its waker here.
#[derive(Debug, Default)]
pub struct Control {
    waker: Mutex<Option<Waker>>,
    deadline: Mutex<Option<Duration>>,
    is_leaving: AtomicBool,
    successor_waits: AtomicBool,
    reopen_asked: AtomicBool,
    reopened: Mutex<u64>,
    reopened_changed: Condvar,
}

impl Control {
    /// Deliver what is held, but not for longer than until `deadline` on the monotonic clock. The earliest of several counts.
    pub fn stop_by(&self, deadline: Duration) {
        let mut earliest = self.deadline.lock().unwrap_or_else(PoisonError::into_inner);
        *earliest = Some(earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        drop(earliest);
        self.ring();
    }

    /// The deadline, once there is one.
    pub fn deadline(&self) -> Option<Duration> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is routed to the endpoint any more: deliver what it holds, and what still waits for room in its buffer, until
    /// `deadline` at the latest, and end.
    pub fn leave_by(&self, deadline: Duration) {
        self.is_leaving.store(true, Ordering::Release);
        self.stop_by(deadline);
    }

    /// Whether [`Control::leave_by`] was called.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// Asks whoever drives the endpoint to end between two deliveries: another endpoint goes on over the same buffer.
    pub fn make_way(&self) {
        self.successor_waits.store(true, Ordering::Release);
        self.ring();
    }

    /// Whether to end because another endpoint waits to go on.
    pub fn makes_way(&self) -> bool {
        self.successor_waits.load(Ordering::Acquire)
    }

    /// The successor has begun; from now on all this speaks to it.
    pub(crate) fn has_made_way(&self) {
        self.successor_waits.store(false, Ordering::Release);
    }

    /// Asks for files to be opened anew and waits at most `longest`; returns whether it was done by then.
    pub fn reopen(&self, longest: Duration) -> bool {
        let reopened = self.reopened.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *reopened;
        self.reopen_asked.store(true, Ordering::Release);
        self.ring();
        let (reopened, _) = self
            .reopened_changed
            .wait_timeout_while(reopened, longest, |reopened| *reopened == before)
            .unwrap_or_else(PoisonError::into_inner);
        *reopened > before
    }

    /// The runner's waker, for the next ring.
    pub(crate) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    fn ring(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn take_reopen(&self) -> bool {
        self.reopen_asked.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn has_reopened(&self) {
        *self.reopened.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.reopened_changed.notify_all();
    }
}
