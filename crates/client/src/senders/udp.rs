//! Messages over UDP: several in a datagram, many datagrams in a system call.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::address::Address;
use super::backoff::Backoff;
use super::{AddressError, Answer, Batch, Sender, TcpSender, Then, oversize, pair_hosts_with_ports, say};
use crate::stats::DropReason;
use crate::system::{DATAGRAMS_PER_CALL, send_datagrams};

/// A packed datagram is not longer than this: what fits one Ethernet frame (1500 bytes) after the headers of IPv6
/// and UDP, and 20 bytes for what a tunnel adds.
const PACKED_BYTES: usize = 1432;

/// A longer message is not sent over UDP: the largest datagram is 65,507 bytes, and not every system takes it.
const LARGEST_BYTES: usize = 60_000;

/// How long an address stays in use after its name was looked up.
const LOOKUP_AGE: Duration = Duration::from_secs(60);

/// Sends messages over UDP, each to every host.
///
/// Several messages share a datagram, separated by line breaks, up to 1432 bytes, because a datagram costs a system
/// 3 to 4 µs to send, however many of them one call takes. Nothing over UDP is certain to arrive; `metlog_seq` tells the
/// receiver what did not.
///
/// A message of more than 60,000 bytes goes by the [TCP fallback](UdpSender::tcp_fallback). Without one, or while
/// that is down, its payload is cut, with a marker at its end.
///
/// ```
/// use metlog::Client;
/// use metlog::senders::UdpSender;
///
/// let sender = UdpSender::hosts(&["127.0.0.1", "::1"], &[5565])?.pack(false);
/// let client = Client::builder().logger("shop").sender(sender).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct UdpSender {
    hosts: Vec<Host>,
    packed_bytes: usize,
    fallback: Option<Fallback>,
    backoff: Backoff,
    said_oversized: bool,
    shortened: Vec<u8>,
}

#[derive(Debug)]
struct Fallback {
    sender: TcpSender,
    backoff: Backoff,
    /// When it failed last, the time until which it is left alone: UDP does not wait for it.
    not_before: Option<Instant>,
}

impl UdpSender {
    /// A sender to `host:port`.
    pub fn new(address: &str) -> Result<UdpSender, AddressError> {
        UdpSender::to_all(&[address])
    }

    /// A sender to several addresses; each message goes to all of them.
    pub fn to_all(addresses: &[impl AsRef<str>]) -> Result<UdpSender, AddressError> {
        let hosts: Vec<Host> = addresses
            .iter()
            .map(|address| Address::parse(address.as_ref()).map(Host::new))
            .collect::<Result<_, _>>()?;
        if hosts.is_empty() {
            return Err(AddressError::Empty { missing: "host" });
        }
        Ok(UdpSender {
            hosts,
            packed_bytes: PACKED_BYTES,
            fallback: None,
            backoff: Backoff::default(),
            said_oversized: false,
            shortened: Vec::new(),
        })
    }

    /// A sender to several hosts; each message goes to all of them. Hosts beyond the last port repeat it.
    pub fn hosts(hosts: &[impl AsRef<str>], ports: &[u16]) -> Result<UdpSender, AddressError> {
        UdpSender::to_all(&pair_hosts_with_ports(hosts, ports)?)
    }

    /// Whether several messages share a datagram, which is the default. `false` for receivers that take one each.
    #[must_use]
    pub fn pack(self, pack: bool) -> UdpSender {
        self.packed_bytes(if pack { PACKED_BYTES } else { 0 })
    }

    /// How long a datagram of several messages may be; the default is 1432 bytes. More makes sense on the loopback
    /// interface or with jumbo frames.
    #[must_use]
    pub fn packed_bytes(mut self, bytes: usize) -> UdpSender {
        self.packed_bytes = bytes.min(LARGEST_BYTES);
        self
    }

    /// Where messages go that are too large for UDP.
    #[must_use]
    pub fn tcp_fallback(mut self, sender: TcpSender) -> UdpSender {
        self.fallback = Some(Fallback::new(sender));
        self
    }

    /// Hands datagrams to the kernel for every host, and says how many went to at least one of them.
    fn send_to_all(&mut self, datagrams: &[&[u8]]) -> io::Result<usize> {
        let mut best = 0;
        let mut failure = None;
        for host in &mut self.hosts {
            let (taken, error) = host.send(datagrams);
            best = best.max(taken);
            failure = error.or(failure);
        }
        match failure {
            Some(error) if best == 0 => Err(error),
            _ => Ok(best),
        }
    }

