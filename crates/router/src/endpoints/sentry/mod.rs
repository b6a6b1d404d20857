//! `kind = "sentry"`: errors to Sentry, as events.
//!
//! A message carries an event ([`payload`] says how) and may carry the DSN that it is for ([`dsn`]). Each event is one request
//! ([`envelope`]), and what the server answers decides what becomes of it ([`reply`]). The DSN is the lane: events of one DSN go
//! one after the other, and a DSN that is over its limit, or whose server is down, holds up no other.

mod dsn;
mod envelope;
mod payload;
mod prepared;
mod reply;

use std::{
    future::poll_fn,
    panic,
    path::{Path as FilePath, PathBuf},
    pin::pin,
    str,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use metlog_message::{Path, Timestamp, value::lookup};
use tokio::{
    sync::Semaphore,
    task::{spawn_blocking, yield_now},
};

pub use self::dsn::{AllowedHost, DefaultDsn};
use self::{
    dsn::{Dsn, DsnError},
    envelope::Target,
    payload::Unpacker,
    reply::Verdict,
};
use super::{
    Answer, Delivery, EndpointContext, EndpointSettings, LaneEndpoint, OpenError, Opened, Preview, Work,
};
use crate::{
    batch::Message,
    clock::Clock,
    config::{ByteSize, Section, parameters},
    http_client::{HttpClient, HttpSettings},
};

parameters! {
    /// Sends events to Sentry, each to the DSN in its message's `fields.dsn`, or else to the default. Takes what Raven wrote
    /// (base64 of zlib of JSON) and plain event JSON. Messages of one DSN go in order, those of different DSNs in parallel.
    pub struct Parameters {
        /// Where events go whose message names no DSN, or one that is not http or https (old clients sent over UDP). Empty:
        /// such messages are refused.
        pub dsn: DefaultDsn = DefaultDsn::default(),
        /// Which hosts a message's own DSN may name, besides host and port of `dsn`: with a port for this port only, without one for
        /// every port; `*.example.org` for every name below it. Whoever can send messages can have requests made to these.
        pub allow_hosts: Vec<AllowedHost> = Vec::new(),
        /// How large an event may be, unpacked. Larger ones are refused.
        pub max_event: ByteSize = ByteSize::mib(1),
        /// How many DSNs are served at a time. When there are more, those without events make room.
        pub max_dsns: usize = 256,
        /// How long a request may take, from connecting to the end of the answer.
        pub timeout: Duration = Duration::from_secs(10),
        /// A file of certificates in PEM that are trusted besides the system's.
        pub ca_file: Option<PathBuf>,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
dsn = "https://PUBLIC_KEY@sentry.example.org/2"
allow_hosts = ["sentry.example.org"]
"#;

/// Events are unpacked on the network's one thread, which many share. A larger one would keep the others waiting and is handed to a
/// thread for such work, which costs less than unpacking it.
const UNPACKED_HERE: usize = 64 * 1024;

/// Large events that are unpacked at a time: they are few, and each takes a core and its memory.
const LARGE_AT_ONCE: usize = 2;

/// The largest `max_event` that makes sense: Sentry takes no more than 1 MiB.
const LARGEST_EVENT: ByteSize = ByteSize::mib(64);

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let http = HttpClient::new(&HttpSettings {
            connect_timeout: self.timeout,
            timeout: self.timeout,
            ca_file: self.ca_file.clone(),
        })
        .map_err(|error| OpenError { name: context.name.clone(), problem: error.to_string() })?;
        let endpoint = SentryEndpoint {
            name: context.name,
            clock: context.clock,
            http,
            addressing: self.addressing(),
            targets: Mutex::new(HashMap::default()),
            most_targets: self.max_dsns,
            unpacker: Mutex::new(Unpacker::new(self.most_bytes().min(UNPACKED_HERE))),
            most_bytes: self.most_bytes(),
            large: Semaphore::new(LARGE_AT_ONCE),
        };
        Ok(Opened::Lanes(Arc::new(endpoint), self.max_dsns))
    }

    fn named_files(&self) -> Vec<&FilePath> {
        self.ca_file.as_deref().into_iter().collect()
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        let addressing = self.addressing();
        let mut unpacker = Unpacker::new(self.most_bytes());
        let found = addressing.dsn_of(message, |dsn| Target::masked(&dsn));
        let target = match found {
            Ok(Some(target)) => target,
            Ok(None) => return dsn::REFUSED_INVALID.into(),
            Err(Unaddressed { reason, what }) => return Preview::Refuses { reason, what },
        };
        match unpacker.unpack(message) {
            Ok(event) => {
                let body = target.envelope(message, &event, message.received);
                Preview::Sends { to: target.uri().to_string(), bytes: envelope::shown(&target, &body) }
            }
            Err(reason) => reason.into(),
        }
    }

    fn refusal(&self, reason: &str) -> Option<&'static str> {
        match reason {
            dsn::REFUSED_MISSING => Some("it names no DSN, and the endpoint has no default"),
            dsn::REFUSED_INVALID => Some("what it names is no DSN"),
            dsn::REFUSED_SCHEME => Some("its DSN is not for HTTP or HTTPS, and the endpoint has no default"),
            dsn::REFUSED_HOST => Some("its DSN names a host that `allow_hosts` does not have"),
            payload::REFUSED_PAYLOAD => {
                Some("its payload is no event: not base64, damaged, or no JSON object")
            }
            payload::REFUSED_SIZE => Some("its event is larger than the limit"),
            _ => None,
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        if self.dsn.dsn().is_none() && self.allow_hosts.is_empty() {
            let span = section.span_of("dsn");
            section.diagnostics().error(
                span,
                "without `dsn` and `allow_hosts` there is no host that anything may be sent to: give one of them",
            );
        }
        for (key, is_zero) in [
            ("max_event", self.max_event.bytes() == 0),
            ("max_dsns", self.max_dsns == 0),
            ("timeout", self.timeout.is_zero()),
        ] {
            if is_zero {
                let span = section.span_of(key);
                section.diagnostics().error(span, format!("`{key}` must be more than nothing"));
            }
        }
        if self.max_event > LARGEST_EVENT {
            let span = section.span_of("max_event");
            section.diagnostics().error(span, format!("`max_event` must be {LARGEST_EVENT} or less"));
        }
    }
}

impl Parameters {
    fn addressing(&self) -> Addressing {
        let own_host = self.dsn.dsn().map(|dsn| AllowedHost::of(&dsn));
        Addressing {
            field: Path::parse("fields.dsn").ok(),
            default: self.dsn.clone(),
            allowed: self.allow_hosts.iter().cloned().chain(own_host).collect(),
        }
    }

    fn most_bytes(&self) -> usize {
        self.max_event.min(LARGEST_EVENT).bytes() as usize
    }
}

/// Why a message has no DSN that may be used.
#[derive(Debug, PartialEq, Eq)]
struct Unaddressed {
    reason: &'static str,
    /// The host that is not allowed, or what is wrong with the DSN; nothing of its keys.
    what: Option<String>,
}

impl From<&'static str> for Unaddressed {
    fn from(reason: &'static str) -> Unaddressed {
        Unaddressed { reason, what: None }
    }
}

