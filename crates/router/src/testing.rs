//! Helpers for this crate's own tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use metlog_buffer::{Buffer, WhenFull};
use metlog_message::{Decoded, Decoder, Timestamp};

use crate::{
    batch::{Batch, Entry, Handover, Message},
    clock::Clock,
    endpoints::{Answer, Delivery, Endpoint, LaneEndpoint, NetworkEndpoint, Work},
    slab_pool::SlabPool,
};

/// The time at which every message of a test batch was received.
pub const RECEIVED: Timestamp = Timestamp { seconds: 1_342_646_005, nanoseconds: 687_518_000 };

/// `count` small messages, each with its line break.
pub fn lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            format!(
                "{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25.687518Z\",\"payload\":\"message {number:04}\"}}\n"
            )
        })
        .collect()
}

/// A batch of valid messages.
pub fn batch_of<S: AsRef<str>>(lines: &[S]) -> Batch {
    let mut slab = SlabPool::new(1 << 20).take(lines.iter().map(|line| line.as_ref().len() + 1).sum());
    let mut entries = Vec::new();
    for line in lines {
        let line = line.as_ref().trim_end();
        let start = slab.len();
        let Ok(Decoded::InPlace { index, .. }) = Decoder::default().decode(line.as_bytes(), RECEIVED) else {
            panic!("not a message that can be used in place: {line}");
        };
        slab.extend(line.as_bytes());
        entries.push(Entry {
            start: start as u32,
            end: slab.len() as u32,
            number: entries.len() as u32,
            index,
        });
        slab.extend(b"\n");
    }
    Batch::new(slab, entries, RECEIVED)
}

/// Work of one batch.
pub fn work_of<S: AsRef<str>>(lines: &[S]) -> Work {
    Work::new(vec![Handover::all(&Arc::new(batch_of(lines)))], 0)
}

/// A buffer that blocks when it is full.
pub fn buffer(limit_bytes: usize) -> Arc<Buffer<Handover>> {
    Arc::new(Buffer::new(limit_bytes, WhenFull::Block))
}

/// Messages of the logger that each text names, numbered from `first` on in their payloads.
pub fn lines_of(loggers: &[&str], first: usize) -> Vec<String> {
    let numbered = loggers.iter().zip(first..);
    numbered
        .map(|(logger, number)| {
            format!("{{\"type\":\"t\",\"logger\":\"{logger}\",\"payload\":\"{number}\",\"timestamp\":\"2012-07-18T21:13:25Z\"}}")
        })
        .collect()
}

/// A clock that stands still until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::Mutex<Duration>);

impl ManualClock {
    /// Sets the monotonic time.
    pub fn set(&self, now: Duration) {
        *self.0.lock().unwrap() = now;
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn wall(&self) -> Timestamp {
        Timestamp { seconds: RECEIVED.seconds + self.monotonic().as_secs() as i64, nanoseconds: 0 }
    }
}

/// An endpoint of every sort that takes everything and counts it.
#[derive(Debug, Clone, Default)]
pub struct Taking(pub Arc<AtomicUsize>);

impl Endpoint for Taking {
    fn deliver(&mut self, work: &Work) -> Answer {
        self.0.fetch_add(work.len(), Ordering::SeqCst);
        Answer::delivered(work.len())
    }
}

impl NetworkEndpoint for Taking {
    fn deliver<'a>(&'a mut self, work: &'a Work) -> Delivery<'a> {
        Box::pin(async { Endpoint::deliver(self, work) })
    }
}

impl LaneEndpoint for Taking {
    fn lane(&self, _message: &Message<'_>, _key: &mut Vec<u8>) -> Result<(), &'static str> {
        Ok(())
    }

    fn deliver<'a>(&'a self, _key: &'a [u8], work: &'a Work) -> Delivery<'a> {
        Box::pin(async { Endpoint::deliver(&mut self.clone(), work) })
    }
}
