//! Has the files looked for when the time has come, and hands on a follower for each that is new.
//!
//! A look at a large folder takes a while, and a reader thread never waits; so each look has a thread of its own, which ends with
//! it. There is one at a time, so the order of its followers is that of the looks.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, TryRecvError},
    },
    task::Waker,
    thread,
    time::Duration,
};

use mio::{Registry, Token};

use super::{Mode, Shared, follower::Follower, look::Look};
use crate::inputs::{Flow, Progress, Source};

/// The part of an input that finds its files.
#[derive(Debug)]
pub struct Scanner {
    shared: Arc<Shared>,
    state: State,
    has_scanned: bool,
    is_stopping: bool,
}

#[derive(Debug)]
enum State {
    /// Until this time.
    Waiting(Duration),
    Looking {
        since: Duration,
        found: Receiver<Vec<Follower>>,
    },
}

impl Scanner {
    /// A scanner that has not looked yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        Scanner { shared, state: State::Waiting(Duration::ZERO), has_scanned: false, is_stopping: false }
    }

    /// Begins a look; `waker` rings when it is over. What it found stays the input's even if nobody takes it: the followers hold
    /// their turn until they are gone.
    fn look(&self, waker: &Waker, now: Duration) -> State {
        let (sender, found) = mpsc::channel();
        let (shared, is_first, waker) = (self.shared.clone(), !self.has_scanned, waker.clone());
        let work = move || {
            // The input may have been closed meanwhile.
            let _ = sender.send(Look::new(&shared, is_first).followers());
            drop(shared);
            waker.wake();
        };
        match thread::Builder::new().name("scanner".to_owned()).spawn(work) {
            Ok(_) => State::Looking { since: now, found },
            Err(error) => {
                let input = &self.shared.context.name;
                tracing::error!(input, %error, "cannot start a thread to look for files; trying again");
                State::Waiting(now + self.shared.settings.rescan)
            }
        }
    }

    /// A look that began at `since` is over. The next one does not begin before as much time has passed as this one took: a
    /// folder that takes longer than `rescan` would keep a processor busy.
    fn rest(&self, since: Duration, now: Duration) -> State {
        let rest = now + now.saturating_sub(since);
        State::Waiting(rest.max(since + self.shared.settings.rescan))
    }
}

impl Source for Scanner {
    /// It looks when the time has come, and nothing tells when.
    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        if self.is_stopping {
            return Progress::Drained;
        }
        let is_once = self.shared.settings.mode == Mode::Once;
        if self.has_scanned && is_once {
            return Progress::Ended;
        }
        let now = self.shared.context.clock.monotonic();
        match &self.state {
            State::Waiting(until) => {
                if now >= *until && self.shared.positions.take_turn(&self.shared.turn) {
                    self.state = self.look(flow.waker, now);
                }
                Progress::Stalled
            }
            State::Looking { since, found } => match found.try_recv() {
                Ok(followers) => {
                    self.state = self.rest(*since, now);
                    self.has_scanned = true;
                    for follower in followers {
                        flow.accepted.push(Box::new(follower));
                    }
                    // They are sources before this one ends, or it would look as if the input had ended.
                    if is_once { Progress::More } else { Progress::Stalled }
                }
                Err(TryRecvError::Empty) => Progress::Stalled,
                Err(TryRecvError::Disconnected) => {
                    tracing::error!(
                        input = self.shared.context.name,
                        "a look for files has failed; trying again"
                    );
                    self.state = self.rest(*since, now);
                    Progress::Stalled
                }
            },
        }
    }

    fn stop(&mut self) {
        self.is_stopping = true;
    }
}
