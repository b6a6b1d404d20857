//! `kind = "statsd"`: counters, timers, gauges and sets to a statsd server.
//!
//! A message becomes a line ([`lines`] says which), and lines leave together: as many in a datagram as fit into one packet
//! of the network, or a stream of them. A line is never split.
//!
//! Delivered means taken by the kernel; statsd has no acknowledgements. Over UDP that is so even if nobody listens. What the
//! network then reports is counted as `peer-unreachable` and shown as the endpoint's failure until a delivery goes by
//! without such a report, but holds nothing up: metrics of a minute ago are worth less than those of now. Over TCP and Unix
//! sockets a server that is not there is noticed before anything is lost, and its messages wait for it.

mod connection;
mod lines;

use std::{path::PathBuf, sync::Arc, time::Duration};

use self::{
    connection::{Connection, Interrupted, Server},
    lines::Lines,
};
use super::{
    Answer, Delivery, EndpointContext, EndpointSettings, NetworkEndpoint, OpenError, Opened, Preview, Then,
    Work,
};
use crate::{
    batch::Message,
    config::{Address, Section, choices, parameters},
    ledger::{EndpointCounters, Failure},
};

choices! {
    /// How lines travel.
    pub enum Transport {
        /// As UDP datagrams to `address`.
        Udp = "udp",
        /// Over a TCP connection to `address`, one line behind the other.
        Tcp = "tcp",
        /// As datagrams to the Unix socket at `path`.
        Unix = "unix",
        /// Over a connection to the Unix socket at `path`.
        UnixStream = "unix_stream",
    }
}

