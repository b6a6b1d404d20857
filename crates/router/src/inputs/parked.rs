//! The memory of batches that wait for room in a full buffer, outside of any buffer: one bound for all connections.
//!
//! A connection is parked with the one batch that did not fit. Thousands of connections that all send to one endpoint that hangs
//! would still add up, so past the bound no stream is read until some of it is free.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The account.
#[derive(Debug, Clone)]
pub struct ParkedMemory {
    used_bytes: Arc<AtomicUsize>,
    limit_bytes: usize,
}

/// One connection's part of it.
#[derive(Debug)]
pub struct ParkedShare {
    memory: ParkedMemory,
    bytes: usize,
}

impl ParkedMemory {
    /// An account over `limit_bytes`. It can be overdrawn by the batch that each reader thread has at hand.
    pub fn new(limit_bytes: usize) -> Self {
        ParkedMemory { used_bytes: Arc::default(), limit_bytes }
    }

    /// Whether nothing more should be read that might have to be parked.
    pub fn is_used_up(&self) -> bool {
        self.used_bytes.load(Ordering::Acquire) >= self.limit_bytes
    }

    /// A share of nothing so far.
    pub fn share(&self) -> ParkedShare {
        ParkedShare { memory: self.clone(), bytes: 0 }
    }
}

impl ParkedShare {
    /// Uses `bytes` from now on.
    pub fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            self.memory.used_bytes.fetch_add(bytes, Ordering::AcqRel);
            self.memory.used_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
            self.bytes = bytes;
        }
    }
}

impl Drop for ParkedShare {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_paid_back_when_it_shrinks_and_when_it_goes() {
        let memory = ParkedMemory::new(100);
        let (mut one, mut other) = (memory.share(), memory.share());
        one.set(60);
        other.set(40);
        assert!(memory.is_used_up());
        one.set(10);
        assert!(!memory.is_used_up());
        drop((one, other));
        assert_eq!(memory.used_bytes.load(Ordering::Relaxed), 0);
    }
}
