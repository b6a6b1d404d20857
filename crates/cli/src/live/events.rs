//! The router's stream of live messages, taken apart: server-sent events, and what each of them says.

use std::mem;

use crate::api::tap::Dropped;

/// A line longer than this is not a router's: a message has 1 MiB unless it was set otherwise.
const LINE_BYTES: usize = 256 << 20;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message or a reject.
    Shown(Shown),
    /// What was not shown so far.
    Dropped(Dropped),
    /// Nothing follows.
    End,
}

/// A message with what the router says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The whole event: `{"input":…,"to":[…],"message":{…}}`.
    pub whole: String,
    /// Where the message lies in it.
    message: usize,
}

impl Shown {
    /// The message's JSON text, as the router has it.
    pub fn message(&self) -> &str {
        self.whole.get(self.message..self.whole.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// What is wrong with a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// A line without an end.
    #[error("the router sends a line of more than {LINE_BYTES} bytes")]
    LineTooLong,
    /// Data in another shape.
    #[error("the router sends an event that is not understood: {0}")]
    NotUnderstood(String),
}

/// Gathers bytes until they are events.
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    name: String,
    data: String,
}

impl Events {
    /// Takes bytes as they come; gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, EventError> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = mem::take(&mut self.line);
            events.extend(self.take_line(&String::from_utf8_lossy(&line))?);
        }
        if self.line.len() + rest.len() > LINE_BYTES {
            return Err(EventError::LineTooLong);
        }
        self.line.extend_from_slice(rest);
        Ok(events)
    }

    /// An empty line ends an event; a line that begins with a colon is a comment.
    fn take_line(&mut self, line: &str) -> Result<Option<Event>, EventError> {
        if let Some(name) = line.strip_prefix("event: ") {
            self.name = name.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            self.data.push_str(data);
        } else if line.is_empty() && !self.data.is_empty() {
            let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
            return event(&name, data).map(Some);
        }
        Ok(None)
    }
}

fn event(name: &str, data: String) -> Result<Event, EventError> {
    match name {
        // Names of inputs, endpoints and reasons need no escapes, so what looks like the key is the key.
        "" | "reject" => match data.find(",\"message\":") {
            Some(key) => Ok(Event::Shown(Shown { message: key + ",\"message\":".len(), whole: data })),
            None => Err(EventError::NotUnderstood(data)),
        },
        "dropped" => {
            serde_json::from_str(&data).map(Event::Dropped).map_err(|_| EventError::NotUnderstood(data))
        }
        "end" => Ok(Event::End),
        other => Err(EventError::NotUnderstood(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = concat!(
            ": nothing to show\n\n",
            "data: {\"input\":\"tcp\",\"to\":[\"a\"],\"message\":{\"n\":1.50}}\n\n",
            "event: reject\ndata: {\"input\":\"tcp\",\"to\":[],\"reason\":\"invalid-json\",\"message\":{}}\n\n",
            "event: dropped\ndata: {\"over_rate\":1,\"queue_full\":2,\"unexamined\":3}\n\n",
            "event: end\ndata: {\"reason\":\"limit\"}\n\n",
        );
        for length in [1, 7, stream.len()] {
            let mut events = Events::default();
            let mut found = Vec::new();
            for piece in stream.as_bytes().chunks(length) {
                found.extend(events.push(piece).unwrap());
            }
            let [Event::Shown(message), Event::Shown(reject), dropped, Event::End] = &found[..] else {
                panic!("{found:?}")
            };
            assert_eq!(message.message(), "{\"n\":1.50}");
            assert_eq!(reject.message(), "{}");
            assert_eq!(*dropped, Event::Dropped(Dropped { over_rate: 1, queue_full: 2, unexamined: 3 }));
        }
    }

    #[test]
    fn what_no_router_sends_is_an_error() {
        assert!(matches!(Events::default().push(b"data: hello\n\n"), Err(EventError::NotUnderstood(_))));
    }
}
