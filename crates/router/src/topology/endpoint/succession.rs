//! One buffer, and the endpoints that empty it one after the other: who is driven, who waits, and how one follows another.

use std::{
    hash::BuildHasher,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{Candidate, Ground, Sender};
use crate::{
    control::Control,
    endpoints::{Endpoint, LaneEndpoint, NetworkEndpoint, Opened},
    lanes::{AskedWait, Lanes, drive_lanes},
    latch::Latch,
    ledger::Failure,
    pipeline::Outlet,
    runner::{AskedRest, Driven, MAKE_WAY_TIME, Runner, abandon, drive_blocking, drive_network},
    topology::{GRACE, claims::Turn},
};

/// One buffer, and the endpoints that empty it, one after the other.
#[derive(Debug)]
pub(super) struct Succession {
    name: String,
    outlet: Outlet,
    control: Arc<Control>,
    pub(super) ground: Arc<Ground>,
    next: Mutex<Option<Candidate>>,
    /// What the peers of an endpoint with lanes asked for, for the next one with lanes.
    asked: Mutex<Vec<AskedWait>>,
    /// What the peer of one without lanes asked for, for the next one that is the same to it.
    asked_rest: Mutex<Option<(Sender, AskedRest)>>,
    pub(super) ended: Latch,
}

/// What an endpoint that waits for its turn comes to.
enum Waited {
    /// Nobody else writes its files.
    Begins,
    /// Another endpoint is to go on in its place.
    MakesWay,
    /// There is nothing left for it to do.
    GivenUp,
}

/// While an endpoint waits for its turn, it looks after so long whether it is still wanted.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// Who comes after an endpoint that is driven no more.
enum Next {
    Nobody,
    Candidate(Candidate),
}

impl Succession {
    /// Nobody is driven yet.
    pub(super) fn new(
        name: &str,
        outlet: Outlet,
        control: Arc<Control>,
        ground: Arc<Ground>,
    ) -> Arc<Succession> {
        Arc::new(Succession {
            name: name.to_owned(),
            outlet,
            control,
            ground,
            next: Mutex::new(None),
            asked: Mutex::default(),
            asked_rest: Mutex::default(),
            ended: Latch::new(1),
        })
    }

    fn next(&self) -> MutexGuard<'_, Option<Candidate>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, Vec<AskedWait>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who is driven now makes way for this one. Another one that waited for that never begins.
    pub(super) fn put_behind(self: &Arc<Self>, candidate: Candidate) {
        let mut next = self.next();
        let never_begun = next.replace(candidate);
        // Under the lock: otherwise who is driven could take the candidate for an earlier request and withdraw that, and
        // this request would come after it with nobody behind.
        self.control.make_way();
        drop(next);
        // It may have connections and files to close.
        drop(never_begun);
        let this = self.clone();
        self.ground.network.spawn(async move {
            tokio::time::sleep(MAKE_WAY_TIME + GRACE).await;
            this.show_wait();
        });
    }

    /// A thread that hangs in a system call (a disk that does not answer) cannot be interrupted, and two that write the same file
    /// would spoil it. So the next one waits, and that is shown.
    fn show_wait(&self) {
        if self.next().is_some() && !self.ended.is_open() {
            let error =
                "it was changed, and begins anew when the delivery that is under way has ended".to_owned();
            self.show(error);
        }
    }

    fn show(&self, wait: String) {
        tracing::warn!(endpoint = self.name, "{wait}");
        let now = self.ground.clock.monotonic();
        self.outlet.counters.set_failure(Some(Failure::now(now, None, wait, 0)));
    }

    /// Waits until those that write the same files have ended. That is no longer than they may take to leave, unless one hangs
    /// in a system call; meanwhile messages queue up.
    fn wait_for(&self, turn: &Turn) -> Waited {
        let show_at = self.ground.clock.monotonic() + MAKE_WAY_TIME + GRACE;
        let mut is_shown = false;
        for other in &turn.behind {
            while !other.wait(TURN_PAUSE) {
                // No file is open yet, and the next one to be opened is a new one.
                self.control.has_reopened(self.control.reopen_asked(), Ok(()));
                if self.control.makes_way() {
                    return Waited::MakesWay;
                }
                let buffer = &self.outlet.buffer;
                if buffer.is_closed() && buffer.status().messages == 0 {
                    return Waited::GivenUp;
                }
                if !is_shown && self.ground.clock.monotonic() >= show_at {
                    is_shown = true;
                    let other = &other.endpoint;
                    self.show(format!(
                        "it begins when endpoint `{other}` of before, which still writes the same files, has ended"
                    ));
                }
            }
        }
        if is_shown {
            self.outlet.counters.set_failure(None);
        }
        Waited::Begins
    }

    fn take_next(&self) -> Option<Candidate> {
        let mut next = self.next();
        let candidate = next.take();
        self.control.has_made_way();
        if candidate.is_some() {
            // What went wrong for the one before says nothing of the next one.
            self.outlet.counters.set_failure(None);
        }
        candidate
    }

    /// A runner that leaves the peer alone where it has asked `sender` to do so.
    fn runner(&self, linger: Duration, sender: Sender) -> Runner {
        let mut runner = Runner::new(
            &self.name,
            self.outlet.buffer.clone(),
            self.outlet.counters.clone(),
            self.control.clone(),
            linger,
            self.ground.random.hash_one(&self.name),
        );
        if let Some((asked, rest)) = self.asked_rest().take()
            && sender.is_some()
            && asked == sender
        {
            runner.heed(self.ground.clock.monotonic(), rest);
        }
        runner
    }

    fn asked_rest(&self) -> MutexGuard<'_, Option<(Sender, AskedRest)>> {
        self.asked_rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `begun` is what the endpoint said if it was told to begin.
    pub(super) fn drive(
        self: &Arc<Self>,
        candidate: Candidate,
        begun: Option<Result<(), String>>,
    ) -> io::Result<()> {
        let Candidate { opened, linger, sender, turn, .. } = candidate;
        let this = self.clone();
        match opened {
            Opened::Blocking(endpoint) => {
                let thread = thread::Builder::new().name(format!("endpoint-{}", self.name));
                thread.spawn(move || this.drive_blocking(endpoint, linger, turn, begun))?;
            }
            Opened::Network(endpoint) => {
                self.ground.network.spawn(this.drive_network(endpoint, linger, sender));
            }
            Opened::Lanes(endpoint, most_lanes) => {
                self.ground.network.spawn(this.drive_lanes(endpoint, most_lanes));
            }
        }
        Ok(())
    }

    /// One blocking endpoint follows another on the same thread.
    fn drive_blocking(
        self: Arc<Self>,
        mut endpoint: Box<dyn Endpoint>,
        mut linger: Duration,
        mut turn: Turn,
        mut begun: Option<Result<(), String>>,
    ) {
        loop {
            match self.wait_for(&turn) {
                Waited::GivenUp => break,
                Waited::MakesWay => {}
                Waited::Begins => {
                    let outcome = begun.take().unwrap_or_else(|| endpoint.begin());
                    // No server asks anything of these.
                    let mut runner = self.runner(linger, None);
                    runner.began(self.ground.clock.monotonic(), outcome);
                    let driven = drive_blocking(&mut runner, &mut *endpoint, &*self.ground.clock);
                    // If nobody follows, the same one goes on; what it could not open it is to try again.
                    begun = runner.has_begun().then_some(Ok(()));
                    if driven != Driven::MakesWay {
                        break;
                    }
                }
            }
            let Some(next) = self.take_next() else {
                // Nobody is there to make way for.
                continue;
            };
            // Its files first: the next one may wait for them, and so may others.
            drop(endpoint);
            drop(turn);
            match next {
                Candidate { opened: Opened::Blocking(next), linger: its_linger, turn: its_turn, .. } => {
                    (endpoint, linger, turn, begun) = (next, its_linger, its_turn, None);
                }
                other => return self.go_on(other),
            }
        }
        drop(endpoint);
        drop(turn);
        self.end();
    }

    async fn drive_network(
        self: Arc<Self>,
        mut endpoint: Box<dyn NetworkEndpoint>,
        linger: Duration,
        sender: Sender,
    ) {
        let next = loop {
            let clock = self.ground.clock.clone();
            let mut runner = self.runner(linger, sender);
            let driven = drive_network(&mut runner, &mut *endpoint, clock).await;
            *self.asked_rest() = runner.take_asked().map(|rest| (sender, rest));
            if let Some(next) = self.next_after(driven) {
                break next;
            }
        };
        drop(endpoint);
        self.follow(next);
    }

    async fn drive_lanes(self: Arc<Self>, endpoint: Arc<dyn LaneEndpoint>, most_lanes: usize) {
        let Outlet { buffer, counters, .. } = self.outlet.clone();
        let seed = self.ground.random.hash_one(&self.name);
        let next = loop {
            let (buffer, counters, control) = (buffer.clone(), counters.clone(), self.control.clone());
            let mut lanes = Lanes::new(&self.name, buffer, counters, control, most_lanes, seed);
            lanes.heed(std::mem::take(&mut *self.asked()));
            let driven = drive_lanes(&mut lanes, endpoint.clone(), self.ground.clock.clone()).await;
            *self.asked() = lanes.take_asked();
            if let Some(next) = self.next_after(driven) {
                break next;
            }
        };
        drop(endpoint);
        self.follow(next);
    }

    /// Who comes after an endpoint that was driven so far; `None` if it is to go on itself.
    fn next_after(&self, driven: Driven) -> Option<Next> {
        match driven {
            Driven::Finished => Some(Next::Nobody),
            Driven::MakesWay => self.take_next().map(Next::Candidate),
        }
    }

    fn follow(self: Arc<Self>, next: Next) {
        match next {
            Next::Nobody => self.end(),
            Next::Candidate(candidate) => self.go_on(candidate),
        }
    }

    fn go_on(self: Arc<Self>, next: Candidate) {
        if let Err(error) = self.drive(next, None) {
            tracing::error!(endpoint = self.name, %error, "cannot go on: no thread for it");
            self.end();
        }
    }

    fn end(&self) {
        let never_begun = self.next().take();
        drop(never_begun);
        self.control.has_ended();
        self.ended.count_down();
        if !self.control.is_leaving() {
            // News only if the router was not stopping yet.
            self.ground.ended.wake_by_ref();
        }
    }

    pub(super) fn give_up(&self) {
        if !self.ended.is_open() {
            tracing::error!(endpoint = self.name, "does not answer and is left behind");
        }
        self.outlet.buffer.close();
        // Also where it ended in time: a batch may have come in between its last look and the close.
        abandon(&self.outlet.buffer, &self.outlet.counters);
    }
}

#[cfg(test)]
mod tests;
