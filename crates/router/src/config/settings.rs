//! What the configuration file says, as types: the result of reading it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Fingerprint,
    tests_section::Test,
    types::{ByteSize, Secret},
};
use crate::{acknowledgement::Ack, choices, parameters, routes::condition::Condition};

/// A whole, validated configuration. `I` and `E` are the settings of input and endpoint kinds.
#[derive(Debug)]
pub struct Configuration<I: ?Sized, E: ?Sized> {
    /// Where the positions of inputs are kept over a restart.
    pub data_dir: PathBuf,
    /// What bounds memory, messages and connections.
    pub limits: Limits,
    /// How long buffers may drain before the router exits.
    pub shutdown_timeout: Duration,
    /// How many reader threads; `None`: one per core.
    pub threads: Option<usize>,
    /// In the order of the file.
    pub inputs: Vec<InputComponent<I>>,
    /// In the order of the file; routes refer to them by position.
    pub endpoints: Vec<EndpointComponent<E>>,
    /// In the order of the file, which is the order in which they are tried.
    pub routes: Vec<Route>,
    /// What must become of some messages; nothing that a running router looks at.
    pub tests: Vec<Test>,
    /// What becomes of frames that could not be used.
    pub rejects: Rejects,
    /// The HTTP interface for operators, where one is configured.
    pub api: Option<Api>,
}

/// One `[inputs.NAME]`.
#[derive(Debug)]
pub struct InputComponent<I: ?Sized> {
    /// The name that the operator gave it.
    pub name: String,
    /// Which kind it is.
    pub kind: &'static str,
    /// What this kind takes.
    pub settings: Box<I>,
    /// How bytes become messages.
    pub decoder: DecoderSettings,
    /// Whether its messages may tell an endpoint what to do.
    pub allow_meta: bool,
    /// Of what only this kind takes: where the bytes come from.
    pub own: Fingerprint,
    /// Of what every input takes: what becomes of the bytes.
    pub common: Fingerprint,
}

/// One `[endpoints.NAME]`.
#[derive(Debug)]
pub struct EndpointComponent<E: ?Sized> {
    /// The name that the operator gave it.
    pub name: String,
    /// Which kind it is.
    pub kind: &'static str,
    /// What this kind takes.
    pub settings: Box<E>,
    /// The queue in front of it.
    pub buffer: BufferSettings,
    /// When it acknowledges; `None`: as its kind does.
    pub ack: Option<Ack>,
    /// Of what only this kind takes.
    pub own: Fingerprint,
    /// Of what every endpoint takes, `buffer` and `ack` included.
    pub common: Fingerprint,
}

/// One `[[routes]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its position in the file, from 1.
    pub number: usize,
    /// The name that the operator gave it, if any.
    pub name: Option<String>,
    /// Which messages it takes. A route without `match` takes every message. For a catch-all this always holds.
    pub condition: Condition,
    /// The same as the file has it, for showing: with `${NAME}` where `condition` has the value of a variable.
    pub written: Condition,
    /// Positions in [`Configuration::endpoints`], each at most once.
    pub to: Vec<usize>,
    /// No later route sees a message that this one took.
    pub is_final: bool,
    /// Takes what no other route took.
    pub unrouted: bool,
}

/// How an input turns bytes into messages, with what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecoderSettings {
    /// Each frame or line is an envelope in JSON.
    Json,
    /// Each line is the payload of an `oldstyle` message.
    Line {
        /// Its `logger`.
        logger: String,
        /// Its `severity`, 0 to 7.
        severity: u8,
    },
    /// Each datagram is an envelope in msgpack.
    Msgpack,
}

choices! {
    /// How an input turns bytes into messages.
    pub enum DecoderName {
        /// Each frame or line is an envelope in JSON.
        Json = "json",
        /// Each line is the payload of a message of type `oldstyle`.
        Line = "line",
        /// Each datagram is an envelope in msgpack; for inputs that take datagrams.
        Msgpack = "msgpack",
    }
}

choices! {
    /// What happens when an endpoint's buffer is full.
    pub enum WhenFull {
        /// The connection that brought the message waits; inputs that cannot wait drop it.
        Block = "block",
        /// The newest message is dropped and counted.
        DropNewest = "drop_newest",
        /// The oldest message in the buffer is dropped and counted.
        DropOldest = "drop_oldest",
    }
}

