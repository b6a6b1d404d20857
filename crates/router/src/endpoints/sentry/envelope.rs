//! The request: one event in an envelope, with the headers that Sentry's protocol asks for.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
};

use http_body_util::Full;
use metlog_message::Timestamp;

use super::{dsn::Dsn, payload::Event, prepared::Prepared};
use crate::{
    batch::Message,
    http_client::{Bytes, HeaderName, HeaderValue, Request, Uri, header},
};

const AUTH: HeaderName = HeaderName::from_static("x-sentry-auth");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/x-sentry-envelope");
const CLIENT: &str = concat!("metlog/", env!("CARGO_PKG_VERSION"));

/// What stands in for a key where a request is shown.
const MASK: &str = "********";

/// A DSN as requests need it.
#[derive(Debug)]
pub(super) struct Target {
    uri: Uri,
    auth: HeaderValue,
    /// Without the secret.
    dsn: String,
    /// What people know it by: host, port and project, without keys.
    project: String,
    prepared: Prepared,
}

impl Target {
    /// Where this DSN leads; `None` is for DSNs that were never read.
    pub(super) fn new(dsn: &Dsn<'_>) -> Option<Target> {
        let Dsn { scheme, public, authority, path, project, .. } = dsn;
        let secret = dsn.secret.map(|secret| format!(", sentry_secret={secret}")).unwrap_or_default();
        let auth = format!("Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={public}{secret}");
        let mut auth = HeaderValue::try_from(auth).ok()?;
        auth.set_sensitive(true);
        let place = format!("{authority}{path}{project}");
        Some(Target {
            uri: dsn.uri()?,
            auth,
            dsn: format!("{scheme}://{public}@{place}"),
            project: place,
            prepared: Prepared::default(),
        })
    }

    /// The same with its keys made unreadable, for people to look at.
    pub(super) fn masked(dsn: &Dsn<'_>) -> Option<Target> {
        Target::new(&Dsn { public: MASK, secret: dsn.secret.map(|_| MASK), ..*dsn })
    }

    /// The URL, in which there is no key.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// What people know it by: host, port and project, without keys.
    pub(super) fn project(&self) -> &str {
        &self.project
    }

    /// What is ready to be sent next.
    pub(super) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// The request that delivers an event.
    pub(super) fn request(&self, body: Vec<u8>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = crate::http_client::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(CLIENT));
        headers.insert(header::CONTENT_TYPE, CONTENT_TYPE);
        headers.insert(AUTH, self.auth.clone());
        request
    }

    /// The envelope around an event. What Sentry needs and the event lacks is added: an identifier, and the message's time.
    pub(super) fn envelope(&self, message: &Message<'_>, event: &Event<'_>, sent_at: Timestamp) -> Vec<u8> {
        let id = event.id.unwrap_or_else(|| made_up_id(message));
        let id = str::from_utf8(&id).unwrap_or_default();
        let mut added = Vec::new();
        if !event.has_id {
            put(&mut added, format_args!("\"event_id\":\"{id}\","));
        }
        if !event.has_timestamp {
            let timestamp = message.index.timestamp(message.bytes).unwrap_or(message.received);
            put(&mut added, format_args!("\"timestamp\":\"{timestamp}\","));
        }
        let members = event.json.strip_prefix(b"{").unwrap_or(event.json);
        if members.trim_ascii_start() == b"}" {
            // Nothing follows the comma.
            added.pop();
        }
        let length = 1 + added.len() + members.len();
        let mut body = Vec::with_capacity(256 + self.dsn.len() + length);
        put(&mut body, format_args!("{{\"event_id\":\"{id}\",\"dsn\":\"{}\",\"sent_at\":\"", self.dsn));
        sent_at.write_to(&mut body);
        put(&mut body, format_args!("\"}}\n{{\"type\":\"event\",\"length\":{length}}}\n{{"));
        body.extend_from_slice(&added);
        body.extend_from_slice(members);
        body.push(b'\n');
        body
    }
}

