//! The rows of the table, one file each kind of question.

use crate::context::{Context, Run};
use crate::report::Row;
use crate::router::Ledger;

mod binary_size;
mod client_calls;
mod follow_file;
mod latency;
mod many_routes;
mod memory;
pub mod peers;
mod python;
mod reload;
mod sentry;
mod start;
mod syslog;
mod tap;
mod tcp_one_file;
mod tcp_shuffled;
mod tcp_three_files;
mod tcp_to_router;
mod udp;

/// One case: it may give several rows.
pub struct Case {
    /// How it is chosen on the command line.
    pub name: &'static str,
    /// What it measures.
    pub about: &'static str,
    /// Measures it.
    pub run: fn(&Context) -> anyhow::Result<Vec<Row>>,
}

/// Every case, in the order of the table.
pub const CASES: [Case; 18] = [
    Case { name: "tcp-three-files", about: tcp_three_files::ABOUT, run: tcp_three_files::run },
    Case { name: "tcp-shuffled", about: tcp_shuffled::ABOUT, run: tcp_shuffled::run },
    Case { name: "tcp-one-file", about: tcp_one_file::ABOUT, run: tcp_one_file::run },
    Case { name: "tcp-to-router", about: tcp_to_router::ABOUT, run: tcp_to_router::run },
    Case { name: "follow-file", about: follow_file::ABOUT, run: follow_file::run },
    Case { name: "syslog", about: syslog::ABOUT, run: syslog::run },
    Case { name: "udp", about: udp::ABOUT, run: udp::run },
    Case { name: "routes-types", about: many_routes::ABOUT_TYPES, run: many_routes::run_types },
    Case { name: "routes-loggers", about: many_routes::ABOUT_LOGGERS, run: many_routes::run_loggers },
    Case { name: "sentry", about: sentry::ABOUT, run: sentry::run },
    Case { name: "tap", about: tap::ABOUT, run: tap::run },
    Case { name: "reload", about: reload::ABOUT, run: reload::run },
    Case { name: "latency", about: latency::ABOUT, run: latency::run },
    Case { name: "memory", about: memory::ABOUT, run: memory::run },
    Case { name: "start", about: start::ABOUT, run: start::run },
    Case { name: "client-calls", about: client_calls::ABOUT, run: client_calls::run },
    Case { name: "python-calls", about: python::ABOUT, run: python::run },
    Case { name: "binary-size", about: binary_size::ABOUT, run: binary_size::run },
];

/// The remark of a row about the router's own counters.
fn ledger_note(ledger: Option<Ledger>) -> String {
    match ledger {
        Some(ledger) => format!("ledger: {} received, {} dropped", ledger.received, ledger.dropped),
        None => "ledger not read".to_owned(),
    }
}

/// The largest peak memory of some runs, in MiB.
fn peak_mebibytes(runs: &[Run]) -> f64 {
    runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
}
