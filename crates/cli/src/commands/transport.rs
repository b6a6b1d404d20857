//! Where `metlog send` and `metlog bench` put messages: plain sockets, one message a datagram or a line.

use std::fmt;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

/// The largest payload of a UDP datagram over IPv4.
const UDP_BYTES: usize = 65_507;
const DEFAULT_PORT: u16 = 5565;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A receiver that takes nothing for this long has failed.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait, after the end of a stream, for the receiver to close its side.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A destination, as its URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `udp://HOST:PORT`: one message a datagram.
    Udp(String),
    /// `tcp://HOST:PORT`: one message a line.
    Tcp(String),
    /// `unix:///PATH`: datagrams or lines, whichever the socket takes.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("expected udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH".into());
        };
        match scheme {
            "udp" => Ok(Self::Udp(host_and_port(rest)?)),
            "tcp" => Ok(Self::Tcp(host_and_port(rest)?)),
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err("the path must be absolute: unix:///run/metlog.sock".into()),
            _ => Err(format!("unknown scheme {scheme:?}: expected udp, tcp or unix")),
        }
    }
}

/// Adds the default port where none is given.
fn host_and_port(text: &str) -> Result<String, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    // In an IPv6 address only what comes after the bracket can be a port.
    let after_host = text.rfind(']').map_or(text, |end| &text[end..]);
    let host = match after_host.rsplit_once(':') {
        None => {
            return if text.is_empty() {
                Err("there is no host".into())
            } else {
                Ok(format!("{text}:{DEFAULT_PORT}"))
            };
        }
        Some((_, port)) if port.parse::<u16>().is_err() => return Err(format!("{port:?} is not a port")),
        Some((_, port)) => &text[..text.len() - port.len() - 1],
    };
    if host.is_empty() { Err("there is no host".into()) } else { Ok(text.to_owned()) }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(formatter, "udp://{address}"),
            Self::Tcp(address) => write!(formatter, "tcp://{address}"),
            Self::Unix(path) => write!(formatter, "unix://{}", path.display()),
        }
    }
}

/// An open way to a target.
pub struct Connection {
    target: Target,
    transport: Transport,
}

enum Transport {
    Udp(UdpSocket),
    UnixDatagrams(UnixDatagram),
    Tcp(BufWriter<TcpStream>),
    UnixLines(BufWriter<UnixStream>),
}

impl Connection {
    /// Opens it. For UDP this only fixes the address: a missing receiver shows when something is sent.
    pub fn open(target: &Target) -> anyhow::Result<Self> {
        let transport = match target {
            Target::Udp(address) => open_udp(address),
            Target::Tcp(address) => open_tcp(address),
            Target::Unix(path) => open_unix(path),
        };
        let transport = transport.with_context(|| format!("cannot connect to {target}"))?;
        Ok(Self { target: target.clone(), transport })
    }

    /// Sends one message, given without a line break. Streams collect: see [`Connection::flush`].
    pub fn send(&mut self, message: &[u8]) -> anyhow::Result<()> {
        let sent = match &mut self.transport {
            Transport::Udp(_) if message.len() > UDP_BYTES => bail!(
                "the message has {} bytes, and a datagram holds at most {UDP_BYTES}: send it over tcp://",
                message.len()
            ),
            Transport::Udp(socket) => socket.send(message).map(drop),
            Transport::UnixDatagrams(socket) => socket.send(message).map(drop),
            Transport::Tcp(stream) => write_line(stream, message),
            Transport::UnixLines(stream) => write_line(stream, message),
        };
        sent.map_err(|error| self.explain(error))
    }

    /// Hands what was collected to the operating system.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = match &mut self.transport {
            Transport::Tcp(stream) => stream.flush(),
            Transport::UnixLines(stream) => stream.flush(),
            Transport::Udp(_) | Transport::UnixDatagrams(_) => Ok(()),
        };
        flushed.map_err(|error| self.explain(error))
    }

    /// Sends the rest and looks for a late refusal: a UDP port where nothing listens, a stream that the receiver
    /// broke off. That nothing was wrong here is no proof that the messages arrived.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        let ended = match &mut self.transport {
            Transport::Udp(socket) => late_refusal(socket),
            Transport::UnixDatagrams(_) => Ok(()),
            Transport::Tcp(stream) => {
                let stream = stream.get_mut();
                stream
                    .shutdown(Shutdown::Write)
                    .and_then(|()| stream.set_read_timeout(Some(CLOSE_TIMEOUT)))
                    .and_then(|()| read_to_end(stream))
            }
            Transport::UnixLines(stream) => {
                let stream = stream.get_mut();
                stream
                    .shutdown(Shutdown::Write)
                    .and_then(|()| stream.set_read_timeout(Some(CLOSE_TIMEOUT)))
                    .and_then(|()| read_to_end(stream))
            }
        };
        ended.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: io::Error) -> anyhow::Error {
        let what = match error.kind() {
            ErrorKind::ConnectionRefused => "nothing listens there",
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "the receiver closed the connection",
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "the receiver takes nothing any more",
            _ => "cannot send",
        };
        anyhow::Error::new(error).context(format!("{}: {what}", self.target))
    }
}

