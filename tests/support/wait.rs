//! Waiting for a condition, with a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take. Far more than it does, so that a busy machine fails no test, and longer than a router may
/// take to end, which is half a minute where its configuration says nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between one look and the next.
pub const PAUSE: Duration = Duration::from_millis(2);

/// Asks `attempt` until it gives something; panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(PAUSE);
    }
}
