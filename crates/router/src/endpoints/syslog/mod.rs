//! `kind = "syslog"`: messages to a syslog server, in the formats of RFC 5424 and RFC 3164; CEF events are sent as the
//! application wrote them.
//!
//! [`record`] writes a message, [`frames`] puts it into a stream. A message is one line whatever it holds, and never longer
//! than `max_bytes`: what is too long is cut off and counted as `truncated`, because the beginning of a log line is worth
//! more than none of it.
//!
//! Delivered means taken by the kernel; syslog has no acknowledgements. A server that takes nothing keeps its connection, and
//! gets the rest on it. When a connection breaks, the message that was only
//! taken in part, and every one behind it, is sent again over the next one, whole.

mod frames;
mod legacy_time;
mod meta;
mod priority;
mod record;
mod text;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use self::{
    frames::{Frames, Framing},
    legacy_time::Timezone,
    priority::{Facility, Severity},
    record::{Encoder, Format, Remarks, StructuredData},
};
use super::{
    Answer, Delivery, EndpointContext, EndpointSettings, NetworkEndpoint, OpenError, Opened, Preview, Then,
    Work,
};
use crate::{
    batch::Message,
    config::{Address, ByteSize, Section, parameters},
    ledger::EndpointCounters,
    peer::{
        Connection, Health, Interrupted, LARGEST_DATAGRAM_BYTES, Parcel, STREAM_WRITE_BYTES, Server,
        Transport,
        probation::{Trust, hold_back},
    },
    template::Template,
};

parameters! {
    /// Sends messages to a syslog server. Facility, severity and ident are taken from `fields.cef_meta` where a message has
    /// it (`syslog_facility`, `syslog_priority`, `syslog_ident`), otherwise from the keys below.
    pub struct Parameters {
        /// How messages travel.
        pub transport: Transport = Transport::Udp,
        /// The server's host and port, for UDP and TCP.
        pub address: Address = Address { host: "127.0.0.1".to_owned(), port: 514 },
        /// The server's socket, for Unix sockets; `/dev/log` with `transport = "unix"` unless it is given.
        pub path: Option<PathBuf>,
        /// How a message is written. `rfc5424` unless it is given; over Unix sockets `local`.
        pub format: Option<Format>,
        /// What separates messages in a stream. `octet_counting` with `rfc5424` and `newline` otherwise, unless it is given;
        /// datagrams need nothing.
        pub framing: Option<Framing>,
        /// The facility of messages that name none.
        pub facility: Facility = Facility::Local4,
        /// The severity of messages whose `cef_meta` names none. Without it, the message's own.
        pub severity: Option<Severity>,
        /// The program (APP-NAME, TAG) of messages that name none.
        pub ident: Template = Template::of_logger(),
        /// The text. A `cef` message is sent as it is.
        pub template: Template = Template::of_payload(),
        /// A structured element with parts of the message (`rfc5424` only), such as `{ fields = ["fields.user.id"] }`.
        pub structured_data: Option<StructuredData>,
        /// Which time `rfc3164` and `local` write, which say no zone. Servers expect their own.
        pub timezone: Timezone = Timezone::Local,
        /// The most that a message has, header included; the rest is cut off. The default is less than the 8 KiB that rsyslog
        /// takes unless it is told otherwise. UDP carries up to 65507 bytes, and 1024 is safe for the oldest servers.
        pub max_bytes: ByteSize = ByteSize(8000),
        /// How often the host's name is looked up anew. It is also looked up after a failure.
        pub resolve: Duration = Duration::from_secs(60),
        /// How long looking up, connecting and each step of sending may take.
        pub timeout: Duration = Duration::from_secs(5),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
transport = "tcp"
address = "127.0.0.1:601"
"#;

/// Where the local syslog server listens.
const LOCAL_SOCKET: &str = "/dev/log";

/// The longest header has room in this.
const SHORTEST_MAX_BYTES: ByteSize = ByteSize::kib(1);

/// A connection holds no more than this for one message.
const LONGEST_MAX_BYTES: ByteSize = ByteSize::mib(1);

/// The message is longer than the datagrams that the system sends here.
const REFUSED_LENGTH: &str = "syslog-length";

/// What the ledger calls a message that was cut off.
const NOTICE_TRUNCATED: &str = "truncated";

/// What the ledger calls a message with a facility or severity in its `cef_meta` that does not exist.
const NOTICE_UNKNOWN_NAME: &str = "cef-meta-unknown";

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let server = self.server().map_err(|problem| OpenError { name: context.name.clone(), problem })?;
        Ok(Opened::Network(Box::new(SyslogEndpoint {
            frames: self.frames(&server),
            connection: Connection::new(server, context.clock.clone(), self.timeout, self.resolve),
            parcel: Parcel::default(),
            remarked: Remarked::default(),
            counters: context.counters.clone(),
            health: Health::new(context.name, context.counters),
        })))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        // Whatever cannot be, the check of the configuration has found before.
        let Ok(server) = self.server() else { return Preview::Keeps };
        let mut bytes = Vec::new();
        self.frames(&server).append(message, &mut bytes);
        Preview::Sends { to: server.to_string(), bytes }
    }

    fn refusal(&self, reason: &str) -> Option<&'static str> {
        match reason {
            REFUSED_LENGTH => Some("the datagram is longer than the system takes"),
            _ => None,
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        Server::check(self.transport, self.server(), section);
        if !(SHORTEST_MAX_BYTES..=LONGEST_MAX_BYTES).contains(&self.max_bytes) {
            let span = section.span_of("max_bytes");
            let problem = format!("`max_bytes` takes {SHORTEST_MAX_BYTES} to {LONGEST_MAX_BYTES}");
            section.diagnostics().error(span, problem);
        }
        if self.template.has_line_breaks() {
            let span = section.span_of("template");
            section.diagnostics().error(span, "a syslog message is one line: `template` has a line break");
        }
        if self.structured_data.is_some() && self.resolved_format() != Format::Rfc5424 {
            let span = section.span_of("structured_data");
            let problem = format!(
                "`structured_data` needs format = \"rfc5424\", this is \"{}\"",
                self.resolved_format()
            );
            section.diagnostics().error(span, problem);
        }
        if self.framing.is_some() && matches!(self.transport, Transport::Udp | Transport::Unix) {
            let span = section.span_of("framing");
            let problem = format!("`framing` does nothing with transport = \"{}\"", self.transport);
            section.diagnostics().warning(span, problem).help("remove it: every datagram is one message");
        }
    }
}

