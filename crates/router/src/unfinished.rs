//! What a read leaves unfinished, and the memory that this may take: many connections, one bound.
//!
//! Each connection holds a [`Lease`] for the line that it has begun. When the shared memory is used up, the largest
//! unfinished line is given up, not the newest: one client that sends an endless line must not cost the others theirs. What
//! is said of lines here holds for the frames of other protocols too.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use crate::{
    batch::BATCH_BYTES,
    slab_pool::{Slab, SlabPool},
};

/// From this size on, what is unfinished stays in the slab that it was read into instead of being copied.
const LARGE_BYTES: usize = 64 * 1024;

/// What a connection has read and cannot use yet. Of an idle connection it takes no more memory than its bytes.
#[derive(Debug)]
pub enum Remainder {
    /// Copied out of its slab.
    Small(Vec<u8>),
    /// In the slab that it was read into.
    Large(Slab),
}

impl Default for Remainder {
    fn default() -> Self {
        Remainder::Small(Vec::new())
    }
}

impl Remainder {
    /// A slab that begins with it and has room for a good read behind it.
    pub fn take(&mut self, pool: &SlabPool) -> Slab {
        match std::mem::take(self) {
            Remainder::Small(bytes) => {
                let mut slab = pool.take(BATCH_BYTES);
                slab.extend(&bytes);
                slab
            }
            Remainder::Large(mut slab) => {
                slab.reserve(LARGE_BYTES);
                slab
            }
        }
    }

    /// Keeps what is in `slab` for the next read.
    pub fn keep(&mut self, slab: Slab) {
        *self =
            if slab.len() >= LARGE_BYTES { Remainder::Large(slab) } else { Remainder::Small(slab.to_vec()) };
    }
}

/// The shared memory's account.
#[derive(Debug, Clone)]
pub struct UnfinishedLines {
    account: Arc<Mutex<Account>>,
}

#[derive(Debug)]
struct Account {
    limit_bytes: usize,
    used_bytes: usize,
    next_number: u64,
    leases: HashMap<u64, Leased>,
}

#[derive(Debug)]
struct Leased {
    bytes: usize,
    revoked: Arc<AtomicBool>,
    waker: Waker,
}

/// One connection's part of the shared memory.
#[derive(Debug)]
pub struct Lease {
    number: u64,
    bytes: usize,
    revoked: Arc<AtomicBool>,
    waker: Waker,
    shared: UnfinishedLines,
}

impl UnfinishedLines {
    /// An account over `limit_bytes`.
    pub fn new(limit_bytes: usize) -> Self {
        let account = Account { limit_bytes, used_bytes: 0, next_number: 0, leases: HashMap::new() };
        UnfinishedLines { account: Arc::new(Mutex::new(account)) }
    }

    /// A lease of nothing so far. `waker` rings when it is revoked.
    pub fn lease(&self, waker: Waker) -> Lease {
        let mut account = self.lock();
        account.next_number += 1;
        let number = account.next_number;
        drop(account);
        Lease { number, bytes: 0, revoked: Arc::default(), waker, shared: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// Wants `bytes` from now on. `false` if the line that they are for has to be given up.
    pub fn resize(&mut self, bytes: usize) -> bool {
        if bytes == self.bytes {
            return true;
        }
        if bytes == 0 {
            self.release();
            return true;
        }
        let mut account = self.shared.lock();
        account.remove(self.number);
        // Revoked just now: its bytes have left the account, and here they come back with the rest.
        self.revoked.store(false, Ordering::Release);
        account.used_bytes += bytes;
        self.bytes = bytes;
        let leased = Leased { bytes, revoked: self.revoked.clone(), waker: self.waker.clone() };
        account.leases.insert(self.number, leased);
        while account.used_bytes > account.limit_bytes {
            let largest =
                account.leases.iter().max_by_key(|(_, leased)| leased.bytes).map(|(number, _)| *number);
            let Some(number) = largest else { break };
            let Some(leased) = account.remove(number) else { break };
            if number == self.number {
                self.bytes = 0;
                return false;
            }
            leased.revoked.store(true, Ordering::Release);
            leased.waker.wake();
        }
        true
    }

    /// Whether the line was chosen to be given up in favour of others; says so once.
    pub fn is_revoked(&mut self) -> bool {
        if !self.revoked.swap(false, Ordering::AcqRel) {
            return false;
        }
        self.release();
        true
    }

    /// Wants nothing any more.
    pub fn release(&mut self) {
        if self.bytes > 0 {
            let mut account = self.shared.lock();
            account.remove(self.number);
            // The line that a late revocation meant is complete or gone; the next one must not pay for it.
            self.revoked.store(false, Ordering::Release);
            self.bytes = 0;
        }
    }
}

impl Account {
    fn remove(&mut self, number: u64) -> Option<Leased> {
        let leased = self.leases.remove(&number)?;
        self.used_bytes -= leased.bytes;
        Some(leased)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_can_be_leased_again() {
        let shared = UnfinishedLines::new(100);
        let mut first = shared.lease(Waker::noop().clone());
        assert!(first.resize(100));
        drop(first);
        assert!(shared.lease(Waker::noop().clone()).resize(100));
        assert_eq!(shared.lock().used_bytes, 0);
    }

    #[test]
    fn the_largest_line_is_given_up_even_if_it_is_the_one_that_grows() {
        let shared = UnfinishedLines::new(100);
        let mut small = shared.lease(Waker::noop().clone());
        let mut large = shared.lease(Waker::noop().clone());
        assert!(small.resize(40));
        assert!(!large.resize(70));
        assert!(!small.is_revoked());
        assert_eq!(shared.lock().used_bytes, 40);
    }

    #[test]
    fn a_line_that_is_complete_before_it_was_given_up_leaves_the_next_one_alone() {
        let shared = UnfinishedLines::new(100);
        let mut large = shared.lease(Waker::noop().clone());
        let mut small = shared.lease(Waker::noop().clone());
        assert!(large.resize(90));
        assert!(small.resize(20));
        large.release();
        assert!(large.resize(10), "the next line");
        assert!(!large.is_revoked());
        assert_eq!(shared.lock().used_bytes, 30);
    }

    #[test]
    fn a_revoked_lease_is_not_paid_back_twice() {
        let shared = UnfinishedLines::new(100);
        let mut large = shared.lease(Waker::noop().clone());
        let mut small = shared.lease(Waker::noop().clone());
        assert!(large.resize(90));
        assert!(small.resize(20));
        assert!(large.is_revoked());
        assert!(!large.is_revoked());
        drop(large);
        assert_eq!(shared.lock().used_bytes, 20);
    }
}
