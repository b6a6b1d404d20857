//! A logger for the crate `log`: an application that logs with `log::info!` has Metlog by one line more.
//!
//! ```
//! let metlog = metlog::Client::udp("127.0.0.1:5565")?;
//! metlog::log::init(metlog.clone())?;
//!
//! log::warn!("the disk is nearly full");
//! log::info!(user = 7, page = "cart"; "served");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A line becomes a message of type `oldstyle`: its text is the payload; its key-values are keys of `fields`, numbers and
//! booleans as such, everything else as text; `fields.target` is its target. Levels become severities: error 3, warn 4,
//! info 6, debug 7, and trace 7 with `fields.level` = `TRACE`. A key-value of a name that the logger would write itself
//! takes its place.
//!
//! What filters and senders of a client log themselves becomes no message; see [`Logger`].

use std::time::Duration;

use ::log::kv::{self, Key, Value, VisitSource, VisitValue};
use ::log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};

use crate::scratch::{self, Scratch, write_safely};
use crate::{Client, FieldValue, Fields, Message, Payload, Severity, reentry};

/// How long `log::logger().flush()` waits for the client.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends what is logged from now on, up to the level info. [`Logger`] has the choices.
pub fn init(client: Client) -> Result<(), SetLoggerError> {
    Logger::new(client).install()
}

/// Sends what is logged with the crate `log`.
///
/// ```
/// use log::LevelFilter;
/// use metlog::{Client, log::Logger};
///
/// let (client, capture) = Client::capture();
/// Logger::new(client.clone())
///     .max_level(LevelFilter::Debug)
///     .level_for("hyper", LevelFilter::Warn)
///     .install()?;
/// log::debug!(target: "shop::cart", items = 3; "put in");
///
/// log::logger().flush();
/// assert!(capture.messages()[0].contains(r#""fields":{"items":3,"target":"shop::cart"}"#));
/// # Ok::<(), log::SetLoggerError>(())
/// ```
///
/// The logger keeps the client for as long as the process runs, so nothing is sent when it is dropped: call
/// `log::logger().flush()` or [`Client::flush`] before the process ends.
///
/// What is logged on a thread while it is inside a client (by a filter) and by the thread that sends (by a sender) is
/// left out; it would come back for ever.
#[derive(Debug)]
#[must_use = "a logger is set up by `install`"]
pub struct Logger {
    client: Client,
    max_level: LevelFilter,
    /// Targets, or the modules above them, and their own levels; the longest first.
    levels: Vec<(String, LevelFilter)>,
    target_as_logger: bool,
    source_location: bool,
}

impl Logger {
    /// A logger for the levels error, warn and info.
    pub fn new(client: Client) -> Logger {
        let levels = Vec::new();
        Logger {
            client,
            max_level: LevelFilter::Info,
            levels,
            target_as_logger: false,
            source_location: false,
        }
    }

    /// The most verbose level that is sent, for targets that have none of their own.
    pub fn max_level(mut self, level: LevelFilter) -> Logger {
        self.max_level = level;
        self
    }

    /// The most verbose level of one target and the modules below it: `hyper` means `hyper::client` too.
    pub fn level_for(mut self, target: impl Into<String>, level: LevelFilter) -> Logger {
        self.levels.push((target.into(), level));
        self.levels.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
        self
    }

    /// The target is the message's `logger`, instead of the client's and `fields.target`.
    pub fn target_as_logger(mut self) -> Logger {
        self.target_as_logger = true;
        self
    }

    /// Adds `fields.file` and `fields.line`.
    pub fn source_location(mut self) -> Logger {
        self.source_location = true;
        self
    }

    /// Makes this the logger of the process. An error if there is one already.
    pub fn install(self) -> Result<(), SetLoggerError> {
        let most = self.levels.iter().map(|(_, level)| *level).fold(self.max_level, Ord::max);
        ::log::set_boxed_logger(Box::new(self))?;
        ::log::set_max_level(most);
        Ok(())
    }

    fn level_of(&self, target: &str) -> LevelFilter {
        let is_below = |module: &str| {
            target.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let own = self.levels.iter().find(|(module, _)| is_below(module));
        own.map_or(self.max_level, |(_, level)| *level)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level_of(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if reentry::is_inside() || !self.enabled(record.metadata()) {
            return;
        }
        scratch::with(|scratch| {
            write_safely(&mut scratch.text, *record.args());
            let pairs = record.key_values();
            // Its only error would be one of `Pairs`, which has none.
            let _ = pairs.visit(&mut Pairs { scratch });
            let is_free = |key: &str| pairs.get(Key::from_str(key)).is_none();
            let members = &mut scratch.members;
            if !self.target_as_logger && is_free("target") {
                members.write("target", record.target().into());
            }
            if record.level() == Level::Trace && is_free("level") {
                members.write("level", "TRACE".into());
            }
            if self.source_location
                && let (Some(file), Some(line)) = (record.file(), record.line())
                && is_free("file")
                && is_free("line")
            {
                members.write("file", file.into());
                members.write("line", line.into());
            }
            let message = Message {
                kind: crate::client::LOG_LINE,
                logger: self.target_as_logger.then_some(record.target()),
                severity: severity(record.level()),
                payload: Payload::Text(&scratch.text),
                fields: Fields::Members(scratch.members.members()),
                timestamp: None,
            };
            reentry::enter(|| self.client.submit(&message));
        });
    }

    fn flush(&self) {
        self.client.flush(FLUSH_TIMEOUT);
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::Error => Severity::Error,
        Level::Warn => Severity::Warning,
        Level::Info => Severity::Informational,
        Level::Debug | Level::Trace => Severity::Debug,
    }
}

/// Writes key-values as keys of `fields`.
struct Pairs<'s> {
    scratch: &'s mut Scratch,
}

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        value.visit(Pair { key: key.as_str(), scratch: self.scratch })
    }
}

struct Pair<'s, 'k> {
    key: &'k str,
    scratch: &'s mut Scratch,
}

impl Pair<'_, '_> {
    fn write(&mut self, value: FieldValue<'_>) -> Result<(), kv::Error> {
        self.scratch.members.write(self.key, value);
        Ok(())
    }
}

impl<'v> VisitValue<'v> for Pair<'_, '_> {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), kv::Error> {
        self.scratch.write_formatted(self.key, format_args!("{value}"));
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.write(FieldValue::Null)
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.write(FieldValue::Unsigned(value))
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.write(FieldValue::Integer(value))
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.write(FieldValue::Float(value))
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.write(FieldValue::Bool(value))
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        self.write(FieldValue::Text(value))
    }
}
