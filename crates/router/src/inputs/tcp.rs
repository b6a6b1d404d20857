//! `kind = "tcp"`: messages over TCP, one a line.
//!
//! A line over the limit is rejected and the stream goes on at the next line break; a last line without one still counts.
//! While an endpoint with `when_full = "block"` is full, its connections are not read, and TCP slows their senders down.

use std::{io, net::SocketAddr};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    InputContext, InputSettings, OpenError, OpenedInput,
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

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

impl InputSettings for Parameters {
    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let listener = self
            .bind()
            .map_err(|error| context.error(format!("cannot listen on {} (TCP): {error}", self.listen)))?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let source = ListenerSource::new(listener, context.clone());
        Ok(OpenedInput { sources: vec![Box::new(source)], address: address.to_string() })
    }
}

impl Parameters {
    fn bind(&self) -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(self.listen), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for the last connections' TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&self.listen.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from_std(socket.into()))
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn accept(&self) -> io::Result<TcpStream> {
        TcpListener::accept(self).map(|(connection, _)| connection)
    }
}
