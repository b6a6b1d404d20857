//! The bounded queue in front of one endpoint.
//!
//! [`Queue`] is the state machine: it holds items until the endpoint has answered for them, charges every one
//! of them against a limit in bytes, and says what happens when the limit is reached ([`WhenFull`]). It reads no
//! clock and takes no lock. [`Buffer`] is the thin driver around it: a mutex, and the wakers of the one consumer
//! and of the producers that wait for room.

pub mod buffer;
pub mod policy;
pub mod queue;

pub use buffer::Buffer;
pub use policy::WhenFull;
pub use queue::{Charge, Pushed, Queue, Status, Ticket};