    /// Sends the only message of `batch`, which is too large.
    fn send_oversized(&mut self, batch: &Batch<'_>) -> Answer {
        let length = batch.message(0).len();
        if !self.said_oversized {
            self.said_oversized = true;
            let way = if self.fallback.is_some() { "goes by TCP" } else { "loses the end of its payload" };
            say(format_args!(
                "a message of {length} bytes is too large for UDP and {way}; this is said once"
            ));
        }
        if let Some(fallback) = &mut self.fallback
            && fallback.send(batch)
        {
            return Answer::all(batch);
        }
        let mut shortened = std::mem::take(&mut self.shortened);
        let fits = oversize::shorten(batch.message(0), length, LARGEST_BYTES, &mut shortened);
        let sent = if fits { self.send_to_all(&[&shortened]) } else { Ok(0) };
        self.shortened = shortened;
        match sent {
            Ok(1..) => Answer { sent: 1, truncated: 1, then: Then::GoOn },
            Ok(0) => Answer::refuse(0, DropReason::TooLarge),
            Err(error) => self.failed(0, &error),
        }
    }

    fn failed(&mut self, sent: usize, error: &io::Error) -> Answer {
        if error.raw_os_error() == Some(libc::EMSGSIZE) {
            return Answer::refuse(sent, DropReason::TooLarge);
        }
        if !self.backoff.is_failing() {
            let addresses: Vec<String> = self.hosts.iter().map(|host| host.address.to_string()).collect();
            say(format_args!("udp {}: {error}; trying again until it works", addresses.join(", ")));
        }
        Answer::retry(sent, self.backoff.failed())
    }
}

impl Sender for UdpSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        let mut sent = 0;
        let mut truncated = 0;
        while sent < batch.len() {
            let packed = Packed::from(batch, sent, self.packed_bytes);
            let answer = if packed.count == 0 {
                self.send_oversized(&batch.slice(sent, sent + 1))
            } else {
                match self.send_to_all(&packed.datagrams[..packed.count]) {
                    Ok(taken) => {
                        self.backoff.succeeded();
                        let messages = taken.checked_sub(1).map_or(0, |last| packed.ends[last] - sent);
                        Answer { sent: messages, truncated: 0, then: Then::GoOn }
                    }
                    Err(error) => self.failed(0, &error),
                }
            };
            sent += answer.sent;
            truncated += answer.truncated;
            if answer.then != Then::GoOn || answer.sent == 0 {
                return Answer { sent, truncated, then: answer.then };
            }
        }
        Answer { sent, truncated, then: Then::GoOn }
    }

    fn fresh(&self) -> Box<dyn Sender> {
        let hosts = self.hosts.iter().map(|host| Host::new(host.address.clone())).collect();
        let fallback = self.fallback.as_ref().map(|fallback| Fallback::new(fallback.sender.duplicate()));
        Box::new(UdpSender {
            hosts,
            packed_bytes: self.packed_bytes,
            fallback,
            backoff: Backoff::default(),
            said_oversized: self.said_oversized,
            shortened: Vec::new(),
        })
    }

    fn over_network(&self) -> bool {
        true
    }
}

impl Fallback {
    fn new(sender: TcpSender) -> Fallback {
        Fallback { sender, backoff: Backoff::default(), not_before: None }
    }

    /// Whether the message is out. If not, it is not offered again: it goes another way.
    fn send(&mut self, batch: &Batch<'_>) -> bool {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return false;
        }
        if self.sender.send(batch).sent == 1 {
            self.backoff.succeeded();
            return true;
        }
        // A part of it may be written, and what comes next must not be taken for its end.
        self.sender.abandon();
        self.not_before = Some(Instant::now() + self.backoff.failed());
        false
    }
}

/// Messages gathered into datagrams.
struct Packed<'a> {
    datagrams: [&'a [u8]; DATAGRAMS_PER_CALL],
    /// The number of the message after each datagram's last.
    ends: [usize; DATAGRAMS_PER_CALL],
    /// How many datagrams there are; none where the first message is too large for one.
    count: usize,
}

impl<'a> Packed<'a> {
    fn from(batch: &Batch<'a>, first: usize, packed_bytes: usize) -> Packed<'a> {
        let mut packed =
            Packed { datagrams: [&[]; DATAGRAMS_PER_CALL], ends: [0; DATAGRAMS_PER_CALL], count: 0 };
        let mut next = first;
        while packed.count < DATAGRAMS_PER_CALL && next < batch.len() {
            let mut bytes = batch.message(next).len();
            if bytes > LARGEST_BYTES {
                break;
            }
            let start = next;
            next += 1;
            while next < batch.len() {
                bytes += 1 + batch.message(next).len();
                if bytes > packed_bytes {
                    break;
                }
                next += 1;
            }
            let lines = batch.lines(start, next);
            packed.datagrams[packed.count] = &lines[..lines.len() - 1];
            packed.ends[packed.count] = next;
            packed.count += 1;
        }
        packed
    }
}

/// One destination and its socket.
#[derive(Debug)]
struct Host {
    address: Address,
    socket: Option<(UdpSocket, Instant)>,
}

impl Host {
    fn new(address: Address) -> Host {
        Host { address, socket: None }
    }

