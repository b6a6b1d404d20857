//! The other router: where it is, how to connect to it, and whether it is still there.

use std::{
    fmt,
    io::{self, IoSlice, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use socket2::SockRef;

use super::Connect;
use crate::{
    config::Address,
    peer::liveness::{self, Ending, LONGEST_SILENCE},
};

/// A connection to another router.
pub(super) trait Stream: Write + Send {
    /// Why it is of no more use, which a write would only notice after it had lost something.
    fn ending(&self) -> Option<Ending>;
}

/// Where another router is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RouterAddress {
    Tcp(Address),
    Unix(PathBuf),
}

impl fmt::Display for RouterAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RouterAddress::Tcp(address) => write!(f, "{address}"),
            RouterAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How to reach it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: RouterAddress,
    /// For connecting to each of its addresses.
    pub(super) timeout: Duration,
    /// For each attempt to write.
    pub(super) longest_wait: Duration,
}

impl Connect for Peer {
    type Stream = Socket;

    fn connect(&self) -> io::Result<Socket> {
        match &self.address {
            RouterAddress::Tcp(address) => self.connect_tcp(address).map(Socket::Tcp),
            RouterAddress::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_write_timeout(Some(self.longest_wait))?;
                Ok(Socket::Unix(stream))
            }
        }
    }

    fn name(&self) -> String {
        self.address.to_string()
    }
}

impl Peer {
    /// To the first address of the name that takes the connection.
    fn connect_tcp(&self, address: &Address) -> io::Result<TcpStream> {
        let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name leads to no address");
        for address in (address.host.as_str(), address.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.timeout) {
                Ok(stream) => {
                    liveness::prepare_tcp(&SockRef::from(&stream))?;
                    stream.set_write_timeout(Some(self.longest_wait))?;
                    return Ok(stream);
                }
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write_vectored(slices),
            Socket::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Socket {
    fn ending(&self) -> Option<Ending> {
        let socket = match self {
            Socket::Tcp(stream) => SockRef::from(stream),
            Socket::Unix(stream) => SockRef::from(stream),
        };
        liveness::ending(&socket, LONGEST_SILENCE)
    }
}
