//! Messages over TCP, one per line.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::time::Duration;

use socket2::SockRef;

use super::address::Address;
use super::lines::{Connect, Ending, LineSender, WRITE_TIMEOUT};
use super::{AddressError, Answer, Batch, Sender};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends messages over TCP, one per line, and connects again when the connection breaks.
///
/// While there is no connection, messages wait in the client's bounded queue.
///
/// ```no_run
/// use metlog::Client;
/// use metlog::senders::TcpSender;
///
/// let client = Client::builder().sender(TcpSender::new("127.0.0.1:5565")?).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TcpSender {
    lines: LineSender<TcpConnect>,
}

#[derive(Debug, Clone)]
struct TcpConnect {
    /// In the order of preference.
    addresses: Vec<Address>,
}

impl TcpSender {
    /// A sender to `host:port`. The name is looked up on each connect.
    pub fn new(address: &str) -> Result<TcpSender, AddressError> {
        TcpSender::first_of(&[address])
    }

    /// A sender to the first of several addresses that takes a connection.
    pub fn first_of(addresses: &[impl AsRef<str>]) -> Result<TcpSender, AddressError> {
        let addresses: Vec<_> =
            addresses.iter().map(|address| Address::parse(address.as_ref())).collect::<Result<_, _>>()?;
        if addresses.is_empty() {
            return Err(AddressError::Empty { missing: "host" });
        }
        Ok(TcpSender { lines: LineSender::new(TcpConnect { addresses }, true) })
    }

    /// Another one to the same addresses.
    pub(crate) fn duplicate(&self) -> TcpSender {
        TcpSender { lines: self.lines.duplicate() }
    }

    /// Lets go of a message that is written in part, if there is one; the next one goes over a connection of its own then.
    pub(crate) fn abandon_part(&mut self) {
        self.lines.abandon_part();
    }
}

impl Sender for TcpSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        self.lines.send(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        self.lines.fresh()
    }

    fn over_network(&self) -> bool {
        true
    }
}

impl Connect for TcpConnect {
    type Stream = TcpStream;

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in &self.addresses {
            let resolved = match address.resolve() {
                Ok(resolved) => resolved,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            for address in resolved {
                match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                    Ok(stream) => {
                        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                        // A batch is one write: there is nothing for Nagle's algorithm to gather.
                        stream.set_nodelay(true)?;
                        return Ok(stream);
                    }
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    fn ending(&self, stream: &TcpStream) -> Option<Ending> {
        ending(&SockRef::from(stream))
    }

    fn describe(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(Address::to_string).collect();
        format!("tcp {}", addresses.join(", "))
    }
}

/// Whether and how a stream's other end has gone. The first write to a connection that the receiver has closed still
/// succeeds, and is lost; a look at the receiving side saves it.
pub(crate) fn ending(socket: &SockRef<'_>) -> Option<Ending> {
    let mut buffer = [MaybeUninit::uninit(); 512];
    match socket.recv_with_flags(&mut buffer, libc::MSG_DONTWAIT) {
        // Whoever closes before he has read everything says so, to him who asks.
        Ok(0) if matches!(socket.take_error(), Ok(None)) => Some(Ending::Closed),
        Ok(0) => Some(Ending::Broken),
        // Nothing is expected from a receiver, and nothing that it says is of interest.
        Ok(_) => None,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
        Err(_) => Some(Ending::Broken),
    }
}
