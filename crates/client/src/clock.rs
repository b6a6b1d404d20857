//! The one place that asks what time it is for a message.

use std::time::{SystemTime, UNIX_EPOCH};

use metlog_message::Timestamp;

/// Now. A clock set before 1970 reads as 1970.
#[inline]
pub(crate) fn now() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() },
        Err(_) => Timestamp { seconds: 0, nanoseconds: 0 },
    }
}
