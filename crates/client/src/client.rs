//! The client: the calls that an application makes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metlog_message::encode::{MemberBuffer, Record, Template, When, one_line_object};

use crate::builder::{BuildError, ClientBuilder, Parts, Settings};
use crate::extensions::{ExtensionTaken, Extensions};
use crate::filters::Filter;
use crate::fork::ForkCell;
use crate::senders::{Capture, CaptureSender, FileSender, NoopSender, StdoutSender, TcpSender, UdpSender};
use crate::stats::Stats;
use crate::worker::{Shared, Worker};
use crate::{Draft, Fields, Members, Message, Number, Payload, Severity, Timer, clock, exception, timer};

/// The type of a log line, from the days when Metlog took them over from the logging that was there before.
pub(crate) const LOG_LINE: &str = "oldstyle";

/// What an application sends its messages with.
///
/// A call encodes its message into a bounded queue and returns; a thread of the client's own sends it. No call waits
/// for the network, none fails, and none panics: what cannot be sent is dropped, counted ([`Client::stats`]), and
/// reported in a message of type `metlog.dropped` when the way is free again.
///
/// A client is cheap to clone, and its clones are the same client. When the last one is dropped, it sends what waits,
/// for a second at most; [`Client::close`] says whether that was enough. A client in a `static` is never dropped:
/// [`Client::flush`] it before the process ends.
///
/// ```
/// use metlog::Client;
///
/// let metlog = Client::udp("127.0.0.1:5565")?;
/// metlog.incr("hits");
/// metlog.gauge("queue.depth", 17);
/// metlog.warning("the disk is nearly full");
/// metlog.metlog("wsgi").payload("GET /").field("status", 200).send();
/// let answer = metlog.time("compute", || 6 * 7);
/// # assert_eq!(answer, 42);
/// # Ok::<(), metlog::BuildError>(())
/// ```
///
/// After a fork the child's first call gives it a queue, a thread and a connection of its own; what waited in the
/// parent stays the parent's to send. The child's [`Client::stats`] begin at zero, and its messages have a
/// `metlog_src` of their own.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    /// What all messages of this client are sent through; a forked child gets its own.
    worker: ForkCell<Worker>,
    severity: Severity,
    filters: Vec<Box<dyn Filter>>,
    /// Names of timers that are not sent; `*` stands for all.
    disabled_timers: HashSet<String>,
    settings: Settings,
    extensions: Extensions,
}

impl Settings {
    /// Starts a sending thread for this process.
    fn start(&self) -> (Worker, std::io::Result<()>) {
        // This may be a forked child in the middle of one of its calls, and the sender somebody else's code.
        let copied = catch_unwind(AssertUnwindSafe(|| (self.sender.over_network(), self.sender.fresh())));
        let (over_network, sender) = match copied {
            Ok((over_network, sender)) => (over_network, Ok(sender)),
            Err(_) => (false, Err(std::io::Error::other("the sender panicked instead of copying itself"))),
        };
        let source = (over_network && self.sequence).then(crate::system::random_bits);
        let template = Template::new(&self.logger, std::process::id(), &self.hostname, source);
        let names_logger = !self.logger.is_empty();
        let shared = Shared::new(template, names_logger, self.queue_bytes, self.linger);
        Worker::start(shared, self.close_timeout, sender, self.diagnostics.clone())
    }
}

impl Client {
    pub(crate) fn start(parts: Parts) -> (Client, std::io::Result<()>) {
        let Parts { settings, severity, filters, disabled_timers, extensions } = parts;
        let (worker, started) = settings.start();
        let worker = ForkCell::new(worker);
        let inner = Inner { worker, severity, filters, disabled_timers, settings, extensions };
        (Client { inner: Arc::new(inner) }, started)
    }

    pub(crate) fn say_why_not(&self, error: &std::io::Error) {
        self.worker().say_why_not(error);
    }

    /// A client that is put together step by step.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// A client that sends over UDP to `host:port`.
    pub fn udp(address: &str) -> Result<Client, BuildError> {
        Client::builder().sender(UdpSender::new(address)?).build()
    }

    /// A client that sends over TCP to `host:port`, one message per line.
    pub fn tcp(address: &str) -> Result<Client, BuildError> {
        Client::builder().sender(TcpSender::new(address)?).build()
    }

