//! Recycled memory for slabs. Fresh memory from the system costs a page fault every 4 KiB, and at
//! full speed hundreds of megabytes pass through slabs every second.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Slabs come in powers of two from 1 KiB up to this; larger ones (a single large message) are not recycled.
const LARGEST_RECYCLED_BYTES: usize = 512 * 1024;
const SMALLEST_BYTES: usize = 1024;
const CLASSES: usize = (LARGEST_RECYCLED_BYTES / SMALLEST_BYTES).ilog2() as usize + 1;

/// A pool of slabs, shared by all threads. Its lock is taken once per slab, not per message.
#[derive(Debug, Clone)]
pub struct SlabPool {
    shelves: Arc<Shelves>,
}

#[derive(Debug)]
struct Shelves {
    spare: Mutex<Spare>,
    limit_bytes: usize,
}

#[derive(Debug)]
struct Spare {
    by_class: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
}

fn class_of(bytes: usize) -> usize {
    (bytes.max(SMALLEST_BYTES).next_power_of_two().ilog2() - SMALLEST_BYTES.ilog2()) as usize
}

impl SlabPool {
    /// A pool that keeps at most `limit_bytes` of spare memory.
    pub fn new(limit_bytes: usize) -> Self {
        let spare = Spare { by_class: [const { Vec::new() }; CLASSES], bytes: 0 };
        SlabPool { shelves: Arc::new(Shelves { spare: Mutex::new(spare), limit_bytes }) }
    }

    /// An empty slab with room for at least `bytes`.
    pub fn take(&self, bytes: usize) -> Slab {
        let class = class_of(bytes);
        let recycled = self.recycled(class);
        let memory = recycled.unwrap_or_else(|| vec![0; SMALLEST_BYTES << class]);
        Slab { memory, used: 0, pool: self.clone() }
    }

    fn recycled(&self, class: usize) -> Option<Vec<u8>> {
        let mut spare = self.shelves.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = spare.by_class.get_mut(class)?.pop()?;
        spare.bytes -= memory.len();
        Some(memory)
    }

    fn put_back(&self, memory: Vec<u8>) {
        let size = memory.len();
        if !(SMALLEST_BYTES..=LARGEST_RECYCLED_BYTES).contains(&size) {
            return;
        }
        let mut spare = self.shelves.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.bytes + size <= self.shelves.limit_bytes {
            spare.bytes += size;
            spare.by_class[class_of(size)].push(memory);
        }
    }
}

/// A growing run of bytes whose memory goes back to its pool when it is dropped.
///
/// Unlike a `Vec<u8>`, all of its memory is initialised, so that sockets can be read straight into [`Slab::spare`].
#[derive(Debug)]
pub struct Slab {
    memory: Vec<u8>,
    used: usize,
    pool: SlabPool,
}

impl Slab {
    /// The pool that it came from.
    pub fn pool(&self) -> &SlabPool {
        &self.pool
    }

    /// How much memory it holds.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// The memory behind the bytes: write here, then call [`Slab::advance`].
    pub fn spare(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.used..).unwrap_or_default()
    }

    /// The next `bytes` of [`Slab::spare`] were written.
    pub fn advance(&mut self, bytes: usize) {
        self.used = (self.used + bytes).min(self.memory.len());
    }

    /// Makes room for at least `bytes` more.
    pub fn reserve(&mut self, bytes: usize) {
        if self.memory.len() - self.used < bytes {
            let mut larger = self.pool.take(self.used + bytes);
            larger.extend(self);
            *self = larger;
        }
    }

    /// Appends bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.spare()[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Keeps only the first `bytes`.
    pub fn truncate(&mut self, bytes: usize) {
        self.used = self.used.min(bytes);
    }

    /// Moves to a smaller slab if most of this one is empty.
    pub fn shrink(&mut self) {
        if self.used <= self.memory.len() / 2 && self.memory.len() > SMALLEST_BYTES {
            let mut smaller = self.pool.take(self.used);
            smaller.extend(self);
            *self = smaller;
        }
    }
}

impl Deref for Slab {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(..self.used).unwrap_or_default()
    }
}

impl DerefMut for Slab {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.used).unwrap_or_default()
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slab_is_used_again() {
        let pool = SlabPool::new(1 << 20);
        let mut slab = pool.take(5000);
        slab.extend(b"content");
        let address = slab.as_ptr();
        drop(slab);
        let again = pool.take(4097);
        assert_eq!(again.as_ptr(), address);
        assert!(again.is_empty() && again.capacity() >= 4097);
    }

    #[test]
    fn spare_memory_is_bounded() {
        let pool = SlabPool::new(10_000);
        let slabs: Vec<Slab> = (0..10).map(|_| pool.take(4096)).collect();
        drop(slabs);
        assert!(pool.shelves.spare.lock().unwrap().bytes <= 10_000);
    }

    #[test]
    fn a_slab_grows_with_its_content_and_shrinks_to_it() {
        let pool = SlabPool::new(1 << 20);
        let mut slab = pool.take(10);
        let content: Vec<u8> = (0..10_000).map(|number| number as u8).collect();
        for part in content.chunks(700) {
            slab.extend(part);
        }
        assert_eq!(&slab[..], content);
        slab.truncate(100);
        slab.shrink();
        assert_eq!(slab.capacity(), SMALLEST_BYTES);
        assert_eq!(&slab[..], &content[..100]);
    }

    #[test]
    fn what_is_too_large_to_recycle_still_works() {
        let pool = SlabPool::new(1 << 30);
        let slab = pool.take(3_000_000);
        assert!(slab.capacity() >= 3_000_000);
    }
}
