//! Whether the other end of a connection is still there, as far as the kernel can tell without anything being sent.
//!
//! Three ends are told apart from a server that is only busy, for which a connection is kept:
//!
//! - It closed the connection: there is an end to read.
//! - Its machine is gone, and nothing is under way: keep-alive finds out.
//! - Its machine is gone, and something is under way: keep-alive is silent then, and the kernel would send the same again for a
//!   quarter of an hour. But it knows when it heard from the other machine. `TCP_USER_TIMEOUT` is no help: it also ends the
//!   connection to a server that acknowledges and reads nothing.

use std::{io, mem::MaybeUninit, time::Duration};

use socket2::{SockRef, TcpKeepalive};

use crate::sys;

/// What the ledger calls a connection that ended while the router ran: what was under way on it may be lost.
pub(crate) const NOTICE_LOST: &str = "connection-lost";

/// An idle connection is asked for a sign of life after so long, and so often; one that gives none is closed. Otherwise
/// the first message after a silence would go to a machine that is gone, and be lost.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(15))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// A machine that acknowledges nothing of what it was sent for so long is gone.
pub(crate) const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// Any machine has answered by then if it got what it was sent.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// What a server says is thrown away (some greet); it should say next to nothing. One look reads this often at most, so that
/// nobody is held up by a server that never stops.
const READS: usize = 4;
const READ_BYTES: usize = 4096;

/// Sets what every TCP connection to a server has in common.
pub(crate) fn prepare_tcp(socket: &SockRef<'_>) -> io::Result<()> {
    // Messages leave in large writes: nothing is gained by waiting for more.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

/// Why a connection is of no more use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// In words for an operator.
    pub(crate) reason: String,
    /// The other side has closed it, and had read all that it was sent, or the kernel does not know better.
    pub(crate) is_orderly: bool,
}

impl Ending {
    /// An end that took something with it, as far as can be known.
    pub(crate) fn broken(reason: impl ToString) -> Ending {
        Ending { reason: reason.to_string(), is_orderly: false }
    }
}

/// Why a connection is of no more use, which a write would only notice after it had lost something. `None` while it is
/// good, as far as can be known.
pub(crate) fn ending(socket: &SockRef<'_>, longest_silence: Duration) -> Option<Ending> {
    let mut said = [MaybeUninit::uninit(); READ_BYTES];
    for _ in 0..READS {
        match socket.recv_with_flags(&mut said, libc::MSG_DONTWAIT) {
            Ok(0) => {
                // Whoever closes before he has read everything says so, to him who asks.
                let is_orderly = matches!(socket.take_error(), Ok(None));
                return Some(Ending { reason: "the other side has closed it".to_owned(), is_orderly });
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                break;
            }
            Err(error) => return Some(Ending::broken(error)),
        }
    }
    let progress = sys::tcp_progress(socket)?;
    is_silent(&progress, longest_silence)
        .then(|| format!("the other machine has not answered for {} s", progress.since_answer.as_secs()))
        .map(Ending::broken)
}