    /// A client that appends to a file, one message per line.
    pub fn file(path: impl AsRef<std::path::Path>) -> Result<Client, BuildError> {
        Client::builder().sender(FileSender::new(path)).build()
    }

    /// A client that writes to standard output, one message per line.
    pub fn stdout() -> Client {
        Client::builder().sender(StdoutSender::new()).build_anyway()
    }

    /// A client that takes everything and sends nothing.
    pub fn noop() -> Client {
        Client::builder().sender(NoopSender).build_anyway()
    }

    /// A client that keeps its messages in memory, for tests.
    pub fn capture() -> (Client, Capture) {
        let (sender, capture) = CaptureSender::new();
        (Client::builder().sender(sender).build_anyway(), capture)
    }

    /// A client that is configured by TOML text; see [`config`](crate::config).
    pub fn from_toml(text: &str) -> Result<Client, crate::config::ConfigError> {
        crate::config::builder(text)?.build().map_err(Into::into)
    }

    /// A client that is configured by the INI text of an original client; see [`config::Ini`](crate::config::Ini).
    pub fn from_ini(text: &str) -> Result<Client, crate::config::ConfigError> {
        crate::config::Ini::default().builder(text)?.build().map_err(Into::into)
    }

    /// A client that is configured by an INI file; see [`config::Ini`](crate::config::Ini).
    pub fn from_ini_file(path: impl AsRef<std::path::Path>) -> Result<Client, crate::config::ConfigError> {
        crate::config::Ini::default().builder_from_file(path)?.build().map_err(Into::into)
    }

    /// A message of any type, to be completed and sent: `metlog("wsgi").payload("GET /").field("status", 200).send()`.
    pub fn metlog<'a>(&'a self, kind: &'a str) -> Draft<'a> {
        Draft::new(self, kind, self.inner.severity)
    }

    /// Counts one.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// client.incr("logins");
    /// ```
    #[inline]
    pub fn incr(&self, name: &str) {
        self.incr_by(name, 1);
    }

    /// Counts several.
    #[inline]
    pub fn incr_by(&self, name: &str, count: i64) {
        self.submit(&self.measured("counter", name, Payload::Integer(count)));
    }

    /// A counter with more to say than its name: `counter("hits", 3).rate(0.1).field("page", "cart").send()`.
    pub fn counter<'a>(&'a self, name: &'a str, count: i64) -> Draft<'a> {
        self.metric("counter", name, Number::Integer(count))
    }

    /// Says how much there is of something now.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// client.gauge("queue.depth", 17);
    /// client.gauge("load", 0.25);
    /// ```
    pub fn gauge(&self, name: &str, value: impl Into<Number>) {
        self.submit(&self.measured("gauge", name, value.into().payload()));
    }

