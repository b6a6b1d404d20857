//! Messages over Unix sockets: a stream of lines, or datagrams.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::SockRef;

use super::backoff::Backoff;
use super::encoder::Recoded;
use super::lines::{Connect, Ending, LineSender, WRITE_TIMEOUT};
use super::oversize::LARGEST_DATAGRAM_BYTES;
use super::tcp::ending;
use super::{Answer, Batch, Encoder, Sender, Then, oversize, say};
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

    fn ending(&self, stream: &UnixStream) -> Option<Ending> {
        ending(&SockRef::from(stream))
    }

    fn describe(&self) -> String {
        format!("unix stream {}", self.path.display())
    }
}

/// Sends messages to a Unix datagram socket, one in each datagram.
///
/// A full receiver is waited for, not overrun: Unix datagrams are not lost. Of a message that is larger than the
/// system carries, the payload is cut to 60,000 bytes in all, with a marker at its end.
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
    said_oversized: bool,
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
            said_oversized: false,
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
        let (mut sent, mut truncated) = (0, 0);
        while sent < batch.len() {
            let mut datagrams: [&[u8]; DATAGRAMS_PER_CALL] = [&[]; DATAGRAMS_PER_CALL];
            let count = (batch.len() - sent).min(datagrams.len());
            let next = batch.slice(sent, sent + count);
            match self.encoder {
                Encoder::Json => datagrams.iter_mut().zip(next.iter()).for_each(|(place, one)| *place = one),
                Encoder::Msgpack => {
                    self.recoded.fill(next.iter(), LARGEST_DATAGRAM_BYTES);
                    let recoded = self.recoded.datagrams();
                    datagrams.iter_mut().zip(recoded).for_each(|(place, one)| *place = one);
                }
            }
            let mut taken = send_datagrams(socket.as_fd(), &datagrams[..count]);
            if taken.as_ref().is_err_and(is_too_large) {
                let message = next.message(0);
                if !self.said_oversized {
                    self.said_oversized = true;
                    let length = message.len();
                    say(format_args!(
                        "a message of {length} bytes loses the end of its payload; this is said once"
                    ));
                }
                taken = send_shortened(socket, message);
                truncated += usize::from(taken.is_ok());
            }
            let then = match taken {
                Ok(taken) => {
                    self.backoff.succeeded();
                    sent += taken;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    Then::Retry(Duration::from_millis(10))
                }
                Err(error) if is_too_large(&error) => Then::Drop(DropReason::TooLarge),
                Err(error) => self.lost(sent, &error).then,
            };
            return Answer { sent, truncated, then };
        }
        Answer { truncated, ..Answer::all(batch) }
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(UnixDatagramSender::new(&self.path).encoder(self.encoder))
    }

    fn over_network(&self) -> bool {
        true
    }
}

fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Sends a message for which the system has no datagram, without the end of its payload.
fn send_shortened(socket: &UnixDatagram, message: &[u8]) -> io::Result<usize> {
    let mut shorter = Vec::new();
    if !oversize::shorten(message, message.len(), LARGEST_DATAGRAM_BYTES, &mut shorter) {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    send_datagrams(socket.as_fd(), &[&shorter])
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lines;
    use super::*;

    #[test]
    fn a_message_for_which_there_is_no_datagram_loses_the_end_of_its_payload() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let receiver = UnixDatagram::bind(&path).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // More than the send buffer of any socket may be.
        let large = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "y".repeat(64 << 20));
        let lines = Lines::of(&["{}", &large, "[]"]);
        let mut sender = UnixDatagramSender::new(&path);
        assert_eq!(sender.send(&lines.batch()), Answer { sent: 3, truncated: 1, then: Then::GoOn });
        let mut buffer = vec![0; 70_000];
        let mut receive = || {
            let length = receiver.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(receive(), "{}");
        let cut = receive();
        assert_eq!(cut.len(), LARGEST_DATAGRAM_BYTES);
        assert!(cut.contains(&format!("y [truncated from {} bytes]", large.len())));
        assert_eq!(receive(), "[]");
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _receiver = UnixDatagram::bind(&path).unwrap();
        let lines = Lines::of(&["{}".to_owned(), "x".repeat(64 << 20)]);
        let answer = UnixDatagramSender::new(&path).send(&lines.batch());
        assert_eq!(answer, Answer::refuse(1, DropReason::TooLarge));
    }
}
