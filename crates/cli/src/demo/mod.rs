//! The parts of `metlog demo`: a whole system in one process, with nothing installed.
//!
//! A made-up web shop (`shop.rs`) sends through the client library over real sockets to a real router, which runs the
//! configuration beside this file; a statsd server, a syslog server and a Sentry (`statsd_server.rs`, `syslog_server.rs`,
//! `sentry_server.rs`) stand in for those that nobody has at hand.
//! Another service may run beside the shop (`service.rs`).
//! `stage.rs` puts them up and takes them down. What flowed is looked at in a [`snapshot::Snapshot`], drawn by `screen.rs`
//! on a terminal (`terminal.rs`), and judged at the end by `verdict.rs`.

pub mod folder;
pub mod random;
pub mod rates;
pub mod screen;
pub mod sentry_server;
pub mod service;
pub mod shop;
pub mod snapshot;
pub mod stage;
pub mod statsd_server;
pub mod summary;
pub mod syslog_server;
pub mod tcp_receiver;
pub mod terminal;
pub mod verdict;
