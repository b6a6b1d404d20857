//! Writing lines to a stream, where a write may end in the middle of one.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use super::backoff::Backoff;
use super::{Answer, Batch, Sender, say};

/// How long a write to a stream may block before the sending thread looks around.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// Something that makes connections for lines.
pub(crate) trait Connect: Clone + Send + Sync + 'static {
    /// What it connects to.
    type Stream: Write + Send + Sync;

    /// Opens a new connection.
    fn connect(&self) -> std::io::Result<Self::Stream>;

    /// Whether the other end is still there, as far as can be seen without writing.
    fn is_open(&self, stream: &Self::Stream) -> bool;

    /// Names the destination in the log.
    fn describe(&self) -> String;

    /// Whether a failed write leaves the stream as it was, so that a line goes on where it was cut: a full disk
    /// does, a broken connection does not.
    fn survives_errors(&self) -> bool {
        false
    }
}

/// Lines over a connection that is opened when there is something to send, and opened again when it breaks.
///
/// The message in which a connection broke is sent again whole on the next one; the receiver sees the end of the
/// old connection after a part of a line, and the parts never meet. What the kernel had taken but not delivered
/// when a connection broke is lost, and shows at the receiver as a gap in `metlog_seq`.
#[derive(Debug)]
pub(crate) struct LineSender<C: Connect> {
    connect: C,
    stream: Option<C::Stream>,
    /// How much of the next message is written already.
    carried: usize,
    backoff: Backoff,
    over_network: bool,
}

impl<C: Connect> LineSender<C> {
    pub(crate) fn new(connect: C, over_network: bool) -> LineSender<C> {
        LineSender { connect, stream: None, carried: 0, backoff: Backoff::default(), over_network }
    }

    /// Another one to the same destination, without a connection.
    pub(crate) fn duplicate(&self) -> LineSender<C> {
        LineSender::new(self.connect.clone(), self.over_network)
    }

    /// Lets go of a message that is written in part, and of the connection, on which nothing else may follow it.
    pub(crate) fn abandon(&mut self) {
        self.stream = None;
        self.carried = 0;
    }

    fn lost(&mut self, sent: usize, error: &std::io::Error) -> Answer {
        if !self.connect.survives_errors() {
            self.abandon();
        }
        if !self.backoff.is_failing() {
            say(format_args!("{}: {error}; trying again until it works", self.connect.describe()));
        }
        Answer::retry(sent, self.backoff.failed())
    }
}

impl<C: Connect> Sender for LineSender<C> {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        if let Some(stream) = &self.stream
            && !self.connect.is_open(stream)
        {
            self.abandon();
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => match self.connect.connect() {
                Ok(stream) => self.stream.insert(stream),
                Err(error) => return self.lost(0, &error),
            },
        };
        match write_lines(stream, batch, &mut self.carried) {
            (sent, None) => {
                self.backoff.succeeded();
                Answer { sent, ..Answer::all(batch) }
            }
            // The receiver is slow, not gone.
            (sent, Some(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Answer::retry(sent, Duration::from_millis(10))
            }
            (sent, Some(error)) => self.lost(sent, &error),
        }
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(self.duplicate())
    }

    fn over_network(&self) -> bool {
        self.over_network
    }
}

/// Writes a batch, of whose first message `carried` bytes are written already. Answers how many messages are
/// written to their end, and leaves in `carried` how much of the next one is.
pub(crate) fn write_lines(
    stream: &mut impl Write,
    batch: &Batch<'_>,
    carried: &mut usize,
) -> (usize, Option<std::io::Error>) {
    let bytes = batch.lines(0, batch.len());
    let mut written = (*carried).min(bytes.len());
    let mut failure = None;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => {
                failure = Some(ErrorKind::WriteZero.into());
                break;
            }
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let (whole, part) = batch.split_at(written);
    *carried = part;
    (whole, failure)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lines;
    use super::*;

    /// Takes so many bytes per call, then fails once.
    struct Narrow {
        seen: Vec<u8>,
        room: Vec<usize>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            match self.room.pop() {
                Some(0) => Err(ErrorKind::WouldBlock.into()),
                room => {
                    let count = bytes.len().min(room.unwrap_or(usize::MAX));
                    self.seen.extend_from_slice(&bytes[..count]);
                    Ok(count)
                }
            }
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_is_finished_where_it_was_cut() {
        let lines = Lines::of(&["one", "two", "three"]);
        let batch = lines.batch();
        let mut stream = Narrow { seen: Vec::new(), room: vec![0, 3, 3] };
        let mut carried = 0;
        let (sent, failure) = write_lines(&mut stream, &batch, &mut carried);
        assert_eq!((sent, carried), (1, 2));
        assert!(failure.is_some());
        let (sent, failure) = write_lines(&mut stream, &batch.slice(1, 3), &mut carried);
        assert_eq!((sent, carried), (2, 0));
        assert!(failure.is_none());
        assert_eq!(stream.seen, b"one\ntwo\nthree\n");
    }
}
