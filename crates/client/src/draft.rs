//! A message in the making.

use std::borrow::Cow;
use std::cell::Cell;

use metlog_message::encode::MemberBuffer;

use crate::sampling::chosen;
use crate::{Client, FieldValue, Fields, Message, Payload, Severity};

/// Memory above this is not kept for a thread's next message.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    /// This thread's memory for fields, so that a message with fields does not allocate.
    static MEMORY: Cell<MemberBuffer> = const { Cell::new(MemberBuffer::new()) };
}

/// A message in the making: what [`Client::metlog`], [`Client::log`], [`Client::counter`] and [`Client::metric`]
/// return. [`Draft::send`] sends it; a draft that is dropped is not sent.
///
/// ```
/// use metlog::{Client, Severity};
///
/// let (client, capture) = Client::capture();
/// client
///     .log(Severity::Error, "card refused")
///     .field("user", 7)
///     .field("amount", 12.5)
///     .field("currency", "EUR")
///     .send();
/// assert!(client.flush(std::time::Duration::from_secs(5)));
/// assert!(capture.messages()[0].contains(r#""fields":{"user":7,"amount":12.5,"currency":"EUR"}"#));
/// ```
#[must_use = "a draft is sent by `send`"]
#[derive(Debug)]
pub struct Draft<'a> {
    client: &'a Client,
    kind: &'a str,
    logger: Option<&'a str>,
    severity: Severity,
    payload: Content<'a>,
    /// The name, if it is a metric.
    name: Option<&'a str>,
    rate: Option<f64>,
    timestamp: Option<&'a str>,
    members: MemberBuffer,
}

#[derive(Debug)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Number(Payload<'a>),
}

impl<'a> Draft<'a> {
    pub(crate) fn new(client: &'a Client, kind: &'a str, severity: Severity) -> Draft<'a> {
        let members = MEMORY.try_with(Cell::take).unwrap_or_default();
        let payload = Content::Text(Cow::Borrowed(""));
        Draft {
            client,
            kind,
            logger: None,
            severity,
            payload,
            name: None,
            rate: None,
            timestamp: None,
            members,
        }
    }

    pub(crate) fn metric(mut self, name: &'a str, value: Payload<'a>) -> Draft<'a> {
        self.name = Some(name);
        self.payload = Content::Number(value);
        self
    }

    /// The content.
    pub fn payload(mut self, payload: impl Into<Cow<'a, str>>) -> Draft<'a> {
        self.payload = Content::Text(payload.into());
        self
    }

    /// One more key of `fields`: text, a number, a boolean, or JSON as a [`FieldValue::Json`].
    pub fn field<'v>(mut self, key: &str, value: impl Into<FieldValue<'v>>) -> Draft<'a> {
        self.members.write(key, value.into());
        self
    }

    /// Another logger than the client's.
    pub fn logger(mut self, logger: &'a str) -> Draft<'a> {
        self.logger = Some(logger);
        self
    }

    /// Another severity than the one that it would have.
    pub fn severity(mut self, severity: Severity) -> Draft<'a> {
        self.severity = severity;
        self
    }

    /// Sends it only this often, above 0 up to 1; the receiver multiplies by what it reads in `fields.rate`.
    pub fn rate(mut self, rate: f64) -> Draft<'a> {
        self.rate = Some(rate);
        self
    }

    /// When it happened, as RFC 3339 text, if that is not now.
    pub fn timestamp(mut self, timestamp: &'a str) -> Draft<'a> {
        self.timestamp = Some(timestamp);
        self
    }

    /// Sends it.
    pub fn send(mut self) {
        if let Some(rate) = self.rate
            && !chosen(rate)
        {
            self.client.count_sampled_out();
            return;
        }
        let rate = self.rate.map(|rate| rate.min(1.0));
        if let (Some(rate), None) = (rate, self.name) {
            self.members.write("rate", FieldValue::Float(rate));
        }
        let members = self.members.members();
        let fields = match self.name {
            Some(name) => Fields::Metric { name, rate: rate.unwrap_or(1.0), members },
            None => Fields::Members(members),
        };
        let payload = match &self.payload {
            Content::Text(text) => Payload::Text(text),
            Content::Number(number) => *number,
        };
        let Draft { kind, logger, severity, timestamp, .. } = self;
        self.client.submit(&Message { kind, logger, severity, payload, fields, timestamp });
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.members);
        if memory.capacity() <= KEPT_BYTES {
            memory.clear();
            // Not at hand while the thread ends; then the memory is simply freed.
            let _ = MEMORY.try_with(|cell| cell.set(memory));
        }
    }
}
