//! A client from TOML.
//!
//! ```
//! let client = metlog::Client::from_toml(r#"
//!     [metlog]
//!     logger = "shop"
//!     severity = "informational"      # or its number
//!     disabled_timers = ["noisy"]     # "*" stands for all
//!     queue_bytes = 8388608
//!     linger_ms = 2
//!     close_timeout_ms = 1000
//!
//!     [metlog.sender]
//!     kind = "udp"                    # udp, tcp, unix_datagram, unix_stream, file, stdout, noop
//!     hosts = ["127.0.0.1"]
//!     ports = [5565]                  # hosts beyond the last port repeat it
//!     pack = true
//!     tcp_fallback = "127.0.0.1:5565" # for what is too large for UDP
//!
//!     [[metlog.filters]]
//!     kind = "severity_max"           # severity_max, type_allow, type_deny, type_severity_max
//!     severity = "notice"
//!
//!     [[metlog.filters]]
//!     kind = "type_deny"
//!     types = ["gauge"]
//! "#)?;
//! # Ok::<(), metlog::config::ConfigError>(())
//! ```
//!
//! `tcp` takes `hosts` and `ports` as well and connects to the first that answers; `file` and the Unix kinds take a
//! `path`; a `type_severity_max` filter takes a table `types = { timer = "notice" }`.