/// A request as HTTP writes it.
pub(super) fn shown(target: &Target, body: &[u8]) -> Vec<u8> {
    let request = target.request(Vec::new());
    let host = target.uri.authority().map_or("", |authority| authority.as_str());
    let mut text = Vec::new();
    put(&mut text, format_args!("{} {} HTTP/1.1\r\nhost: {host}\r\n", request.method(), target.uri.path()));
    for (name, value) in request.headers() {
        put(&mut text, format_args!("{name}: "));
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    put(&mut text, format_args!("content-length: {}\r\n\r\n", body.len()));
    text.extend_from_slice(body);
    text
}

fn put(text: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    // Writing to a Vec never fails.
    let _ = text.write_fmt(what);
}

/// The same message gets the same identifier each time, so that Sentry recognises one that is sent again. When it was received,
/// and with how many before it, tells apart messages that are alike to the last byte.
fn made_up_id(message: &Message<'_>) -> [u8; 32] {
    let half = |number: u8| {
        let mut hasher = DefaultHasher::new();
        (number, message.received, message.number, message.bytes).hash(&mut hasher);
        hasher.finish()
    };
    let mut id = [b'0'; 32];
    // Exactly as long as the digits are.
    let _ = write!(&mut id[..], "{:016x}{:016x}", half(1), half(2));
    id
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        batch::Handover,
        endpoints::sentry::payload::Unpacker,
        testing::{RECEIVED, batch_of, work_of},
    };

    fn target() -> Target {
        Target::new(&Dsn::parse("https://public:hunter2@h:9000/a/2").unwrap()).unwrap()
    }

    /// The lines of the envelope around this event.
    fn envelope(event: &str) -> Vec<String> {
        let line = format!(r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25.5Z","payload":{event}}}"#);
        let work = work_of(&[line]);
        let message = work.messages().next().unwrap();
        let mut unpacker = Unpacker::new(10_000);
        let event = unpacker.unpack(&message).unwrap();
        let body = target().envelope(&message, &event, RECEIVED);
        let lines: Vec<String> = String::from_utf8(body).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3);
        let header: serde_json::Value = serde_json::from_str(&lines[1]).unwrap();
        assert_eq!(header["length"], lines[2].len(), "{lines:?}");
        assert!(serde_json::from_str::<serde_json::Value>(&lines[2]).is_ok(), "{lines:?}");
        lines
    }

    #[test]
    fn an_event_keeps_its_bytes() {
        let event = r#"{ "event_id" : "fc6d8c0c43fc4630ad850ee518f1b9d0", "timestamp": 1.50, "a":"\u00e9" }"#;
        let lines = envelope(event);
        assert_eq!(
            lines[0],
            r#"{"event_id":"fc6d8c0c43fc4630ad850ee518f1b9d0","dsn":"https://public@h:9000/a/2","sent_at":"2012-07-18T21:13:25.687518Z"}"#
        );
        assert_eq!(lines[2], event);
    }

    #[test]
    fn what_is_missing_is_added_in_front() {
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["event_id"].clone();
        let lines = envelope(r#"{"message":"m"}"#);
        let made_up = id(&lines[0]);
        assert_eq!(made_up.as_str().unwrap().len(), 32);
        let expected =
            format!(r#"{{"event_id":{made_up},"timestamp":"2012-07-18T21:13:25.500000Z","message":"m"}}"#);
        assert_eq!(lines[2], expected);
        assert_eq!(envelope(r#"{"message":"m"}"#), lines, "the same each time");
        assert_eq!(id(&envelope("{ }")[2]).as_str().unwrap().len(), 32);
    }

    #[test]
    fn an_identifier_stays_with_its_message_and_tells_it_from_its_like() {
        let line = r#"{"type":"sentry","timestamp":"2012-07-18T21:13:25.5Z","payload":{}}"#;
        let whole = Handover::all(&Arc::new(batch_of(&[line; 4])));
        let ids = |handover: &Handover| -> Vec<[u8; 32]> {
            (0..handover.len()).map(|position| made_up_id(&handover.message(position).unwrap())).collect()
        };
        let all = ids(&whole);
        assert!(all.iter().enumerate().all(|(number, id)| !all[..number].contains(id)), "all are alike");
        let part = whole.part(&[1, 3]);
        assert_eq!(ids(&part), [all[1], all[3]], "in memory of its own");
        assert_eq!(ids(&part.part(&[1])), [all[3]], "and again");
        let put_together = Handover::gathered(&[(&whole.part(&[0, 2]), 1), (&part, 1)]).unwrap();
        assert_eq!(ids(&put_together), [all[2], all[3]]);
        let later = Timestamp { seconds: RECEIVED.seconds + 1, ..RECEIVED };
        let message = whole.message(0).unwrap();
        assert_ne!(made_up_id(&Message { received: later, ..message }), all[0]);
    }

    #[test]
    fn keys_are_sent_but_not_shown() {
        let request = target().request(Vec::new());
        let auth = format!(
            "Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key=public, sentry_secret=hunter2"
        );
        assert_eq!(request.headers()["x-sentry-auth"], auth.as_str());
        assert_eq!(request.uri(), "https://h:9000/a/api/2/envelope/");
        assert!(!format!("{:?}", target().auth).contains("hunter2"));
        let masked = Target::masked(&Dsn::parse("https://public:hunter2@h:9000/a/2").unwrap()).unwrap();
        let text = String::from_utf8(shown(&masked, b"body")).unwrap();
        assert!(text.starts_with("POST /a/api/2/envelope/ HTTP/1.1\r\nhost: h:9000\r\n"), "{text}");
        assert!(text.ends_with("content-length: 4\r\n\r\nbody"), "{text}");
        assert!(
            !text.contains("hunter2") && !text.contains("public") && !masked.dsn.contains("public"),
            "{text}"
        );
    }
}
