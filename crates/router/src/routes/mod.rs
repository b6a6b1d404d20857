//! Routes: which messages go to which endpoints.

pub mod condition;
