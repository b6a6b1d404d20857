//! Inputs: where messages come from.
//!
//! An input owns its transport and nothing else: it opens [`Source`]s, which a reader thread asks to read when the
//! operating system says that there is something. Decoding, routing, back-pressure, counting and shutdown live once, in
//! the reader and its pipeline. Adding a kind is one file here and its two lines in [`registry`].

pub mod connections;
pub mod datagrams;
pub mod file;
pub mod multiline;
pub mod parked;
pub mod registry;
pub mod sockets;
pub mod stdin;
pub mod streams;
pub mod tcp;
pub mod udp;
pub mod unix;
pub mod zmq;

use std::{fmt::Debug, io, net::SocketAddr, sync::Arc, task::Waker};

use mio::{Registry, Token};
use socket2::Type;

use self::{
    connections::ConnectionLimit,
    multiline::Joiner,
    parked::ParkedMemory,
    sockets::{BoundSocket, Inherited},
};

use crate::{
    checkpoints::Checkpoints,
    clock::Clock,
    config::Section,
    ledger::InputCounters,
    pipeline::{Parked, Pipeline},
    unfinished::UnfinishedLines,
};

/// Something that messages can be read from: a socket, a connection, a stream.
pub trait Source: Debug + Send {
    /// Asks to be told when there is something to read. A file answers `PermissionDenied` (it is always ready) and is then
    /// read without being asked.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Asks not to be told any more. Closing does that too, but not for a socket that somebody else still has.
    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        let _ = registry;
        Ok(())
    }

    /// The socket that it was opened with, where a successor may go on with it.
    fn bound_socket(&self) -> Option<&BoundSocket> {
        None
    }

    /// Who is at the other end, where that is one for all that it reads.
    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    /// Reads once, without ever waiting, and hands what was read to the flow.
    fn read(&mut self, flow: &mut Flow<'_>) -> Progress;

    /// The router stops, or the input is closed while the router goes on: what arrives from now on is not read any more.
    fn stop(&mut self) {}

    /// The router stops, or the input is closed, and everything that the kernel held was read: hand over what is left.
    fn finish(&mut self, flow: &mut Flow<'_>) {
        let _ = flow;
    }
}

/// How far a read got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing more at the moment.
    Drained,
    /// There may be more.
    More,
    /// There is more, but it cannot be taken now, and no event will say when it can.
    Stalled,
    /// There will never be more.
    Ended,
}

/// What a source hands its bytes to.
#[derive(Debug)]
pub struct Flow<'a> {
    /// Decodes, routes, hands over.
    pub pipeline: &'a mut Pipeline,
    /// Rings when it is worth reading on after an endpoint's buffer was full.
    pub waker: &'a Waker,
    /// What did not fit; while there is anything, the source is not read.
    pub parked: &'a mut Vec<Parked>,
    /// New connections, to be spread over the reader threads.
    pub accepted: &'a mut Vec<Box<dyn Source>>,
}

/// What an input is given when it is opened.
#[derive(Debug, Clone)]
pub struct InputContext {
    /// Its name in the configuration.
    pub name: String,
    /// How many reader threads there are.
    pub threads: usize,
    /// The longest line in bytes.
    pub message_bytes: usize,
    /// The memory that unfinished lines share.
    pub unfinished: UnfinishedLines,
    /// The memory that parked batches share.
    pub parked: ParkedMemory,
    /// The limit on connections, over all inputs.
    pub connections: ConnectionLimit,
    /// Where it counts connections and kernel drops; the pipeline does the rest.
    pub counters: Arc<InputCounters>,
    /// Sockets to go on with instead of binding new ones, where the addresses are the same.
    pub inherited: Inherited,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it keeps over a restart how far it has come, if its transport lets it go on there.
    pub checkpoints: Checkpoints,
}

/// An input that is open.
#[derive(Debug)]
pub struct OpenedInput {
    /// What to read.
    pub sources: Vec<Box<dyn Source>>,
    /// Where it listens, in words for an operator: an address, a path.
    pub address: String,
    /// The sockets that it is bound to, for a successor to go on with.
    pub sockets: Vec<BoundSocket>,
}

/// Why an input could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("input `{name}`: {problem}")]
pub struct OpenError {
    /// The input's name.
    pub name: String,
    /// What happened and what to do.
    pub problem: String,
}

impl InputContext {
    /// An error of this input.
    pub fn error(&self, problem: impl ToString) -> OpenError {
        OpenError { name: self.name.clone(), problem: problem.to_string() }
    }

    /// The error of an input that cannot listen at `address`.
    pub fn cannot_listen(&self, kind: Type, address: SocketAddr, error: &io::Error) -> OpenError {
        let transport = if kind == Type::DGRAM { "UDP" } else { "TCP" };
        self.error(format!("cannot listen on {address} ({transport}): {error}"))
    }
}

/// An input's checked parameters, ready to be opened.
pub trait InputSettings: Debug + Send + Sync {
    /// Opens it.
    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError>;

    /// Whether what it takes are datagrams, which may name their decoder.
    fn takes_datagrams(&self) -> bool {
        false
    }

    /// What joins its lines, for messages of at most `message_bytes`; `None` if each line is one.
    fn joiner(&self, message_bytes: usize) -> Option<Joiner> {
        let _ = message_bytes;
        None
    }

    /// Whether its settings are about the socket that it listens on and nothing else: then connections that were accepted
    /// under others go on when a reload changes them.
    fn keeps_connections(&self) -> bool {
        false
    }

    /// Reports what is wrong with keys together, after each was read by itself.
    fn check(&self, section: &mut Section<'_>) {
        let _ = section;
    }

    /// The same with the keys that every input has.
    fn check_section(&self, section: &mut Section<'_>) {
        let is_binary =
            section.value("decoder").is_some_and(|value| value.get_ref().as_str() == Some("msgpack"));
        if is_binary && !self.takes_datagrams() {
            let span = section.span_of("decoder");
            let problem = section.diagnostics().error(span, "this input takes lines, and msgpack has none");
            problem
                .help("`decoder = \"msgpack\"` is for inputs that take datagrams, such as `kind = \"udp\"`");
        }
        self.check(section);
    }
}
