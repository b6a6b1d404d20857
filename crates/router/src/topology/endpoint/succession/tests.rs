//! One endpoint follows another, at any moment.

use std::{
    hash::RandomState,
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
    time::Instant,
};

use metlog_buffer::Pushed;

use super::*;
use crate::{
    acknowledgement::Ack,
    batch::Handover,
    clock::SystemClock,
    config::Fingerprint,
    network::NetworkRuntime,
    testing::{Taking, batch_of, buffer, lines},
};

const KINDS: [fn(Taking) -> Opened; 3] = [
    |taking| Opened::Blocking(Box::new(taking)),
    |taking| Opened::Network(Box::new(taking)),
    |taking| Opened::Lanes(Arc::new(taking), 10),
];

#[derive(Default)]
struct Ended(AtomicUsize);

impl Wake for Ended {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An endpoint at work on a network of its own.
struct Rig {
    network: NetworkRuntime,
    succession: Arc<Succession>,
    ended: Arc<Ended>,
    pushed: usize,
}

impl Rig {
    fn start(candidate: Candidate) -> Rig {
        let network = NetworkRuntime::start().unwrap();
        let ended = Arc::new(Ended::default());
        let ground = Ground {
            clock: Arc::new(SystemClock::new()),
            network: network.handle().clone(),
            ended: ended.clone().into(),
            random: RandomState::new(),
        };
        let outlet = Outlet {
            name: "test".into(),
            buffer: buffer(1 << 20),
            counters: Arc::default(),
            ack: Ack::Queued,
        };
        let succession = Succession::new("test", outlet, Arc::default(), Arc::new(ground));
        succession.drive(candidate, None).unwrap();
        Rig { network, succession, ended, pushed: 0 }
    }

    fn push(&mut self) {
        let handover = Handover::all(&Arc::new(batch_of(&lines(1))));
        let pushed = self.succession.outlet.buffer.push(handover, Duration::ZERO, None);
        self.pushed += usize::from(matches!(pushed, Pushed::Accepted));
    }

    /// Whoever takes it, and whenever: all that was pushed arrives, and nobody ends before the buffer is closed.
    fn stop(self) {
        let counters = &self.succession.outlet.counters;
        let deadline = Instant::now() + Duration::from_secs(20);
        while (counters.delivered.get() as usize) < self.pushed {
            assert!(Instant::now() < deadline, "{} of {}", counters.delivered.get(), self.pushed);
            thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(self.ended.0.load(Ordering::SeqCst), 0, "it ended before it was told to");
        self.succession.outlet.buffer.close();
        assert!(self.succession.ended.wait(Duration::from_secs(20)));
        self.network.stop();
    }
}

fn candidate(opened: fn(Taking) -> Opened) -> (Candidate, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let opened = opened(Taking(taken.clone()));
    let (own, linger) = (Fingerprint::default(), Duration::ZERO);
    (Candidate { opened, own, linger, sender: None, territory: None, turn: Turn::default() }, taken)
}

#[test]
fn an_endpoint_that_is_to_make_way_for_nobody_goes_on() {
    for opened in KINDS {
        let (first, taken) = candidate(opened);
        let mut rig = Rig::start(first);
        for _ in 0..3 {
            rig.succession.control.make_way();
            let deadline = Instant::now() + Duration::from_secs(20);
            while rig.succession.control.makes_way() && !rig.succession.ended.is_open() {
                assert!(Instant::now() < deadline);
                thread::yield_now();
            }
            rig.push();
        }
        rig.stop();
        assert_eq!(taken.load(Ordering::SeqCst), 3);
    }
}

#[test]
fn endpoints_that_follow_one_another_at_any_moment_take_each_message_once() {
    for opened in KINDS {
        let (first, taken) = candidate(opened);
        let mut rig = Rig::start(first);
        let mut all = vec![taken];
        for round in 0..2000 {
            let (next, taken) = candidate(KINDS[round % KINDS.len()]);
            all.push(taken);
            rig.succession.put_behind(next);
            rig.push();
        }
        let pushed = rig.pushed;
        rig.stop();
        assert_eq!(all.iter().map(|taken| taken.load(Ordering::SeqCst)).sum::<usize>(), pushed);
    }
}
