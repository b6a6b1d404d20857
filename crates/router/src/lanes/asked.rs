//! What peers asked for, handed on when a reload puts another endpoint in the place of this one: a server's limits are about
//! the sender, and a sender that forgot them at each reload would be limited for longer.
//!
//! Waits of its own are not handed on: the change may be what removes their cause.

use std::{cmp::Reverse, time::Duration};

use super::{LaneKey, Lanes, lane::State};

/// A wait that a lane's peer asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedWait {
    key: LaneKey,
    /// On the monotonic clock.
    until: Duration,
    /// What it waits for, in words.
    told: Option<String>,
    last_used: Duration,
}

impl Lanes {
    /// What whoever comes next is to [`heed`](Lanes::heed), once this one has made way.
    pub fn take_asked(&mut self) -> Vec<AskedWait> {
        std::mem::take(&mut self.asked)
    }

    /// Leaves alone whom the endpoint before was asked to leave alone. Where that is more than there may be lanes, those that
    /// wait for longest are heeded.
    pub fn heed(&mut self, mut asked: Vec<AskedWait>) {
        asked.sort_unstable_by_key(|wait| Reverse(wait.until));
        asked.truncate(self.most_lanes);
        for AskedWait { key, until, told, last_used } in asked {
            let mut lane = self.new_lane(&key);
            lane.peer_asked = true;
            lane.told = told;
            lane.last_used = last_used;
            self.lanes.insert(key.clone(), lane);
            self.hold(until, &key);
        }
    }

    pub(super) fn asked_waits(&self) -> Vec<AskedWait> {
        let waits = self.lanes.iter().filter_map(|(key, lane)| {
            let State::Waiting(until) = lane.state else { return None };
            let told =
                lane.failure.as_ref().map(|failure| failure.error.clone()).or_else(|| lane.told.clone());
            lane.peer_asked.then(|| AskedWait { key: key.clone(), until, told, last_used: lane.last_used })
        });
        waits.collect()
    }
}
