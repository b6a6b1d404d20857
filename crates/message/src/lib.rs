//! Envelope 0.8: the message that flows from generators through routers to endpoints.
//!
//! The canonical form of a message is its JSON text. Nothing here builds a tree: [`decoder::Decoder`]
//! validates the text and returns an [`index::Index`] that says where each envelope key's value lies.
//! No I/O, no async, no knowledge of routers or clients.
//!
//! The path of one frame: `fast` validates what almost every message is, the keys in their usual order first of
//! all, with the strings' ends found by `plain` 16 bytes at a time; what it does not accept goes to `careful`,
//! which knows every leniency and names the reason; `envelope` then checks the types of the envelope's own keys.

pub mod decoder;
pub mod encode;
pub mod index;
pub mod msgpack;
pub mod reason;
pub mod timestamp;
pub mod value;

mod careful;
mod envelope;
mod escapes;
mod fast;
mod grammar;
mod number;
mod path;
mod plain;
mod skip;
mod slow_path;

pub use decoder::{Decoded, Decoder, Limits};
pub use index::{Index, Key};
pub use reason::Reason;
pub use timestamp::Timestamp;
pub use value::{Kind, Number, Path, PathError, Value, lookup};
