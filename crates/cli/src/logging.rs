//! The router's own log, on standard error.

mod repeats;

use std::{
    fs::File,
    io::{self, IsTerminal},
    path::Path,
    sync::Mutex,
};

use anyhow::Context;
use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use repeats::{Guard, REPORT};

/// How the router's own log is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log. `METLOG_LOG` chooses what is logged, for example `debug`; the default is `info`. Lines that
/// repeat are suppressed and counted; the guard says at the end what was not said by then.
#[must_use]
pub fn start(format: LogFormat) -> Guard {
    let (suppress, guard) = repeats::suppress();
    let filter = EnvFilter::try_from_env("METLOG_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => log.with_ansi(takes_color()).finish().with(suppress).init(),
        LogFormat::Json => log.json().flatten_event(true).finish().with(suppress).init(),
    }
    guard
}

/// Whether standard error is a terminal, and nobody asked for plain text (no-color.org).
pub fn takes_color() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Starts the log in a file, where standard error is not to be disturbed.
pub fn start_in_file(path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let filter = EnvFilter::try_from_env("METLOG_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    fmt().with_env_filter(filter).with_writer(Mutex::new(file)).with_target(false).with_ansi(false).init();
    Ok(())
}