parameters! {
    /// What stands at the top of the file, before the first section.
    pub struct General {
        /// More files that belong to this configuration: paths and patterns such as `"conf.d/*.toml"`, relative to the folder
        /// of this file. Only the main file has this key.
        pub include: Vec<String> = Vec::new(),
        /// The folder for what is kept over a restart: the positions of `file` inputs. A router locks it while it runs, whatever
        /// it keeps there: two routers cannot share one.
        pub data_dir: PathBuf = PathBuf::from("./metlog-data"),
        /// How many threads read from inputs, at most 1024. The default is one per core.
        pub threads: Option<usize>,
        /// How long buffers may drain when the router is told to stop.
        pub shutdown_timeout: Duration = Duration::from_secs(30),
    }
}

parameters! {
    /// How `decoder = "line"` fills in a message.
    pub struct LineDecoder {
        /// The `logger` of every message.
        pub logger: String = String::new(),
        /// The `severity` of every message, from 0 (emergency) to 7 (debug).
        pub severity: u8 = 6,
    }
}

parameters! {
    /// What every input takes besides the keys of its kind.
    pub struct InputKeys {
        /// How bytes become messages.
        pub decoder: DecoderName = DecoderName::Json,
        /// Its messages may tell a `file` endpoint to close and open its files, see [Files](files.md#meta-messages). Without it
        /// they are messages like any other.
        pub allow_meta: bool = false,
    }
}

parameters! {
    /// What every endpoint takes besides the keys of its kind.
    pub struct EndpointKeys {
        /// When a message is acknowledged to an input that keeps a position, as `file` does. The default of `file` and
        /// `metlog` is `"durable"`, that of the other kinds `"queued"`.
        pub ack: Option<Ack>,
        /// The queue in front of it.
        pub buffer: Option<BufferSettings>,
    }
}

parameters! {
    /// Which messages go where. A message goes to the endpoints of every route that it matches.
    pub struct RouteKeys {
        /// What the route is called where it is shown.
        pub name: Option<String>,
        /// Which messages it takes: paths into the message and what they are tested with; all must hold. Without it, every
        /// message.
        pub r#match: Option<Condition>,
        /// The names of the endpoints that its messages go to.
        pub to: Vec<String>,
        /// No later route sees a message that this one took.
        pub r#final: bool = false,
        /// The catch-all: takes what no other route took. It has no `match`.
        pub unrouted: bool = false,
    }
}

parameters! {
    /// The queue in front of one endpoint.
    pub struct BufferSettings {
        /// How many bytes wait in memory for the endpoint. The buffers together must fit into three quarters of
        /// `limits.memory`.
        pub memory: ByteSize = ByteSize::mib(8),
        /// What happens when that is full. The default depends on the kind of endpoint.
        pub when_full: Option<WhenFull>,
    }
}

parameters! {
    /// What bounds memory, messages and connections.
    pub struct Limits {
        /// All memory for messages, over inputs and buffers.
        pub memory: ByteSize = ByteSize::mib(256),
        /// The largest message; what is longer is rejected as `too-large`.
        pub message: ByteSize = ByteSize::mib(1),
        /// How deep a message may be nested, at most 1024; the envelope itself is level 1.
        pub depth: usize = 128,
        /// How many connections the inputs hold open, together; more wait until one of them ends.
        pub connections: usize = 4096,
        /// How many files one endpoint holds open; past that the least recently used one is closed.
        pub open_files: usize = 256,
    }
}

impl Limits {
    /// Those that a decoder enforces.
    pub fn of_messages(&self) -> metlog_message::Limits {
        metlog_message::Limits { message_bytes: self.message.bytes() as usize, depth: self.depth }
    }
}

parameters! {
    /// What becomes of frames and messages that could not be used. They are counted in any case.
    pub struct Rejects {
        /// The endpoints that get each reject as a message of type `metlog.reject`.
        pub to: Vec<String> = Vec::new(),
        /// At most so many of these messages a second; more are only counted.
        pub max_per_second: u32 = 10,
    }
}

parameters! {
    /// The HTTP interface for operators: health, metrics, and the pipeline with its counts.
    pub struct Api {
        /// Where it listens. On any address but a loopback one it needs a `token`.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5580)),
        /// Requests must carry this as `Authorization: Bearer TOKEN`.
        pub token: Option<Secret>,
    }
}
