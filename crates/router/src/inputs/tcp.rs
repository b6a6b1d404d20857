//! `kind = "tcp"`: messages over TCP, one a line.
//!
//! A line over the limit is rejected and the stream goes on at the next line break; a last line without one still counts.
//! While an endpoint with `when_full = "block"` is full, its connections are not read, and TCP slows their senders down.

use std::{io, net::SocketAddr, time::Duration};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::{
    InputContext, InputSettings, OpenError, OpenedInput,
    sockets::BoundSocket,
    streams::{Listener, ListenerSource},
};
use crate::config::parameters;

parameters! {
    /// Takes messages over TCP, one a line.
    pub struct Parameters {
        /// Where to listen. Port 0 lets the operating system choose.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5565)),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
listen = "127.0.0.1:5565"
"#;

/// A peer that vanished without a word must not hold a place under the limit on connections for ever: it is asked after
/// this silence, and its connection ends when it has not answered so many questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

impl InputSettings for Parameters {
    fn keeps_connections(&self) -> bool {
        true
    }

    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let failed = |error: io::Error| context.cannot_listen(Type::STREAM, self.listen, &error);
        let socket = match context.inherited.take_network(Type::STREAM, self.listen, &context.name) {
            Some(socket) => socket,
            None => {
                let in_spite_of = |error| {
                    let shared = || self.bind(true);
                    context.inherited.make_room(Type::STREAM, self.listen, error, shared)
                };
                let socket = self.bind(false).or_else(in_spite_of).map_err(failed)?;
                // Only the router's own socket before it was to be let in.
                socket.set_reuse_port(false).map_err(failed)?;
                BoundSocket::new(socket, &context.name)
            }
        };
        let listener = TcpListener::from_std(socket.try_clone().map_err(failed)?.into());
        let address = listener.local_addr().unwrap_or(self.listen);
        let source = ListenerSource::new(listener, socket.clone(), context.clone());
        Ok(OpenedInput {
            sources: vec![Box::new(source)],
            address: address.to_string(),
            sockets: vec![socket],
        })
    }
}

impl Parameters {
    /// `shared`: beside another socket that allows it.
    fn bind(&self, shared: bool) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.listen), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the last connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        socket.bind(&self.listen.into())?;
        // Accepted connections inherit it, without a system call for each.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).map(|(connection, _)| connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdTcpStream;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn an_accepted_connection_is_kept_alive_or_ended() {
        let listener = Parameters { listen: SocketAddr::from(([127, 0, 0, 1], 0)) }.bind(false).unwrap();
        let listener = TcpListener::from_std(listener.into());
        let _client = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connection = Listener::accept(&listener).unwrap();
        let socket = SockRef::from(&connection);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }
}
