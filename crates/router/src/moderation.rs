//! Moderation: under a steady stream of small pieces, wait a moment so that several are handled in one go.
//!
//! A wake-up costs microseconds, a message a fraction of one. Network cards have the same trouble with interrupts and the same
//! cure. A lone message is never delayed: only who had to wait for less than [`BUSY_WAIT`], and then got little, pauses. At
//! 50,000 datagrams a second a pause gathers about twenty; at a thousand there is none.

use std::time::Duration;

/// Work that comes after a shorter wait than this is part of a stream.
const BUSY_WAIT: Duration = Duration::from_micros(150);

/// How long to let work gather. It is what a message can be delayed by, once on each thread that it passes.
const PAUSE: Duration = Duration::from_micros(400);

/// Work of this size is worth a wake-up of its own.
const LARGE_BYTES: usize = 64 * 1024;

/// How long to wait before handling more, after a wait of `waited` that brought `bytes`.
pub fn pause(waited: Duration, bytes: usize) -> Option<Duration> {
    (waited < BUSY_WAIT && bytes < LARGE_BYTES).then_some(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_and_a_large_piece_go_at_once() {
        assert_eq!(pause(Duration::from_millis(1), 300), None);
        assert_eq!(pause(Duration::ZERO, 1 << 20), None);
        assert!(pause(Duration::from_micros(20), 300).is_some());
    }
}
