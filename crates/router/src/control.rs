//! How the topology speaks to a running endpoint: stop by then, open your files anew, let another one go on, leave.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
    /// How often files were asked to be opened anew.
    asked: AtomicU64,
    reopened: Mutex<Reopened>,
    reopened_changed: Condvar,
}

/// How far the runner got with what it was asked.
#[derive(Debug, Default)]
struct Reopened {
    /// Everything up to this request is done.
    request: u64,
    /// What went wrong the last time.
    problem: Option<String>,
}

/// Why an endpoint's files are not open anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReopenError {
    /// It has not come to it yet: it is still delivering, or waits for a reader.
    #[error("still delivering; it opens its files anew as soon as it is done")]
    Late,
    /// A file cannot be opened; it is tried again with every delivery.
    #[error("{0}; trying again")]
    Failed(String),
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
    pub fn has_made_way(&self) {
        self.successor_waits.store(false, Ordering::Release);
    }

    /// Asks for files to be opened anew. What is returned stands for this request.
    pub fn ask_to_reopen(&self) -> u64 {
        // A number for each request: the end of one that was under way before says nothing about this one.
        let request = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.ring();
        request
    }

    /// Waits at most `longest` until what [`Control::ask_to_reopen`] asked for is done.
    pub fn wait_for_reopen(&self, request: u64, longest: Duration) -> Result<(), ReopenError> {
        let reopened = self.reopened.lock().unwrap_or_else(PoisonError::into_inner);
        let (reopened, _) = self
            .reopened_changed
            .wait_timeout_while(reopened, longest, |reopened| reopened.request < request)
            .unwrap_or_else(PoisonError::into_inner);
        if reopened.request < request {
            return Err(ReopenError::Late);
        }
        reopened.problem.clone().map_or(Ok(()), |problem| Err(ReopenError::Failed(problem)))
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

    /// The newest request to open files anew.
    pub(crate) fn reopen_asked(&self) -> u64 {
        self.asked.load(Ordering::Acquire)
    }

    /// Nobody is driven any more, so no file is open: every request is done, also those to come.
    pub(crate) fn has_ended(&self) {
        self.has_reopened(u64::MAX, Ok(()));
    }

    /// Everything up to `request` is done, with this outcome.
    pub(crate) fn has_reopened(&self, request: u64, outcome: Result<(), String>) {
        let mut reopened = self.reopened.lock().unwrap_or_else(PoisonError::into_inner);
        *reopened = Reopened { request, problem: outcome.err() };
        self.reopened_changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, thread};

    #[test]
    fn the_end_of_an_earlier_request_is_not_taken_for_the_end_of_a_later_one() {
        let control = Control::default();
        let under_way = control.ask_to_reopen();
        let later = control.ask_to_reopen();
        control.has_reopened(under_way, Ok(()));
        assert_eq!(control.wait_for_reopen(under_way, Duration::ZERO), Ok(()));
        assert_eq!(control.wait_for_reopen(later, Duration::ZERO), Err(ReopenError::Late));
        control.has_ended();
        assert_eq!(control.wait_for_reopen(later, Duration::ZERO), Ok(()));
    }

    #[test]
    fn who_asks_is_told_what_went_wrong() {
        let control = Arc::new(Control::default());
        let request = control.ask_to_reopen();
        let asked = control.clone();
        let asking = thread::spawn(move || asked.wait_for_reopen(request, Duration::from_secs(20)));
        control.has_reopened(request, Err("no".to_owned()));
        assert_eq!(asking.join().unwrap(), Err(ReopenError::Failed("no".to_owned())));
    }
}
