//! Messages over UDP: several in a datagram, many datagrams in a system call.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::address::Address;
use super::backoff::Backoff;
use super::encoder::Recoded;
use super::{
    AddressError, Answer, Batch, Encoder, Sender, TcpSender, Then, oversize, pair_hosts_with_ports, say,
};
use crate::stats::DropReason;
use crate::system::{DATAGRAMS_PER_CALL, send_datagrams};

/// A packed datagram is not longer than this: what fits one Ethernet frame (1500 bytes) after the headers of IPv6
/// and UDP, and 20 bytes for what a tunnel adds.
const PACKED_BYTES: usize = 1432;

/// A longer message is not sent over UDP: the largest datagram is 65,507 bytes, and not every system takes it.
const LARGEST_BYTES: usize = 60_000;

/// How long an address stays in use before its name is looked up again.
const LOOKUP_AGE: Duration = Duration::from_secs(60);

/// A host that fails is left alone for at least so many times as long as the failure took: a name server that does not
/// answer must not hold up the other hosts.
const REST_AFTER_FAILURE: u32 = 9;

/// Sends messages over UDP, each to every host.
///
/// Several messages share a datagram, separated by line breaks, up to 1432 bytes, because a datagram costs a system
/// 3 to 4 µs to send, however many of them one call takes. Nothing over UDP is certain to arrive; `metlog_seq` tells the
/// receiver what did not. Of several hosts, one that fails is left alone for a while, and messages go to the others; the
/// client says so on standard error, and how many messages the host missed when it is back, or at the end.
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
    encoder: Encoder,
    recoded: Recoded,
    fallback: Option<Fallback>,
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
            encoder: Encoder::Json,
            recoded: Recoded::default(),
            fallback: None,
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

    /// How messages are written into datagrams. With anything but JSON each message has a datagram of its own, except for
    /// what is too large, which is cut as JSON.
    #[must_use]
    pub fn encoder(mut self, encoder: Encoder) -> UdpSender {
        self.encoder = encoder;
        self
    }

    /// Where messages go that are too large for UDP.
    #[must_use]
    pub fn tcp_fallback(mut self, sender: TcpSender) -> UdpSender {
        self.fallback = Some(Fallback::new(sender));
        self
    }

    /// Sends messages from the first on, in datagrams of their own.
    fn send_recoded(&mut self, batch: &Batch<'_>) -> Answer {
        let mut recoded = std::mem::take(&mut self.recoded);
        let fit = batch.iter().take(DATAGRAMS_PER_CALL).take_while(|message| message.len() <= LARGEST_BYTES);
        recoded.fill(fit);
        let datagrams: Vec<&[u8]> = recoded.datagrams().collect();
        let answer = if datagrams.is_empty() {
            self.send_oversized(&batch.slice(0, 1))
        } else {
            match self.send_to_all(&datagrams) {
                Ok(sent) => Answer { sent, truncated: 0, then: Then::GoOn },
                Err(then) => Answer { sent: 0, truncated: 0, then },
            }
        };
        self.recoded = recoded;
        answer
    }

    /// Sends messages from the first on, several in a datagram.
    fn send_packed(&mut self, batch: &Batch<'_>) -> Answer {
        let packed = Packed::from(batch, self.packed_bytes);
        if packed.count == 0 {
            return self.send_oversized(&batch.slice(0, 1));
        }
        match self.send_to_all(&packed.datagrams[..packed.count]) {
            Ok(taken) => {
                let messages = taken.checked_sub(1).map_or(0, |last| packed.ends[last]);
                Answer { sent: messages, truncated: 0, then: Then::GoOn }
            }
            Err(then) => Answer { sent: 0, truncated: 0, then },
        }
    }

    /// Hands datagrams to the kernel for every host, and says how many went to at least one of them; if none did,
    /// what to do about the first.
    fn send_to_all(&mut self, datagrams: &[&[u8]]) -> Result<usize, Then> {
        let now = Instant::now();
        for host in &mut self.hosts {
            host.taken = None;
            if host.not_before.is_none_or(|time| time <= now) {
                host.send(datagrams);
            }
        }
        let most = |hosts: &[Host]| hosts.iter().filter_map(|host| host.taken).max().unwrap_or(0);
        let mut best = most(&self.hosts);
        if best == 0 {
            // There is nobody better than those that failed lately.
            self.hosts.iter_mut().filter(|host| host.taken.is_none()).for_each(|host| host.send(datagrams));
            best = most(&self.hosts);
        }
        if best == 0 {
            return Err(self.nobody_took_it());
        }
        for host in &mut self.hosts {
            let taken = host.taken.unwrap_or(0);
            if taken < best {
                host.missed += messages_in(&datagrams[taken..best]);
            }
        }
        Ok(best)
    }

    fn nobody_took_it(&self) -> Then {
        if self.hosts.iter().any(|host| host.too_large) {
            return Then::Drop(DropReason::TooLarge);
        }
        let now = Instant::now();
        let delays = self.hosts.iter().filter_map(|host| host.not_before?.checked_duration_since(now));
        Then::Retry(delays.min().unwrap_or_default())
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
            Err(then) => Answer { sent: 0, truncated: 0, then },
        }
    }
}

