//! `kind = "statsd"`: counters, timers, gauges and sets to a statsd server.
//!
//! A message becomes a line ([`lines`] says which), and lines leave together: as many in a datagram as fit into one packet
//! of the network, or a stream of them. A line is never split.
//!
//! Delivered means taken by the kernel; statsd has no acknowledgements. Over UDP that is so even if nobody listens. What the
//! network then reports is counted as `peer-unreachable` and shown as the endpoint's failure until a delivery goes by
//! without such a report, but holds nothing up: metrics of a minute ago are worth less than those of now. Over TCP and Unix
//! sockets messages wait for a server that is not there, or takes nothing.

mod lines;

use std::{path::PathBuf, time::Duration};

use self::lines::Lines;
use super::{
    Answer, Delivery, EndpointContext, EndpointSettings, NetworkEndpoint, OpenError, Opened, Preview, Then,
    Work,
};
use crate::{
    batch::Message,
    config::{Address, Section, parameters},
    peer::{
        Connection, Health, Interrupted, LARGEST_DATAGRAM_BYTES, Parcel, STREAM_WRITE_BYTES, Server,
        Transport,
        probation::{Trust, hold_back},
    },
};

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

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let problem = |problem: String| OpenError { name: context.name.clone(), problem };
        let server = Server::new(self.transport, &self.address, self.path.as_deref()).map_err(problem)?;
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
            health: Health::new(context.name, context.counters),
        })))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        // Whatever cannot be, the check of the configuration has found before.
        let (Ok(server), Ok(lines)) =
            (Server::new(self.transport, &self.address, self.path.as_deref()), Lines::new(&self.prefix))
        else {
            return Preview::Keeps;
        };
        let mut bytes = Vec::new();
        match append(&lines, &server, message, &mut bytes) {
            Ok(()) => {
                // The connection leaves the last line break out of a datagram.
                if server.takes_datagrams() {
                    bytes.pop();
                }
                Preview::Sends { to: server.to_string(), bytes }
            }
            Err(reason) => reason.into(),
        }
    }

    fn refusal(&self, reason: &str) -> Option<&'static str> {
        match reason {
            lines::REFUSED_TYPE => Some("it has a type that statsd does not know"),
            lines::REFUSED_NAME => Some("it has no `fields.name`, or an empty one"),
            lines::REFUSED_VALUE => Some("its payload is no number that statsd takes"),
            REFUSED_LENGTH => Some("it makes a line that is longer than a datagram can be"),
            _ => None,
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        let server = Server::new(self.transport, &self.address, self.path.as_deref());
        Server::check(self.transport, server, section);
    }

    fn linger(&self) -> Duration {
        self.linger
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
                Ok(Trust::Everything) => self.send_all(work, usize::MAX).await,
                Ok(Trust::OneMessage) => {
                    let answer = self.send_all(work, 1).await;
                    self.held_back(answer)
                }
                Ok(Trust::Nothing) => self.held_back(Answer::delivered(0)),
                Err(error) => Answer::retry(0, self.cannot("reach", &error)),
            };
            self.health.update(&mut self.connection, &answer);
            answer
        })
    }
}

impl StatsdEndpoint {
    /// Sends the first `most` messages.
    async fn send_all(&mut self, work: &Work, most: usize) -> Answer {
        let mut answer = Answer::delivered(0);
        for message in work.messages().take(most) {
            let end = self.parcel.bytes.len();
            let outcome = self.append(&message);
            if end > 0 && self.parcel.bytes.len() > self.parcel_bytes {
                answer = answer.and(self.send_parcel(end).await);
                if answer.then != Then::Done {
                    return answer;
                }
            }
            self.parcel.add(outcome);
        }
        let end = self.parcel.bytes.len();
        answer.and(self.send_parcel(end).await)
    }

    /// Encodes a message behind what is in the parcel.
    fn append(&mut self, message: &Message<'_>) -> Result<(), &'static str> {
        append(&self.lines, self.connection.server(), message, &mut self.parcel.bytes)
    }

    /// Sends the first `end` bytes of the parcel, if there are any, and answers for the messages that were added to it.
    async fn send_parcel(&mut self, end: usize) -> Answer {
        let sent = match self.parcel.bytes.get(..end) {
            None | Some([]) => Ok(()),
            Some(lines) if self.connection.server().takes_datagrams() => {
                self.connection.send_datagram(lines).await
            }
            Some(_) => self.connection.send_parcel(&self.parcel, end).await,
        };
        match sent {
            Ok(()) => self.parcel.settle(end),
            Err(interrupted) if interrupted.is_too_long() => self.send_singly(end).await,
            Err(Interrupted { taken, problem }) => {
                self.parcel.settle(taken).stopped(self.cannot("send to", &problem))
            }
        }
    }

    /// As [`send_parcel`](Self::send_parcel), with a datagram for each message: the system takes less at once than a parcel
    /// holds. Only a message that is too long by itself is refused.
    async fn send_singly(&mut self, end: usize) -> Answer {
        let mut start = 0;
        for message in &mut self.parcel.messages {
            let lines = match self.parcel.bytes.get(start..message.end) {
                Some(lines) if message.end <= end => lines,
                _ => break,
            };
            if !lines.is_empty()
                && let Err(interrupted) = self.connection.send_datagram(lines).await
            {
                if !interrupted.is_too_long() {
                    return self.parcel.settle(start).stopped(self.cannot("send to", &interrupted.problem));
                }
                message.refused = Some(REFUSED_LENGTH);
            }
            start = message.end;
        }
        self.parcel.settle(end)
    }

    fn held_back(&self, answer: Answer) -> Answer {
        hold_back(answer, &self.connection.server().to_string())
    }

    fn cannot(&self, what: &str, error: &dyn std::error::Error) -> String {
        format!("cannot {what} {}: {error}", self.connection.server())
    }
}

#[cfg(test)]
mod tests;
