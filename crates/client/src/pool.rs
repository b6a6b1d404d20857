//! The memory of a queue: chunks of it, as many as the limit allows.
//!
//! Chunks are reused, because the first touch of fresh memory costs more than writing a message into it.

use std::sync::Mutex;

use crate::queue::lock;

/// The size of a chunk in a queue of ordinary size.
const CHUNK_BYTES: usize = 64 * 1024;

/// Some encoded messages, each followed by a line break.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Where each message ends, its line break included.
    pub(crate) ends: Vec<u32>,
    /// What the pool counts for it.
    charged_bytes: usize,
}

impl Chunk {
    /// Ends a message that was just written to `bytes`.
    #[inline]
    pub(crate) fn end_message(&mut self) {
        self.bytes.push(b'\n');
        // A chunk is at most as long as the longest message, far below 4 GiB.
        self.ends.push(self.bytes.len() as u32);
    }
}

/// The chunks of one queue.
pub(crate) struct Pool {
    limit_bytes: usize,
    pub(crate) chunk_bytes: usize,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    free: Vec<Chunk>,
    used_bytes: usize,
}

impl Pool {
    /// A pool for a queue of this many shards.
    pub(crate) fn new(limit_bytes: usize, shards: usize) -> Pool {
        let chunk_bytes = (limit_bytes / (shards * 2)).clamp(1024, CHUNK_BYTES);
        Pool { limit_bytes, chunk_bytes, state: Mutex::default() }
    }

    /// Whether [`Pool::take`] would have a chunk with room for `bytes` if nothing were in use.
    pub(crate) fn could_hold(&self, bytes: usize) -> bool {
        bytes <= self.limit_bytes
    }

    /// A chunk with room for `bytes`, and whether more than half of the pool is now in use.
    pub(crate) fn take(&self, bytes: usize) -> Option<(Chunk, bool)> {
        let size = bytes.max(self.chunk_bytes);
        let mut state = lock(&self.state);
        if state.used_bytes + size > self.limit_bytes {
            return None;
        }
        state.used_bytes += size;
        let over_half = state.used_bytes > self.limit_bytes / 2;
        let reused = if size == self.chunk_bytes { state.free.pop() } else { None };
        let chunk = reused.unwrap_or_else(|| {
            // Free chunks make way, so that free and used memory together stay within the limit.
            let room = (self.limit_bytes - state.used_bytes) / self.chunk_bytes;
            state.free.truncate(room);
            Chunk { bytes: Vec::with_capacity(size), ends: Vec::new(), charged_bytes: size }
        });
        Some((chunk, over_half))
    }

    /// Takes a chunk back. One that did not come from the pool is simply freed.
    pub(crate) fn give(&self, mut chunk: Chunk) {
        let mut state = lock(&self.state);
        state.used_bytes -= chunk.charged_bytes;
        if chunk.charged_bytes == self.chunk_bytes {
            chunk.bytes.clear();
            chunk.ends.clear();
            state.free.push(chunk);
        }
    }

    /// How much of the limit is taken.
    #[cfg(test)]
    pub(crate) fn used_bytes(&self) -> usize {
        lock(&self.state).used_bytes
    }

    /// Returns the memory to the system that is not in use.
    pub(crate) fn shrink(&self) {
        lock(&self.state).free = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_and_free_memory_together_stay_within_the_limit() {
        let pool = Pool::new(256 * 1024, 4);
        let mut small: Vec<Chunk> = std::iter::from_fn(|| pool.take(1)).map(|(chunk, _)| chunk).collect();
        assert_eq!(small.len() * pool.chunk_bytes, 256 * 1024);
        small.drain(2..).for_each(|chunk| pool.give(chunk));
        assert!(pool.take(150 * 1024).is_some());
        let state = lock(&pool.state);
        assert!(state.used_bytes + state.free.len() * pool.chunk_bytes <= 256 * 1024);
    }

    #[test]
    fn the_second_half_of_the_pool_is_said_to_be_it() {
        let pool = Pool::new(64 * 1024, 4);
        let over_half: Vec<bool> =
            std::iter::from_fn(|| pool.take(1)).map(|(_, over_half)| over_half).collect();
        assert_eq!(over_half.len(), 8);
        assert_eq!(over_half.iter().filter(|over_half| **over_half).count(), 4);
    }
}
