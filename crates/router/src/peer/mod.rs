//! A server that is reached over a socket, for the endpoints that send it bytes as they are: where it is, the way to it,
//! what is sent in one go, whether the other end is still there, and what an operator is told when nobody listens.

mod connection;
mod health;
pub(crate) mod liveness;
mod parcel;
pub(crate) mod probation;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::config::{Address, Section, choices};

#[cfg(test)]
pub(crate) use self::health::NOTICE_UNREACHABLE;
pub(crate) use self::{
    connection::{Connection, Interrupted},
    health::Health,
    parcel::Parcel,
};

choices! {
    /// How messages travel to a server.
    pub enum Transport {
        /// As UDP datagrams to `address`.
        Udp = "udp",
        /// Over a TCP connection to `address`.
        Tcp = "tcp",
        /// As datagrams to the Unix socket at `path`.
        Unix = "unix",
        /// Over a connection to the Unix socket at `path`.
        UnixStream = "unix_stream",
    }
}

/// The most that a UDP datagram carries over IPv4.
pub(crate) const LARGEST_DATAGRAM_BYTES: usize = 65_507;

/// How much is written to a stream at once.
pub(crate) const STREAM_WRITE_BYTES: usize = 64 * 1024;

/// Where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    Udp(Address),
    Tcp(Address),
    UnixDatagram(PathBuf),
    UnixStream(PathBuf),
}

impl Server {
    /// The server that these keys of a section name together, or what is wrong with them.
    pub(crate) fn new(
        transport: Transport,
        address: &Address,
        path: Option<&Path>,
    ) -> Result<Server, String> {
        match (transport, path) {
            (Transport::Udp, None) => Ok(Server::Udp(address.clone())),
            (Transport::Tcp, None) => Ok(Server::Tcp(address.clone())),
            (Transport::Unix, Some(path)) => Ok(Server::UnixDatagram(path.to_owned())),
            (Transport::UnixStream, Some(path)) => Ok(Server::UnixStream(path.to_owned())),
            (Transport::Udp | Transport::Tcp, Some(_)) => Err(format!(
                "`path` is for Unix sockets; with transport = \"{transport}\" the server is at `address`"
            )),
            (Transport::Unix | Transport::UnixStream, None) => {
                Err(format!("transport = \"{transport}\" needs the `path` of the server's socket"))
            }
        }
    }

    /// Reports what is wrong with these keys of a section.
    pub(crate) fn check(transport: Transport, server: Result<Server, String>, section: &mut Section<'_>) {
        if let Err(problem) = server {
            let key = if section.value("path").is_some() { "path" } else { "transport" };
            let span = section.span_of(key);
            section.diagnostics().error(span, problem);
        }
        if matches!(transport, Transport::Unix | Transport::UnixStream) && section.value("address").is_some()
        {
            let span = section.span_of("address");
            let problem = format!(
                "`address` is for UDP and TCP; with transport = \"{transport}\" the server's socket is at `path`"
            );
            section.diagnostics().error(span, problem).help("remove it, or change `transport`");
        }
    }

    /// The address, where it is one that can be looked up.
    fn address(&self) -> Option<&Address> {
        match self {
            Server::Udp(address) | Server::Tcp(address) => Some(address),
            Server::UnixDatagram(_) | Server::UnixStream(_) => None,
        }
    }

    /// Whether what is sent at once arrives at once.
    pub(crate) fn takes_datagrams(&self) -> bool {
        matches!(self, Server::Udp(_) | Server::UnixDatagram(_))
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Udp(address) => write!(f, "{address} over UDP"),
            Server::Tcp(address) => write!(f, "{address} over TCP"),
            Server::UnixDatagram(path) | Server::UnixStream(path) => write!(f, "{}", path.display()),
        }
    }
}
