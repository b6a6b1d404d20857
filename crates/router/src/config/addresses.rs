//! Where to listen and where to connect to.

use std::{
    fmt,
    net::{Ipv6Addr, SocketAddr},
};

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Value},
    types::{parsed, quoted},
};

impl FromConfig for SocketAddr {
    fn expected() -> String {
        "an IP address and a port such as \"127.0.0.1:5565\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<SocketAddr> {
        parsed(value, diagnostics, |text| {
            text.parse().map_err(|_| match text.rsplit_once(':') {
                None => "the port is missing".to_owned(),
                Some(("", _)) => {
                    "the IP address is missing: 127.0.0.1 is this machine only, 0.0.0.0 every network"
                        .to_owned()
                }
                Some((_, port)) if port.parse::<u16>().is_err() => {
                    "the port is not a number up to 65535".to_owned()
                }
                Some(("localhost", _)) => "a name is not looked up here: write 127.0.0.1 or [::1]".to_owned(),
                Some(_) => {
                    "a name is not looked up here: write the IP address of one of this machine's networks"
                        .to_owned()
                }
            })
        })
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Where to connect to: a host name or IP address, and a port. The name is looked up when connecting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an IP address (an IPv6 address without its brackets).
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl Address {
    /// Reads `host:port` or `[IPv6 address]:port`.
    pub fn parse(text: &str) -> Result<Address, String> {
        if text.contains("://") {
            return Err("only host and port, without a scheme".to_owned());
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err("the port is missing".to_owned());
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| "the port is not a number from 1 to 65535".to_owned())?;
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let known = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        match inner {
            Some(inner) if inner.parse::<Ipv6Addr>().is_ok() => Ok(Address { host: inner.to_owned(), port }),
            Some(_) => Err("what is in brackets is not an IPv6 address".to_owned()),
            None if host.is_empty() => Err("the host is missing".to_owned()),
            None if host.contains(':') => Err("an IPv6 address needs brackets, as in [::1]:8125".to_owned()),
            None if !host.chars().all(known) => Err("this is not a host name".to_owned()),
            None => Ok(Address { host: host.to_owned(), port }),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromConfig for Address {
    fn expected() -> String {
        "a host and a port such as \"localhost:8125\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Address> {
        parsed(value, diagnostics, Address::parse)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, host, port) in [
            ("localhost:8125", "localhost", 8125),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("stats-1.example.org:65535", "stats-1.example.org", 65535),
            ("[::1]:8125", "::1", 8125),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "localhost",
            ":8125",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "::1:8125",
            "[::1]",
            "[x]:1",
            "http://localhost:80",
            "a b:1",
            "a/b:1",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
