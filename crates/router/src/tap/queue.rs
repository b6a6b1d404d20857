//! What waits for one watcher: filled by reader threads, emptied by the task that writes to the watcher's connection.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use metlog_message::Timestamp;

use super::{QUEUE_BYTES, Tapped};

/// What has a rate of its own: messages, however many, do not keep a watcher from seeing rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Messages.
    Messages,
    /// Rejects.
    Rejects,
}

/// A bounded queue that counts what it does not take.
#[derive(Debug)]
pub struct Queue {
    max_per_second: u32,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    waiting: VecDeque<Tapped>,
    bytes: usize,
    waker: Option<Waker>,
    /// The second of the messages that were taken last, and how many of them there were.
    second: i64,
    in_second: [u32; 2],
    over_rate: u64,
    full: u64,
}

impl Queue {
    /// An empty one.
    pub fn new(max_per_second: u32) -> Queue {
        Queue { max_per_second, inside: Mutex::default() }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what fits of the candidates, all received at this time; `make` copies one that does.
    pub fn offer<C>(
        &self,
        lane: Lane,
        received: Timestamp,
        candidates: impl IntoIterator<Item = C>,
        make: impl Fn(C) -> Tapped,
    ) {
        let mut inside = self.inside();
        // Threads may be on both sides of a second, and take turns: that is no new second each time. A clock that was set
        // back is.
        if !(inside.second - 1..=inside.second).contains(&received.seconds) {
            (inside.second, inside.in_second) = (received.seconds, [0; 2]);
        }
        let mut is_news = false;
        for candidate in candidates {
            if inside.bytes >= QUEUE_BYTES {
                inside.full += 1;
            } else if inside.in_second[lane as usize] >= self.max_per_second {
                inside.over_rate += 1;
            } else {
                let tapped = make(candidate);
                inside.in_second[lane as usize] += 1;
                inside.bytes += charged(&tapped);
                inside.waiting.push_back(tapped);
                is_news = true;
            }
        }
        let waker = if is_news { inside.waker.take() } else { None };
        drop(inside);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what waits, up to roughly `most_bytes`, but at least one.
    pub fn poll_take(&self, context: &mut Context<'_>, most_bytes: usize) -> Poll<Vec<Tapped>> {
        let mut inside = self.inside();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while bytes < most_bytes
            && let Some(tapped) = inside.waiting.pop_front()
        {
            bytes += charged(&tapped);
            taken.push(tapped);
        }
        inside.bytes -= bytes;
        if taken.is_empty() {
            inside.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(taken)
    }

    /// What it did not take: for being too many a second, and for want of room.
    pub fn missed(&self) -> (u64, u64) {
        let inside = self.inside();
        (inside.over_rate, inside.full)
    }
}

/// The memory that one keeps.
fn charged(tapped: &Tapped) -> usize {
    size_of::<Tapped>() + size_of_val(tapped.to.as_slice()) + tapped.message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(queue: &Queue, seconds: i64) {
        let received = Timestamp { seconds, nanoseconds: 0 };
        queue.offer(Lane::Messages, received, [()], |()| Tapped {
            input: "tcp".into(),
            to: Vec::new(),
            reject: None,
            message: Box::default(),
        });
    }

    #[test]
    fn threads_on_both_sides_of_a_second_do_not_exceed_the_rate() {
        let queue = Queue::new(5);
        for turn in 0..100 {
            offer(&queue, 1000 + turn % 2);
        }
        let over_rate = queue.missed().0;
        assert!(
            over_rate >= 90,
            "five for each of two seconds at most, but {over_rate} of 100 were too many"
        );
        offer(&queue, 500);
        assert_eq!(queue.missed().0, over_rate, "a clock that was set back does not silence it");
    }
}
