//! When to try again: exponential back-off with jitter, and a circuit breaker.
//!
//! A state machine: failures and successes go in, the time to wait comes out. Randomness is a seeded generator, so a
//! simulated run is repeatable.

use std::time::Duration;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Failures in a row after which the breaker opens: deliveries become single probes.
const BREAKER_FAILURES: u32 = 5;

/// The state of one endpoint's deliveries.
#[derive(Debug)]
pub struct Retry {
    failures: u32,
    random: u64,
}

impl Retry {
    /// Nothing has failed yet. `seed` decides the jitter.
    pub fn new(seed: u64) -> Self {
        Retry { failures: 0, random: seed | 1 }
    }

    /// A delivery failed; returns how long to wait. `asked` is the peer's own wish (`Retry-After`), which is honoured
    /// when it is longer.
    pub fn failed(&mut self, asked: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let ceiling = FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST);
        // Between half and all of the ceiling: many routers that lost the same peer do not come back in step.
        let wait = ceiling / 2 + ceiling.mul_f64(self.fraction() / 2.0);
        wait.max(asked.unwrap_or_default())
    }

    /// A delivery worked.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the breaker is open: the next delivery is a probe and should be small.
    pub fn is_open(&self) -> bool {
        self.failures >= BREAKER_FAILURES
    }

    /// A number in [0, 1) by xorshift64 (Marsaglia, "Xorshift RNGs", 2003): jitter needs no better.
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_their_bounds() {
        let mut retry = Retry::new(7);
        let waits: Vec<Duration> = (0..40).map(|_| retry.failed(None)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[3] > waits[0]);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[39] >= LONGEST / 2);
    }

    #[test]
    fn the_peers_own_wish_is_honoured_when_it_is_longer() {
        let mut retry = Retry::new(7);
        assert_eq!(retry.failed(Some(Duration::from_secs(99))), Duration::from_secs(99));
        assert!(retry.failed(Some(Duration::ZERO)) > Duration::ZERO);
    }

    #[test]
    fn the_breaker_opens_after_repeated_failures_and_closes_with_the_first_success() {
        let mut retry = Retry::new(7);
        for _ in 0..BREAKER_FAILURES {
            assert!(!retry.is_open());
            retry.failed(None);
        }
        assert!(retry.is_open());
        retry.succeeded();
        assert!(!retry.is_open());
    }

    #[test]
    fn two_seeds_do_not_wait_in_step() {
        assert_ne!(Retry::new(1).failed(None), Retry::new(0xfeed_beef_cafe).failed(None));
    }
}
