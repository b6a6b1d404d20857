//! How much an endpoint lost lately: what tells losses that go on from those of long ago.
//!
//! Added to once per hand-over or connection that is lost, never for what is kept, so the lock costs nothing where all is well.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// What one counter stands for.
const STEP_SECONDS: u64 = 5;

/// As many as make a minute.
const STEPS: usize = 12;

/// What was lost in the last minute, or in up to five seconds less, by reason.
#[derive(Debug, Default)]
pub(super) struct LastMinute {
    steps: Mutex<[Step; STEPS]>,
}

#[derive(Debug, Default)]
struct Step {
    /// Which step since the clock began.
    number: u64,
    lost: BTreeMap<&'static str, u64>,
}

impl LastMinute {
    /// Adds what was lost at this moment of the monotonic clock.
    pub(super) fn add(&self, now: Duration, reason: &'static str, count: u64) {
        let number = now.as_secs() / STEP_SECONDS;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = &mut steps[number as usize % STEPS];
        // Threads come here with moments of before: one that is behind by a minute counts as of now.
        if step.number < number {
            *step = Step { number, ..Step::default() };
        }
        *step.lost.entry(reason).or_default() += count;
    }

    /// By reason, what was lost in the minute before this moment.
    pub(super) fn read(&self, now: Duration) -> BTreeMap<&'static str, u64> {
        let number = now.as_secs() / STEP_SECONDS;
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = BTreeMap::new();
        for step in steps.iter().filter(|step| step.number + STEPS as u64 > number) {
            for (reason, count) in &step.lost {
                *lost.entry(*reason).or_default() += count;
            }
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn losses_are_summed_by_reason_and_forgotten_after_a_minute() {
        let losses = LastMinute::default();
        assert_eq!(losses.read(seconds(3)), BTreeMap::new());
        losses.add(seconds(3), "buffer-full", 5);
        losses.add(seconds(40), "buffer-full", 7);
        losses.add(seconds(41), "lane-full", 1);
        assert_eq!(losses.read(seconds(42)), BTreeMap::from([("buffer-full", 12), ("lane-full", 1)]));
        assert_eq!(losses.read(seconds(63)), BTreeMap::from([("buffer-full", 7), ("lane-full", 1)]));
        assert_eq!(losses.read(seconds(100)), BTreeMap::new());
    }

    #[test]
    fn a_counter_that_is_used_again_begins_at_nothing() {
        let losses = LastMinute::default();
        losses.add(seconds(3), "buffer-full", 5);
        losses.add(seconds(63), "buffer-full", 2);
        losses.add(seconds(3600), "buffer-full", 1);
        assert_eq!(losses.read(seconds(3600)), BTreeMap::from([("buffer-full", 1)]));
    }
}
