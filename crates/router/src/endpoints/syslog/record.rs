//! One message as syslog has it: RFC 5424, RFC 3164, or what the C library's `syslog()` writes.

use metlog_message::{Key, Path, Timestamp, lookup};

use super::{
    Parameters,
    legacy_time::LegacyTime,
    meta::{Meta, MetaReader},
    priority::{Facility, Severity},
    text::{self, Field},
};
use crate::{
    batch::Message,
    config::{choices, parameters},
    sys,
    template::{Template, as_it_is},
};

choices! {
    /// How a message is written.
    pub enum Format {
        /// `<166>1 2012-07-18T21:13:25.687518Z host program 4711 oldstyle - text`
        Rfc5424 = "rfc5424",
        /// `<166>Jul 18 21:13:25 host program[4711]: text`
        Rfc3164 = "rfc3164",
        /// `<166>Jul 18 21:13:25 program[4711]: text`, as programs write to `/dev/log`.
        Local = "local",
    }
}

parameters! {
    /// A structured element with parts of the message.
    pub struct StructuredData {
        /// What the element is called: a name, `@`, and the private enterprise number of who defined it. 32473 is reserved for
        /// examples.
        pub id: String = "metlog@32473".to_owned(),
        /// Which parts of the message: paths such as `logger` or `fields.user.id`. One that a message has not is left out.
        pub fields: Vec<Path>,
    }
}

/// What became of a message while it was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Remarks {
    /// Not all of it had room.
    pub(super) is_truncated: bool,
    /// It names a facility or severity that does not exist.
    pub(super) has_unknown_name: bool,
}

/// Writes messages.
#[derive(Debug)]
pub(super) struct Encoder {
    format: Format,
    facility: Facility,
    severity: Option<Severity>,
    ident: Template,
    template: Template,
    structured_data: Option<StructuredData>,
    /// The most that a message has, header included.
    max_bytes: usize,
    time: LegacyTime,
    /// The router's own host: RFC 3164 has no way to say that the host is not known.
    own_host: String,
    meta: MetaReader,
}

impl Encoder {
    pub(super) fn new(parameters: &Parameters) -> Encoder {
        Encoder {
            format: parameters.resolved_format(),
            facility: parameters.facility,
            severity: parameters.severity,
            ident: parameters.ident.clone(),
            template: parameters.template.clone(),
            structured_data: parameters.structured_data.clone(),
            max_bytes: parameters.largest_message(),
            time: LegacyTime::new(parameters.timezone),
            own_host: sys::host_name(),
            meta: MetaReader::new(),
        }
    }

    /// Appends the message, without a frame.
    pub(super) fn append(&mut self, message: &Message<'_>, out: &mut Vec<u8>) -> Remarks {
        let end = out.len() + self.max_bytes;
        let meta = self.meta.read(message);
        let facility = meta.facility.unwrap_or(self.facility).code();
        let severity =
            meta.severity.or(self.severity).map_or_else(|| message.index.severity(), Severity::code);
        out.push(b'<');
        append_small(facility * 8 + severity, out);
        let mut is_truncated = match self.format {
            Format::Rfc5424 => self.append_header(message, &meta, out, end),
            Format::Rfc3164 | Format::Local => {
                self.append_legacy_header(message, &meta, out);
                false
            }
        };
        is_truncated |= self.append_text(message, out, end);
        Remarks { is_truncated, has_unknown_name: meta.has_unknown_name }
    }

    /// Returns whether a part of the structured element had no room.
    fn append_header(&self, message: &Message<'_>, meta: &Meta<'_>, out: &mut Vec<u8>, end: usize) -> bool {
        out.extend_from_slice(b">1 ");
        let is_date = !message.index.timestamp_unreadable();
        let own_time = message.index.plain(message.bytes, Key::Timestamp).filter(|_| is_date);
        text::timestamp(own_time, || moment(message), out);
        out.push(b' ');
        match message.index.plain(message.bytes, Key::Hostname) {
            Some(plain) => text::host(plain, out),
            None => text::host(message.index.text(message.bytes, Key::Hostname).as_bytes(), out),
        }
        out.push(b' ');
        self.append_ident(message, meta, &text::APP_NAME, out);
        out.push(b' ');
        // A number's digits are what they are.
        out.extend_from_slice(message.index.raw(message.bytes, Key::Pid).unwrap_or(b"-"));
        out.push(b' ');
        append_key(message, Key::Type, &text::MESSAGE_ID, out);
        out.push(b' ');
        match &self.structured_data {
            Some(structured) => append_element(structured, message, out, end),
            None => {
                out.push(b'-');
                false
            }
        }
    }

    fn append_legacy_header(&mut self, message: &Message<'_>, meta: &Meta<'_>, out: &mut Vec<u8>) {
        out.push(b'>');
        self.time.append(moment(message), out);
        out.push(b' ');
        if self.format == Format::Rfc3164 {
            match message.index.plain(message.bytes, Key::Hostname) {
                Some(plain) => self.append_legacy_host(plain, out),
                None => {
                    self.append_legacy_host(message.index.text(message.bytes, Key::Hostname).as_bytes(), out);
                }
            }
            out.push(b' ');
        }
        self.append_ident(message, meta, &text::TAG, out);
        if let Some(process) = message.index.raw(message.bytes, Key::Pid) {
            out.push(b'[');
            out.extend_from_slice(process);
            out.push(b']');
        }
        out.push(b':');
    }