impl Sender for UdpSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        let mut sent = 0;
        let mut truncated = 0;
        while sent < batch.len() {
            let rest = batch.slice(sent, batch.len());
            let answer = match self.encoder {
                Encoder::Json => self.send_packed(&rest),
                Encoder::Msgpack => self.send_recoded(&rest),
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
            encoder: self.encoder,
            recoded: Recoded::default(),
            fallback,
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
    fn from(batch: &Batch<'a>, packed_bytes: usize) -> Packed<'a> {
        let mut packed =
            Packed { datagrams: [&[]; DATAGRAMS_PER_CALL], ends: [0; DATAGRAMS_PER_CALL], count: 0 };
        let mut next = 0;
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

/// How many messages some datagrams carry.
fn messages_in(datagrams: &[&[u8]]) -> u64 {
    let messages = |datagram: &&[u8]| match datagram.first() {
        // It names its encoding and holds one message; a line break in it means nothing.
        Some(0) => 1,
        _ => 1 + datagram.iter().filter(|byte| **byte == b'\n').count() as u64,
    };
    datagrams.iter().map(messages).sum()
}

/// One destination and its socket.
#[derive(Debug)]
struct Host {
    address: Address,
    /// With the time when the name is to be looked up again.
    socket: Option<(UdpSocket, Instant)>,
    backoff: Backoff,
    /// When it failed last, the time until which the other hosts come first.
    not_before: Option<Instant>,
    /// How many messages went to other hosts and not to this one since it failed.
    missed: u64,
    /// How many datagrams it took of those that were sent last; `None` if it was not asked.
    taken: Option<usize>,
    /// Whether the next one is too large for it.
    too_large: bool,
}

impl Host {
    fn new(address: Address) -> Host {
        Host {
            address,
            socket: None,
            backoff: Backoff::default(),
            not_before: None,
            missed: 0,
            taken: None,
            too_large: false,
        }
    }

    /// Sends datagrams, and keeps how many the kernel took.
    fn send(&mut self, datagrams: &[&[u8]]) {
        let start = Instant::now();
        let (taken, error) = self.hand_over(datagrams);
        self.taken = Some(taken);
        self.too_large = error.as_ref().is_some_and(|error| error.raw_os_error() == Some(libc::EMSGSIZE));
        match error {
            Some(error) if !self.too_large => {
                self.socket = None;
                self.failed(&error, start.elapsed());
            }
            _ => self.succeeded(),
        }
    }

    fn failed(&mut self, error: &io::Error, took: Duration) {
        if !self.backoff.is_failing() {
            say(format_args!("udp {}: {error}; trying again until it works", self.address));
        }
        let rest = self.backoff.failed().max(took * REST_AFTER_FAILURE);
        self.not_before = Some(Instant::now() + rest);
    }

    fn succeeded(&mut self) {
        if self.backoff.is_failing() {
            self.backoff.succeeded();
            self.not_before = None;
            say(format_args!("udp {}: works again{}", self.address, Missed(self.missed)));
            self.missed = 0;
        }
    }

    /// Sends datagrams, and says how many the kernel took, and why not all of them.
    fn hand_over(&mut self, datagrams: &[&[u8]]) -> (usize, Option<io::Error>) {
        let old = self.socket.take();
        let socket = match old {
            Some((socket, lookup_due)) if Instant::now() < lookup_due => (socket, lookup_due),
            old => match (self.connect(), old) {
                (Ok(socket), _) => (socket, Instant::now() + LOOKUP_AGE),
                // An address that was good a minute ago is better than none.
                (Err(_), Some((socket, _))) => (socket, Instant::now() + LOOKUP_AGE),
                (Err(error), None) => return (0, Some(error)),
            },
        };
        let (socket, _) = self.socket.insert(socket);
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
                Err(error) => return (taken, Some(error)),
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

impl Drop for Host {
    fn drop(&mut self) {
        if self.missed > 0 {
            say(format_args!("udp {}: closed{}", self.address, Missed(self.missed)));
        }
    }
}

/// What a host did not get, as the end of a line of the log.
struct Missed(u64);

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => Ok(()),
            1 => f.write_str("; it missed 1 message"),
            missed => write!(f, "; it missed {missed} messages"),
        }
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
    fn messages_in_msgpack_have_datagrams_of_their_own_and_what_is_too_large_is_cut_as_json() {
        let (socket, address) = receiver();
        let large = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "y".repeat(80_000));
        let small = r#"{"type":"x","payload":"a\nb"}"#;
        let lines = Lines::of(&[small, small, &large, small]);
        let mut sender = UdpSender::new(&address).unwrap().encoder(Encoder::Msgpack);
        assert_eq!(sender.send(&lines.batch()), Answer { sent: 4, truncated: 1, then: Then::GoOn });
        let mut buffer = vec![0; 70_000];
        let mut starts = Vec::new();
        for _ in 0..4 {
            let length = socket.recv(&mut buffer).unwrap();
            starts.push(buffer[..length].starts_with(b"\0msgpack::\x82"));
        }
        assert_eq!(starts, [true, true, false, true]);
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

    #[test]
    fn a_dead_host_is_left_alone_for_a_while_and_what_it_misses_is_counted() {
        let (socket, address) = receiver();
        let mut sender = UdpSender::to_all(&["no-such-host.invalid:1", &address]).unwrap().pack(false);
        let lines = Lines::of(&["one", "two", "three"]);
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < 10 || start.elapsed() < Duration::from_millis(300) {
            assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
            for expected in ["one", "two", "three"] {
                assert_eq!(receive(&socket), expected);
            }
            rounds += 1;
        }
        let dead = &sender.hosts[0];
        assert_eq!(dead.missed, rounds * 3);
        // 20 ms, 40 ms, 80 ms …, each at least by half.
        assert!(dead.backoff.failures() <= 7, "{} lookups in {rounds} rounds", dead.backoff.failures());
        assert_eq!(sender.hosts[1].missed, 0);
    }

    #[test]
    fn a_host_that_is_back_gets_messages_again() {
        let (one, first) = receiver();
        let (two, second) = receiver();
        let mut sender = UdpSender::to_all(&[first, second]).unwrap();
        let lines = Lines::of(&["hello"]);
        sender.hosts[0].failed(&io::ErrorKind::NetworkUnreachable.into(), Duration::ZERO);
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!(receive(&two), "hello");
        assert_eq!(sender.hosts[0].missed, 1);
        std::thread::sleep(Duration::from_millis(25));
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!(receive(&one), "hello");
        assert!(sender.hosts[0].missed == 0 && !sender.hosts[0].backoff.is_failing());
    }

    #[test]
    fn a_lookup_that_fails_leaves_the_host_the_address_that_it_had() {
        let (socket, address) = receiver();
        let lines = Lines::of(&["hello"]);
        let mut sender = UdpSender::new(&address).unwrap();
        sender.send(&lines.batch());
        sender.hosts[0].address = Address::parse("no-such-host.invalid:1").unwrap();
        if let Some((_, lookup_due)) = &mut sender.hosts[0].socket {
            *lookup_due = Instant::now();
        }
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
        assert_eq!((receive(&socket), receive(&socket)), ("hello".to_owned(), "hello".to_owned()));
    }
}
