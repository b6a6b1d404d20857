//! End-to-end tests: the real `metlog` binary, real sockets, files and signals.
//!
//! Each module is a part of what is promised. Every test ends by stopping its router, which compares the ledger's two
//! equations, and then compares the ledger with what the test's own receivers counted. Nothing sleeps for luck: tests
//! wait for a condition, with a deadline.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is missing"
)]

mod support;

mod api;
mod cases;
mod chain;
mod check;
mod configuration_tests;
mod demo;
mod early_ends;
mod explain;
mod follow;
mod from_logstash;
mod full_disk;
mod generated;
mod hostile_frames;
mod http;
mod limits;
mod logrotate;
mod msgpack;
mod nginx;
mod original_system;
mod real_messages;
mod rejects;
mod reload;
mod reopen;
mod rotation;
mod rust_client;
mod same_files;
mod sentry;
mod service_manager;
mod shutdown;
mod slow_endpoints;
mod startup;
mod statsd;
mod status;
mod syslog;
mod tap;
mod udp_losses;
mod zmq;
