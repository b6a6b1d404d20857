//! What a message is on the wire of statsd: `namespace.name:value|type|@rate` and a line break.
//!
//! **Names** keep ASCII letters, digits, `_`, `-` and `.`, which every server accepts. `/` becomes `-`, as the original
//! server would have it; any other character becomes `_`. So nothing that a message says can end its line, begin a second
//! metric or change the type. Characters beyond ASCII go for the same reason: a server that reads ASCII drops the highest
//! bit of every byte, and then U+010A ends in a line break.
//!
//! **Values** of counters, timers and gauges are JSON numbers, whatever their sign and length. They are copied digit by
//! digit; only an exponent is written out, because not every server reads one. What a double cannot hold is refused, and so is a timer below zero: the
//! original server throws the line away. A **set**'s value is any text; in it, bytes that are not safe become %XX, so that different members stay different.
//!
//! **Gauges**: to a server, a sign in front of a gauge means "change by". No message says that, so a negative value is sent
//! as 0 and then the value. The two lines always travel together.
//!
//! **Rates** belong to counters and timers. One outside of (0, 1), or that is no number, is left out, and so is 1.

mod names;
mod values;

use std::borrow::Cow;

use metlog_message::{Key, Kind, Path, PathError, Value, lookup};

use self::{
    names::{push_clean, push_part},
    values::{is_below_zero, push_display, push_member, push_number, sample_rate},
};
use crate::batch::Message;

/// The message is of a type that statsd has nothing for.
pub(super) const REFUSED_TYPE: &str = "statsd-type";
/// `fields.name` is missing, empty, or neither text nor a number.
pub(super) const REFUSED_NAME: &str = "statsd-name";
/// The payload is no number, below zero where it is a timer's, or empty where it is a set's.
pub(super) const REFUSED_VALUE: &str = "statsd-value";

/// What the server does with the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Metric {
    Counter,
    Timer,
    Gauge,
    Set,
}

impl Metric {
    /// By the type of the message. The psutil plug-in's `procinfo` are readings, hence gauges.
    fn of(message_type: &[u8]) -> Option<Metric> {
        match message_type {
            b"counter" => Some(Metric::Counter),
            b"timer" => Some(Metric::Timer),
            b"gauge" | b"procinfo" => Some(Metric::Gauge),
            b"set" => Some(Metric::Set),
            _ => None,
        }
    }

    /// The end of the line, apart from the rate.
    fn suffix(self) -> &'static [u8] {
        match self {
            Metric::Counter => b"|c",
            Metric::Timer => b"|ms",
            Metric::Gauge => b"|g",
            Metric::Set => b"|s",
        }
    }

    fn is_sampled(self) -> bool {
        matches!(self, Metric::Counter | Metric::Timer)
    }
}

/// The members of `fields` that matter here.
#[derive(Default)]
struct Fields<'m> {
    name: Option<Value<'m>>,
    rate: Option<Value<'m>>,
    logger: Option<Value<'m>>,
}

/// Turns messages into lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// What every name begins with, its dot included.
    prefix: Vec<u8>,
    fields: Path,
}

impl Lines {
    /// Lines whose names begin with `prefix`, unless it is empty.
    pub(super) fn new(prefix: &str) -> Result<Lines, PathError> {
        let mut cleaned = Vec::new();
        push_part(prefix.trim_matches('.').as_bytes(), &mut cleaned);
        Ok(Lines { prefix: cleaned, fields: Path::parse(Key::Fields.name())? })
    }

    /// Appends the line of a message (two for a negative gauge), or nothing and says why.
    pub(super) fn append(&self, message: &Message<'_>, lines: &mut Vec<u8>) -> Result<(), &'static str> {
        let start = lines.len();
        let appended = self.try_append(message, lines);
        if appended.is_err() {
            lines.truncate(start);
        }
        appended
    }

    fn try_append(&self, message: &Message<'_>, lines: &mut Vec<u8>) -> Result<(), &'static str> {
        let metric = Metric::of(&text_at(message, Key::Type)).ok_or(REFUSED_TYPE)?;
        let fields = self.fields_of(message);
        let start = lines.len();
        lines.extend_from_slice(&self.prefix);
        match fields.logger {
            Some(logger) if logger.kind() == Kind::String => push_part(&text_of(logger), lines),
            _ => push_part(&text_at(message, Key::Logger), lines),
        }
        let name = fields.name.filter(|name| matches!(name.kind(), Kind::String | Kind::Number));
        let name = name.map(text_of).filter(|name| !name.is_empty()).ok_or(REFUSED_NAME)?;
        push_clean(&name, lines);
        let end = lines.len();

        let value = text_at(message, Key::Payload);
        if metric == Metric::Gauge && value.first() == Some(&b'-') {
            lines.extend_from_slice(b":0|g\n");
            lines.extend_from_within(start..end);
        }
        lines.push(b':');
        match metric {
            Metric::Set => push_member(&value, lines)?,
            Metric::Timer if is_below_zero(&value) => return Err(REFUSED_VALUE),
            _ => push_number(&value, lines)?,
        }
        lines.extend_from_slice(metric.suffix());
        if let Some(rate) = fields.rate.filter(|_| metric.is_sampled()).and_then(sample_rate) {
            push_display(format_args!("|@{rate}"), lines);
        }
        lines.push(b'\n');
        Ok(())
    }

    /// One walk instead of three; the last of duplicate keys counts, as everywhere.
    fn fields_of<'m>(&self, message: &Message<'m>) -> Fields<'m> {
        let mut found = Fields::default();
        let fields = lookup(message.bytes, message.index, &self.fields);
        for member in fields.into_iter().flat_map(Value::members) {
            match &*member.name() {
                "name" => found.name = Some(member.value),
                "rate" => found.rate = Some(member.value),
                "logger" => found.logger = Some(member.value),
                _ => {}
            }
        }
        found
    }
}

/// The text of an envelope key, copied only where it has escapes.
fn text_at<'m>(message: &Message<'m>, key: Key) -> Cow<'m, [u8]> {
    match message.index.plain(message.bytes, key) {
        Some(plain) => Cow::Borrowed(plain),
        None => into_bytes(message.index.text(message.bytes, key)),
    }
}

/// The text of a value, copied only where it has escapes.
fn text_of(value: Value<'_>) -> Cow<'_, [u8]> {
    match value.plain() {
        Some(plain) => Cow::Borrowed(plain),
        None => into_bytes(value.text()),
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

#[cfg(test)]
mod tests;
