//! Rates from snapshots: how much a number grew over the last second or two.

use std::collections::VecDeque;

use super::snapshot::Snapshot;

/// Rates are taken over this many seconds, so that they are steady enough to be read.
const WINDOW_SECONDS: f64 = 2.0;

/// The snapshots of the last moments.
#[derive(Debug, Default)]
pub struct Rates {
    snapshots: VecDeque<Snapshot>,
}

impl Rates {
    /// Adds the newest snapshot, and forgets those that are not needed any more.
    pub fn add(&mut self, snapshot: Snapshot) {
        while self.snapshots.len() > 1 && snapshot.seconds - self.snapshots[1].seconds >= WINDOW_SECONDS {
            self.snapshots.pop_front();
        }
        self.snapshots.push_back(snapshot);
    }

    /// The newest snapshot.
    pub fn latest(&self) -> Option<&Snapshot> {
        self.snapshots.back()
    }

    /// How much this number grew a second.
    pub fn per_second(&self, number: impl Fn(&Snapshot) -> u64) -> f64 {
        match (self.snapshots.front(), self.snapshots.back()) {
            (Some(first), Some(last)) if last.seconds > first.seconds => {
                number(last).saturating_sub(number(first)) as f64 / (last.seconds - first.seconds)
            }
            _ => 0.0,
        }
    }
}