/// Something was sent after the last sign of life, and long enough ago to be answered. Without this, a server whose window
/// is closed would seem silent between two of the kernel's ever rarer questions, which it does answer.
fn is_silent(progress: &sys::TcpProgress, longest_silence: Duration) -> bool {
    let sys::TcpProgress { unanswered, since_sent, since_answer } = *progress;
    unanswered > 0
        && since_answer >= longest_silence
        && since_sent >= ROUND_TRIP
        && since_sent + ROUND_TRIP <= since_answer
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        net::{TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use socket2::SockFilter;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        prepare_tcp(&SockRef::from(&ours)).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn ending_of(stream: &TcpStream, longest_silence: Duration) -> Option<String> {
        ending(&SockRef::from(stream), longest_silence).map(|ending| ending.reason)
    }

    #[track_caller]
    fn wait_for_ending(stream: &TcpStream) -> Ending {
        let start = Instant::now();
        loop {
            if let Some(ending) = ending(&SockRef::from(stream), LONGEST_SILENCE) {
                return ending;
            }
            assert!(start.elapsed() < DEADLINE);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// From now on the kernel throws away whatever reaches this end, as if its machine were gone.
    fn make_disappear(stream: &TcpStream) {
        const RETURN: u16 = 6;
        SockRef::from(stream).attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]).unwrap();
    }

    #[test]
    fn a_machine_that_is_gone_is_noticed_while_something_is_under_way() {
        let (mut ours, theirs) = pair();
        assert_eq!(ending_of(&ours, Duration::ZERO), None, "nothing is under way");
        // Before the last sign of life, from which the silence counts.
        let start = Instant::now();
        ours.write_all(b"one").unwrap();
        make_disappear(&theirs);
        ours.write_all(b"two").unwrap();
        let reason = loop {
            if let Some(reason) = ending_of(&ours, Duration::from_secs(3)) {
                break reason;
            }
            assert!(start.elapsed() < DEADLINE, "{:?}", sys::tcp_progress(&SockRef::from(&ours)));
            thread::sleep(Duration::from_millis(20));
        };
        // The kernel's clock is coarse.
        assert!(start.elapsed() >= Duration::from_millis(2900));
        assert!(reason.starts_with("the other machine has not answered for "), "{reason}");
    }

    #[test]
    fn a_server_that_is_there_and_reads_nothing_is_not_taken_for_gone() {
        let (mut ours, theirs) = pair();
        let start = Instant::now();
        // The kernel asks a closed window after 0.2 s, 0.4 s, 0.8 s and so on.
        while start.elapsed() < Duration::from_secs(5) {
            match ours.write(&[b'x'; 65_536]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(20));
                }
                written => drop(written.unwrap()),
            }
            assert_eq!(ending_of(&ours, Duration::from_millis(1500)), None);
        }
        drop(theirs);
    }

    #[test]
    fn an_end_is_seen_behind_a_greeting_and_a_server_that_never_stops_talking_holds_nobody_up() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"220 welcome").unwrap();
        assert_eq!(ending_of(&ours, LONGEST_SILENCE), None);
        theirs.write_all(&[b'x'; 2 * READS * READ_BYTES]).unwrap();
        drop(theirs);
        assert_eq!(ending_of(&ours, LONGEST_SILENCE), None, "there is more to read first");
        let mut looks = 0;
        while ending_of(&ours, LONGEST_SILENCE).is_none() {
            looks += 1;
            assert!(looks < 10);
        }
        let mut rest = Vec::new();
        assert_eq!((&ours).read_to_end(&mut rest).unwrap(), 0);
    }

    #[test]
    fn a_server_that_closes_without_reading_is_told_from_one_that_has_read_everything() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"one").unwrap();
        theirs.read_exact(&mut [0; 3]).unwrap();
        drop(theirs);
        assert!(wait_for_ending(&ours).is_orderly);

        let (mut ours, theirs) = pair();
        ours.write_all(b"one").unwrap();
        theirs.peek(&mut [0; 3]).unwrap();
        drop(theirs);
        assert!(!wait_for_ending(&ours).is_orderly);
    }

    #[test]
    fn what_comes_after_the_server_has_closed_is_no_orderly_end() {
        let (mut ours, theirs) = pair();
        drop(theirs);
        wait_for_ending(&ours);
        ours.write_all(b"one").unwrap();
        let start = Instant::now();
        while ending(&SockRef::from(&ours), LONGEST_SILENCE).is_some_and(|ending| ending.is_orderly) {
            assert!(start.elapsed() < DEADLINE);
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn every_tcp_connection_is_asked_for_signs_of_life() {
        let (ours, _theirs) = pair();
        assert!(SockRef::from(&ours).keepalive().unwrap());
        assert_eq!(SockRef::from(&ours).tcp_keepalive_time().unwrap(), Duration::from_secs(15));
    }
}
