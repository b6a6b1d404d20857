//! The end of one input while the others go on.
//!
//! Its sources are stopped as they are when the router stops: they accept nothing more and are read until the kernel holds
//! nothing more, or until a deadline. Where a successor goes on with the same socket, nothing is read from it any more,
//! because whatever it holds is the successor's.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crate::{inputs::Source, latch::Latch};

/// One input's end, known to every reader thread.
#[derive(Debug)]
pub struct Retirement {
    pub(super) input: usize,
    /// On the monotonic clock.
    pub(super) deadline: Duration,
    /// Numbers of the sockets whose sources are closed at once.
    handed_over: Vec<u64>,
    threads: usize,
    heard: AtomicUsize,
    released: Latch,
    ended: Latch,
}

impl Retirement {
    pub(super) fn new(input: usize, deadline: Duration, handed_over: Vec<u64>, threads: usize) -> Self {
        Retirement {
            input,
            deadline,
            handed_over,
            threads,
            heard: AtomicUsize::new(0),
            released: Latch::new(threads),
            ended: Latch::new(threads),
        }
    }

    /// Waits at most `longest` until no thread reads from a socket that is handed over; returns whether that is so.
    pub fn wait_for_release(&self, longest: Duration) -> bool {
        self.released.wait(longest)
    }

    /// Waits at most `longest` until the last source is closed; returns whether it is.
    pub fn wait_for_end(&self, longest: Duration) -> bool {
        self.ended.wait(longest)
    }

    /// Whether the last source is closed, on every thread. The input's number is free then.
    pub fn has_ended(&self) -> bool {
        self.ended.is_open()
    }

    /// Whether somebody else goes on with the source's socket.
    pub(super) fn hands_over(&self, source: &dyn Source) -> bool {
        source.bound_socket().is_some_and(|socket| self.handed_over.contains(&socket.number()))
    }

    /// One thread has heard of it and stopped its sources; returns whether it was the last.
    pub(super) fn hear(&self) -> bool {
        self.released.count_down();
        self.heard.fetch_add(1, Ordering::AcqRel) + 1 == self.threads
    }

    /// Whether every thread has heard of it: none of them sends a new connection to another any more.
    pub(super) fn is_known_to_all(&self) -> bool {
        self.heard.load(Ordering::Acquire) >= self.threads
    }

    /// One thread has closed its last source.
    pub(super) fn end_on_one(&self) {
        self.ended.count_down();
    }
}
