//! Messages kept in memory, for an application's own tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use super::{Answer, Batch, Sender};
use crate::queue::lock;

/// How many messages a capture keeps; older ones make way.
const KEPT_MESSAGES: usize = 100_000;

/// Keeps messages in memory, where a [`Capture`] reads them.
///
/// ```
/// let (client, capture) = metlog::Client::capture();
/// client.incr("hits");
/// assert!(client.flush(std::time::Duration::from_secs(5)));
/// assert!(capture.messages()[0].contains(r#""fields":{"name":"hits","rate":1.0}"#));
/// ```
#[derive(Debug, Clone, Default)]
pub struct CaptureSender {
    capture: Capture,
}

/// What a [`CaptureSender`] was sent: at most the last 100,000 messages.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    messages: Arc<Mutex<VecDeque<String>>>,
}

impl CaptureSender {
    /// A sender, and the place to look for what it was sent.
    pub fn new() -> (CaptureSender, Capture) {
        let sender = CaptureSender::default();
        let capture = sender.capture.clone();
        (sender, capture)
    }
}

impl Capture {
    /// The messages so far, as JSON text, oldest first. [`Client::flush`](crate::Client::flush) first.
    pub fn messages(&self) -> Vec<String> {
        lock(&self.messages).iter().cloned().collect()
    }

    /// The messages since the last time they were taken.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.messages)).into()
    }
}

impl Sender for CaptureSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        let mut messages = lock(&self.capture.messages);
        for message in batch.iter() {
            if messages.len() == KEPT_MESSAGES {
                messages.pop_front();
            }
            messages.push_back(String::from_utf8_lossy(message).into_owned());
        }
        Answer::all(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(self.clone())
    }
}
