//! One destination of a sender over UDP, and its socket.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use super::packed::messages_in;
use super::refusals::Refusals;
use crate::senders::address::Address;
use crate::senders::backoff::Backoff;
use crate::senders::say;
use crate::system::send_datagrams;

/// How long an address stays in use before its name is looked up again.
const LOOKUP_AGE: Duration = Duration::from_secs(60);

/// A host that fails is left alone for at least so many times as long as the failure took: a name server that does not
/// answer must not hold up the other hosts.
const REST_AFTER_FAILURE: u32 = 9;

/// One destination and its socket.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) address: Address,
    /// With the time when the name is to be looked up again.
    pub(super) socket: Option<(UdpSocket, Instant)>,
    pub(super) backoff: Backoff,
    /// When it failed last, the time until which the other hosts come first.
    pub(super) not_before: Option<Instant>,
    /// How many messages went to other hosts and not to this one since it failed.
    pub(super) missed: u64,
    /// How many datagrams it took of those that were sent last; `None` if it was not asked.
    pub(super) taken: Option<usize>,
    /// Whether the next one is too large for it.
    pub(super) too_large: bool,
    refusals: Refusals,
}

impl Host {
    pub(super) fn new(address: Address) -> Host {
        Host {
            address,
            socket: None,
            backoff: Backoff::default(),
            not_before: None,
            missed: 0,
            taken: None,
            too_large: false,
            refusals: Refusals::default(),
        }
    }

    /// How many messages are known to be lost since this was asked last, because nobody listened.
    pub(super) fn lost(&mut self) -> u64 {
        if let Some((socket, _)) = &self.socket {
            self.refusals.ask(socket, &self.address);
        }
        self.refusals.take()
    }

    /// Sends datagrams, and keeps how many the kernel took.
    pub(super) fn send(&mut self, datagrams: &[&[u8]]) {
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

    pub(super) fn failed(&mut self, error: &io::Error, took: Duration) {
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
        // What an earlier datagram met comes to light before this one goes.
        self.refusals.ask(socket, &self.address);
        let mut taken = 0;
        let mut refusals = 0;
        while taken < datagrams.len() {
            // Of several datagrams in a call the kernel keeps to itself why it stopped after the first ones, so one goes
            // alone as long as nobody seems to listen.
            let end = if self.refusals.is_refused() { taken + 1 } else { datagrams.len() };
            match send_datagrams(socket.as_fd(), &datagrams[taken..end]) {
                Ok(count) => {
                    taken += count;
                    refusals = 0;
                    self.refusals.sent(messages_in(&datagrams[taken - 1..taken]), taken < end);
                    self.refusals.ask(socket, &self.address);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The news that nobody listened to an earlier datagram. This one was not sent yet; whether
                // somebody listens now is not for the sender of a datagram to know.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && refusals < 2 => {
                    self.refusals.refused(&self.address);
                    refusals += 1;
                }
                Err(error) => return (taken, Some(error)),
            }
        }
        (taken, None)
    }

    fn connect(&self) -> io::Result<UdpSocket> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in by_preference(self.address.resolve()?) {
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

/// Addresses in the order in which they are tried. Nobody answers a datagram that went to the wrong one of a name's
/// addresses, and `localhost` has two: routers listen on IPv4 first.
fn by_preference(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses
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
    use super::*;

    #[test]
    fn of_a_name_with_addresses_of_both_kinds_those_of_ipv4_come_first() {
        let addresses = ["[::1]:1", "127.0.0.1:1", "[::2]:1", "127.0.0.2:1"];
        let found = by_preference(addresses.map(|text| text.parse().unwrap()).into());
        let found: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
        assert_eq!(found, ["127.0.0.1:1", "127.0.0.2:1", "[::1]:1", "[::2]:1"]);
    }
}
