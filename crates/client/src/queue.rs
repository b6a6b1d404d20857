//! The bounded queue between the application's threads and the sending thread.
//!
//! A message is encoded straight into a chunk of memory that belongs to the calling thread's *shard*, under that
//! shard's lock: two threads share a lock only when there are more threads than shards, and the sending thread
//! holds it only to take the chunks away. Chunks come from one pool, which is what bounds the memory.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use metlog_message::encode::{Payload, Record, SecondCache, Template};

use crate::pool::{Chunk, Pool};
use crate::senders::oversize;
use crate::stats::DropReason;

/// The longest message, as routers accept it by default; the payload of a longer one is cut.
const LONGEST_MESSAGE_BYTES: usize = 1024 * 1024;

/// Locks, also after a panic elsewhere: what these locks guard is whole between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits for the sending thread.
    Queued,
    /// The same, and the queue is more than half full: the sending thread must not linger.
    Filling,
    /// It was dropped and counted.
    Dropped,
}

pub(crate) struct Queue {
    shards: Box<[Shard]>,
    pool: Pool,
}

/// On cache lines of its own (two, because processors fetch them in pairs), so that threads do not slow each other.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    state: Mutex<ShardState>,
    filtered: AtomicU64,
    sampled_out: AtomicU64,
}

#[derive(Default)]
struct ShardState {
    current: Chunk,
    full: Vec<Chunk>,
    clock: SecondCache,
    accepted: u64,
    queued: u64,
    truncated: u64,
    dropped: [u64; DropReason::COUNT],
    closed: bool,
}

/// What the queue has counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) queued: u64,
    pub(crate) truncated: u64,
    pub(crate) filtered: u64,
    pub(crate) sampled_out: u64,
    pub(crate) dropped: [u64; DropReason::COUNT],
}

impl Queue {
    /// A queue that never holds more than `limit_bytes` of messages.
    pub(crate) fn new(limit_bytes: usize) -> Queue {
        let processors = std::thread::available_parallelism().map_or(4, usize::from);
        let shards = (processors * 2).next_power_of_two().clamp(4, 32);
        Queue {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            pool: Pool::new(limit_bytes, shards),
        }
    }

    fn shard(&self) -> &Shard {
        // The number of shards is a power of two.
        &self.shards[thread_number() & (self.shards.len() - 1)]
    }

    /// Encodes a message into the queue. `sequence` is the last number that was given out.
    #[inline]
    pub(crate) fn push(&self, template: &Template, mut record: Record<'_>, sequence: &AtomicU64) -> Pushed {
        let bound = template.longest(&record) + 1;
        if bound > self.pool.chunk_bytes / 4 {
            return self.push_long(template, record, sequence);
        }
        let mut guard = lock(&self.shard().state);
        let state = &mut *guard;
        state.accepted += 1;
        if state.closed {
            return state.drop_one(DropReason::Closed);
        }
        if template.has_source() {
            record.sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
        }
        let Some(pushed) = self.room(state, bound) else { return state.drop_one(DropReason::QueueFull) };
        template.write(&mut state.current.bytes, &record, &mut state.clock);
        state.current.end_message();
        state.queued += 1;
        pushed
    }

    /// The way of a long message: encoded before the lock is taken, so that nobody waits for it.
    #[cold]
    fn push_long(&self, template: &Template, mut record: Record<'_>, sequence: &AtomicU64) -> Pushed {
        let mut message = Vec::new();
        let shard = self.shard();
        if template.has_source() && !lock(&shard.state).closed {
            record.sequence = sequence.fetch_add(1, Ordering::Relaxed) + 1;
        }
        // What could not be kept anyway is not even encoded: a gigabyte of payload must not become six.
        let mut left_out = 0;
        if let Payload::Text(text) = record.payload {
            let kept = text.floor_char_boundary(LONGEST_MESSAGE_BYTES);
            record.payload = Payload::Text(&text[..kept]);
            left_out = text.len() - kept;
        }
        let fits = record.fields.encoded_len() < LONGEST_MESSAGE_BYTES;
        if fits {
            template.write(&mut message, &record, &mut SecondCache::default());
        }
        self.push_whole(message, fits.then_some(left_out))
    }

