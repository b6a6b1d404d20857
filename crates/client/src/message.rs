//! One message before it is encoded: what filters look at, and what bindings for other languages hand in.

pub use metlog_message::encode::{
    ArrayWriter, FieldValue, Fields, MemberBuffer, Members, ObjectWriter, Payload, ValueWriter,
};

use crate::Severity;

/// One message before it is encoded.
///
/// [`Client::send`](crate::Client::send) takes it as it is, which is the way in for a binding to another language:
/// there is nothing in it but numbers and text, and `fields` may be JSON that is encoded already.
///
/// ```
/// use metlog::{Client, Fields, Message, Payload, Severity};
///
/// let (client, capture) = Client::capture();
/// client.send(&Message {
///     kind: "sentry",
///     logger: None,
///     severity: Severity::Error,
///     payload: Payload::Text("eJyrVkr…"),
///     fields: Fields::Object(r#"{"dsn":"https://public@sentry.example.org/1"}"#),
///     timestamp: Some("2012-07-18T12:30:00Z"),
/// });
/// assert!(client.flush(std::time::Duration::from_secs(5)));
/// assert!(capture.messages()[0].starts_with(r#"{"type":"sentry","timestamp":"2012-07-18T12:30:00Z""#));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Message<'a> {
    /// `type`
    pub kind: &'a str,
    /// `logger`; `None` for the client's. A filter always sees the name that will be sent.
    pub logger: Option<&'a str>,
    /// `severity`
    pub severity: Severity,
    /// `payload`
    pub payload: Payload<'a>,
    /// `fields`
    pub fields: Fields<'a>,
    /// RFC 3339 text; `None` for now.
    pub timestamp: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// The name of a counter, timer or gauge.
    pub fn name(&self) -> Option<&'a str> {
        match self.fields {
            Fields::Metric { name, .. } => Some(name),
            _ => None,
        }
    }
}
