//! How much of its time a pipeline may spend on the filters of those who watch.

use std::time::Duration;

use super::TIME_SHARE;

/// What may be spent at once after a quiet time, in nanoseconds.
const SAVINGS: i64 = 100_000_000;

/// A pipeline's account: it earns a part of the time that passes, and owes what it has overspent.
#[derive(Debug, Default)]
pub struct Allowance {
    nanoseconds: i64,
    earned_until: Option<Duration>,
}

impl Allowance {
    /// Whether there is something to spend at this time.
    pub fn is_left(&mut self, now: Duration) -> bool {
        self.nanoseconds = match self.earned_until {
            None => SAVINGS,
            Some(then) => {
                let earned = nanoseconds(now.saturating_sub(then)) / TIME_SHARE;
                self.nanoseconds.saturating_add(earned).min(SAVINGS)
            }
        };
        self.earned_until = Some(now);
        self.nanoseconds > 0
    }

    /// Takes what was spent.
    pub fn spend(&mut self, time: Duration) {
        self.nanoseconds = self.nanoseconds.saturating_sub(nanoseconds(time));
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expensive_filter_gets_its_share_of_the_time_and_no_more() {
        let mut allowance = Allowance::default();
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        let batch = Duration::from_millis(10);
        while now < Duration::from_secs(60) {
            if allowance.is_left(now) {
                allowance.spend(batch);
                spent += batch;
                now += batch;
            }
            now += Duration::from_millis(1);
        }
        let share = spent.as_secs_f64() / now.as_secs_f64();
        assert!((0.045..0.055).contains(&share), "{share}");
    }

    #[test]
    fn a_cheap_filter_sees_everything() {
        let mut allowance = Allowance::default();
        for millisecond in 0..10_000 {
            assert!(allowance.is_left(Duration::from_millis(millisecond)));
            allowance.spend(Duration::from_micros(40));
        }
    }
}
