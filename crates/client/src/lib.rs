//! Metlog for Rust: typed telemetry messages from an application to wherever its operators want them.
//!
//! ```
//! let metlog = metlog::Client::udp("127.0.0.1:5565")?;
//! metlog.incr("hits");
//! # Ok::<(), metlog::BuildError>(())
//! ```
//!
//! For Unix systems. A call never waits, never fails and never panics. It encodes the message into a bounded queue, which takes about a
//! tenth of a microsecond, and a background thread sends it. What does not fit is dropped and counted.
//!
//! * [`Client`]: counters, gauges, timers, log lines, errors, and messages of any type.
//! * [`senders`]: UDP, TCP, Unix sockets, files, standard output, memory, or one of your own.
//! * [`filters`]: what is not worth sending.
//! * [`config`]: all of it from a TOML file.
//! * [`Stats`]: what became of the messages.

#![cfg(unix)]

mod builder;
mod client;
mod clock;
pub mod config;
mod draft;
mod exception;
pub mod filters;
mod fork;
mod message;
mod number;
mod pool;
mod queue;
mod sampling;
pub mod senders;
mod severity;
mod stats;
mod system;
mod task;
mod timer;
mod worker;

pub use builder::{BuildError, ClientBuilder};
pub use client::Client;
pub use draft::Draft;
pub use filters::{Filter, SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
pub use message::{FieldValue, Fields, MemberBuffer, Members, Message, Payload};
pub use number::Number;
pub use senders::{
    AddressError, Capture, CaptureSender, FileSender, NoopSender, Sender, StdoutSender, TcpSender, UdpSender,
    UnixDatagramSender, UnixStreamSender,
};
pub use severity::{Severity, SeverityError};
pub use stats::{DropReason, Stats};
pub use timer::Timer;

/// The Rust in the project's own documents compiles and runs.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../../README.md")]
    struct Readme;

    #[doc = include_str!("../../../docs/guide.md")]
    struct Guide;
}