use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::builder::{BuildError, LEAST_QUEUE_BYTES};
use crate::filters::{Filter, SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
use crate::senders::{
    FileSender, NoopSender, Sender, StdoutSender, TcpSender, UdpSender, UnixDatagramSender, UnixStreamSender,
    pair_hosts_with_ports,
};
use crate::{Client, ClientBuilder, Severity};

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Something in the text.
    #[error("line {line}, column {column}: {problem}\n  {text}")]
    Invalid {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// What was found, and what was expected.
        problem: String,
        /// The line itself.
        text: String,
    },
    /// The text is right, but the client could not be started.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// A builder that has everything that the text says; more can be added before [`ClientBuilder::build`].
///
/// ```
/// let client = metlog::config::builder("[metlog]\nlogger = 'shop'")?
///     .filter(|message: &metlog::Message<'_>| message.kind != "noise")
///     .build()?;
/// assert_eq!(client.logger(), "shop");
/// # Ok::<(), metlog::config::ConfigError>(())
/// ```
pub fn builder(text: &str) -> Result<ClientBuilder, ConfigError> {
    read(text).map_err(|fault| fault.located(text))
}

/// A problem and the bytes that it is about.
struct Fault {
    span: Range<usize>,
    problem: String,
}

impl Fault {
    fn located(self, text: &str) -> ConfigError {
        let start = (0..=self.span.start.min(text.len())).rev().find(|place| text.is_char_boundary(*place));
        let before = &text[..start.unwrap_or(0)];
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        ConfigError::Invalid {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: self.problem,
            text: text[line_start..].lines().next().unwrap_or_default().to_owned(),
        }
    }
}

fn read(text: &str) -> Result<ClientBuilder, Fault> {
    let whole = text.len()..text.len();
    let document = DeTable::parse(text).map_err(|error| Fault {
        span: error.span().unwrap_or(whole),
        problem: error.message().to_owned(),
    })?;
    let mut root = Section::new(document.get_ref(), document.span());
    let metlog = root.section("metlog")?;
    root.finish()?;
    let Some(mut metlog) = metlog else {
        return Err(Fault { span: 0..0, problem: "expected a table [metlog]".to_owned() });
    };

    let mut builder = Client::builder();
    if let Some(logger) = metlog.text("logger")? {
        builder = builder.logger(logger);
    }
    if let Some(hostname) = metlog.text("hostname")? {
        builder = builder.hostname(hostname);
    }
    if let Some(severity) = metlog.take("severity") {
        builder = builder.severity(as_severity(severity)?);
    }
    for timer in metlog.texts("disabled_timers")?.unwrap_or_default() {
        builder = builder.disable_timer(timer);
    }
    if let Some(bytes) = metlog.integer("queue_bytes", LEAST_QUEUE_BYTES as u64..=1 << 40)? {
        builder = builder.queue_bytes(bytes as usize);
    }
    if let Some(milliseconds) = metlog.integer("linger_ms", 0..=60_000)? {
        builder = builder.linger(Duration::from_millis(milliseconds));
    }
    if let Some(milliseconds) = metlog.integer("close_timeout_ms", 0..=3_600_000)? {
        builder = builder.close_timeout(Duration::from_millis(milliseconds));
    }
    if let Some(section) = metlog.section("sender")? {
        builder = builder.sender(read_sender(section)?);
    }
    for section in metlog.sections("filters")? {
        builder = builder.filter(read_filter(section)?);
    }
    metlog.finish()?;
    Ok(builder)
}

fn read_sender(mut section: Section<'_, '_>) -> Result<Box<dyn Sender>, Fault> {
    let kind = section.required_text("kind")?;
    let sender: Box<dyn Sender> = match kind.get_ref().as_str() {
        "udp" => {
            let addresses = section.addresses()?;
            let mut sender = UdpSender::to_all(&addresses).map_err(|error| section.fault(error))?;
            if let Some(bytes) = section.integer("packed_bytes", 0..=60_000)? {
                sender = sender.packed_bytes(bytes as usize);
            }
            if section.boolean("pack")? == Some(false) {
                sender = sender.pack(false);
            }
            if let Some(address) = section.text("tcp_fallback")? {
                sender = sender.tcp_fallback(TcpSender::new(&address).map_err(|error| section.fault(error))?);
            }
            Box::new(sender)
        }
        "tcp" => {
            let addresses = section.addresses()?;
            Box::new(TcpSender::first_of(&addresses).map_err(|error| section.fault(error))?)
        }
        "unix_datagram" => Box::new(UnixDatagramSender::new(section.required_text("path")?.get_ref())),
        "unix_stream" => Box::new(UnixStreamSender::new(section.required_text("path")?.get_ref())),
        "file" => Box::new(FileSender::new(section.required_text("path")?.get_ref())),
        "stdout" => Box::new(StdoutSender::new()),
        "noop" => Box::new(NoopSender),
        other => {
            let kinds = ["udp", "tcp", "unix_datagram", "unix_stream", "file", "stdout", "noop"];
            return Err(unknown("kind of sender", other, &kinds, kind.span()));
        }
    };
    section.finish()?;
    Ok(sender)
}

fn read_filter(mut section: Section<'_, '_>) -> Result<Box<dyn Filter>, Fault> {
    let kind = section.required_text("kind")?;
    let filter: Box<dyn Filter> = match kind.get_ref().as_str() {
        "severity_max" => Box::new(SeverityMax(as_severity(section.required("severity")?)?)),
        "type_allow" => Box::new(TypeAllow::new(section.required_texts("types")?)),
        "type_deny" => Box::new(TypeDeny::new(section.required_texts("types")?)),
        "type_severity_max" => {
            let types = section.required("types")?;
            let Some(table) = types.get_ref().as_table() else {
                return Err(wrong_type("types", "a table of types and severities", types));
            };
            let entries =
                table.iter().map(|(kind, severity)| Ok((kind.get_ref().to_string(), as_severity(severity)?)));
            Box::new(TypeSeverityMax::new(entries.collect::<Result<Vec<_>, Fault>>()?))
        }
        other => {
            let kinds = ["severity_max", "type_allow", "type_deny", "type_severity_max"];
            return Err(unknown("kind of filter", other, &kinds, kind.span()));
        }
    };
    section.finish()?;
    Ok(filter)
}

type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// A table of which each key is asked for, so that what is left over is a mistake.
struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    fn new(table: &'t DeTable<'i>, span: Range<usize>) -> Section<'t, 'i> {
        Section { table, span, asked: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<Value<'t, 'i>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn required(&mut self, key: &'static str) -> Result<Value<'t, 'i>, Fault> {
        let span = self.span.clone();
        self.take(key).ok_or_else(|| Fault { span, problem: format!("{key} is missing") })
    }

    fn text(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        self.take(key).map(|value| as_text(key, value)).transpose()
    }

    fn required_text(&mut self, key: &'static str) -> Result<Spanned<String>, Fault> {
        let value = self.required(key)?;
        Ok(Spanned::new(value.span(), as_text(key, value)?))
    }

    fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let Some(array) = value.get_ref().as_array() else {
            return Err(wrong_type(key, "a list of strings", value));
        };
        array.iter().map(|item| as_text(key, item)).collect::<Result<_, _>>().map(Some)
    }

    fn required_texts(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        let problem = format!("{key} is missing");
        let span = self.span.clone();
        self.texts(key)?.ok_or(Fault { span, problem })
    }

    fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.get_ref().as_bool().map(Some).ok_or_else(|| wrong_type(key, "true or false", value))
    }

    fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = as_integer(value.get_ref()).and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong_type(key, &expected, value)),
        }
    }

    /// `hosts` and `ports`, paired.
    fn addresses(&mut self) -> Result<Vec<String>, Fault> {
        let hosts = self.required_texts("hosts")?;
        let ports = self.required("ports")?;
        let expected = "a list of ports, 1 to 65535";
        let array = ports.get_ref().as_array().ok_or_else(|| wrong_type("ports", expected, ports))?;
        let port = |item: &Spanned<DeValue<'_>>| {
            let number = as_integer(item.get_ref()).and_then(|number| u16::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or_else(|| wrong_type("ports", expected, item))
        };
        let numbers = array.iter().map(port).collect::<Result<Vec<u16>, Fault>>()?;
        pair_hosts_with_ports(&hosts, &numbers)
            .map_err(|error| Fault { span: ports.span(), problem: error.to_string() })
    }

    fn section(&mut self, key: &'static str) -> Result<Option<Section<'t, 'i>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let table = value.get_ref().as_table().ok_or_else(|| wrong_type(key, "a table", value))?;
        Ok(Some(Section::new(table, value.span())))
    }

    fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'t, 'i>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let expected = "a list of tables";
        let array = value.get_ref().as_array().ok_or_else(|| wrong_type(key, expected, value))?;
        let section = |item: &'t Spanned<DeValue<'i>>| {
            let table = item.get_ref().as_table().ok_or_else(|| wrong_type(key, expected, item))?;
            Ok(Section::new(table, item.span()))
        };
        array.iter().map(section).collect()
    }

    fn fault(&self, error: impl std::fmt::Display) -> Fault {
        Fault { span: self.span.clone(), problem: error.to_string() }
    }

    /// Complains about a key that nobody asked for.
    fn finish(&self) -> Result<(), Fault> {
        match self.table.keys().find(|key| !self.asked.iter().any(|asked| asked == key.get_ref())) {
            Some(key) => Err(unknown("key", key.get_ref(), &self.asked, key.span())),
            None => Ok(()),
        }
    }
}

