//! Putting a client together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostics::Listener;
use crate::extensions::Extensions;
use crate::filters::Filter;
use crate::senders::{AddressError, NoopSender, Sender};
use crate::{Client, Severity};

/// The least memory that a queue works with.
pub(crate) const LEAST_QUEUE_BYTES: usize = 16 * 1024;

/// A message that waits longer than this is no telemetry any more.
const LONGEST_LINGER: Duration = Duration::from_secs(60);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The destination is not one.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The system gave no thread to send with, or the sender no copy of itself.
    #[error("cannot start the sending thread: {0}")]
    Thread(std::io::Error),
}

/// What is needed to start sending, here and again in each forked child.
pub(crate) struct Settings {
    pub(crate) logger: String,
    pub(crate) hostname: String,
    pub(crate) queue_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) close_timeout: Duration,
    /// Whether messages over a network carry `metlog_seq` and `metlog_src`.
    pub(crate) sequence: bool,
    /// Hears what the client says about itself; without one it is written to standard error.
    pub(crate) diagnostics: Option<Listener>,
    /// Never sends; others are made from it.
    pub(crate) sender: Box<dyn Sender>,
}

/// All that a client is made of.
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) severity: Severity,
    pub(crate) filters: Vec<Box<dyn Filter>>,
    pub(crate) disabled_timers: HashSet<String>,
    pub(crate) extensions: Extensions,
}

/// Puts a [`Client`] together.
///
/// ```
/// use metlog::{Client, Severity, senders::UdpSender};
///
/// let client = Client::builder()
///     .logger("shop")
///     .severity(Severity::Notice)
///     .sender(UdpSender::new("127.0.0.1:5565")?)
///     .disable_timer("noisy")
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder makes a client by `build`"]
pub struct ClientBuilder {
    parts: Parts,
}

impl Default for ClientBuilder {
    fn default() -> ClientBuilder {
        let parts = Parts {
            settings: Settings {
                logger: String::new(),
                hostname: crate::system::hostname(),
                queue_bytes: 8 * 1024 * 1024,
                linger: Duration::from_millis(2),
                close_timeout: Duration::from_secs(1),
                sequence: true,
                diagnostics: None,
                sender: Box::new(NoopSender),
            },
            severity: Severity::default(),
            filters: Vec::new(),
            disabled_timers: HashSet::new(),
            extensions: Extensions::default(),
        };
        ClientBuilder { parts }
    }
}

impl ClientBuilder {
    /// The name of the application, or of its part, that messages carry as `logger`.
    pub fn logger(mut self, logger: impl Into<String>) -> ClientBuilder {
        self.parts.settings.logger = logger.into();
        self
    }

    /// The severity of messages that do not say otherwise; informational by default.
    pub fn severity(mut self, severity: Severity) -> ClientBuilder {
        self.parts.severity = severity;
        self
    }

    /// Where messages go. Without one, nowhere.
    pub fn sender(mut self, sender: impl Sender) -> ClientBuilder {
        self.parts.settings.sender = Box::new(sender);
        self
    }

    /// One more filter; a message is sent if all of them keep it.
    pub fn filter(mut self, filter: impl Filter) -> ClientBuilder {
        self.parts.filters.push(Box::new(filter));
        self
    }

    /// A timer that is not sent; `*` stands for all.
    pub fn disable_timer(mut self, name: impl Into<String>) -> ClientBuilder {
        self.parts.disabled_timers.insert(name.into());
        self
    }

    /// How much memory the messages that wait may take; 8 MiB by default, and 16 KiB at least. When it is used up,
    /// messages are dropped and counted.
    pub fn queue_bytes(mut self, bytes: usize) -> ClientBuilder {
        self.parts.settings.queue_bytes = bytes.max(LEAST_QUEUE_BYTES);
        self
    }

    /// How long a message waits for others at most, to be sent together with them; 2 ms by default, and a minute at
    /// most. Without a linger each message wakes the sending thread, which costs the application some microseconds.
    pub fn linger(mut self, linger: Duration) -> ClientBuilder {
        self.parts.settings.linger = linger.min(LONGEST_LINGER);
        self
    }

    /// How long dropping the last handle of the client may take to send what waits and to end the sender; one second
    /// by default.
    pub fn close_timeout(mut self, timeout: Duration) -> ClientBuilder {
        self.parts.settings.close_timeout = timeout;
        self
    }

    /// Whether messages over a network carry `metlog_seq` and `metlog_src`, by which their receiver counts what got
    /// lost on the way. They do by default.
    pub fn sequence(mut self, sequence: bool) -> ClientBuilder {
        self.parts.settings.sequence = sequence;
        self
    }

    /// Who hears what the client says about itself (a destination that cannot be reached, and works again; a message that
    /// was cut), in place of standard error. It is called on the sending thread, and by a call where that thread cannot be
    /// started, so it must not wait.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    ///
    /// let said = Arc::new(Mutex::new(Vec::new()));
    /// let notes = Arc::clone(&said);
    /// let client = metlog::Client::builder()
    ///     .sender(metlog::UnixStreamSender::new("/no/such/socket"))
    ///     .diagnostics(move |text| notes.lock().unwrap().push(text.to_owned()))
    ///     .build()?;
    /// client.incr("hits");
    /// client.close(std::time::Duration::from_millis(100));
    /// assert!(said.lock().unwrap()[0].starts_with("unix stream /no/such/socket: "));
    /// # Ok::<(), metlog::BuildError>(())
    /// ```
    pub fn diagnostics(mut self, listener: impl Fn(&str) + Send + Sync + 'static) -> ClientBuilder {
        self.parts.settings.diagnostics = Some(Arc::new(listener));
        self
    }

    /// Adds an extension; see [`Client::extend`]. A later one of the same type takes its place.
    pub fn extend<T: Send + Sync + 'static>(mut self, extension: T) -> ClientBuilder {
        self.parts.extensions.replace(extension);
        self
    }

    /// Another name than the system's for `metlog_hostname`.
    pub fn hostname(mut self, hostname: impl Into<String>) -> ClientBuilder {
        self.parts.settings.hostname = hostname.into();
        self
    }

    /// Starts the client. It does not wait for a connection: a destination that is down now may be up later.
    pub fn build(self) -> Result<Client, BuildError> {
        let (client, started) = Client::start(self.parts);
        started.map(|()| client).map_err(BuildError::Thread)
    }

    /// Starts the client, also where the system gives no thread for it: then what is sent waits in the queue, and later
    /// calls try again, once a second at most. For callers that have nobody to return an error to; it is said in the log.
    pub fn build_anyway(self) -> Client {
        let (client, started) = Client::start(self.parts);
        if let Err(error) = started {
            client.say_why_not(&error);
        }
        client
    }
}