    /// Sends datagrams and says how many the kernel took, and why not all of them.
    fn send(&mut self, datagrams: &[&[u8]]) -> (usize, Option<io::Error>) {
        if self.socket.as_ref().is_some_and(|(_, since)| since.elapsed() > LOOKUP_AGE) {
            self.socket = None;
        }
        let (socket, _) = match &mut self.socket {
            Some(socket) => socket,
            None => match self.connect() {
                Ok(socket) => self.socket.insert((socket, Instant::now())),
                Err(error) => return (0, Some(error)),
            },
        };
        let mut taken = 0;
        let mut refusals = 0;
        while taken < datagrams.len() {
            match send_datagrams(socket.as_fd(), &datagrams[taken..]) {
                Ok(count) => {
                    taken += count;
                    refusals = 0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The news that nobody listened to an earlier datagram. This one was not sent yet; whether
                // somebody listens now is not for the sender of a datagram to know.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && refusals < 2 => {
                    refusals += 1
                }
                Err(error) => {
                    if error.raw_os_error() != Some(libc::EMSGSIZE) {
                        self.socket = None;
                    }
                    return (taken, Some(error));
                }
            }
        }
        (taken, None)
    }

    fn connect(&self) -> io::Result<UdpSocket> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in self.address.resolve()? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            match UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| socket)) {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lines;
    use super::*;

    fn receiver() -> (UdpSocket, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        (socket, address)
    }

    fn receive(socket: &UdpSocket) -> String {
        let mut buffer = vec![0; 70_000];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn small_messages_share_a_datagram_up_to_its_limit() {
        let (socket, address) = receiver();
        let lines = Lines::of(&["a".repeat(700), "b".repeat(731), "c".repeat(10)]);
        let mut sender = UdpSender::new(&address).unwrap();
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!(receive(&socket).len(), 1432);
        assert_eq!(receive(&socket), "c".repeat(10));
    }

    #[test]
    fn without_packing_each_message_has_its_own_datagram() {
        let (socket, address) = receiver();
        let messages: Vec<String> = (0..200).map(|number| format!("message {number}")).collect();
        let lines = Lines::of(&messages);
        let mut sender = UdpSender::new(&address).unwrap().pack(false);
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        for message in &messages {
            assert_eq!(&receive(&socket), message);
        }
    }

    #[test]
    fn every_host_gets_every_message() {
        let (one, first) = receiver();
        let (two, second) = receiver();
        let lines = Lines::of(&["hello"]);
        let mut sender = UdpSender::to_all(&[first, second]).unwrap();
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!((receive(&one), receive(&two)), ("hello".to_owned(), "hello".to_owned()));
    }

    #[test]
    fn a_closed_port_takes_messages_and_says_nothing() {
        let (socket, address) = receiver();
        drop(socket);
        let lines = Lines::of(&vec!["x".repeat(1000); 100]);
        assert_eq!(UdpSender::new(&address).unwrap().send(&lines.batch()), Answer::all(&lines.batch()));
    }

    #[test]
    fn a_name_that_does_not_resolve_is_tried_again() {
        let mut sender = UdpSender::new("no-such-host.invalid:1").unwrap();
        let lines = Lines::of(&["x"]);
        assert!(matches!(sender.send(&lines.batch()), Answer { sent: 0, then: Then::Retry(_), .. }));
    }

    #[test]
    fn a_message_too_large_is_cut_between_two_that_are_not() {
        let (socket, address) = receiver();
        let large = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "y".repeat(80_000));
        let lines = Lines::of(&["before", &large, "after"]);
        let mut sender = UdpSender::new(&address).unwrap();
        assert_eq!(sender.send(&lines.batch()), Answer { sent: 3, truncated: 1, then: Then::GoOn });
        assert_eq!(receive(&socket), "before");
        let cut: serde_json::Value = serde_json::from_str(&receive(&socket)).unwrap();
        let payload = cut["payload"].as_str().unwrap();
        assert!(payload.ends_with(&format!("y [truncated from {} bytes]", large.len())), "{payload}");
        assert_eq!(receive(&socket), "after");
    }

    #[test]
    fn a_message_that_cannot_be_cut_is_refused() {
        let (_socket, address) = receiver();
        let lines = Lines::of(&["before".to_owned(), "z".repeat(80_000)]);
        let answer = UdpSender::new(&address).unwrap().send(&lines.batch());
        assert_eq!(answer, Answer::refuse(1, DropReason::TooLarge));
    }
}
