//! A bound on open files. Who wants one while all are taken waits, and gets that of a file that has been idle.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bound.
#[derive(Debug, Clone)]
pub struct OpenBound {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    limit: usize,
    open: usize,
    /// Who waits, and how many of the open ones have been given back for them already.
    waiting: usize,
    yielded: usize,
}

/// One file's claim under the bound.
#[derive(Debug)]
pub struct Seat {
    bound: OpenBound,
    state: Claim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    None,
    Waiting,
    Open,
}

impl OpenBound {
    /// At most `limit` files.
    pub fn new(limit: usize) -> Self {
        let counts = Counts { limit, open: 0, waiting: 0, yielded: 0 };
        OpenBound { counts: Arc::new(Mutex::new(counts)) }
    }

    /// A claim on nothing so far.
    pub fn seat(&self) -> Seat {
        Seat { bound: self.clone(), state: Claim::None }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether the file may be opened; otherwise it waits from now on, and is to ask again.
    pub fn take(&mut self) -> bool {
        let mut counts = self.bound.lock();
        match self.state {
            Claim::Open => return true,
            Claim::None | Claim::Waiting if counts.open < counts.limit => {
                if self.state == Claim::Waiting {
                    counts.waiting -= 1;
                    counts.yielded = counts.yielded.saturating_sub(1);
                }
                counts.open += 1;
                self.state = Claim::Open;
            }
            Claim::None => {
                counts.waiting += 1;
                self.state = Claim::Waiting;
            }
            Claim::Waiting => {}
        }
        self.state == Claim::Open
    }

    /// Whether it waits to be opened.
    pub fn waits(&self) -> bool {
        self.state == Claim::Waiting
    }

    /// Whether this one, which is open, is wanted for another file. Says so once for each that waits.
    pub fn is_wanted(&self) -> bool {
        let mut counts = self.bound.lock();
        let is_wanted = counts.waiting > counts.yielded;
        counts.yielded += usize::from(is_wanted);
        is_wanted
    }

    /// The file is closed.
    pub fn release(&mut self) {
        let mut counts = self.bound.lock();
        match self.state {
            Claim::Open => counts.open -= 1,
            Claim::Waiting => {
                counts.waiting -= 1;
                counts.yielded = counts.yielded.min(counts.waiting);
            }
            Claim::None => {}
        }
        self.state = Claim::None;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_open_file_makes_way_for_each_that_waits() {
        let bound = OpenBound::new(2);
        let (mut one, mut two, mut three) = (bound.seat(), bound.seat(), bound.seat());
        assert!(one.take() && two.take() && !one.is_wanted());
        assert!(!three.take() && !three.take());
        assert!(one.is_wanted() && !two.is_wanted());
        one.release();
        assert!(three.take());
        assert!(!two.is_wanted() && !one.take() && two.is_wanted());
        drop((one, two, three));
        let counts = bound.lock();
        assert_eq!((counts.open, counts.waiting, counts.yielded), (0, 0, 0));
    }
}
