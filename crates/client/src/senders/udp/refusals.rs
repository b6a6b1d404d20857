//! What the system tells about datagrams that nobody listened to.
//!
//! It tells of one at a time, by an error on the socket that sent it, and only where an answer comes back: from the same
//! machine, seldom from another. So what is counted here is the least that was lost.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::senders::address::Address;
use crate::senders::say;

/// How long after a datagram no refusal must have come until somebody is taken to listen.
const QUIET: Duration = Duration::from_secs(1);

/// The refusals of one host.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// How many messages the datagram held that was sent last.
    last: u64,
    /// Messages that are known to be lost and were not asked for yet.
    lost: u64,
    /// The same since the log said that nobody listens; `None` while it has not.
    said: Option<u64>,
    /// When the first datagram since the last refusal went.
    quiet_since: Option<Instant>,
    /// Whether a call ended early, which is what a refusal in the middle of one looks like.
    is_suspect: bool,
}

impl Refusals {
    /// Whether nobody seems to listen.
    pub(super) fn is_refused(&self) -> bool {
        self.is_suspect || self.said.is_some()
    }

    /// Keeps how many messages the last datagram held, and whether the call took fewer datagrams than it was given.
    pub(super) fn sent(&mut self, messages: u64, ended_early: bool) {
        self.last = messages;
        self.is_suspect = ended_early;
        if self.said.is_some() && self.quiet_since.is_none() {
            self.quiet_since = Some(Instant::now());
        }
    }

    /// Asks the system whether an earlier datagram was refused.
    pub(super) fn ask(&mut self, socket: &UdpSocket, address: &Address) {
        match socket.take_error() {
            Ok(Some(error)) if error.kind() == io::ErrorKind::ConnectionRefused => self.refused(address),
            _ if self.quiet_since.is_some_and(|time| time.elapsed() >= QUIET) => {
                let lost = self.said.take().unwrap_or_default();
                self.quiet_since = None;
                say(format_args!("udp {address}: somebody listens again; messages known to be lost: {lost}"));
            }
            _ => {}
        }
    }

    /// An earlier datagram was refused.
    pub(super) fn refused(&mut self, address: &Address) {
        if self.said.is_none() {
            say(format_args!(
                "udp {address}: nobody listens there, and messages are lost until somebody does"
            ));
        }
        self.said = Some(self.said.unwrap_or_default() + self.last);
        self.lost += self.last;
        self.quiet_since = None;
    }

    /// How many messages are known to be lost since this was asked last.
    pub(super) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
