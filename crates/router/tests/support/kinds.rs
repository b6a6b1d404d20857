//! Stand-ins for the real kinds: the same names, and keys that look like theirs.

use metlog_router::config::{Address, ByteSize, Kind, Section, choices, parameters};

/// Stands for the settings of an input or an endpoint.
pub trait Settings: std::fmt::Debug {}

choices! {
    /// How a message is written.
    pub enum Format {
        /// As JSON, one message a line.
        Json = "json",
        /// As text, from a template.
        Text = "text",
    }
}

/// The parameters of each kind in a module of its own, as the registry has them in a file of their own.
macro_rules! kinds {
    ($( $module:ident: $(#[doc = $about:literal])+ { $($body:tt)* } )*) => { $(
        #[allow(unused_imports, reason = "not every kind needs every type")]
        mod $module {
            use super::*;
            use std::{net::SocketAddr, path::PathBuf, time::Duration};

            parameters! {
                $(#[doc = $about])+
                pub struct Parameters { $($body)* }
            }

            impl Settings for Parameters {}

            pub fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
                Some(Box::new(Parameters::read(section)?))
            }
        }
    )* };
}

kinds! {
    network:
    /// Listens on the network.
    {
        /// Where to listen.
        pub listen: SocketAddr,
        /// The receive buffer to ask the system for.
        pub receive_buffer: ByteSize = ByteSize::mib(8),
    }
    unix:
    /// Listens on a Unix socket.
    {
        /// The socket's path.
        pub path: PathBuf,
    }
    no_keys:
    /// Takes nothing.
    {}
    file:
    /// Appends to files.
    {
        /// Where to write.
        pub path: String,
        /// How a message is written.
        pub format: Format = Format::Json,
        /// What a line of text looks like.
        pub template: Option<String>,
        /// The permissions of new files.
        pub mode: Option<u32>,
    }
    statsd:
    /// Sends counters and timers.
    {
        /// Where the statsd server is.
        pub address: Address,
        /// What every name begins with.
        pub prefix: String = String::new(),
        /// The largest datagram.
        pub max_datagram: u16 = 1432,
        /// How long to wait for a datagram to fill up.
        pub linger: Duration = Duration::from_millis(50),
    }
}

const fn kind(
    name: &'static str,
    docs: fn() -> Vec<metlog_router::config::ParameterDoc>,
    read: fn(&mut Section<'_>) -> Option<Box<dyn Settings>>,
) -> Kind<dyn Settings> {
    Kind { name, summary: "Stands for the real kind.", docs, sample: "", read }
}

/// The input kinds.
pub const INPUTS: &[Kind<dyn Settings>] = &[
    kind("stdin", no_keys::Parameters::docs, no_keys::read),
    kind("tcp", network::Parameters::docs, network::read),
    kind("udp", network::Parameters::docs, network::read),
    kind("unix", unix::Parameters::docs, unix::read),
];

/// The endpoint kinds.
pub const ENDPOINTS: &[Kind<dyn Settings>] = &[
    kind("counter", no_keys::Parameters::docs, no_keys::read),
    kind("file", file::Parameters::docs, file::read),
    kind("null", no_keys::Parameters::docs, no_keys::read),
    kind("statsd", statsd::Parameters::docs, statsd::read),
    kind("stdout", no_keys::Parameters::docs, no_keys::read),
];
