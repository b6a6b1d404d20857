//! How much an endpoint lost lately because there was no room for it: what tells losses that go on from those of long ago.
//!
//! Added to once per hand-over that is lost, never for one that is kept, so the lock costs nothing where all is well.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::DropReason;

/// What one counter stands for.
const STEP_SECONDS: u64 = 5;

/// As many as make a minute.
const STEPS: usize = 12;

/// Messages that found no room in the last minute, or in up to five seconds less.
#[derive(Debug, Default)]
pub(super) struct Overflow {
    steps: Mutex<[Step; STEPS]>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Step {
    /// Which step since the clock began.
    number: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Overflow {
    /// Adds messages that were lost at this moment of the monotonic clock.
    pub(super) fn add(&self, now: Duration, reason: DropReason, messages: u64) {
        let number = now.as_secs() / STEP_SECONDS;
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let step = &mut steps[number as usize % STEPS];
        // Threads come here with moments of before: one that is behind by a minute counts as of now.
        if step.number < number {
            *step = Step { number, ..Step::default() };
        }
        step.dropped[reason as usize] += messages;
    }

    /// By reason, what was lost in the minute before this moment.
    pub(super) fn last_minute(&self, now: Duration) -> BTreeMap<&'static str, u64> {
        let number = now.as_secs() / STEP_SECONDS;
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = steps.iter().filter(|step| step.number + STEPS as u64 > number);
        let mut dropped = BTreeMap::new();
        for step in recent {
            for (reason, messages) in DropReason::ALL.iter().zip(step.dropped).filter(|(_, n)| *n > 0) {
                *dropped.entry(reason.name()).or_default() += messages;
            }
        }
        dropped
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
        let overflow = Overflow::default();
        assert_eq!(overflow.last_minute(seconds(3)), BTreeMap::new());
        overflow.add(seconds(3), DropReason::BufferFull, 5);
        overflow.add(seconds(40), DropReason::BufferFull, 7);
        overflow.add(seconds(41), DropReason::LaneFull, 1);
        assert_eq!(
            overflow.last_minute(seconds(42)),
            BTreeMap::from([("buffer-full", 12), ("lane-full", 1)])
        );
        assert_eq!(overflow.last_minute(seconds(63)), BTreeMap::from([("buffer-full", 7), ("lane-full", 1)]));
        assert_eq!(overflow.last_minute(seconds(100)), BTreeMap::new());
    }

    #[test]
    fn a_counter_that_is_used_again_begins_at_nothing() {
        let overflow = Overflow::default();
        overflow.add(seconds(3), DropReason::BufferFull, 5);
        overflow.add(seconds(63), DropReason::BufferFull, 2);
        overflow.add(seconds(3600), DropReason::BufferFull, 1);
        assert_eq!(overflow.last_minute(seconds(3600)), BTreeMap::from([("buffer-full", 1)]));
    }
}
