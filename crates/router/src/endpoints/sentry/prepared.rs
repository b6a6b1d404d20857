//! The next event of a DSN, made ready while the server thinks about the last one.
//!
//! Otherwise the network's thread would go to sleep for each answer only to unpack the next event when it is there. On a link
//! where an answer comes soon, going to sleep and being woken costs about as much as the unpacking.

use std::{
    hash::BuildHasher,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use foldhash::quality::RandomState;

use crate::batch::Message;

/// How old a request may be when it is sent: it says when that was, and Sentry sets its clock by it.
const FRESH_TIME: Duration = Duration::from_millis(500);

/// At most one request's content.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Drawn anew for each, so that nobody can make up two messages that are taken for one another.
    state: RandomState,
    next: Mutex<Option<Next>>,
}

#[derive(Debug)]
struct Next {
    message: u64,
    body: Vec<u8>,
    made_at: Duration,
}

impl Prepared {
    /// Keeps what is to be sent for a message, in place of what was kept before. `now` is monotonic.
    pub(super) fn put(&self, message: &Message<'_>, body: Vec<u8>, now: Duration) {
        let next = Next { message: self.identity(message), body, made_at: now };
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// Takes it out if it is for this message and was made just now; whatever it is, it is kept no longer.
    pub(super) fn take(&self, message: &Message<'_>, now: Duration) -> Option<Vec<u8>> {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let is_fresh = now.saturating_sub(next.made_at) <= FRESH_TIME;
        (is_fresh && next.message == self.identity(message)).then_some(next.body)
    }

    /// All that a request's content is made of, besides the time at which it is sent.
    fn identity(&self, message: &Message<'_>) -> u64 {
        self.state.hash_one((message.received, message.number, message.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::work_of;

    #[test]
    fn what_is_made_ready_is_for_one_message_for_once_and_for_a_short_time() {
        let line = |payload| {
            format!(r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25Z","payload":"{payload}"}}"#)
        };
        let work = work_of(&[line(1), line(1), line(2)]);
        let messages: Vec<Message<'_>> = work.messages().collect();
        let prepared = Prepared::default();
        let at = |milliseconds| Duration::from_millis(milliseconds);

        prepared.put(&messages[1], vec![1], at(0));
        assert_eq!(prepared.take(&messages[1], at(100)), Some(vec![1]));
        assert_eq!(prepared.take(&messages[1], at(100)), None, "once");
        for other in [&messages[0], &messages[2]] {
            prepared.put(&messages[1], vec![1], at(0));
            assert_eq!(prepared.take(other, at(100)), None, "alike, but another");
            assert_eq!(prepared.take(&messages[1], at(100)), None, "and not kept");
        }
        prepared.put(&messages[1], vec![1], at(0));
        assert_eq!(prepared.take(&messages[1], at(60_000)), None, "it says when it was sent");
    }
}
