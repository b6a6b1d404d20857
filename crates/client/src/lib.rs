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
//! * [`config`]: all of it from a TOML file, or from the INI file of an original client.
//! * [`Client::extend`]: what others add to it, as `client.cef(…)`.
//! * `metlog::tracing`, with the cargo feature `tracing`: a layer for `tracing-subscriber`.
//! * `metlog::log`, with the cargo feature `log`: a logger for the crate `log`.
//! * [`Stats`]: what became of the messages.

#![cfg(unix)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod client;
mod clock;
pub mod config;
mod diagnostics;
mod draft;
mod exception;
mod extensions;
pub mod filters;
mod fork;
#[cfg(feature = "log")]
pub mod log;
mod message;
mod number;
mod pool;
mod queue;
#[cfg(any(feature = "log", feature = "tracing"))]
mod reentry;
mod sampling;
#[cfg(any(feature = "log", feature = "tracing"))]
mod scratch;
pub mod senders;
mod severity;
mod start;
mod stats;
mod system;
mod task;
mod timer;
#[cfg(feature = "tracing")]
pub mod tracing;
mod worker;

pub use builder::{BuildError, ClientBuilder};
pub use client::Client;
pub use draft::Draft;
pub use extensions::ExtensionTaken;
pub use filters::{Filter, SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
pub use message::{
    ArrayWriter, FieldValue, Fields, MemberBuffer, Members, Message, ObjectWriter, Payload, ValueWriter,
};
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

    #[cfg(all(feature = "log", feature = "tracing"))]
    #[doc = include_str!("../../../docs/rust.md")]
    struct Rust;
}