    /// Queues a message that is encoded already, as one line of JSON.
    pub(crate) fn push_encoded(&self, template: &Template, object: &str, sequence: &AtomicU64) -> Pushed {
        let bound = template.longest_encoded(object) + 1;
        let long = bound > self.pool.chunk_bytes / 4;
        let mut guard = lock(&self.shard().state);
        let number = |state: &ShardState| match template.has_source() && !state.closed {
            true => sequence.fetch_add(1, Ordering::Relaxed) + 1,
            false => 0,
        };
        if long {
            let number = number(&guard);
            drop(guard);
            let mut message = Vec::with_capacity(bound);
            template.write_encoded(&mut message, object, number);
            return self.push_whole(message, Some(0));
        }
        let state = &mut *guard;
        state.accepted += 1;
        if state.closed {
            return state.drop_one(DropReason::Closed);
        }
        let number = number(state);
        let Some(pushed) = self.room(state, bound) else { return state.drop_one(DropReason::QueueFull) };
        template.write_encoded(&mut state.current.bytes, object, number);
        state.current.end_message();
        state.queued += 1;
        pushed
    }

    /// Queues a long message, of whose payload `left_out` bytes were not encoded; `None` where it cannot be made to fit.
    fn push_whole(&self, mut message: Vec<u8>, left_out: Option<usize>) -> Pushed {
        let mut fits = left_out.is_some();
        let too_long = message.len() > LONGEST_MESSAGE_BYTES;
        if too_long {
            let mut shorter = Vec::new();
            let whole = message.len() + left_out.unwrap_or(0);
            fits = oversize::shorten(&message, whole, LONGEST_MESSAGE_BYTES, &mut shorter);
            message = shorter;
        }
        fits &= self.pool.could_hold(message.len() + 1);

        let mut guard = lock(&self.shard().state);
        let state = &mut *guard;
        state.accepted += 1;
        if state.closed {
            return state.drop_one(DropReason::Closed);
        }
        if !fits {
            return state.drop_one(DropReason::TooLarge);
        }
        let Some(pushed) = self.room(state, message.len() + 1) else {
            return state.drop_one(DropReason::QueueFull);
        };
        state.truncated += u64::from(too_long);
        state.current.bytes.extend_from_slice(&message);
        state.current.end_message();
        state.queued += 1;
        pushed
    }

    /// Sees to it that the current chunk has room for `bytes`; `None` when the queue is full.
    #[inline]
    fn room(&self, state: &mut ShardState, bytes: usize) -> Option<Pushed> {
        match state.current.bytes.capacity() - state.current.bytes.len() < bytes {
            true => self.next_chunk(state, bytes),
            false => Some(Pushed::Queued),
        }
    }

    /// Puts the current chunk aside and starts one with room for `bytes`; `None` when the queue is full.
    #[cold]
    fn next_chunk(&self, state: &mut ShardState, bytes: usize) -> Option<Pushed> {
        let (next, over_half) = self.pool.take(bytes)?;
        let last = std::mem::replace(&mut state.current, next);
        if !last.ends.is_empty() {
            state.full.push(last);
        } else {
            self.pool.give(last);
        }
        Some(if over_half { Pushed::Filling } else { Pushed::Queued })
    }

    /// Counts a message that a filter dropped.
    pub(crate) fn count_filtered(&self) {
        self.shard().filtered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a message that its sample rate dropped.
    pub(crate) fn count_sampled_out(&self) {
        self.shard().sampled_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Moves everything that waits to `into`, each thread's messages in their order, and says how many they are.
    pub(crate) fn collect(&self, into: &mut VecDeque<Chunk>) -> u64 {
        let mut messages = 0;
        for shard in &self.shards {
            let mut state = lock(&shard.state);
            if state.queued == 0 {
                continue;
            }
            messages += std::mem::take(&mut state.queued);
            into.extend(state.full.drain(..));
            if !state.current.ends.is_empty() {
                into.push_back(std::mem::take(&mut state.current));
            }
        }
        messages
    }

    /// Whether nothing waits. A thread that pushes afterwards sees whatever was stored before this call.
    pub(crate) fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| lock(&shard.state).queued == 0)
    }