fn as_text(key: &str, value: Value<'_, '_>) -> Result<String, Fault> {
    value.get_ref().as_str().map(str::to_owned).ok_or_else(|| wrong_type(key, "a string", value))
}

fn as_integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn as_severity(value: Value<'_, '_>) -> Result<Severity, Fault> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        _ => return Err(wrong_type("severity", "a severity's name or number", value)),
    };
    text.parse()
        .map_err(|error: crate::SeverityError| Fault { span: value.span(), problem: error.to_string() })
}

fn wrong_type(key: &str, expected: &str, value: Value<'_, '_>) -> Fault {
    let found = match value.get_ref() {
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::String(text) => format!("{text:?}"),
        other => format!("a value of type {}", other.type_str()),
    };
    Fault { span: value.span(), problem: format!("{key} is {found}: expected {expected}") }
}

fn unknown(what: &str, found: &str, known: &[&str], span: Range<usize>) -> Fault {
    let nearest = known.iter().map(|name| (distance(found, name), name)).min();
    let hint = match nearest {
        Some((distance, name)) if distance <= 2 => format!("did you mean {name:?}?"),
        _ => format!("expected one of {}", known.join(", ")),
    };
    Fault { span, problem: format!("unknown {what} {found:?}: {hint}") }
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, against) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