    /// rsyslog takes nothing for a host that does not end with a letter or digit.
    fn append_legacy_host(&self, name: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        text::LEGACY_HOST.append(name, out);
        let end = out.iter().rposition(u8::is_ascii_alphanumeric).map_or(0, |last| last + 1);
        if end > start {
            out.truncate(end);
        } else {
            out.truncate(start);
            text::LEGACY_HOST.append(self.own_host.as_bytes(), out);
        }
    }

    fn append_ident(&self, message: &Message<'_>, meta: &Meta<'_>, field: &Field, out: &mut Vec<u8>) {
        match &meta.ident {
            Some(ident) => field.append(ident.as_bytes(), out),
            None => {
                let start = out.len();
                self.ident.render(message, out, as_it_is);
                field.finish(out, start);
            }
        }
    }

    /// Appends a space and the text, if there is any. Returns whether some of it had no room.
    fn append_text(&self, message: &Message<'_>, out: &mut Vec<u8>, end: usize) -> bool {
        let start = out.len();
        out.push(b' ');
        let safe = |value: &[u8], out: &mut Vec<u8>| text::safe(value, out, end);
        // A CEF event is a line of its own format, which nothing may stand in front of.
        match message.index.plain(message.bytes, Key::Type) {
            Some(b"cef") => match message.index.plain(message.bytes, Key::Payload) {
                Some(plain) => safe(plain, out),
                None => safe(message.index.text(message.bytes, Key::Payload).as_bytes(), out),
            },
            _ => self.template.render(message, out, safe),
        }
        if out.len() == start + 1 {
            out.truncate(start);
        }
        text::cut(out, end)
    }
}

/// The message's own time; the time of receipt where it has none that can be read.
fn moment(message: &Message<'_>) -> Timestamp {
    message.index.timestamp(message.bytes).unwrap_or(message.received)
}

fn append_key(message: &Message<'_>, key: Key, field: &Field, out: &mut Vec<u8>) {
    match message.index.plain(message.bytes, key) {
        Some(plain) => field.append(plain, out),
        None => field.append(message.index.text(message.bytes, key).as_bytes(), out),
    }
}

/// Appends the structured element with what the message has of it, or `-`. What does not fit in front of `end`, with some
/// room for text, is left out whole; returns whether there was any.
fn append_element(structured: &StructuredData, message: &Message<'_>, out: &mut Vec<u8>, end: usize) -> bool {
    let start = out.len();
    let end = end.saturating_sub(ROOM_FOR_TEXT);
    let mut is_truncated = false;
    out.push(b'[');
    text::NAME.append(structured.id.as_bytes(), out);
    let without_parameters = out.len();
    for path in &structured.fields {
        let Some(value) = lookup(message.bytes, message.index, path) else { continue };
        let before = out.len();
        out.push(b' ');
        append_parameter_name(path, out);
        out.extend_from_slice(b"=\"");
        let value_start = out.len();
        text::safe(value.text().as_bytes(), out, end);
        escape_parameter(out, value_start);
        out.push(b'"');
        if out.len() >= end {
            out.truncate(before);
            is_truncated = true;
        }
    }
    if out.len() == without_parameters {
        out.truncate(start);
        out.push(b'-');
    } else {
        out.push(b']');
    }
    is_truncated
}

/// How much of a message structured data leaves for its text.
const ROOM_FOR_TEXT: usize = 256;

/// Appends the path without `fields.` in front: `user.id`.
fn append_parameter_name(path: &Path, out: &mut Vec<u8>) {
    let start = out.len();
    let parts = match path.parts() {
        [_, inside @ ..] if path.key() == Some(Key::Fields) && !inside.is_empty() => inside,
        parts => parts,
    };
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(part.as_bytes());
    }
    text::NAME.finish(out, start);
}

/// Puts a backslash in front of what would end the value that begins at `start`.
fn escape_parameter(out: &mut Vec<u8>, start: usize) {
    let ends_it = |byte: &u8| matches!(byte, b'"' | b'\\' | b']');
    let end = out.len();
    let more = out.get(start..).unwrap_or_default().iter().filter(|byte| ends_it(byte)).count();
    if more == 0 {
        return;
    }
    // From the back, so that nothing is overwritten before it was moved.
    out.resize(end + more, 0);
    let mut to = end + more;
    for from in (start..end).rev() {
        let byte = out[from];
        to -= 1;
        out[to] = byte;
        if ends_it(&byte) {
            to -= 1;
            out[to] = b'\\';
        }
    }
}

/// Appends a number in decimal digits.
#[inline]
fn append_small(number: u8, out: &mut Vec<u8>) {
    if number >= 100 {
        out.push(b'0' + number / 100);
    }
    if number >= 10 {
        out.push(b'0' + number / 10 % 10);
    }
    out.push(b'0' + number % 10);
}
