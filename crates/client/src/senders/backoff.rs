//! How long to wait before the next try: longer each time, and not all clients at the same moment.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(5);

/// Exponential back-off with jitter.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after one more failure: between half and the whole of 20 ms, 40 ms, 80 ms … 5 s.
    pub(crate) fn failed(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let jitter = (crate::system::random_bits() >> 32) as f64 / f64::from(u32::MAX);
        whole.mul_f64(0.5 + jitter / 2.0)
    }

    /// It worked.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many tries in a row failed.
    #[cfg(test)]
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the last try failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound_and_start_again_after_a_success() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..40).map(|_| backoff.failed()).collect();
        assert!(delays[0] <= FIRST && delays[0] >= FIRST / 2);
        assert!(delays[4] > delays[0]);
        assert!(delays.iter().all(|delay| *delay <= LONGEST));
        assert!(delays[39] >= LONGEST / 2);
        backoff.succeeded();
        assert!(backoff.failed() <= FIRST);
    }
}