    /// Takes a chunk back whose messages are out.
    pub(crate) fn give_back(&self, chunk: Chunk) {
        self.pool.give(chunk);
    }

    /// Returns memory to the system that a burst needed and idleness does not.
    pub(crate) fn shrink(&self) {
        self.pool.shrink();
    }

    /// From now on every message is dropped and counted.
    pub(crate) fn close(&self) {
        for shard in &self.shards {
            lock(&shard.state).closed = true;
        }
    }

    /// The sums over all shards.
    pub(crate) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in &self.shards {
            let state = lock(&shard.state);
            sum.accepted += state.accepted;
            sum.queued += state.queued;
            sum.truncated += state.truncated;
            sum.filtered += shard.filtered.load(Ordering::Relaxed);
            sum.sampled_out += shard.sampled_out.load(Ordering::Relaxed);
            for (total, dropped) in sum.dropped.iter_mut().zip(state.dropped) {
                *total += dropped;
            }
        }
        sum
    }
}

impl ShardState {
    #[cold]
    fn drop_one(&mut self, reason: DropReason) -> Pushed {
        self.dropped[reason as usize] += 1;
        Pushed::Dropped
    }
}

/// A number for the calling thread, counted up from 0 in the order of the threads' first calls.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    thread_local! {
        /// 0 until the first call.
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    NUMBER.with(|cell| {
        let mut number = cell.get();
        if number == 0 {
            number = NEXT.fetch_add(1, Ordering::Relaxed);
            cell.set(number);
        }
        number
    })
}

#[cfg(test)]
mod tests {
    use metlog_message::Timestamp;
    use metlog_message::encode::{Fields, MemberBuffer, Members, When};

    use super::*;

