//! The router as a library: inputs, decoders, routes, endpoints, ledger, configuration.

pub mod config;
pub mod routes;