    /// A metric of any type, to be completed and sent: `metric("set", "users", 7).send()`.
    pub fn metric<'a>(&'a self, kind: &'a str, name: &'a str, value: impl Into<Number>) -> Draft<'a> {
        self.metlog(kind).metric(name, value.into().payload())
    }

    /// Starts a timer, which is sent when it goes out of scope.
    pub fn timer<'a>(&'a self, name: &'a str) -> Timer<'a> {
        Timer::start(self, name)
    }

    /// Times a closure.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// let sum: u64 = client.time("sum", || (1..=100).sum());
    /// assert_eq!(sum, 5050);
    /// ```
    pub fn time<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        let _timer = self.timer(name);
        work()
    }

    /// Sends a time that was measured elsewhere.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// client.timer_send("boot", std::time::Duration::from_millis(350));
    /// ```
    pub fn timer_send(&self, name: &str, elapsed: Duration) {
        if self.is_timer_disabled(name) {
            self.count_filtered();
        } else {
            timer::send(self, name, None, elapsed, 1.0, Members::NONE);
        }
    }

    /// A log line with fields: `log(Severity::Error, "card refused").field("user", 7).send()`.
    pub fn log<'a>(&'a self, severity: Severity, text: impl Into<Cow<'a, str>>) -> Draft<'a> {
        Draft::new(self, LOG_LINE, severity).payload(text)
    }

    /// Sends an error and its chain of sources, as a log line of severity alert.
    ///
    /// The payload is the error's text; `fields` has `exc_type`, `exc_message`, and `stack`, the error and its sources
    /// as a list of texts. An error behind `dyn Error` cannot say its type; then the name is what its `Debug` text
    /// begins with.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// if let Err(error) = "twelve".parse::<u32>() {
    ///     client.exception(&error);
    /// }
    /// ```
    pub fn exception<E: Error + ?Sized>(&self, error: &E) {
        exception::send(self, error);
    }

    /// Sends a message as it is; see [`Message`]. Fields that are given as JSON text and are no object are sent as the
    /// string `fields.not_an_object`.
    pub fn send(&self, message: &Message<'_>) {
        let Fields::Object(text) = message.fields else { return self.submit(message) };
        match one_line_object(text) {
            Some(object) => self.submit(&Message { fields: Fields::Object(&object), ..*message }),
            None => {
                let mut members = MemberBuffer::new();
                members.write("not_an_object", text.into());
                self.submit(&Message { fields: Fields::Members(members.members()), ..*message });
            }
        }
    }

    /// Sends a message that is JSON text already, whatever its keys; a binding to another language has some that were
    /// encoded there. It is sent as it stands, on one line, with `metlog_seq` and `metlog_src` behind its last key where
    /// the client's messages carry them. No filter is asked.
    ///
    /// `false` where it is not sent: it is no JSON object, of which nothing is counted, or it was dropped and counted.
    ///
    /// ```
    /// let (client, capture) = metlog::Client::capture();
    /// assert!(client.send_json(r#"{"type": "audit", "door": 7}"#));
    /// assert!(!client.send_json("not a message"));
    /// assert!(client.flush(std::time::Duration::from_secs(5)));
    /// assert_eq!(capture.messages(), [r#"{"type": "audit", "door": 7}"#]);
    /// ```
    pub fn send_json(&self, message: &str) -> bool {
        one_line_object(message).is_some_and(|object| self.worker().push_encoded(&object))
    }

    /// Waits until everything that was sent before is out (or dropped), but not longer than `timeout`. `false` when
    /// the time was over first.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.flush_while(timeout, || true)
    }

    /// As [`Client::flush`], but `go_on` is asked twenty times a second whether to wait any longer.
    pub fn flush_while(&self, timeout: Duration, go_on: impl FnMut() -> bool) -> bool {
        // A forked child that has sent nothing has no thread to wait for.
        self.inner.worker.peek().is_none_or(|worker| worker.flush(timeout, go_on))
    }

    /// Sends what waits and ends the client, within `timeout`. `false` if something was left behind. Messages that
    /// come later are dropped and counted.
    pub fn close(&self, timeout: Duration) -> bool {
        self.close_while(timeout, || true)
    }

    /// As [`Client::close`], but `go_on` is asked twenty times a second whether to wait any longer. The client ends
    /// within `timeout` all the same, whether somebody waits for that or not.
    pub fn close_while(&self, timeout: Duration, go_on: impl FnMut() -> bool) -> bool {
        self.worker().close(timeout, go_on)
    }

    /// What became of the messages so far.
    pub fn stats(&self) -> Stats {
        self.inner.worker.peek().map(Worker::stats).unwrap_or_default()
    }

    /// The severity of messages that do not say otherwise.
    pub fn severity(&self) -> Severity {
        self.inner.severity
    }

    /// The logger of messages that do not say otherwise.
    pub fn logger(&self) -> &str {
        &self.inner.settings.logger
    }

    /// Adds an extension: a value of a type of its own that this client and its clones carry from now on.
    ///
    /// An extension gives the client calls of its own by a trait that is implemented for `Client`; what those calls
    /// need to know they keep here. [`ClientBuilder::extend`] adds one before there is a client. There is one
    /// extension of each type; a second one is returned as an error.
    ///
    /// ```
    /// use metlog::{Client, Severity};
    ///
    /// /// What the calls of this extension need to know.
    /// struct Audit {
    ///     site: String,
    /// }
    ///
    /// trait AuditCalls {
    ///     fn audit(&self, user: &str, what: &str);
    /// }
    ///
    /// impl AuditCalls for Client {
    ///     fn audit(&self, user: &str, what: &str) {
    ///         let site = self.extension::<Audit>().map_or("", |audit| &audit.site);
    ///         self.metlog("audit").severity(Severity::Notice).payload(what).field("user", user).field("site", site).send();
    ///     }
    /// }
    ///
    /// let (client, capture) = Client::capture();
    /// client.extend(Audit { site: "phx1".to_owned() })?;
    /// client.audit("vera", "door opened");
    /// assert!(client.flush(std::time::Duration::from_secs(5)));
    /// assert!(capture.messages()[0].contains(r#""fields":{"user":"vera","site":"phx1"}"#));
    /// # Ok::<(), metlog::ExtensionTaken<Audit>>(())
    /// ```
    pub fn extend<T: Send + Sync + 'static>(&self, extension: T) -> Result<(), ExtensionTaken<T>> {
        self.inner.extensions.add(extension)
    }

    /// The extension of this type, if the client has it. It takes no lock.
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.inner.extensions.get()
    }

    fn measured<'a>(&self, kind: &'a str, name: &'a str, payload: Payload<'a>) -> Message<'a> {
        let fields = Fields::Metric { name, rate: 1.0, members: Members::NONE };
        Message { kind, logger: None, severity: self.inner.severity, payload, fields, timestamp: None }
    }

    /// Filters a message, encodes it, and queues it.
    #[inline]
    pub(crate) fn submit(&self, message: &Message<'_>) {
        let worker = self.worker();
        if !self.inner.filters.is_empty() && !self.is_kept(message) {
            return worker.count_filtered();
        }
        worker.push(Record {
            kind: message.kind,
            when: message.timestamp.map_or_else(|| When::At(clock::now()), When::Text),
            logger: message.logger,
            severity: message.severity as u8,
            payload: message.payload,
            fields: message.fields,
            sequence: 0,
        });
    }

    fn is_kept(&self, message: &Message<'_>) -> bool {
        let message = Message { logger: Some(message.logger.unwrap_or(self.logger())), ..*message };
        // A filter that panics has no say, and its panic no way into the application.
        let keeps =
            |filter: &dyn Filter| catch_unwind(AssertUnwindSafe(|| filter.keep(&message))).unwrap_or(true);
        self.inner.filters.iter().all(|filter| keeps(&**filter))
    }

    pub(crate) fn is_timer_disabled(&self, name: &str) -> bool {
        let disabled = &self.inner.disabled_timers;
        !disabled.is_empty() && (disabled.contains(name) || disabled.contains("*"))
    }

    /// Counts a call that was turned away before it came here, by a filter that only the caller can ask.
    pub fn count_filtered(&self) {
        self.worker().count_filtered();
    }

    pub(crate) fn count_sampled_out(&self) {
        self.worker().count_sampled_out();
    }

    #[inline]
    fn worker(&self) -> &Worker {
        // In a child there is nobody to return an error to.
        self.inner.worker.get(|| {
            let (worker, started) = self.inner.settings.start();
            if let Err(error) = started {
                worker.say_why_not(&error);
            }
            worker
        })
    }
}

macro_rules! log_levels {
    ($($name:ident => $severity:ident, $article:literal;)*) => {
        /// Log lines.
        impl Client {$(
            #[doc = concat!("Sends a log line of severity ", $article, ".")]
            pub fn $name(&self, text: impl AsRef<str>) {
                self.log_line(Severity::$severity, text.as_ref());
            }
        )*}
    };
}

log_levels! {
    debug => Debug, "7, debugging";
    info => Informational, "6, information";
    notice => Notice, "5, notice";
    warning => Warning, "4, warning";
    error => Error, "3, error";
    critical => Critical, "2, critical";
    alert => Alert, "1, alert";
    emergency => Emergency, "0, emergency";
}

impl Client {
    fn log_line(&self, severity: Severity, text: &str) {
        let payload = Payload::Text(text);
        let fields = Fields::Members(Members::NONE);
        self.submit(&Message { kind: LOG_LINE, logger: None, severity, payload, fields, timestamp: None });
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("logger", &self.logger()).field("stats", &self.stats()).finish()
    }
}
