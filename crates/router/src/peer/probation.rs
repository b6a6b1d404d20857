//! Whether a connection is to be trusted with more than one message.
//!
//! A connection that a server takes and ends again at once has swallowed what was written to it: the kernel had taken that. A
//! port proxy without anybody behind it does so for ever, and each new connection would cost a whole delivery. So a
//! connection that ends early is a failure, which the runner backs off from, and the next one is on probation: it gets one
//! message, and the others only when it has stayed open for a while.
//!
//! A server that closes a connection on which nothing has been going on is in its right, also early.

use std::time::Duration;

use super::liveness::Ending;
use crate::endpoints::{Answer, Then};

/// A connection that has stayed open for so long has somebody behind it. Longer than a proxy mostly takes to find out that
/// it has not.
const PROVEN: Duration = Duration::from_secs(5);

/// Nothing is going on where nothing was written for so long.
const IDLE: Duration = Duration::from_secs(1);

/// How often a connection on probation is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What a connection may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// As much as there is.
    Everything,
    /// One message, to see what becomes of the connection.
    OneMessage,
    /// It has its one message.
    Nothing,
}

/// What is known of the connection at hand, and of the one before. Moments are on the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Probation {
    made_at: Duration,
    /// When it was last found open.
    open_at: Duration,
    wrote_at: Duration,
    /// The one before ended early, or the one before that, and none has been proven since.
    is_on: bool,
    has_its_message: bool,
}

impl Probation {
    /// There is a new connection.
    pub(crate) fn made(&mut self, now: Duration) {
        (self.made_at, self.open_at, self.wrote_at) = (now, now, now);
        self.has_its_message = false;
    }

    /// The connection is open, as far as can be known.
    pub(crate) fn found_open(&mut self, now: Duration) -> Trust {
        self.open_at = now;
        self.is_on &= !self.is_proven();
        match (self.is_on, self.has_its_message) {
            (false, _) => Trust::Everything,
            (true, false) => Trust::OneMessage,
            (true, true) => Trust::Nothing,
        }
    }

    /// Something was written to it.
    pub(crate) fn wrote(&mut self, now: Duration) {
        self.wrote_at = now;
        self.has_its_message = true;
    }

    /// The connection has ended; says what that means.
    pub(crate) fn ended(&mut self, now: Duration, ending: &Ending) -> End {
        let idle = ending.is_orderly && now.saturating_sub(self.wrote_at) >= IDLE;
        let end = End { was_idle: idle, is_early: !idle && !self.is_proven() };
        self.is_on |= end.is_early;
        end
    }

    fn is_proven(&self) -> bool {
        self.open_at.saturating_sub(self.made_at) >= PROVEN
    }
}

/// What the end of a connection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// The server closed it in good order while nothing was going on.
    pub(crate) was_idle: bool,
    /// It never was of use, as far as can be known.
    pub(crate) is_early: bool,
}

/// The answer of an endpoint whose connection has as much as it is trusted with: the rest waits until it is proven.
pub(crate) fn hold_back(answer: Answer, server: &str) -> Answer {
    if answer.then != Then::Done {
        return answer;
    }
    let until = format!(
        "{server} ended the last connection soon after it was made; the new one has one message, and gets the others when it has stayed open for {PROVEN:?}"
    );
    Answer { then: Then::Wait { until, longest: LOOK_INTERVAL }, ..answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ending(is_orderly: bool) -> Ending {
        Ending { reason: "it ended".to_owned(), is_orderly }
    }

    #[test]
    fn after_an_early_end_a_connection_gets_one_message_until_it_has_stayed_open() {
        let mut probation = Probation::default();
        probation.made(SECOND);
        assert_eq!(probation.found_open(SECOND), Trust::Everything);
        probation.wrote(SECOND);
        assert!(probation.ended(SECOND, &ending(false)).is_early);
        probation.made(SECOND * 2);
        assert_eq!(probation.found_open(SECOND * 2), Trust::OneMessage);
        probation.wrote(SECOND * 2);
        assert_eq!(probation.found_open(SECOND * 3), Trust::Nothing);
        assert_eq!(probation.found_open(SECOND * 2 + PROVEN), Trust::Everything);
        probation.wrote(SECOND * 8);
        assert!(!probation.ended(SECOND * 8, &ending(false)).is_early, "it was of use");
    }

    #[test]
    fn a_connection_that_is_not_found_open_for_long_enough_ended_early_whenever_that_is_noticed() {
        let mut probation = Probation::default();
        probation.made(SECOND);
        probation.found_open(SECOND * 2);
        assert_eq!(probation.ended(SECOND * 60, &ending(false)), End { was_idle: false, is_early: true });
    }

    #[test]
    fn a_server_that_closes_an_idle_connection_in_good_order_is_in_its_right() {
        let mut probation = Probation::default();
        probation.made(SECOND);
        probation.wrote(SECOND);
        assert_eq!(probation.ended(SECOND * 2, &ending(true)), End { was_idle: true, is_early: false });
        probation.made(SECOND * 3);
        assert_eq!(probation.found_open(SECOND * 3), Trust::Everything);
        probation.wrote(SECOND * 3);
        assert_eq!(probation.ended(SECOND * 3, &ending(true)), End { was_idle: false, is_early: true });
    }

    #[test]
    fn what_is_held_back_is_no_delivery_that_works() {
        let answer = hold_back(Answer::delivered(1), "10.0.0.1:514");
        assert_eq!(answer.settled, 1);
        assert!(matches!(answer.then, Then::Wait { longest: LOOK_INTERVAL, .. }), "{answer:?}");
        let failed = Answer::retry(0, "no");
        assert_eq!(hold_back(failed.clone(), "10.0.0.1:514"), failed);
    }
}