parameters! {
    /// Sends counters, timers, gauges, sets and `procinfo` (as gauges) to a statsd server. The name of a metric is the
    /// logger (`fields.logger` where it is given), a dot, and `fields.name`; characters other than ASCII letters,
    /// digits, `_`, `-` and `.` become `_`, and `/` becomes `-`.
    pub struct Parameters {
        /// How lines travel.
        pub transport: Transport = Transport::Udp,
        /// The server's host and port, for UDP and TCP.
        pub address: Address = Address { host: "127.0.0.1".to_owned(), port: 8125 },
        /// The server's socket, for Unix sockets.
        pub path: Option<PathBuf>,
        /// What every name begins with, in front of the logger; a dot is put behind it.
        pub prefix: String = String::new(),
        /// How many bytes of lines a datagram carries at most. The default fits through an Ethernet whole; 512 is safe
        /// anywhere, and 8932 suits jumbo frames. A line that is longer by itself travels alone.
        pub datagram_bytes: u16 = 1432,
        /// How long messages wait for others to travel with.
        pub linger: Duration = Duration::from_millis(50),
        /// How often the host's name is looked up anew. It is also looked up after a failure.
        pub resolve: Duration = Duration::from_secs(60),
        /// How long looking up, connecting and each step of sending may take.
        pub timeout: Duration = Duration::from_secs(5),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
address = "127.0.0.1:8125"
"#;

/// The line is longer than any datagram.
const REFUSED_LENGTH: &str = "statsd-length";

/// What the ledger calls a datagram that found nobody.
const NOTICE_UNREACHABLE: &str = "peer-unreachable";

/// The most that a UDP datagram carries over IPv4.
const LARGEST_DATAGRAM_BYTES: usize = 65_507;

/// How much is written to a stream at once.
const STREAM_WRITE_BYTES: usize = 64 * 1024;

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let problem = |problem: String| OpenError { name: context.name.clone(), problem };
        let server = self.server().map_err(problem)?;
        let lines = Lines::new(&self.prefix).map_err(|error| problem(error.to_string()))?;
        let parcel_bytes = if server.takes_datagrams() {
            usize::from(self.datagram_bytes).min(LARGEST_DATAGRAM_BYTES) + 1
        } else {
            STREAM_WRITE_BYTES
        };
        Ok(Opened::Network(Box::new(StatsdEndpoint {
            lines,
            connection: Connection::new(server, context.clock.clone(), self.timeout, self.resolve),
            parcel: Parcel::default(),
            parcel_bytes,
            health: Health { name: context.name, counters: context.counters, failures: 0 },
        })))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        // Whatever cannot be, the check of the configuration has found before.
        let (Ok(server), Ok(lines)) = (self.server(), Lines::new(&self.prefix)) else {
            return Preview::Keeps;
        };
        let mut bytes = Vec::new();
        match append(&lines, &server, message, &mut bytes) {
            Ok(()) => Preview::Sends { to: server.to_string(), bytes },
            Err(reason) => Preview::Refuses { reason },
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        if let Err(problem) = self.server() {
            let span = section.span_of(if self.path.is_some() { "path" } else { "transport" });
            section.diagnostics().error(span, problem);
        }
    }

    fn linger(&self) -> Duration {
        self.linger
    }
}

impl Parameters {
    fn server(&self) -> Result<Server, String> {
        match (self.transport, &self.path) {
            (Transport::Udp, None) => Ok(Server::Udp(self.address.clone())),
            (Transport::Tcp, None) => Ok(Server::Tcp(self.address.clone())),
            (Transport::Unix, Some(path)) => Ok(Server::UnixDatagram(path.clone())),
            (Transport::UnixStream, Some(path)) => Ok(Server::UnixStream(path.clone())),
            (Transport::Udp | Transport::Tcp, Some(_)) => Err(format!(
                "`path` is for Unix sockets; with transport = \"{}\" the server is at `address`",
                self.transport
            )),
            (Transport::Unix | Transport::UnixStream, None) => {
                Err(format!("transport = \"{}\" needs the `path` of the server's socket", self.transport))
            }
        }
    }
}

/// Appends the lines of a message, or nothing and says why.
fn append(
    encoder: &Lines,
    server: &Server,
    message: &Message<'_>,
    lines: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let start = lines.len();
    encoder.append(message, lines)?;
    if server.takes_datagrams() && lines.len() - start > LARGEST_DATAGRAM_BYTES + 1 {
        lines.truncate(start);
        return Err(REFUSED_LENGTH);
    }
    Ok(())
}

struct StatsdEndpoint {
    lines: Lines,
    connection: Connection,
    parcel: Parcel,
    /// How large a parcel grows, the line break at its end included, unless one message needs more.
    parcel_bytes: usize,
    health: Health,
}

impl NetworkEndpoint for StatsdEndpoint {
    fn deliver<'a>(&'a mut self, work: &'a Work) -> Delivery<'a> {
        Box::pin(async move {
            self.parcel.clear();
            let answer = match self.connection.prepare().await {
                Ok(()) => self.send_all(work).await,
                Err(error) => Answer::retry(0, self.cannot("reach", &error)),
            };
            let unreachable = self.connection.take_unreachable();
            self.health.update(self.connection.server(), unreachable, &answer);
            answer
        })
    }
}

impl StatsdEndpoint {
    async fn send_all(&mut self, work: &Work) -> Answer {
        let mut answer = Answer::delivered(0);
        for message in work.messages() {
            let end = self.parcel.lines.len();
            let outcome = self.append(&message);
            if end > 0 && self.parcel.lines.len() > self.parcel_bytes {
                answer = answer.and(self.send_parcel(end).await);
                if answer.then != Then::Done {
                    return answer;
                }
            }
            self.parcel.add(outcome);
        }
        let end = self.parcel.lines.len();
        answer.and(self.send_parcel(end).await)
    }

    /// Encodes a message behind what is in the parcel.
    fn append(&mut self, message: &Message<'_>) -> Result<(), &'static str> {
        append(&self.lines, self.connection.server(), message, &mut self.parcel.lines)
    }

    /// Sends the first `end` bytes of the parcel, if there are any, and answers for the messages that were added to it.
    async fn send_parcel(&mut self, end: usize) -> Answer {
        let sent = match self.parcel.lines.get(..end) {
            Some(lines) if !lines.is_empty() => self.connection.send(lines).await,
            _ => Ok(()),
        };
        match sent {
            Ok(()) => self.parcel.settle(end),
            Err(interrupted) if interrupted.is_too_long() => self.send_singly(end).await,
            Err(Interrupted { taken, error }) => {
                self.parcel.settle(taken).stopped(self.cannot("send to", &error))
            }
        }
    }

    /// As [`send_parcel`](Self::send_parcel), with a datagram for each message: the system takes less at once than a parcel
    /// holds. Only a message that is too long by itself is refused.
    async fn send_singly(&mut self, end: usize) -> Answer {
        let mut start = 0;
        for message in &mut self.parcel.messages {
            let lines = match self.parcel.lines.get(start..message.end) {
                Some(lines) if message.end <= end => lines,
                _ => break,
            };
            if !lines.is_empty()
                && let Err(interrupted) = self.connection.send(lines).await
            {
                if !interrupted.is_too_long() {
                    return self.parcel.settle(start).stopped(self.cannot("send to", &interrupted.error));
                }
                message.refused = Some(REFUSED_LENGTH);
            }
            start = message.end;
        }
        self.parcel.settle(end)
    }

    fn cannot(&self, what: &str, error: &std::io::Error) -> String {
        format!("cannot {what} {}: {error}", self.connection.server())
    }
}

/// Lines that leave together, and which messages they are of.
#[derive(Debug, Default)]
struct Parcel {
    lines: Vec<u8>,
    messages: Vec<Encoded>,
}

/// A message in a parcel.
#[derive(Debug)]
struct Encoded {
    /// Where its lines end; where those of the one in front of it end, if it has none.
    end: usize,
    refused: Option<&'static str>,
}

impl Parcel {
    /// The message whose lines were just appended, or that has none.
    fn add(&mut self, outcome: Result<(), &'static str>) {
        self.messages.push(Encoded { end: self.lines.len(), refused: outcome.err() });
    }

    /// Takes out the first `taken` bytes and the messages that lie in them whole, and answers for these: delivered, or
    /// refused. What is left of a torn line is only good to be cleared.
    fn settle(&mut self, taken: usize) -> Answer {
        let settled = self.messages.partition_point(|message| message.end <= taken);
        let mut answer = Answer::delivered(settled);
        for message in self.messages.drain(..settled) {
            if let Some(reason) = message.refused {
                answer.refused.add(reason);
            }
        }
        self.lines.drain(..taken);
        answer
    }

    /// Forgets everything, but not the memory, unless a huge message had made it grow.
    fn clear(&mut self) {
        self.messages.clear();
        self.lines.clear();
        self.lines.shrink_to(2 * STREAM_WRITE_BYTES);
    }
}

/// Shows an operator that nobody listens, which over UDP is no reason to stop.
///
/// The runner shows its own failures in the same place, and clears only those.
struct Health {
    name: String,
    counters: Arc<EndpointCounters>,
    /// Deliveries in a row that met such a report.
    failures: u32,
}

impl Health {
    fn update(&mut self, server: &Server, unreachable: u64, answer: &Answer) {
        if unreachable > 0 {
            self.counters.notice(NOTICE_UNREACHABLE, unreachable);
            self.failures = self.failures.saturating_add(1);
            let failure = Failure { error: format!("nobody listens at {server}"), attempts: self.failures };
            if self.counters.set_failure(Some(failure)) {
                tracing::warn!(endpoint = self.name, "nobody listens at {server}");
            }
        } else if self.failures > 0 && answer.settled > answer.refused.total() {
            self.failures = 0;
            self.counters.set_failure(None);
            tracing::info!(endpoint = self.name, "no more complaints from {server}");
        }
    }
}

#[cfg(test)]
mod tests;
