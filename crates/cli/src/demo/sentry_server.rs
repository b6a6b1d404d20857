//! A Sentry to look into: it takes envelopes over HTTP and keeps what the events in them are about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::tcp_receiver::{Listening, TcpReceiver};

/// A running server.
pub type SentryServer = TcpReceiver<Received>;

/// What the events were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Identifiers of events: one that came twice counts once, as in Sentry.
    pub ids: BTreeSet<String>,
    /// Requests that make no sense.
    pub nonsense: u64,
    /// Events by the type of their exception.
    pub exceptions: BTreeMap<String, u64>,
    /// The last event in a line.
    pub last_event: Option<String>,
}

impl Received {
    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Takes one request; returns the event's identifier.
    fn take(&mut self, head: &str, body: &str) -> Option<String> {
        let mut request = head.lines().next()?.split(' ');
        let is_expected = request.next()? == "POST" && request.next()?.ends_with("/envelope/");
        let is_known = header(head, "x-sentry-auth").is_some_and(|auth| auth.contains("sentry_key=demo"));
        if !is_expected || !is_known {
            return None;
        }
        let mut lines = body.lines();
        let (envelope, item): (Value, Value) =
            (serde_json::from_str(lines.next()?).ok()?, serde_json::from_str(lines.next()?).ok()?);
        let event: Value = serde_json::from_str(lines.next()?).ok()?;
        let id = event["event_id"].as_str().filter(|id| envelope["event_id"] == *id)?.to_owned();
        let exception = &event["exception"]["values"][0];
        let (kind, value) = (exception["type"].as_str()?, exception["value"].as_str()?);
        if item["type"] != "event" {
            return None;
        }
        if self.ids.insert(id.clone()) {
            *self.exceptions.entry(kind.to_owned()).or_default() += 1;
        }
        let page = event["tags"]["page"].as_str().unwrap_or("-");
        let user = event["user"]["username"].as_str().unwrap_or("-");
        self.last_event = Some(format!("{kind}: {value} page={page} user={user} id={id}"));
        Some(id)
    }
}

impl Listening for Received {
    fn hear(&mut self, bytes: &mut Vec<u8>) -> Vec<u8> {
        let mut answers = Vec::new();
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = header(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
            let whole = (end + 4).saturating_add(length.unwrap_or(0));
            if bytes.len() < whole {
                break;
            }
            let request: Vec<u8> = bytes.drain(..whole).collect();
            let body = String::from_utf8_lossy(&request[end + 4..]);
            let (status, answer) = match self.take(&head, &body) {
                Some(id) => ("200 OK", format!("{{\"id\":\"{id}\"}}")),
                None => {
                    self.nonsense += 1;
                    ("400 Bad Request", "{\"detail\":\"this is no event\"}".to_owned())
                }
            };
            let length = answer.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{answer}"
            );
            answers.extend_from_slice(answer.as_bytes());
        }
        answers
    }
}

/// The value of a header.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, id: &str) -> String {
        let event = format!(
            "{{\"event_id\":\"{id}\",\"exception\":{{\"values\":[{{\"type\":\"PaymentError\",\"value\":\"no\"}}]}},\"tags\":{{\"page\":\"cart\"}}}}"
        );
        let body = format!("{{\"event_id\":\"{id}\"}}\n{{\"type\":\"event\"}}\n{event}\n");
        format!(
            "POST /api/1/envelope/ HTTP/1.1\r\nX-Sentry-Auth: Sentry sentry_key={key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn an_event_that_comes_twice_counts_once() {
        let stream = [request("demo", "a1"), request("demo", "b2"), request("demo", "a1")].concat();
        let mut received = Received::default();
        let (mut bytes, mut answer) = (Vec::new(), Vec::new());
        for byte in stream.bytes() {
            bytes.push(byte);
            answer.extend(received.hear(&mut bytes));
        }
        assert_eq!((received.events(), received.nonsense, received.exceptions["PaymentError"]), (2, 0, 2));
        assert_eq!(String::from_utf8(answer).unwrap().matches("200 OK").count(), 3);
        assert_eq!(received.last_event.unwrap(), "PaymentError: no page=cart user=- id=a1");
    }

    #[test]
    fn a_wrong_key_and_nonsense_are_refused() {
        let mut received = Received::default();
        let mut stream = request("stranger", "a1").into_bytes();
        stream.extend(b"GET / HTTP/1.1\r\n\r\n");
        let answer = String::from_utf8(received.hear(&mut stream)).unwrap();
        assert_eq!(
            (answer.matches("400 Bad Request").count(), received.nonsense, received.events()),
            (2, 2, 0)
        );
    }
}
