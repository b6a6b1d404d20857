//! `kind = "metlog"`: messages to another router, as lines over a connection that is kept.
//!
//! The lines are written from where they lie ([`Work::runs`]), many with one system call, and in their order. A router that
//! is busy and reads nothing for a while is waited for: its connection is kept, and a line that is half written goes on
//! where it stopped, so that nothing is overtaken on a second connection. When a connection breaks within a line, the
//! message is sent again as a whole over the next one, and the other router rejects the torn half.
//!
//! Delivered means taken by the kernel, on a connection that the other router had not closed: plain lines have no
//! acknowledgement. What lies in the two kernels when the other router dies is lost, and no error tells how much that was.
//! Each such end is counted as `connection-lost`.

mod socket;
mod writer;

use std::{path::PathBuf, sync::Arc, time::Duration};

use metlog_buffer::WhenFull;

use self::{
    socket::{Peer, RouterAddress, Stream},
    writer::{Stop, Unfinished},
};
use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Work};
use crate::{
    acknowledgement::Ack,
    batch::Message,
    clock::Clock,
    config::{Address, Section, parameters},
    ledger::EndpointCounters,
    peer::{
        liveness::{Ending, NOTICE_LOST},
        probation::{Probation, Trust, hold_back},
    },
};

parameters! {
    /// Sends every message to another router, as it came, over a TCP connection or a Unix socket that is kept open. The
    /// other router takes it with an input of kind `tcp` or `unix`.
    pub struct Parameters {
        /// The other router's host and port. Either this or `path` is needed.
        pub address: Option<Address>,
        /// The other router's Unix socket, on this machine.
        pub path: Option<PathBuf>,
        /// How long connecting may take, for each address that the host's name leads to. A router that is connected and
        /// takes nothing for as long is shown as failing; the connection is kept, and so are the messages.
        pub timeout: Duration = Duration::from_secs(5),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
address = "central.example.org:5565"
"#;

/// How long one attempt to write may wait. Between two of them the runner sees whether the router is to stop.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let timeout = self.timeout.max(Duration::from_millis(1));
        let address = self.router().map_err(|problem| OpenError { name: context.name.clone(), problem })?;
        let peer = Peer { address, timeout, longest_wait: LONGEST_WAIT.min(timeout) };
        Ok(Opened::Blocking(Box::new(MetlogEndpoint::new(peer, timeout, context))))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        match self.router() {
            Ok(router) => Preview::Sends { to: router.to_string(), bytes: message.line.to_vec() },
            // The check of the configuration has found this before.
            Err(_) => Preview::Keeps,
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        if let Err(problem) = self.router() {
            let span = section.span_of(if self.path.is_some() { "path" } else { "kind" });
            section.diagnostics().error(span, problem);
        }
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Block
    }

    fn ack(&self) -> Ack {
        Ack::Durable
    }
}

impl Parameters {
    fn router(&self) -> Result<RouterAddress, String> {
        match (&self.address, &self.path) {
            (Some(address), None) => Ok(RouterAddress::Tcp(address.clone())),
            (None, Some(path)) => Ok(RouterAddress::Unix(path.clone())),
            (Some(_), Some(_)) => {
                Err("a router is either at an `address` or behind a Unix socket at a `path`".to_owned())
            }
            (None, None) => {
                Err("this needs the `address` of the other router, or the `path` of its Unix socket"
                    .to_owned())
            }
        }
    }
}

/// What makes connections, so that tests can make them break in every place.
trait Connect: Send {
    /// A connection.
    type Stream: Stream;

    /// Connects.
    fn connect(&self) -> std::io::Result<Self::Stream>;

    /// Where to, for an operator.
    fn name(&self) -> String;
}

struct MetlogEndpoint<C: Connect> {
    name: String,
    peer: C,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    counters: Arc<EndpointCounters>,
    connection: Option<Connection<C::Stream>>,
    probation: Probation,
}

/// An open connection, and what is only true of it.
struct Connection<S> {
    stream: S,
    /// The line that was begun on it.
    unfinished: Option<Unfinished>,
    /// Since when it has taken nothing of what it was offered.
    stalled_since: Option<Duration>,
}

impl<C: Connect> MetlogEndpoint<C> {
    fn new(peer: C, timeout: Duration, context: EndpointContext) -> Self {
        let EndpointContext { name, clock, counters, .. } = context;
        MetlogEndpoint {
            name,
            peer,
            timeout,
            clock,
            counters,
            connection: None,
            probation: Probation::default(),
        }
    }

    /// The connection: the one that there is, unless the other router has closed it, or a new one; and what it may be given.
    fn connection(&mut self) -> std::io::Result<(&mut Connection<C::Stream>, Trust)> {
        if let Some(ending) = self.connection.as_ref().and_then(|connection| connection.stream.ending())
            && self.lose(&ending)
        {
            let reason = ending.reason;
            return Err(std::io::Error::other(format!(
                "it took a connection and ended it soon after ({reason}); what was sent on it may be lost"
            )));
        }
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = self.peer.connect()?;
                self.probation.made(self.clock.monotonic());
                Connection { stream, unfinished: None, stalled_since: None }
            }
        };
        let trust = self.probation.found_open(self.clock.monotonic());
        Ok((self.connection.insert(connection), trust))
    }

    /// The connection has ended; returns whether that was soon after it was made.
    fn lose(&mut self, ending: &Ending) -> bool {
        self.connection = None;
        let now = self.clock.monotonic();
        let end = self.probation.ended(now, ending);
        if end.was_idle {
            self.counters.notice(NOTICE_LOST, 1);
        } else {
            self.counters.notice_loss(now, NOTICE_LOST);
        }
        let (router, reason) = (self.peer.name(), &ending.reason);
        tracing::warn!(
            endpoint = self.name,
            router,
            reason,
            "connection lost; what was under way on it may be lost"
        );
        end.is_early
    }
}

impl<C: Connect> Endpoint for MetlogEndpoint<C> {
    fn deliver(&mut self, work: &Work) -> Answer {
        let (clock, timeout) = (self.clock.clone(), self.timeout);
        let (connection, trust) = match self.connection() {
            Ok(usable) => usable,
            Err(error) => return Answer::retry(0, format!("cannot reach {}: {error}", self.peer.name())),
        };
        let most = match trust {
            Trust::Everything => usize::MAX,
            Trust::OneMessage => 1,
            Trust::Nothing => return hold_back(Answer::delivered(0), &self.peer.name()),
        };
        let written = writer::write(&mut connection.stream, work, most, &mut connection.unfinished);
        if written.bytes > 0 {
            connection.stalled_since = None;
        }
        let answer = Answer::delivered(written.messages);
        match written.stop {
            None => {
                self.probation.wrote(clock.monotonic());
                if trust == Trust::Everything { answer } else { hold_back(answer, &self.peer.name()) }
            }
            Some(Stop::Stalled) => {
                let now = clock.monotonic();
                let since = *connection.stalled_since.get_or_insert(now);
                if now.saturating_sub(since) < timeout {
                    return answer;
                }
                answer.stopped(format!(
                    "{} is connected but takes nothing: its own endpoints hold it up, or it hangs",
                    self.peer.name()
                ))
            }
            Some(Stop::Broken(error)) => {
                self.lose(&Ending::broken(&error));
                answer.stopped(format!("the connection to {} broke: {error}", self.peer.name()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
