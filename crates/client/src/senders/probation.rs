//! Whether a connection is to be trusted with more than one message.
//!
//! A connection that is taken and ended again at once has swallowed what was written to it: the kernel had taken that. A port
//! proxy without anybody behind it does so for ever, and each new connection would cost a whole batch. So a connection that
//! ends early is a failure, after which the sender waits, longer each time; and the next one is on probation: it gets one
//! message, and the others only when it has stayed open for a while.
//!
//! A receiver that closes a connection on which nothing has been going on is in its right, also early.

use std::time::{Duration, Instant};

use super::lines::Ending;

/// A connection that has stayed open for so long has somebody behind it. Longer than a proxy mostly takes to find out that
/// it has not.
const PROVEN: Duration = Duration::from_secs(5);

/// Nothing is going on where nothing was written for so long.
const IDLE: Duration = Duration::from_secs(1);

/// How often a connection on probation is looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// What a connection may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// As much as there is.
    Everything,
    /// One message, to see what becomes of the connection.
    OneMessage,
    /// It has its one message.
    Nothing,
}

/// What is known of the connection at hand, and of the one before.
#[derive(Debug, Default)]
pub(super) struct Probation {
    connection: Option<Connection>,
    /// A connection ended early, and none has been proven since.
    is_on: bool,
}

#[derive(Debug)]
struct Connection {
    made_at: Instant,
    /// When it was last found open.
    open_at: Instant,
    wrote_at: Instant,
    has_its_message: bool,
}

impl Connection {
    fn is_proven(&self) -> bool {
        self.open_at.duration_since(self.made_at) >= PROVEN
    }
}

impl Probation {
    /// There is a connection: the one that was there the last time, or a new one. Says what it may be given.
    pub(super) fn is_open(&mut self, now: Instant) -> Trust {
        let connection = self.connection.get_or_insert(Connection {
            made_at: now,
            open_at: now,
            wrote_at: now,
            has_its_message: false,
        });
        connection.open_at = now;
        self.is_on &= !connection.is_proven();
        match (self.is_on, connection.has_its_message) {
            (false, _) => Trust::Everything,
            (true, false) => Trust::OneMessage,
            (true, true) => Trust::Nothing,
        }
    }

    /// Something was written to the connection.
    pub(super) fn wrote(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            (connection.wrote_at, connection.has_its_message) = (now, true);
        }
    }

    /// The connection was given up.
    pub(super) fn left(&mut self) {
        self.connection = None;
    }

    /// The connection has ended; whether that was early.
    pub(super) fn ended(&mut self, now: Instant, ending: Ending) -> bool {
        let Some(connection) = self.connection.take() else { return false };
        let in_its_right = match ending {
            Ending::Replaced => true,
            Ending::Closed => now.duration_since(connection.wrote_at) >= IDLE,
            Ending::Broken => false,
        };
        let is_early = !in_its_right && !connection.is_proven();
        self.is_on |= is_early;
        is_early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn after_an_early_end_a_connection_gets_one_message_until_it_has_stayed_open() {
        let (mut probation, start) = (Probation::default(), Instant::now());
        assert_eq!(probation.is_open(start), Trust::Everything);
        probation.wrote(start);
        assert!(probation.ended(start, Ending::Broken));
        assert_eq!(probation.is_open(start + SECOND), Trust::OneMessage);
        probation.wrote(start + SECOND);
        assert_eq!(probation.is_open(start + SECOND * 2), Trust::Nothing);
        assert_eq!(probation.is_open(start + SECOND + PROVEN), Trust::Everything);
        probation.wrote(start + SECOND * 7);
        assert!(!probation.ended(start + SECOND * 7, Ending::Broken), "it was of use");
        assert_eq!(probation.is_open(start + SECOND * 8), Trust::Everything);
    }

    #[test]
    fn a_receiver_that_closes_an_idle_connection_is_in_its_right_and_so_is_who_moves_a_file() {
        let (mut probation, start) = (Probation::default(), Instant::now());
        for (ending, seconds, is_early) in [
            (Ending::Closed, 1, false),
            (Ending::Closed, 0, true),
            (Ending::Broken, 60, true),
            (Ending::Replaced, 0, false),
        ] {
            probation.is_open(start);
            probation.wrote(start);
            assert_eq!(probation.ended(start + SECOND * seconds, ending), is_early, "{ending:?} {seconds}");
        }
    }
}
