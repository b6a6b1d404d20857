//! Waits until each of several others has done something, for a bounded time.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Opens when it was counted down to zero.
#[derive(Debug)]
pub struct Latch {
    left: Mutex<usize>,
    opened: Condvar,
}

impl Latch {
    /// Opens after `count` calls of [`Latch::count_down`].
    pub fn new(count: usize) -> Self {
        Latch { left: Mutex::new(count), opened: Condvar::new() }
    }

    /// One less to wait for.
    pub fn count_down(&self) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.opened.notify_all();
        }
    }

    /// Waits at most `longest`; returns whether it is open.
    pub fn wait(&self, longest: Duration) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.opened.wait_timeout_while(left, longest, |left| *left > 0);
        *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn it_opens_when_everybody_has_counted_down() {
        let latch = Latch::new(2);
        assert!(!latch.wait(Duration::ZERO));
        thread::scope(|scope| {
            scope.spawn(|| latch.count_down());
            scope.spawn(|| latch.count_down());
            assert!(latch.wait(Duration::from_secs(10)));
        });
        assert!(latch.is_open());
    }
}