/// Which DSN a message is for.
#[derive(Debug)]
struct Addressing {
    field: Option<Path>,
    default: DefaultDsn,
    allowed: Vec<AllowedHost>,
}

impl Addressing {
    /// Finds a message's DSN and does something with it, or says why it has none.
    fn dsn_of<T>(&self, message: &Message<'_>, found: impl FnOnce(Dsn<'_>) -> T) -> Result<T, Unaddressed> {
        let value = self.field.as_ref().and_then(|field| lookup(message.bytes, message.index, field));
        let text = value.filter(|value| value.raw() != b"null").map(|value| value.text());
        let or_default = |reason| self.default.dsn().ok_or(reason);
        let dsn = match text.as_deref().map(str::trim) {
            None | Some("") => or_default(dsn::REFUSED_MISSING)?,
            Some(text) => match Dsn::parse(text) {
                Ok(dsn) if self.allowed.iter().any(|host| host.allows(&dsn)) => dsn,
                Ok(dsn) => {
                    let what = Some(dsn.authority.to_owned());
                    return Err(Unaddressed { reason: dsn::REFUSED_HOST, what });
                }
                Err(DsnError::Scheme) => or_default(dsn::REFUSED_SCHEME)?,
                Err(DsnError::Invalid(problem)) => {
                    let what = Some(problem.to_owned());
                    return Err(Unaddressed { reason: dsn::REFUSED_INVALID, what });
                }
            },
        };
        Ok(found(dsn))
    }
}

struct SentryEndpoint {
    name: String,
    clock: Arc<dyn Clock>,
    http: HttpClient,
    addressing: Addressing,
    /// By the key of the lane.
    targets: Mutex<HashMap<Box<[u8]>, Arc<Target>, RandomState>>,
    most_targets: usize,
    /// For events of up to [`UNPACKED_HERE`].
    unpacker: Mutex<Unpacker>,
    most_bytes: usize,
    /// A turn for each large event that is unpacked.
    large: Semaphore,
}

