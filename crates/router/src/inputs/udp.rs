//! `kind = "udp"`: messages in datagrams, one or several (a line each).
//!
//! UDP cannot wait: when the router is too slow the kernel drops. So the receive buffer is large, many datagrams are read
//! per system call, and the kernel's own drop counter is part of the ledger: a loss is visible.

use std::{io, net::SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    InputContext, InputSettings, OpenError, OpenedInput, Source, datagrams::DatagramSource,
    sockets::BoundSocket,
};
use crate::{
    config::{ByteSize, parameters},
    sys,
};

parameters! {
    /// Takes messages in UDP datagrams: one message, or several separated by line breaks.
    pub struct Parameters {
        /// Where to listen. Port 0 lets the operating system choose.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5565)),
        /// How much the kernel holds while the router is busy, per socket. More than `net.core.rmem_max` needs the
        /// capability CAP_NET_ADMIN; without it the router takes what it can get and says so.
        pub receive_buffer: ByteSize = ByteSize::mib(25),
        /// How many sockets share the address; the kernel spreads senders over them. The default is one per reader
        /// thread.
        pub sockets: Option<usize>,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
listen = "127.0.0.1:5565"
receive_buffer = "25MiB"
"#;

/// More sockets than this on one address have no use, and each costs its receive buffer.
const MOST_SOCKETS: usize = 64;

impl InputSettings for Parameters {
    fn takes_datagrams(&self) -> bool {
        true
    }

    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let failed = |error: io::Error| context.cannot_listen(Type::DGRAM, self.listen, &error);
        let count = self.sockets.unwrap_or(context.threads).clamp(1, MOST_SOCKETS);
        let mut address = self.listen;
        let mut sources: Vec<Box<dyn Source>> = Vec::new();
        let mut sockets: Vec<BoundSocket> = Vec::new();
        let inherit = |address| context.inherited.take_network(Type::DGRAM, address, &context.name);
        let mut inherited = inherit(address);
        if count > 1 && inherited.is_none() {
            // Sockets that share an address let those of another router of the same user in, which would then take a part
            // of the datagrams away. A socket that does not share it finds out.
            // The router's own socket on a narrower or wider address is none of those.
            let beside_own =
                |error| context.inherited.make_room(Type::DGRAM, address, error, || self.bind(address, true));
            self.bind(address, false).or_else(beside_own).map_err(failed)?;
        }
        for number in 0..count {
            let socket = match inherited.take().or_else(|| inherit(address)) {
                Some(socket) => {
                    // It may have been the only one so far.
                    socket.set_reuse_port(count > 1).map_err(failed)?;
                    socket
                }
                None => {
                    let in_spite_of = |error| {
                        let shared = || self.bind(address, true);
                        context.inherited.make_room(Type::DGRAM, address, error, shared)
                    };
                    let socket = self.bind(address, count > 1).or_else(in_spite_of).map_err(failed)?;
                    socket.set_reuse_port(count > 1).map_err(failed)?;
                    BoundSocket::new(socket, &context.name)
                }
            };
            // With port 0 the first socket's port is the port of all.
            address = socket.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
            let granted =
                sys::set_receive_buffer(&socket, self.receive_buffer.bytes() as usize).map_err(failed)?;
            if number == 0 && (granted as u64) < self.receive_buffer.bytes() {
                tracing::warn!(
                    input = context.name,
                    asked = self.receive_buffer.bytes(),
                    granted,
                    "the receive buffer is smaller than asked for: raise net.core.rmem_max, or give the router CAP_NET_ADMIN"
                );
            }
            sources.push(Box::new(DatagramSource::new(
                socket.clone(),
                sys::LARGEST_UDP_DATAGRAM,
                &context.counters,
            )));
            sockets.push(socket);
        }
        Ok(OpenedInput { sources, address: address.to_string(), sockets })
    }
}

impl Parameters {
    fn bind(&self, address: SocketAddr, shared: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_port(shared)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    }
}
