//! Messages over UDP: several in a datagram, many datagrams in a system call.

use std::time::Instant;

mod fallback;
mod host;
mod packed;
mod refusals;
#[cfg(test)]
mod tests;

use self::fallback::Fallback;
use self::host::Host;
use self::packed::{Packed, messages_in};
use super::address::Address;
use super::encoder::Recoded;
use super::oversize::LARGEST_DATAGRAM_BYTES;
use super::{
    AddressError, Answer, Batch, Encoder, Sender, TcpSender, Then, oversize, pair_hosts_with_ports, say,
};
use crate::stats::DropReason;
use crate::system::DATAGRAMS_PER_CALL;

/// A packed datagram is not longer than this: what fits one Ethernet frame (1500 bytes) after the headers of IPv6
/// and UDP, and 20 bytes for what a tunnel adds.
const PACKED_BYTES: usize = 1432;

/// Sends messages over UDP, each to every host.
///
/// Several messages share a datagram, separated by line breaks, up to 1432 bytes, because a datagram costs a system
/// 3 to 4 µs to send, however many of them one call takes. Nothing over UDP is certain to arrive; `metlog_seq` tells the
/// receiver what did not. Where the system says that nobody listens, which it does on the same machine, the client says so
/// on its own log, and counts what it knows to be lost as [`DropReason::Unreachable`]. Of several hosts, one that fails is left alone for a while, and messages go to the others; the
/// client says so on its own log, and how many messages the host missed when it is back, or at the end.
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
        self.packed_bytes = bytes.min(LARGEST_DATAGRAM_BYTES);
        self
    }

    /// How messages are written into datagrams. With anything but JSON each message has a datagram of its own, except for
    /// what is too large, which goes as JSON.
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
        let fit = batch
            .iter()
            .take(DATAGRAMS_PER_CALL)
            .take_while(|message| message.len() <= LARGEST_DATAGRAM_BYTES);
        recoded.fill(fit, LARGEST_DATAGRAM_BYTES);
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
        let fits = oversize::shorten(batch.message(0), length, LARGEST_DATAGRAM_BYTES, &mut shortened);
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

    fn lost(&mut self) -> u64 {
        let lost = self.hosts.iter_mut().map(Host::lost).sum();
        // Of several hosts another one may have it.
        if self.hosts.len() == 1 { lost } else { 0 }
    }
}
