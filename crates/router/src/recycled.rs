//! Vectors that are used again: what a batch needs besides its slab. Freed on another thread than it was allocated on, such
//! memory goes back to the system and comes again page by page.

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
};

/// Vectors for fewer elements are not worth a place in the pool.
const SMALL: usize = 64;

/// Spare vectors, shared by all threads.
#[derive(Debug)]
pub struct VecPool<T> {
    spare: Arc<Mutex<Vec<Vec<T>>>>,
    most: usize,
}

impl<T> Clone for VecPool<T> {
    fn clone(&self) -> Self {
        VecPool { spare: self.spare.clone(), most: self.most }
    }
}

impl<T> VecPool<T> {
    /// A pool that keeps at most `most` vectors.
    pub fn new(most: usize) -> Self {
        VecPool { spare: Arc::default(), most }
    }

    /// An empty vector with room for `capacity` elements.
    pub fn take(&self, capacity: usize) -> Recycled<T> {
        if capacity < SMALL {
            return Recycled {
                vector: Vec::with_capacity(capacity),
                pool: VecPool { most: 0, ..self.clone() },
            };
        }
        let mut vector = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        vector.reserve(capacity);
        Recycled { vector, pool: self.clone() }
    }
}

/// A vector that goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Recycled<T> {
    vector: Vec<T>,
    pool: VecPool<T>,
}

impl<T> Recycled<T> {
    /// Moves to a smaller vector if most of this one is empty: who keeps it is charged all of it.
    pub fn shrink(&mut self)
    where
        T: Clone,
    {
        if self.vector.capacity() > 2 * self.vector.len() + SMALL {
            *self = self.vector.to_vec().into();
        }
    }

    /// The pool that it came from.
    pub fn pool(&self) -> &VecPool<T> {
        &self.pool
    }
}

impl<T> From<Vec<T>> for Recycled<T> {
    fn from(vector: Vec<T>) -> Self {
        Recycled { vector, pool: VecPool::new(0) }
    }
}

impl<T> Deref for Recycled<T> {
    type Target = Vec<T>;

    fn deref(&self) -> &Vec<T> {
        &self.vector
    }
}

impl<T> DerefMut for Recycled<T> {
    fn deref_mut(&mut self) -> &mut Vec<T> {
        &mut self.vector
    }
}

impl<T> Drop for Recycled<T> {
    fn drop(&mut self) {
        let mut vector = std::mem::take(&mut self.vector);
        if self.pool.most == 0 {
            return;
        }
        vector.clear();
        let mut spare = self.pool.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.pool.most {
            spare.push(vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_vector_is_used_again_up_to_a_bound() {
        let pool = VecPool::new(1);
        let (mut one, two) = (pool.take(1000), pool.take(1000));
        one.extend(0..100);
        let address = one.as_ptr();
        drop((one, two));
        let again = pool.take(100);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        assert!(pool.spare.lock().unwrap().is_empty());
    }

    #[test]
    fn a_few_elements_never_keep_the_memory_of_many() {
        let pool = VecPool::new(8);
        let mut few = pool.take(4096);
        few.push(1);
        few.shrink();
        assert!(few.capacity() < 10);
        assert_eq!(pool.spare.lock().unwrap().len(), 1, "the large one is there for the next");
        assert!(pool.take(3).capacity() < 10);
    }
}
