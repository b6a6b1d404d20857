//! Writing lines to a stream, where a write may end in the middle of one.

use std::io::{Error, ErrorKind, Write};
use std::time::{Duration, Instant};

use super::backoff::Backoff;
use super::probation::{LOOK_INTERVAL, Probation, Trust};
use super::{Answer, Batch, Sender, say};

/// How long a write to a stream may block before the sending thread looks around.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// Something that makes connections for lines.
pub(crate) trait Connect: Clone + Send + Sync + 'static {
    /// What it connects to.
    type Stream: Write + Send + Sync;

    /// Opens a new connection.
    fn connect(&self) -> std::io::Result<Self::Stream>;

    /// Why the stream is of no more use, as far as can be seen without writing; `None` while it is.
    fn ending(&self, stream: &Self::Stream) -> Option<Ending>;

    /// Names the destination in the log.
    fn describe(&self) -> String;

    /// Whether a failed write leaves the stream as it was, so that a line goes on where it was cut: a full disk
    /// does, a broken connection does not.
    fn survives_errors(&self) -> bool {
        false
    }
}

/// Why a stream is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// There is another one in its place, as after a file was renamed; what was written to it is there.
    Replaced,
    /// The other end has closed it, and had read all that it was sent, or the kernel does not know better.
    Closed,
    /// It broke, and what was under way is lost.
    Broken,
}

/// Lines over a connection that is opened when there is something to send, and opened again when it breaks.
///
/// The message in which a connection broke is sent again whole on the next one; the receiver sees the end of the
/// old connection after a part of a line, and the parts never meet. What the kernel had taken but not delivered
/// when a connection broke is lost, and shows at the receiver as a gap in `metlog_seq`. A receiver that ends each connection
/// soon after it was made gets one message over each, ever more seldom.
#[derive(Debug)]
pub(crate) struct LineSender<C: Connect> {
    connect: C,
    stream: Option<C::Stream>,
    /// How much of the next message is written already.
    carried: usize,
    backoff: Backoff,
    probation: Probation,
    over_network: bool,
}

impl<C: Connect> LineSender<C> {
    pub(crate) fn new(connect: C, over_network: bool) -> LineSender<C> {
        let (backoff, probation) = (Backoff::default(), Probation::default());
        LineSender { connect, stream: None, carried: 0, backoff, probation, over_network }
    }

    /// Another one to the same destination, without a connection.
    pub(crate) fn duplicate(&self) -> LineSender<C> {
        LineSender::new(self.connect.clone(), self.over_network)
    }

    /// Lets go of a message that is written in part, if there is one, and then of the connection, on which nothing else may follow
    /// it.
    pub(crate) fn abandon_part(&mut self) {
        if self.carried > 0 {
            self.abandon();
        }
    }

    fn abandon(&mut self) {
        self.stream = None;
        self.carried = 0;
        self.probation.left();
    }

    fn lost(&mut self, sent: usize, error: &Error) -> Answer {
        if !self.connect.survives_errors() {
            self.probation.ended(Instant::now(), Ending::Broken);
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
            && let Some(ending) = self.connect.ending(stream)
        {
            let is_early = self.probation.ended(Instant::now(), ending);
            self.abandon();
            if is_early {
                let what =
                    "the connection was ended soon after it was made, and what was sent on it may be lost";
                return self.lost(0, &Error::other(what));
            }
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => match self.connect.connect() {
                Ok(stream) => self.stream.insert(stream),
                Err(error) => return self.lost(0, &error),
            },
        };
        let trust = self.probation.is_open(Instant::now());
        let given = match trust {
            Trust::Everything => *batch,
            Trust::OneMessage => batch.slice(0, 1),
            Trust::Nothing => return Answer::retry(0, LOOK_INTERVAL),
        };
        match write_lines(stream, &given, &mut self.carried) {
            (sent, None) => {
                self.probation.wrote(Instant::now());
                if trust == Trust::OneMessage {
                    return Answer::retry(sent, LOOK_INTERVAL);
                }
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
) -> (usize, Option<Error>) {
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
    use std::io::Read as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::tests::Lines;
    use super::super::{TcpSender, Then};
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

    #[test]
    fn a_receiver_that_ends_each_connection_at_once_gets_one_message_ever_more_seldom() {
        const FOR: Duration = Duration::from_secs(3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpSender::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let ended = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&ended);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                drop(stream);
                counts.fetch_add(1, Ordering::SeqCst);
            }
        });
        let lines = Lines::of(&["one"; 100]);
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()), "nothing is known yet");
        let start = Instant::now();
        while ended.load(Ordering::SeqCst) == 0 {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(1));
        }
        let (start, mut sent) = (Instant::now(), 0);
        while start.elapsed() < FOR {
            let answer = sender.send(&lines.batch());
            assert!(answer.sent <= 1, "{answer:?}");
            sent += answer.sent;
            let Then::Retry(delay) = answer.then else { panic!("{answer:?}") };
            std::thread::sleep(delay);
        }
        // A look every quarter of a second, and waits between two connections that grow.
        assert!(sent < 12, "{sent} messages");
    }

    #[test]
    fn after_early_ends_a_connection_that_stays_open_gets_everything() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpSender::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let lines = Lines::of(&["one"; 100]);
        let batch = lines.batch();
        assert_eq!(sender.send(&batch), Answer::all(&batch));
        drop(listener.accept().unwrap());
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut sent = 0;
        while sent < batch.len() {
            assert!(Instant::now() < deadline, "{sent}");
            let answer = sender.send(&batch.slice(sent, batch.len()));
            sent += answer.sent;
            if let Then::Retry(delay) = answer.then {
                std::thread::sleep(delay);
            }
        }
        drop(sender);
        let mut received = String::new();
        listener.accept().unwrap().0.read_to_string(&mut received).unwrap();
        assert_eq!(received, "one\n".repeat(100), "over one connection");
    }
}