    fn record(payload: &str) -> Record<'_> {
        Record {
            kind: "oldstyle",
            when: When::At(Timestamp { seconds: 0, nanoseconds: 0 }),
            logger: None,
            severity: 6,
            payload: Payload::Text(payload),
            fields: Fields::Members(Members::NONE),
            sequence: 0,
        }
    }

    fn template() -> Template {
        Template::new("test", 1, "host", Some(1))
    }

    #[test]
    fn what_goes_in_comes_out_in_order_with_its_number() {
        let queue = Queue::new(1024 * 1024);
        let sequence = AtomicU64::new(0);
        for text in ["one", "two", "three"] {
            assert_eq!(queue.push(&template(), record(text), &sequence), Pushed::Queued);
        }
        assert!(!queue.is_empty());
        let mut chunks = VecDeque::new();
        assert_eq!(queue.collect(&mut chunks), 3);
        assert!(queue.is_empty());
        let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        let messages: Vec<serde_json::Value> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let seen: Vec<_> = messages
            .iter()
            .map(|m| (m["payload"].as_str().unwrap(), m["metlog_seq"].as_u64().unwrap()))
            .collect();
        assert_eq!(seen, [("one", 1), ("two", 2), ("three", 3)]);
    }

    #[test]
    fn what_is_encoded_already_gets_its_number_too_short_or_long() {
        let queue = Queue::new(8 * 1024 * 1024);
        let sequence = AtomicU64::new(0);
        let long = format!(r#"{{"type": "x", "payload": "{}"}}"#, "x".repeat(100_000));
        let endless = format!(r#"{{"type": "x", "payload": "{}"}}"#, "x".repeat(2_000_000));
        for object in ["{}", &long, &endless] {
            assert_ne!(queue.push_encoded(&template(), object, &sequence), Pushed::Dropped);
        }
        queue.push(&template(), record("after"), &sequence);
        let mut chunks = VecDeque::new();
        assert_eq!(queue.collect(&mut chunks), 4);
        let text: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        let messages: Vec<serde_json::Value> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let numbers: Vec<_> =
            messages.iter().map(|message| message["metlog_seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert!(messages[2]["payload"].as_str().unwrap().contains(" [truncated from "));
        assert_eq!(queue.counts().truncated, 1);
        queue.close();
        assert_eq!(queue.push_encoded(&template(), "{}", &sequence), Pushed::Dropped);
        assert_eq!(queue.push_encoded(&template(), &long, &sequence), Pushed::Dropped);
        assert_eq!((sequence.load(Ordering::Relaxed), queue.counts().accepted), (4, 6));
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_recovers_when_memory_comes_back() {
        let queue = Queue::new(64 * 1024);
        let sequence = AtomicU64::new(0);
        let text = "x".repeat(500);
        while queue.push(&template(), record(&text), &sequence) != Pushed::Dropped {}
        let counts = queue.counts();
        assert_eq!(counts.dropped[DropReason::QueueFull as usize], 1);
        assert_eq!(counts.accepted, counts.queued + 1);
        assert!(counts.queued > 50, "{}", counts.queued);

        let mut chunks = VecDeque::new();
        queue.collect(&mut chunks);
        let held: usize = chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(held <= 64 * 1024, "{held}");
        chunks.into_iter().for_each(|chunk| queue.give_back(chunk));
        assert_ne!(queue.push(&template(), record(&text), &sequence), Pushed::Dropped);
    }

    #[test]
    fn a_message_longer_than_a_chunk_gets_a_chunk_of_its_own() {
        let queue = Queue::new(8 * 1024 * 1024);
        let sequence = AtomicU64::new(0);
        queue.push(&template(), record("short"), &sequence);
        queue.push(&template(), record(&"long".repeat(50_000)), &sequence);
        queue.push(&template(), record("short"), &sequence);
        let mut chunks = VecDeque::new();
        assert_eq!(queue.collect(&mut chunks), 3);
        chunks.into_iter().for_each(|chunk| queue.give_back(chunk));
        assert_eq!(queue.pool.used_bytes(), 0);
    }

    #[test]
    fn a_message_beyond_the_limit_is_cut_and_stays_json() {
        let queue = Queue::new(8 * 1024 * 1024);
        queue.push(&template(), record(&"\"".repeat(3_000_000)), &AtomicU64::new(0));
        let mut chunks = VecDeque::new();
        assert_eq!(queue.collect(&mut chunks), 1);
        assert!(chunks[0].bytes.len() <= LONGEST_MESSAGE_BYTES + 1);
        let message: serde_json::Value = serde_json::from_slice(&chunks[0].bytes).unwrap();
        assert!(message["payload"].as_str().unwrap().contains(" [truncated from "));
        assert_eq!(queue.counts().truncated, 1);
    }

    #[test]
    fn fields_beyond_the_limit_are_too_large() {
        let queue = Queue::new(8 * 1024 * 1024);
        let mut members = MemberBuffer::new();
        members.write("blob", "x".repeat(2 * 1024 * 1024).as_str().into());
        let record = Record { fields: Fields::Members(members.members()), ..record("") };
        assert_eq!(queue.push(&template(), record, &AtomicU64::new(0)), Pushed::Dropped);
        assert_eq!(queue.counts().dropped[DropReason::TooLarge as usize], 1);
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_gives_out_no_numbers() {
        let queue = Queue::new(1024 * 1024);
        let sequence = AtomicU64::new(0);
        queue.close();
        assert_eq!(queue.push(&template(), record("late"), &sequence), Pushed::Dropped);
        assert_eq!(queue.counts().dropped[DropReason::Closed as usize], 1);
        assert_eq!(sequence.load(Ordering::Relaxed), 0);
    }
}
