//! Rejects as messages: with `[rejects] to = ["name"]`, what could not be used goes to endpoints as `metlog.reject`.
//!
//! They say why, from which input and whom (the peer's address, or a file), and how the frame began. They are rate-limited for the router as a whole, go straight to
//! their endpoints past the routes, and are never rejected themselves. Counting rejects does not depend on any of this.

use std::sync::{Mutex, PoisonError};

use base64::{Engine, prelude::BASE64_STANDARD};
use metlog_message::{Decoded, Decoder, Reason, Timestamp};

use crate::{
    batch::{Batch, Entry},
    pipeline::{Outlet, Place},
    slab_pool::SlabPool,
};

/// How much of a frame a reject carries.
pub const FRAME_BYTES: usize = 4096;

/// Where rejects go, and how many a second.
#[derive(Debug)]
pub struct Rejects {
    outlets: Vec<Outlet>,
    max_per_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    second: i64,
    count: u32,
}

impl Rejects {
    /// Rejects to these endpoints.
    pub fn new(outlets: Vec<Outlet>, max_per_second: u32) -> Self {
        Rejects { outlets, max_per_second, window: Mutex::default() }
    }

    /// Where they go.
    pub fn outlets(&self) -> &[Outlet] {
        &self.outlets
    }

    /// Whether one more may be made at this time. Over the limit they are only counted.
    pub fn permits(&self, now: Timestamp) -> bool {
        if self.outlets.is_empty() {
            return false;
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.second != now.seconds {
            *window = Window { second: now.seconds, count: 0 };
        }
        window.count += 1;
        window.count <= self.max_per_second
    }
}

/// The message that tells of one reject. Of a frame that was not kept whole, `frame` is the beginning; `bytes` is its length.
pub fn message(
    input: &str,
    from: Place<'_>,
    reason: Reason,
    frame: &[u8],
    bytes: usize,
    received: Timestamp,
) -> Vec<u8> {
    let begin = BASE64_STANDARD.encode(&frame[..frame.len().min(FRAME_BYTES)]);
    let from = match from {
        Place::Unknown => String::new(),
        Place::Peer(address) => format!("\"peer\":\"{address}\","),
        Place::File(path) => format!("\"file\":{},", serde_json::Value::from(path)),
    };
    // An input's name has letters, digits, `-` and `_` only, and a reason's name needs no escaping either.
    format!(
        "{{\"type\":\"metlog.reject\",\"timestamp\":\"{received}\",\"logger\":\"metlog\",\"severity\":4,\
         \"payload\":\"{reason}\",\"fields\":{{\"reason\":\"{reason}\",\"input\":\"{input}\",{from}\
         \"bytes\":{bytes},\"frame\":\"{begin}\"}},\"env_version\":\"0.8\"}}"
    )
    .into_bytes()
}

/// Where the frame came from, as such a message tells it: the peer's address or a file's path.
pub fn origin(message: &[u8]) -> Option<String> {
    let message: serde_json::Value = serde_json::from_slice(message).ok()?;
    ["peer", "file"].iter().find_map(|key| Some(message["fields"][key].as_str()?.to_owned()))
}

/// The beginning of the frame, as such a message has it in `fields.frame`; `None` if that is something else.
pub fn frame(text: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

/// A batch of such messages; `None` if there are none.
pub fn batch(messages: &[Vec<u8>], received: Timestamp, pool: &SlabPool) -> Option<Batch> {
    let mut slab = pool.take(messages.iter().map(|message| message.len() + 1).sum());
    let mut entries = Vec::with_capacity(messages.len());
    for message in messages {
        let start = slab.len() as u32;
        let Ok(Decoded::InPlace { index, .. }) = Decoder::default().decode(message, received) else {
            continue;
        };
        slab.extend(message);
        entries.push(Entry { start, end: slab.len() as u32, number: entries.len() as u32, index });
        slab.extend(b"\n");
    }
    (!entries.is_empty()).then(|| Batch::new(slab, entries, received))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{acknowledgement::Ack, testing::RECEIVED};

    #[test]
    fn a_reject_is_a_message_that_says_why_and_how_the_frame_began() {
        let frame = vec![0xff; 10_000];
        let peer = Place::Peer("[::1]:5565".parse().unwrap());
        let text = message("udp", peer, Reason::InvalidUtf8, &frame, frame.len(), RECEIVED);
        let parsed: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(parsed["type"], "metlog.reject");
        assert_eq!(parsed["fields"]["reason"], "invalid-utf8");
        assert_eq!(parsed["fields"]["input"], "udp");
        assert_eq!(parsed["fields"]["peer"], "[::1]:5565");
        assert_eq!(parsed["fields"]["bytes"], 10_000);
        let begin = super::frame(parsed["fields"]["frame"].as_str().unwrap()).unwrap();
        assert_eq!(begin, &frame[..FRAME_BYTES]);
        assert_eq!(batch(&[text], RECEIVED, &SlabPool::new(0)).unwrap().len(), 1);
    }

    #[test]
    fn whatever_a_file_is_called_its_reject_is_a_message() {
        let text = message("logs", Place::File("a \"b\"\n.log"), Reason::InvalidJson, b"x", 1, RECEIVED);
        assert_eq!(origin(&text).unwrap(), "a \"b\"\n.log");
        assert_eq!(batch(&[text], RECEIVED, &SlabPool::new(0)).unwrap().len(), 1);
        assert_eq!(origin(&message("udp", Place::Unknown, Reason::InvalidJson, b"x", 1, RECEIVED)), None);
    }

    #[test]
    fn no_more_than_the_limit_are_made_in_a_second() {
        let outlet = Outlet {
            name: "rejects".into(),
            buffer: crate::testing::buffer(1 << 20),
            counters: Default::default(),
            ack: Ack::Queued,
        };
        let rejects = Rejects::new(vec![outlet], 2);
        let permitted = |seconds| rejects.permits(Timestamp { seconds, nanoseconds: 0 });
        assert_eq!([permitted(1), permitted(1), permitted(1), permitted(2)], [true, true, false, true]);
    }
}