impl Parameters {
    fn server(&self) -> Result<Server, String> {
        let path = match self.transport {
            Transport::Unix => Some(self.path.as_deref().unwrap_or(Path::new(LOCAL_SOCKET))),
            _ => self.path.as_deref(),
        };
        Server::new(self.transport, &self.address, path)
    }

    fn resolved_format(&self) -> Format {
        self.format.unwrap_or(match self.transport {
            Transport::Udp | Transport::Tcp => Format::Rfc5424,
            Transport::Unix | Transport::UnixStream => Format::Local,
        })
    }

    fn largest_message(&self) -> usize {
        let bytes = self.max_bytes.clamp(SHORTEST_MAX_BYTES, LONGEST_MAX_BYTES).bytes() as usize;
        if self.transport == Transport::Udp { bytes.min(LARGEST_DATAGRAM_BYTES) } else { bytes }
    }

    fn frames(&self, server: &Server) -> Frames {
        let by_format = match self.resolved_format() {
            Format::Rfc5424 => Framing::OctetCounting,
            Format::Rfc3164 | Format::Local => Framing::Newline,
        };
        let framing = (!server.takes_datagrams()).then(|| self.framing.unwrap_or(by_format));
        Frames::new(Encoder::new(self), framing)
    }
}

struct SyslogEndpoint {
    frames: Frames,
    connection: Connection,
    parcel: Parcel,
    remarked: Remarked,
    counters: Arc<EndpointCounters>,
    health: Health,
}

