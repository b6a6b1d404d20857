//! What a fork does to a client, and how it survives: the child has the parent's memory but none of its threads,
//! and any lock may have been held by a thread that no longer exists. So a child never touches the parent's
//! queue; it gets a new one on its first call. Noticing costs one relaxed load per call, not a system call:
//! the C library tells us when a process is born.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// How many forks lie between the first process that used this library and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// A number that differs between a process and its children, once there is a [`ForkCell`].
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

extern "C" fn in_the_child() {
    GENERATION.fetch_add(1, Ordering::SeqCst);
}

fn watch_forks() {
    static WATCHING: Once = Once::new();
    // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec, and lives as long as
    // the code of this library does. A failure (no memory) leaves forks unnoticed, which is no memory hazard.
    WATCHING.call_once(|| unsafe {
        libc::pthread_atfork(None, None, Some(in_the_child));
    });
}

/// A value that a forked child does not share with its parent: the child's first [`ForkCell::get`] makes its own.
pub(crate) struct ForkCell<T> {
    slot: AtomicPtr<Slot<T>>,
    owns: PhantomData<T>,
}

struct Slot<T> {
    generation: u32,
    value: T,
}

impl<T: Send + Sync> ForkCell<T> {
    /// A cell that holds this process's value.
    pub(crate) fn new(value: T) -> ForkCell<T> {
        watch_forks();
        let slot = Slot { generation: generation(), value };
        ForkCell { slot: AtomicPtr::new(Box::into_raw(Box::new(slot))), owns: PhantomData }
    }

    /// This process's value, made by `renew` on the first call after a fork.
    #[inline]
    pub(crate) fn get(&self, renew: impl FnOnce() -> T) -> &T {
        // SAFETY: the pointer came from `Box::into_raw`, and a slot is freed only by `drop`, which has the cell
        // to itself: a slot that is replaced after a fork is never freed. So it outlives this borrow of `self`.
        let slot = unsafe { &*self.slot.load(Ordering::Acquire) };
        if slot.generation == generation() {
            return &slot.value;
        }
        self.replace(slot, renew)
    }

    /// This process's value, if it has one already.
    pub(crate) fn peek(&self) -> Option<&T> {
        // SAFETY: as in `ForkCell::get`.
        let slot = unsafe { &*self.slot.load(Ordering::Acquire) };
        (slot.generation == generation()).then_some(&slot.value)
    }

    #[cold]
    fn replace(&self, old: &Slot<T>, renew: impl FnOnce() -> T) -> &T {
        let generation = generation();
        let new = Box::into_raw(Box::new(Slot { generation, value: renew() }));
        let old = std::ptr::from_ref(old).cast_mut();
        match self.slot.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
            // The old slot is left where it is for ever: another thread's queue cannot be taken apart without
            // taking its locks, and what a fork leaves behind is one small leak per fork.
            // SAFETY: `new` was made above, is now the cell's, and the reasoning of `get` holds for it.
            Ok(_) => unsafe { &(*new).value },
            Err(winner) => {
                // SAFETY: `new` was made above and nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                // SAFETY: as in `get`.
                unsafe { &(*winner).value }
            }
        }
    }
}

impl<T> Drop for ForkCell<T> {
    fn drop(&mut self) {
        let slot = *self.slot.get_mut();
        // SAFETY: as in `ForkCell::get`.
        let generation = unsafe { (*slot).generation };
        // A value from before a fork waits for threads that do not exist here; it is left to the exit.
        if generation == self::generation() {
            // SAFETY: the pointer came from `Box::into_raw`, and `&mut self` says that nobody borrows it.
            drop(unsafe { Box::from_raw(slot) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_fork_the_value_stays() {
        let cell = ForkCell::new(7);
        assert_eq!(*cell.get(|| 8), 7);
    }

    #[test]
    fn the_value_is_dropped_with_its_cell() {
        let value = std::sync::Arc::new(());
        drop(ForkCell::new(std::sync::Arc::clone(&value)));
        assert_eq!(std::sync::Arc::strong_count(&value), 1);
    }
}
