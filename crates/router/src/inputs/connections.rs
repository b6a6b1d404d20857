//! The bound on open connections, over all inputs, and the order in which inputs get the places that become free.
//!
//! At the limit a connection is not accepted: it waits in the kernel's queue, and so does what its sender has written, until
//! another one ends. To accept it and to close it again would lose what the sender takes for sent.
//!
//! Those that want a place stand in line, so that an input with a flood of connections does not keep another one's out: who
//! got a place and wants another one goes to the end. Each is rung for when it is its turn; as its ring may be late, or never
//! heard, it is also asked again from time to time, as whatever stalls.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use crate::ledger::InputCounters;

/// A bound on open connections, shared by all inputs.
#[derive(Debug, Clone)]
pub struct ConnectionLimit {
    shared: Arc<Mutex<Places>>,
}

#[derive(Debug)]
struct Places {
    /// Those that are taken.
    taken: usize,
    limit: usize,
    /// Who wants one, in the order in which they get them.
    line: VecDeque<Waiting>,
    /// The number for the next one that may want one.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    waker: Waker,
}

/// Somebody who accepts connections, or makes them, and needs a place for each.
#[derive(Debug)]
pub struct Turn {
    limit: ConnectionLimit,
    number: u64,
    counters: Arc<InputCounters>,
    is_waiting: bool,
}

/// A place for a connection that is still to come; free again when dropped.
#[derive(Debug)]
pub struct ConnectionPlace {
    limit: ConnectionLimit,
}

/// The place of an open connection; free again, and counted, when dropped.
#[derive(Debug)]
pub struct TakenPlace {
    _place: ConnectionPlace,
    counters: Arc<InputCounters>,
}

impl ConnectionLimit {
    /// At most `limit` connections.
    pub fn new(limit: usize) -> Self {
        let places = Places { taken: 0, limit, line: VecDeque::new(), next: 0 };
        ConnectionLimit { shared: Arc::new(Mutex::new(places)) }
    }

    /// Changes the limit for connections to come; those that are open stay.
    pub fn set(&self, limit: usize) {
        let mut places = self.lock();
        places.limit = limit;
        let waker = places.whose_turn();
        drop(places);
        ring(waker);
    }

    /// Somebody who will want places, on account of these counters.
    pub fn turn(&self, counters: &Arc<InputCounters>) -> Turn {
        let mut places = self.lock();
        places.next += 1;
        Turn { limit: self.clone(), number: places.next, counters: counters.clone(), is_waiting: false }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    /// Rings for who may take a place now, if there is one.
    fn whose_turn(&self) -> Option<Waker> {
        let first = self.line.front().filter(|_| self.taken < self.limit);
        first.map(|waiting| waiting.waker.clone())
    }

    fn leave(&mut self, number: u64) {
        self.line.retain(|waiting| waiting.number != number);
    }
}

fn ring(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Turn {
    /// A place, if there is one and nobody else is to have it.
    pub fn take(&mut self) -> Option<ConnectionPlace> {
        let mut places = self.limit.lock();
        let is_mine = places.line.front().is_none_or(|first| first.number == self.number);
        if !is_mine || places.taken >= places.limit {
            return None;
        }
        places.taken += 1;
        places.leave(self.number);
        let next = places.whose_turn();
        drop(places);
        ring(next);
        self.is_no_longer_waiting();
        Some(ConnectionPlace { limit: self.limit.clone() })
    }

    /// There is a connection to be had for which there was no place: stands in line for one. Whoever stands there keeps his
    /// place in it.
    pub fn wait(&mut self, waker: &Waker) {
        let mut places = self.limit.lock();
        if !places.line.iter().any(|waiting| waiting.number == self.number) {
            places.line.push_back(Waiting { number: self.number, waker: waker.clone() });
        }
        drop(places);
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.counters.waits_for_places(true);
        }
    }

    /// There is none to be had any more.
    pub fn leave(&mut self) {
        if !self.is_waiting {
            return;
        }
        let mut places = self.limit.lock();
        places.leave(self.number);
        let next = places.whose_turn();
        drop(places);
        ring(next);
        self.is_no_longer_waiting();
    }

    fn is_no_longer_waiting(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.counters.waits_for_places(false);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave();
    }
}

impl ConnectionPlace {
    /// The connection is open, and counted.
    pub fn taken(self, counters: &Arc<InputCounters>) -> TakenPlace {
        counters.connections_opened.add(1);
        TakenPlace { _place: self, counters: counters.clone() }
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        let mut places = self.limit.lock();
        places.taken -= 1;
        let next = places.whose_turn();
        drop(places);
        ring(next);
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        self.counters.connections_closed.add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    #[derive(Debug, Default)]
    struct Rings(AtomicUsize);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn bell() -> (Arc<Rings>, Waker) {
        let rings = Arc::new(Rings::default());
        (rings.clone(), rings.into())
    }

    fn counters() -> Arc<InputCounters> {
        Arc::default()
    }

    #[test]
    fn who_finds_no_place_waits_and_is_rung_for_when_one_is_free() {
        let (counters, limit, (rings, waker)) = (counters(), ConnectionLimit::new(1), bell());
        let mut turn = limit.turn(&counters);
        let open = turn.take().unwrap().taken(&counters);
        assert!(turn.take().is_none());
        assert!(!counters.read().connections_waiting);
        turn.wait(&waker);
        assert!(counters.read().connections_waiting);
        assert_eq!(rings.0.load(Ordering::Relaxed), 0);
        drop(open);
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);
        drop(turn.take().unwrap().taken(&counters));
        let ledger = counters.read();
        assert_eq!((ledger.connections_opened, ledger.connections_closed), (2, 2));
        assert!(!ledger.connections_waiting);
    }

    #[test]
    fn those_that_wait_take_turns() {
        let (counters, limit) = (counters(), ConnectionLimit::new(1));
        let (mut flood, mut other) = (limit.turn(&counters), limit.turn(&counters));
        let mut place = flood.take();
        flood.wait(Waker::noop());
        other.wait(Waker::noop());
        let mut got = Vec::new();
        for _ in 0..4 {
            drop(place.take());
            for (name, turn) in [("flood", &mut flood), ("other", &mut other)] {
                let taken = turn.take();
                got.extend(taken.is_some().then_some(name));
                place = place.or(taken);
                turn.wait(Waker::noop());
            }
        }
        assert_eq!(got, ["flood", "other", "flood", "other"]);
    }

    #[test]
    fn a_place_that_nobody_used_and_a_turn_that_was_given_up_go_to_the_next() {
        let (counters, limit, (rings, waker)) = (counters(), ConnectionLimit::new(1), bell());
        let (mut first, mut second) = (limit.turn(&counters), limit.turn(&counters));
        let unused = first.take();
        first.wait(Waker::noop());
        second.wait(&waker);
        drop(unused);
        assert_eq!(rings.0.load(Ordering::Relaxed), 0, "it is the first one's turn");
        assert!(second.take().is_none());
        drop(first);
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);
        assert!(second.take().is_some());
        assert!(!counters.read().connections_waiting);
    }

    #[test]
    fn a_higher_limit_lets_those_in_that_wait() {
        let (counters, limit, (rings, waker)) = (counters(), ConnectionLimit::new(1), bell());
        let mut turn = limit.turn(&counters);
        let _open = turn.take().unwrap();
        turn.wait(&waker);
        limit.set(2);
        assert_eq!(rings.0.load(Ordering::Relaxed), 1);
        let _another = turn.take().unwrap();
        limit.set(1);
        assert!(turn.take().is_none(), "those that are open stay");
    }
}
