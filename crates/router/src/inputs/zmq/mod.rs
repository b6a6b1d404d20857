//! `kind = "zmq"`: messages that ZeroMQ publishers (PUB) send; this end is a subscriber (SUB).
//!
//! Publishers connect to it, as those of 2012 do, or it connects to them. Its connections are read as any other: on the reader
//! threads, with the same bounds, and not at all while an endpoint with `when_full = "block"` is full. Then TCP holds the
//! publisher up, its queue grows to its own high-water mark, and beyond that it drops, which nobody but it can see.

mod connection;
mod connector;
mod zmtp;

use std::net::SocketAddr;

use mio::net::TcpStream;

use self::{connection::Connection, connector::Connector, zmtp::Role};
use super::{
    InputContext, InputSettings, OpenError, OpenedInput, Source,
    connections::TakenPlace,
    streams::{self, ListenerSource, Serve},
};
use crate::config::{Address, Section, parameters};

/// Where this many messages wait, a queue in ZeroMQ is full unless somebody says otherwise.
const HIGH_WATER_MARK: usize = 1000;

/// Somebody connected who does not fit: no ZeroMQ, another kind of socket, another mechanism.
const NOTICE_PROTOCOL: &str = "zmq-protocol";

parameters! {
    /// Takes messages from ZeroMQ publishers (PUB sockets) over TCP, without encryption.
    pub struct Parameters {
        /// Where publishers connect to. Port 0 lets the operating system choose.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5565)),
        /// Publishers to connect to, instead of listening.
        pub connect: Vec<Address> = Vec::new(),
        /// Only messages that begin with one of these are asked for: topics. An empty list asks for all.
        pub topics: Vec<String> = Vec::new(),
        /// How many messages of one publisher are taken before those before them are in the endpoints' buffers.
        pub high_water_mark: usize = HIGH_WATER_MARK,
        /// Where to answer questions (of REQ sockets) whether anybody is there, as the handshake of metlog-py asks them.
        pub handshake: Option<SocketAddr>,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
listen = "127.0.0.1:5565"
handshake = "127.0.0.1:5564"
"#;

impl InputSettings for Parameters {
    fn takes_datagrams(&self) -> bool {
        true
    }

    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let mut opened = OpenedInput { sources: Vec::new(), address: String::new(), sockets: Vec::new() };
        let serve = ServePeers { role: self.subscriber(), high_water_mark: self.high_water_mark };
        if self.connect.is_empty() {
            opened.address = serve.listen(context, self.listen, &mut opened)?.to_string();
        } else {
            opened.address = self.connect.iter().map(Address::to_string).collect::<Vec<_>>().join(", ");
            opened.sources = self.connectors(context);
        }
        if let Some(address) = self.handshake {
            let serve = ServePeers { role: Role::Responder, high_water_mark: self.high_water_mark };
            let address = serve.listen(context, address, &mut opened)?;
            tracing::info!(input = context.name, %address, "handshakes are answered");
        }
        Ok(opened)
    }

    fn check(&self, section: &mut Section<'_>) {
        if self.high_water_mark == 0 {
            let span = section.span_of("high_water_mark");
            let problem = section.diagnostics().error(span, "`high_water_mark` must be more than 0");
            problem.help("leave it out for the default");
        }
        if !self.connect.is_empty() && section.value("listen").is_some() {
            let span = section.span_of("listen");
            let problem = section.diagnostics().error(span, "an input listens or connects, not both");
            problem.help("remove `listen` or `connect`, or make two inputs of it");
        }
        if self.handshake.is_some_and(|address| address.port() != 0 && address == self.listen) {
            let span = section.span_of("handshake");
            let problem = section.diagnostics().error(span, "`handshake` and `listen` are the same address");
            problem.help("publishers and questions come to two ports");
        }
    }
}

impl Parameters {
    fn subscriber(&self) -> Role {
        let topics = self.topics.iter().map(|topic| topic.clone().into_bytes());
        Role::Subscriber(if self.topics.is_empty() { vec![Vec::new()] } else { topics.collect() })
    }

    fn connectors(&self, context: &InputContext) -> Vec<Box<dyn Source>> {
        let connector = |address: &Address| {
            let role = self.subscriber();
            let connector = Connector::new(address.clone(), role, self.high_water_mark, context);
            Box::new(connector) as Box<dyn Source>
        };
        self.connect.iter().map(connector).collect()
    }
}

/// Each accepted connection is to a peer of ZeroMQ.
#[derive(Debug)]
struct ServePeers {
    role: Role,
    high_water_mark: usize,
}

impl ServePeers {
    /// Listens at `address`, adds that to the input, and says where it is.
    fn listen(
        self,
        context: &InputContext,
        address: SocketAddr,
        opened: &mut OpenedInput,
    ) -> Result<SocketAddr, OpenError> {
        let (listener, socket) = streams::listen(context, address)?;
        let bound = listener.local_addr().unwrap_or(address);
        opened.sources.push(Box::new(ListenerSource::new(listener, self, socket.clone(), context.clone())));
        opened.sockets.push(socket);
        Ok(bound)
    }
}

impl Serve<TcpStream> for ServePeers {
    fn serve(
        &self,
        stream: TcpStream,
        _: Option<SocketAddr>,
        place: TakenPlace,
        context: &InputContext,
    ) -> Box<dyn Source> {
        let role = self.role.clone();
        Box::new(Connection::new(stream, role, self.high_water_mark, context, place, None))
    }
}

#[cfg(test)]
mod tests;