impl NetworkEndpoint for SyslogEndpoint {
    fn deliver<'a>(&'a mut self, work: &'a Work) -> Delivery<'a> {
        Box::pin(async move {
            self.parcel.clear();
            self.remarked.clear();
            let answer = match self.connection.prepare().await {
                Ok(_) if self.connection.server().takes_datagrams() => self.send_datagrams(work).await,
                Ok(Trust::Everything) => self.send_stream(work, usize::MAX).await,
                Ok(Trust::OneMessage) => {
                    let answer = self.send_stream(work, 1).await;
                    self.held_back(answer)
                }
                Ok(Trust::Nothing) => self.held_back(Answer::delivered(0)),
                Err(error) => Answer::retry(0, self.cannot("reach", &error)),
            };
            self.remarked.count(answer.settled, &self.counters);
            self.health.update(&mut self.connection, &answer);
            answer
        })
    }
}

impl SyslogEndpoint {
    /// Sends the first `most` messages, many with each write.
    async fn send_stream(&mut self, work: &Work, most: usize) -> Answer {
        let mut answer = Answer::delivered(0);
        for (number, message) in work.messages().take(most).enumerate() {
            let remarks = self.frames.append(&message, &mut self.parcel.bytes);
            self.parcel.add(Ok(()));
            self.remarked.add(number, remarks);
            if self.parcel.bytes.len() >= STREAM_WRITE_BYTES {
                answer = answer.and(self.send_parcel().await);
                if answer.then != Then::Done {
                    return answer;
                }
            }
        }
        answer.and(self.send_parcel().await)
    }

    async fn send_parcel(&mut self) -> Answer {
        let end = self.parcel.bytes.len();
        match self.connection.send_parcel(&self.parcel, end).await {
            Ok(()) => self.parcel.settle(end),
            Err(Interrupted { taken, problem }) => {
                self.parcel.settle(taken).stopped(self.cannot("send to", &problem))
            }
        }
    }

    /// Sends a datagram for each message.
    async fn send_datagrams(&mut self, work: &Work) -> Answer {
        let mut answer = Answer::delivered(0);
        for (number, message) in work.messages().enumerate() {
            self.parcel.clear();
            let remarks = self.frames.append(&message, &mut self.parcel.bytes);
            self.remarked.add(number, remarks);
            match self.connection.send_datagram(&self.parcel.bytes).await {
                Ok(()) => {}
                Err(interrupted) if interrupted.is_too_long() => answer.refused.add(REFUSED_LENGTH),
                Err(Interrupted { problem, .. }) => return answer.stopped(self.cannot("send to", &problem)),
            }
            answer.settled += 1;
            // There is mostly room for a datagram at once, but others share this thread.
            tokio::task::coop::consume_budget().await;
        }
        answer
    }

    fn held_back(&self, answer: Answer) -> Answer {
        hold_back(answer, &self.connection.server().to_string())
    }

    fn cannot(&self, what: &str, error: &dyn std::error::Error) -> String {
        format!("cannot {what} {}: {error}", self.connection.server())
    }
}

/// What an operator should know of messages under way, told once they are out.
#[derive(Debug, Default)]
struct Remarked {
    /// Numbers of messages in the delivery, ascending.
    truncated: Vec<usize>,
    unknown_names: Vec<usize>,
}

impl Remarked {
    fn add(&mut self, number: usize, remarks: Remarks) {
        if remarks.is_truncated {
            self.truncated.push(number);
        }
        if remarks.has_unknown_name {
            self.unknown_names.push(number);
        }
    }

    /// Counts those among the first `settled` messages.
    fn count(&self, settled: usize, counters: &EndpointCounters) {
        for (notice, numbers) in
            [(NOTICE_TRUNCATED, &self.truncated), (NOTICE_UNKNOWN_NAME, &self.unknown_names)]
        {
            let times = numbers.partition_point(|&number| number < settled);
            if times > 0 {
                counters.notice(notice, times as u64);
            }
        }
    }

    fn clear(&mut self) {
        self.truncated.clear();
        self.unknown_names.clear();
    }
}

#[cfg(test)]
mod tests;
