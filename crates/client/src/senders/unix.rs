//! Messages over Unix sockets: a stream of lines, or datagrams.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::SockRef;

use super::backoff::Backoff;
use super::encoder::Recoded;
use super::lines::{Connect, LineSender, WRITE_TIMEOUT};
use super::tcp::is_open;
use super::{Answer, Batch, Encoder, Sender, say};
use crate::stats::DropReason;
use crate::system::{DATAGRAMS_PER_CALL, send_datagrams};

/// Sends messages to a Unix stream socket, one per line, and connects again when the connection breaks.
///
/// ```no_run
/// use metlog::Client;
/// use metlog::senders::UnixStreamSender;
///
/// let client = Client::builder().sender(UnixStreamSender::new("/run/metlog.sock")).build()?;
/// # Ok::<(), metlog::BuildError>(())
/// ```
#[derive(Debug)]
pub struct UnixStreamSender {
    lines: LineSender<UnixConnect>,
}

#[derive(Debug, Clone)]
struct UnixConnect {
    path: PathBuf,
}

impl UnixStreamSender {
    /// A sender to the socket at this path.
    pub fn new(path: impl AsRef<Path>) -> UnixStreamSender {
        let connect = UnixConnect { path: path.as_ref().to_owned() };
        UnixStreamSender { lines: LineSender::new(connect, true) }
    }
}

impl Sender for UnixStreamSender {
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

impl Connect for UnixConnect {
    type Stream = UnixStream;

    fn connect(&self) -> io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.path)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(stream)
    }

    fn is_open(&self, stream: &UnixStream) -> bool {
        is_open(&SockRef::from(stream))
    }

    fn describe(&self) -> String {
        format!("unix stream {}", self.path.display())
    }
}

/// Sends messages to a Unix datagram socket, one in each datagram.
///
/// A full receiver is waited for, not overrun: Unix datagrams are not lost. A message that is larger than the
/// system carries is dropped and counted.
///
/// ```no_run
/// use metlog::Client;
/// use metlog::senders::UnixDatagramSender;
///
/// let client = Client::builder().sender(UnixDatagramSender::new("/run/metlog.dgram")).build()?;
/// # Ok::<(), metlog::BuildError>(())
/// ```
#[derive(Debug)]
pub struct UnixDatagramSender {
    path: PathBuf,
    encoder: Encoder,
    recoded: Recoded,
    socket: Option<UnixDatagram>,
    backoff: Backoff,
}

impl UnixDatagramSender {
    /// A sender to the socket at this path.
    pub fn new(path: impl AsRef<Path>) -> UnixDatagramSender {
        UnixDatagramSender {
            path: path.as_ref().to_owned(),
            encoder: Encoder::Json,
            recoded: Recoded::default(),
            socket: None,
            backoff: Backoff::default(),
        }
    }

    /// How messages are written into datagrams.
    #[must_use]
    pub fn encoder(mut self, encoder: Encoder) -> UnixDatagramSender {
        self.encoder = encoder;
        self
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(&self.path)?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(socket)
    }

    fn lost(&mut self, sent: usize, error: &io::Error) -> Answer {
        self.socket = None;
        if !self.backoff.is_failing() {
            say(format_args!("unix datagram {}: {error}; trying again until it works", self.path.display()));
        }
        Answer::retry(sent, self.backoff.failed())
    }
}

impl Sender for UnixDatagramSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        let socket = match self.socket.take().map_or_else(|| self.connect(), Ok) {
            Ok(socket) => self.socket.insert(socket),
            Err(error) => return self.lost(0, &error),
        };
        let mut sent = 0;
        while sent < batch.len() {
            let mut datagrams: [&[u8]; DATAGRAMS_PER_CALL] = [&[]; DATAGRAMS_PER_CALL];
            let count = (batch.len() - sent).min(datagrams.len());
            let next = batch.slice(sent, sent + count);
            match self.encoder {
                Encoder::Json => datagrams.iter_mut().zip(next.iter()).for_each(|(place, one)| *place = one),
                Encoder::Msgpack => {
                    self.recoded.fill(next.iter());
                    let recoded = self.recoded.datagrams();
                    datagrams.iter_mut().zip(recoded).for_each(|(place, one)| *place = one);
                }
            }
            match send_datagrams(socket.as_fd(), &datagrams[..count]) {
                Ok(taken) => {
                    self.backoff.succeeded();
                    sent += taken;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Answer::retry(sent, Duration::from_millis(10));
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    return Answer::refuse(sent, DropReason::TooLarge);
                }
                Err(error) => return self.lost(sent, &error),
            }
        }
        Answer::all(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(UnixDatagramSender::new(&self.path).encoder(self.encoder))
    }

    fn over_network(&self) -> bool {
        true
    }
}
