//! How the topology speaks to a running endpoint: stop by then, open your files anew.

use std::{
    sync::{
        Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::Duration,
};

/// One endpoint's ear. The runner looks at it before each step and leaves its waker here.
#[derive(Debug, Default)]
pub struct Control {
    waker: Mutex<Option<Waker>>,
    deadline: OnceLock<Duration>,
    reopen_asked: AtomicBool,
    reopened: Mutex<u64>,
    reopened_changed: Condvar,
}

impl Control {
    /// Deliver what is held, but not for longer than until `deadline` on the monotonic clock. The first call counts.
    pub fn stop_by(&self, deadline: Duration) {
        let _ = self.deadline.set(deadline);
        self.ring();
    }

    /// The deadline, once there is one.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline.get().copied()
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
