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
//!     encoder = "json"                # or "msgpack"; udp and unix_datagram take it
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
//!
//! [`Ini`] reads the INI file of an original client.

use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::builder::{BuildError, LEAST_QUEUE_BYTES};
use crate::filters::{Filter, SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
use crate::senders::{
    Encoder, FileSender, NoopSender, Sender, StdoutSender, TcpSender, UdpSender, UnixDatagramSender,
    UnixStreamSender,
};
use crate::{Client, ClientBuilder, Severity};

mod ini;
mod section;

pub use ini::{Ini, PluginSettings};

use section::{Fault, Section, Value, as_text, unknown, wrong_type};

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// Something in a file.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong in it.
        error: Box<ConfigError>,
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
            if let Some(encoder) = encoder(&mut section)? {
                sender = sender.encoder(encoder);
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
        "unix_datagram" => {
            let sender = UnixDatagramSender::new(section.required_text("path")?.get_ref());
            Box::new(sender.encoder(encoder(&mut section)?.unwrap_or_default()))
        }
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

/// How a sender of datagrams writes them.
fn encoder(section: &mut Section<'_, '_>) -> Result<Option<Encoder>, Fault> {
    let Some(value) = section.take("encoder") else { return Ok(None) };
    let name = as_text("encoder", value)?;
    let found = Encoder::named(&name);
    found.map(Some).ok_or_else(|| unknown("encoder", &name, &Encoder::NAMES, value.span()))
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

fn as_severity(value: Value<'_, '_>) -> Result<Severity, Fault> {
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        _ => return Err(wrong_type("severity", "a severity's name or number", value)),
    };
    text.parse()
        .map_err(|error: crate::SeverityError| Fault { span: value.span(), problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Message;

    #[track_caller]
    fn fails(text: &str, place: (usize, usize), parts: &[&str]) {
        let Err(error) = builder(text) else { panic!("accepted: {text}") };
        let shown = error.to_string();
        let ConfigError::Invalid { line, column, .. } = error else { panic!("{shown}") };
        assert_eq!((line, column), place, "{shown}");
        for part in parts {
            assert!(shown.contains(part), "{part:?} is not in: {shown}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
        fails("", (1, 1), &["expected a table [metlog]"]);
        fails("[metlog", (1, 8), &[]);
        fails("[metlgo]", (1, 2), &["unknown key \"metlgo\"", "did you mean \"metlog\"?"]);
        fails("[metlog]\nlogegr = 'x'", (2, 1), &["did you mean \"logger\"?", "\n  logegr = 'x'"]);
        fails("[metlog]\nlogger = 7", (2, 10), &["logger is 7: expected a string"]);
        fails("[metlog]\nseverity = 9", (2, 12), &["expected 0 to 7, or one of emergency"]);
        fails("[metlog]\nseverity = 'loud'", (2, 12), &["\"loud\" is not a severity"]);
        fails("[metlog]\nqueue_bytes = 1", (2, 15), &["queue_bytes is 1: expected a number from 16384"]);
        fails("[metlog]\ndisabled_timers = 'x'", (2, 19), &["expected a list of strings"]);
        fails("[metlog]\n\n[metlog.sender]\nkind = 'upd'", (4, 8), &["did you mean \"udp\"?"]);
        fails("[metlog.sender]\nkind = 'carrier pigeon'", (2, 8), &["expected one of udp, tcp"]);
        fails("[metlog.sender]\nkind = 'file'", (1, 1), &["path is missing"]);
        fails("[metlog.sender]\nkind = 'stdout'\npath = 'x'", (3, 1), &["unknown key \"path\""]);
        let udp = "[metlog.sender]\nkind = 'udp'\nhosts = ['a']\n";
        fails(udp, (1, 1), &["ports is missing"]);
        fails(&format!("{udp}ports = [0]"), (4, 10), &["expected a list of ports"]);
        fails(&format!("{udp}ports = [1, 2]"), (4, 9), &["2 ports for 1 hosts"]);
        fails(&format!("{udp}ports = [1]\npack = 'no'"), (5, 8), &["expected true or false"]);
        fails(&format!("{udp}ports = [1]\nencoder = 'msgpak'"), (5, 11), &["did you mean \"msgpack\"?"]);
        fails("[[metlog.filters]]\nkind = 'severity'", (2, 8), &["expected one of severity_max"]);
        fails("[[metlog.filters]]\nkind = 'type_deny'", (1, 1), &["types is missing"]);
    }

    #[test]
    fn every_kind_of_sender_reads() {
        let hosts = "hosts = ['a', 'b']\nports = [1]";
        for (kind, rest) in [
            ("udp", format!("{hosts}\npack = false\npacked_bytes = 8192\ntcp_fallback = 'c:2'").as_str()),
            ("tcp", hosts),
            ("udp", &format!("{hosts}\nencoder = 'msgpack'")),
            ("unix_datagram", "path = '/run/x'\nencoder = 'json'"),
            ("unix_stream", "path = '/run/x'"),
            ("file", "path = 'log'"),
            ("stdout", ""),
            ("noop", ""),
        ] {
            let text = format!("[metlog.sender]\nkind = '{kind}'\n{rest}");
            assert!(builder(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn every_setting_takes_effect() {
        let (sender, capture) = crate::senders::CaptureSender::new();
        let client = builder(
            r#"
            [metlog]
            logger = "shop"
            hostname = "web1"
            severity = 5
            disabled_timers = ["noisy"]
            queue_bytes = 0x10000
            linger_ms = 0
            close_timeout_ms = 10
            [[metlog.filters]]
            kind = "severity_max"
            severity = "notice"
            [[metlog.filters]]
            kind = "type_deny"
            types = ["gauge"]
            [[metlog.filters]]
            kind = "type_allow"
            types = ["gauge", "counter", "timer", "oldstyle"]
            [[metlog.filters]]
            kind = "type_severity_max"
            types = { oldstyle = "error" }
            "#,
        )
        .unwrap()
        .sender(sender)
        .filter(|message: &Message<'_>| message.name() != Some("closure"))
        .build()
        .unwrap();
        client.incr("kept");
        client.gauge("denied", 1);
        client.metlog("not allowed").send();
        client.warning("too mild for a log line");
        client.counter("too mild", 1).severity(Severity::Debug).send();
        client.timer_send("noisy", Duration::ZERO);
        client.incr("closure");
        assert!(client.flush(Duration::from_secs(20)));
        let messages = capture.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        for part in [r#""logger":"shop","severity":5"#, r#""name":"kept""#, r#""metlog_hostname":"web1""#] {
            assert!(messages[0].contains(part), "{messages:?}");
        }
    }
}