fn open_udp(address: &str) -> anyhow::Result<Transport> {
    let address = address.to_socket_addrs()?.next().context("the name has no address")?;
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.connect(address)?;
    Ok(Transport::Udp(socket))
}

fn open_tcp(address: &str) -> anyhow::Result<Transport> {
    let mut last = None;
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_write_timeout(Some(SEND_TIMEOUT))?;
                return Ok(Transport::Tcp(BufWriter::with_capacity(1 << 16, stream)));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow::anyhow!("the name has no address"), anyhow::Error::new))
}

fn open_unix(path: &std::path::Path) -> anyhow::Result<Transport> {
    let datagrams = UnixDatagram::unbound()?;
    match datagrams.connect(path) {
        Ok(()) => {
            datagrams.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok(Transport::UnixDatagrams(datagrams))
        }
        // The other reason to fail is that the socket takes streams, for which there is no portable kind.
        Err(error) if error.kind() == ErrorKind::NotFound => Err(error.into()),
        Err(_) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(SEND_TIMEOUT))?;
            Ok(Transport::UnixLines(BufWriter::with_capacity(1 << 16, stream)))
        }
    }
}

fn write_line(stream: &mut impl Write, message: &[u8]) -> io::Result<()> {
    stream.write_all(message)?;
    stream.write_all(b"\n")
}

/// A refusal by the host comes back as an error of the socket; on the same machine it is there at once.
fn late_refusal(socket: &UdpSocket) -> io::Result<()> {
    socket.take_error()?.map_or(Ok(()), Err)
}

/// Until the receiver closes its side too; one that keeps it open is as good.
fn read_to_end(stream: &mut impl Read) -> io::Result<()> {
    let mut ignored = [0; 1024];
    loop {
        match stream.read(&mut ignored) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    #[test]
    fn targets() {
        for (text, shown) in [
            ("udp://127.0.0.1:7", "udp://127.0.0.1:7"),
            ("udp://localhost", "udp://localhost:5565"),
            ("tcp://[::1]:9/", "tcp://[::1]:9"),
            ("tcp://[::1]", "tcp://[::1]:5565"),
            ("unix:///run/metlog.sock", "unix:///run/metlog.sock"),
        ] {
            assert_eq!(target(text).to_string(), shown);
        }
        for (text, reason) in [
            ("127.0.0.1:7", "expected udp://"),
            ("http://localhost", "unknown scheme \"http\""),
            ("udp://localhost:many", "\"many\" is not a port"),
            ("tcp://:5565", "no host"),
            ("udp://", "no host"),
            ("unix://relative", "absolute"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn one_message_a_datagram() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut connection =
            Connection::open(&Target::Udp(receiver.local_addr().unwrap().to_string())).unwrap();
        connection.send(b"one").unwrap();
        connection.finish().unwrap();
        let mut buffer = [0; 16];
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"one");
    }

    #[test]
    fn a_datagram_that_is_too_large_says_so() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut connection =
            Connection::open(&Target::Udp(receiver.local_addr().unwrap().to_string())).unwrap();
        let error = connection.send(&vec![b'x'; UDP_BYTES + 1]).unwrap_err().to_string();
        assert!(error.contains("65508 bytes") && error.contains("tcp://"), "{error}");
    }

    #[test]
    fn a_port_where_nothing_listens_is_an_error_over_udp_too() {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut connection = Connection::open(&Target::Udp(address.to_string())).unwrap();
        connection.send(b"one").unwrap();
        let error = connection.finish().unwrap_err().to_string();
        assert!(error.contains("nothing listens"), "{error}");
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = Connection::open(&Target::Tcp(address.to_string())).err().unwrap();
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
    }

    #[test]
    fn one_message_a_line() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap().to_string());
        let receiver = std::thread::spawn(move || {
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        let mut connection = Connection::open(&target).unwrap();
        connection.send(b"one").unwrap();
        connection.send(b"two").unwrap();
        connection.finish().unwrap();
        assert_eq!(receiver.join().unwrap(), "one\ntwo\n");
    }

    #[test]
    fn unix_sockets_of_both_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("datagrams");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let mut connection = Connection::open(&Target::Unix(path)).unwrap();
        connection.send(b"one").unwrap();
        connection.finish().unwrap();
        let mut buffer = [0; 16];
        assert_eq!(receiver.recv(&mut buffer).unwrap(), 3);

        let path = folder.path().join("lines");
        let listener = UnixListener::bind(&path).unwrap();
        let receiver = std::thread::spawn(move || {
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        let mut connection = Connection::open(&Target::Unix(path)).unwrap();
        connection.send(b"one").unwrap();
        connection.finish().unwrap();
        assert_eq!(receiver.join().unwrap(), "one\n");

        let error = Connection::open(&Target::Unix(folder.path().join("missing"))).err().unwrap();
        assert!(format!("{error:#}").contains("No such file"), "{error:#}");
    }
}
