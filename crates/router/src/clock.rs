//! Time, handed in from outside: the real clock in threads, a simulated one in tests.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use metlog_message::Timestamp;

use crate::sys;

/// Where the router's code learns what time it is. Read once per batch, never per message.
pub trait Clock: Debug + Send + Sync {
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
    /// Time of day.
    fn wall(&self) -> Timestamp;
}

/// CLOCK_MONOTONIC of the operating system, which other processes read too.
pub fn system_monotonic() -> Duration {
    sys::monotonic()
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        SystemClock { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }
}
