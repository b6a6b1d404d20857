//! The end of one input, or of its sockets alone, while the others go on.
//!
//! Its sources are stopped as they are when the router stops: they accept nothing more and are read until the kernel holds
//! nothing more, or until a deadline. Where a successor goes on with the same socket, nothing is read from it any more,
//! because whatever it holds is the successor's.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crate::{inputs::Source, latch::Latch};

/// What of an input ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Whole,
    /// The sockets that it was bound to so far. Connections that were accepted there go on.
    Sockets,
}

/// What ends, and how.
#[derive(Debug)]
pub struct Retired {
    /// The input's number.
    pub input: usize,
    /// What of it ends.
    pub scope: Scope,
    /// Numbers of the sockets that it is bound to.
    pub sockets: Vec<u64>,
    /// Numbers of those sockets that others go on with: their sources are closed at once.
    pub handed_over: Vec<u64>,
    /// Until when what the kernel holds is read, on the monotonic clock.
    pub deadline: Duration,
}

/// One input's end, known to every reader thread.
#[derive(Debug)]
pub struct Retirement {
    pub(super) input: usize,
    pub(super) scope: Scope,
    /// Numbers of the sockets that the input is bound to.
    sockets: Vec<u64>,
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
    pub(super) fn new(retired: Retired, threads: usize) -> Self {
        let Retired { input, scope, sockets, handed_over, deadline } = retired;
        Retirement {
            input,
            scope,
            sockets,
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

    /// Whether a source of the input with this number ends with it.
    pub(super) fn ends(&self, input: usize, source: &dyn Source) -> bool {
        let is_bound = || source.bound_socket().is_some_and(|socket| self.sockets.contains(&socket.number()));
        self.input == input && (self.scope == Scope::Whole || is_bound())
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
