//! The router as a library: inputs, decoders, routes, endpoints, ledger, configuration.

pub mod acknowledgement;
pub mod batch;
pub mod checkpoints;
pub mod clock;
pub mod config;
pub mod control;
pub mod decoders;
pub mod endpoints;
pub mod framing;
pub mod http_client;
pub mod inputs;
pub mod lanes;
pub mod latch;
pub mod ledger;
pub mod line_format;
mod moderation;
pub mod network;
pub mod open_files;
mod peer;
pub mod pipeline;
pub mod reader;
pub mod recycled;
pub mod rehearsal;
pub mod rejects;
pub mod retry;
pub mod routes;
pub mod runner;
pub mod slab_pool;
mod sys;
pub mod tap;
pub mod template;
pub mod territory;
#[cfg(test)]
mod testing;
pub mod topology;
pub mod unfinished;
mod watch;