impl LaneEndpoint for SentryEndpoint {
    fn lane(&self, message: &Message<'_>, key: &mut Vec<u8>) -> Result<(), &'static str> {
        self.addressing.dsn_of(message, |dsn| dsn.write_to(key)).map_err(|Unaddressed { reason, what }| {
            if let (dsn::REFUSED_HOST, Some(host)) = (reason, what) {
                let why = "an event was refused: `allow_hosts` does not have the host of its DSN";
                tracing::warn!(endpoint = self.name, host, reason, "{why}");
            }
            reason
        })
    }

    fn deliver<'a>(&'a self, key: &'a [u8], work: &'a Work) -> Delivery<'a> {
        Box::pin(async move {
            if work.is_empty() {
                return Answer::delivered(0);
            }
            let Some(target) = self.target(key) else { return refused(dsn::REFUSED_INVALID) };
            let body = match self.body(&target, work) {
                Err(payload::REFUSED_SIZE) if self.most_bytes > UNPACKED_HERE => {
                    self.large_body(target.clone(), work).await
                }
                found => found.map_err(refused),
            };
            match body {
                Ok(body) => self.send(&target, body, work).await,
                Err(answer) => answer,
            }
        })
    }
}

impl SentryEndpoint {
    /// The request's content for the first message, unless its event is too large to be unpacked here.
    fn body(&self, target: &Target, work: &Work) -> Result<Vec<u8>, &'static str> {
        let message = work.messages().next().ok_or(payload::REFUSED_PAYLOAD)?;
        match target.prepared().take(&message, self.clock.monotonic()) {
            Some(body) => Ok(body),
            None => self.unpacked(target, &message),
        }
    }

    /// Makes the next message's request ready. What cannot be had from it is found out when it is its turn.
    fn prepare(&self, target: &Target, work: &Work) {
        if let Some(message) = work.messages().nth(1)
            && let Ok(body) = self.unpacked(target, &message)
        {
            target.prepared().put(&message, body, self.clock.monotonic());
        }
    }

    fn unpacked(&self, target: &Target, message: &Message<'_>) -> Result<Vec<u8>, &'static str> {
        if self.most_bytes > UNPACKED_HERE && message.bytes.len() > 2 * UNPACKED_HERE {
            // Probably, and to make sure takes too long.
            return Err(payload::REFUSED_SIZE);
        }
        let mut unpacker = self.unpacker.lock().unwrap_or_else(PoisonError::into_inner);
        body_for(target, message, &mut unpacker, self.clock.wall())
    }

    /// The same, unpacked on another thread; or the answer that it leads to.
    async fn large_body(&self, target: Arc<Target>, work: &Work) -> Result<Vec<u8>, Answer> {
        // There is always a turn to come: nobody closes the semaphore.
        let _turn = self.large.acquire().await;
        let (work, most_bytes, now) = (work.clone(), self.most_bytes, self.clock.wall());
        let unpacking = spawn_blocking(move || {
            let message = work.messages().next().ok_or(payload::REFUSED_PAYLOAD)?;
            body_for(&target, &message, &mut Unpacker::new(most_bytes), now)
        });
        match unpacking.await {
            Ok(body) => body.map_err(refused),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // The runtime ends, and nobody takes this answer.
                Err(error) => Err(Answer::retry(0, error)),
            },
        }
    }

    fn target(&self, key: &[u8]) -> Option<Arc<Target>> {
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = targets.get(key) {
            return Some(target.clone());
        }
        if targets.len() >= self.most_targets {
            targets.clear();
        }
        let target = Arc::new(Target::new(&Dsn::parse(str::from_utf8(key).ok()?).ok()?)?);
        targets.insert(key.into(), target.clone());
        Some(target)
    }

    /// Sends the request for the first message, and makes the next one ready until the answer is there.
    async fn send(&self, target: &Target, body: Vec<u8>, work: &Work) -> Answer {
        let mut sending = pin!(self.http.send(target.request(body)));
        let begun = poll_fn(|context| Poll::Ready(sending.as_mut().poll(context))).await;
        let sent = match begun {
            Poll::Ready(sent) => sent,
            Poll::Pending => {
                // So far the connection's task has only been given it: it writes while this one makes way.
                yield_now().await;
                self.prepare(target, work);
                sending.await
            }
        };
        let reply = match sent {
            Ok(reply) => reply,
            Err(error) => return Answer::retry(0, error),
        };
        let project = target.project();
        let verdict = Verdict::of(&reply, self.clock.wall());
        if let Verdict::Refused(reason) = verdict {
            let (status, says) = (reply.status.as_u16(), reply::explanation(&reply));
            tracing::warn!(endpoint = self.name, project, status, says, reason, "an event was refused");
        }
        verdict.answer(project, reply.status)
    }
}

/// The content of the request that carries a message's event.
fn body_for(
    target: &Target,
    message: &Message<'_>,
    unpacker: &mut Unpacker,
    now: Timestamp,
) -> Result<Vec<u8>, &'static str> {
    let event = unpacker.unpack(message)?;
    Ok(target.envelope(message, &event, now))
}

fn refused(reason: &'static str) -> Answer {
    let mut answer = Answer::delivered(1);
    answer.refused.add(reason);
    answer
}

#[cfg(test)]
mod tests;
