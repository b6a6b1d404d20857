//! The last rejects of each reason, for who begins to watch after something went wrong.
//!
//! Of each reason a few, so that a flood of one does not wash away what is rare. In a flood a reject costs one relaxed load:
//! no more are remembered in a second than there are places.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metlog_message::{Reason, Timestamp};

use super::Tapped;

/// How many rejects of each reason are remembered.
pub const REMEMBERED: usize = 4;

/// See the module's documentation.
#[derive(Debug)]
pub struct Recent {
    /// By [`Reason::index`].
    reasons: [Places; Reason::COUNT],
}

#[derive(Debug, Default)]
struct Places {
    /// The second of the last ones, and in the lowest eight bits how many they were.
    quota: AtomicU64,
    taken: Mutex<VecDeque<(Timestamp, Tapped)>>,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent { reasons: std::array::from_fn(|_| Places::default()) }
    }
}

impl Recent {
    /// Whether one more of this reason is to be remembered now.
    pub fn permits(&self, reason: Reason, received: Timestamp) -> bool {
        let quota = &self.reasons[reason.index()].quota;
        let known = quota.load(Ordering::Relaxed);
        let second = received.seconds as u64;
        // The other bits of the second are no loss: it is only compared.
        let (then, count) = (known >> 8, known & 0xff);
        let count = if then == second & (u64::MAX >> 8) { count + 1 } else { 1 };
        if count > REMEMBERED as u64 {
            return false;
        }
        // Two threads at once may remember one more than that in a second.
        quota.store(second << 8 | count, Ordering::Relaxed);
        true
    }

    /// Remembers a reject, in place of the oldest of its reason.
    pub fn add(&self, received: Timestamp, reject: Tapped) {
        let Some(reason) = reject.reject else { return };
        let mut taken = self.reasons[reason.index()].taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= REMEMBERED {
            taken.pop_front();
        }
        taken.push_back((received, reject));
    }

    /// What is remembered, of one input or of all, the oldest first.
    pub fn all(&self, input: Option<&str>) -> Vec<Tapped> {
        let mut all = Vec::new();
        for places in &self.reasons {
            let taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let of_input =
                |(_, reject): &&(Timestamp, Tapped)| input.is_none_or(|input| input == &*reject.input);
            all.extend(taken.iter().filter(of_input).cloned());
        }
        all.sort_by_key(|(received, _)| (received.seconds, received.nanoseconds));
        all.into_iter().map(|(_, reject)| reject).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(input: &str, reason: Reason, number: i64) -> Tapped {
        let message = number.to_string().into_bytes().into();
        Tapped { input: input.into(), to: Vec::new(), reject: Some(reason), message }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    #[test]
    fn of_each_reason_the_last_ones_are_there_in_the_order_in_which_they_came() {
        let recent = Recent::default();
        recent.add(at(0), reject("udp", Reason::TooLarge, 0));
        for number in 1..100 {
            recent.add(at(number), reject("tcp", Reason::InvalidJson, number));
        }
        let numbers = |input| -> Vec<String> {
            let all = recent.all(input);
            all.iter().map(|reject| String::from_utf8_lossy(&reject.message).into_owned()).collect()
        };
        assert_eq!(numbers(None), ["0", "96", "97", "98", "99"]);
        assert_eq!(numbers(Some("udp")), ["0"]);
    }

    #[test]
    fn in_a_second_no_more_are_remembered_than_there_are_places() {
        let recent = Recent::default();
        let permitted = |reason, second| (0..10).filter(|_| recent.permits(reason, at(second))).count();
        assert_eq!(permitted(Reason::InvalidJson, 1_800_000_000), REMEMBERED);
        assert_eq!(permitted(Reason::TooLarge, 1_800_000_000), REMEMBERED, "each reason for itself");
        assert_eq!(permitted(Reason::InvalidJson, 1_800_000_001), REMEMBERED);
        assert_eq!(permitted(Reason::InvalidJson, -1), REMEMBERED, "whatever the clock says");
    }
}
