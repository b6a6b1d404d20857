//! Where a network sender sends to: `host:port`, looked up by the sending thread, not by the application's.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// A destination that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not a host and a port.
    #[error("{text:?} is not an address: expected host:port, such as 127.0.0.1:5565 or [::1]:5565")]
    Malformed {
        /// The text as given.
        text: String,
    },
    /// There is nothing to send to.
    #[error("no {missing} to send to")]
    Empty {
        /// `host` or `port`.
        missing: &'static str,
    },
    /// More ports than hosts.
    #[error("{ports} ports for {hosts} hosts: expected at most one port for each host")]
    TooManyPorts {
        /// How many hosts there are.
        hosts: usize,
        /// How many ports there are.
        ports: usize,
    },
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

impl Address {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    pub(crate) fn parse(text: &str) -> Result<Address, AddressError> {
        let malformed = || AddressError::Malformed { text: text.to_owned() };
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        let bare_colon = bracketed.is_none() && host.contains(':');
        if host.is_empty() || bare_colon || host.contains(char::is_whitespace) {
            return Err(malformed());
        }
        Ok(Address { host: host.to_owned(), port })
    }

    /// Looks the host up.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        (self.host.as_str(), self.port).to_socket_addrs().map(Iterator::collect)
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// Pairs hosts with ports as the first Python client did: hosts beyond the last port repeat it.
pub(crate) fn pair_hosts_with_ports(
    hosts: &[impl AsRef<str>],
    ports: &[u16],
) -> Result<Vec<String>, AddressError> {
    if hosts.is_empty() {
        return Err(AddressError::Empty { missing: "host" });
    }
    let Some(last) = ports.last() else { return Err(AddressError::Empty { missing: "port" }) };
    if ports.len() > hosts.len() {
        return Err(AddressError::TooManyPorts { hosts: hosts.len(), ports: ports.len() });
    }
    let ports = ports.iter().chain(std::iter::repeat(last));
    let pairs = hosts.iter().map(AsRef::as_ref).zip(ports);
    Ok(pairs.map(|(host, port)| Address { host: host.to_owned(), port: *port }.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_are_written() {
        for text in ["127.0.0.1:5565", "[::1]:5565", "metlog.example.org:1"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_not_an_address_is_said_to_be_none() {
        for text in
            ["", "localhost", ":5565", "localhost:", "localhost:70000", "::1:5565", "a b:1", "http://x"]
        {
            let error = Address::parse(text).unwrap_err();
            assert!(error.to_string().contains("expected host:port"), "{text}: {error}");
        }
    }

    #[test]
    fn extra_hosts_repeat_the_last_port() {
        assert_eq!(pair_hosts_with_ports(&["a", "b", "c"], &[1, 2]).unwrap(), ["a:1", "b:2", "c:2"]);
        assert_eq!(pair_hosts_with_ports(&["::1"], &[1]).unwrap(), ["[::1]:1"]);
    }

    #[test]
    fn pairs_that_do_not_match_are_errors() {
        assert_eq!(
            pair_hosts_with_ports(&["a"], &[1, 2]),
            Err(AddressError::TooManyPorts { hosts: 1, ports: 2 })
        );
        assert!(pair_hosts_with_ports(&["a"], &[]).is_err());
        assert!(pair_hosts_with_ports(&[""; 0], &[1]).is_err());
    }
}
