//! Envelope 0.8: the message that flows from generators through routers to endpoints.
//!
//! The canonical form of a message is its JSON text. Nothing here builds a tree: [`decoder::Decoder`]
//! validates the text and returns an [`index::Index`] that says where each envelope key's value lies.
//! No I/O, no async, no knowledge of routers or clients.

pub mod decoder;
pub mod encode;
pub mod index;
pub mod reason;
pub mod timestamp;
pub mod value;

pub use decoder::{Decoded, Decoder, Limits};
pub use index::{Index, Key};
pub use reason::Reason;
pub use timestamp::Timestamp;
pub use value::{Kind, Number, Path, Value, lookup};
