//! msgpack: read into canonical JSON, and written from it.
//!
//! The two are no mirror images of each other. What is read comes from anybody, so [`to_json`] checks every byte; what is
//! written is a message that was validated before.

mod reader;
mod writer;

pub use reader::{Fault, to_json};
pub use writer::from_json;
