//! Timers: how long something took, sent when it is over.

use std::time::{Duration, Instant};

use metlog_message::encode::MemberBuffer;

use crate::sampling::chosen;
use crate::{Client, FieldValue, Fields, Members, Message, Payload};

/// The type of a timer's message.
const KIND: &str = "timer";

/// Measures from its making to its end, which is [`Timer::stop`], or the end of its scope.
///
/// ```
/// let (client, capture) = metlog::Client::capture();
/// {
///     let _timer = client.timer("db.query");
///     // … the work …
/// }
/// let timer = client.timer("render").rate(1.0).field("page", "cart");
/// let took = timer.stop();
/// assert!(client.flush(std::time::Duration::from_secs(5)));
/// assert_eq!(capture.messages().len(), 2);
/// # let _ = took;
/// ```
#[must_use = "a timer measures until it is dropped; bind it to a name such as `_timer`"]
#[derive(Debug)]
pub struct Timer<'a> {
    client: &'a Client,
    name: &'a str,
    rate: f64,
    members: MemberBuffer,
    started: Instant,
    /// Not sent: it is disabled, cancelled, or over.
    silent: bool,
}

impl<'a> Timer<'a> {
    pub(crate) fn start(client: &'a Client, name: &'a str) -> Timer<'a> {
        let silent = client.is_timer_disabled(name);
        if silent {
            client.count_filtered();
        }
        Timer { client, name, rate: 1.0, members: MemberBuffer::new(), started: Instant::now(), silent }
    }

    /// Sends it only this often, above 0 up to 1.
    pub fn rate(mut self, rate: f64) -> Timer<'a> {
        self.rate = rate;
        self
    }

    /// One more key of `fields`.
    pub fn field<'v>(mut self, key: &str, value: impl Into<FieldValue<'v>>) -> Timer<'a> {
        self.members.write(key, value.into());
        self
    }

    /// How long it has run so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends and sends it, and says how long it was.
    pub fn stop(mut self) -> Duration {
        self.finish()
    }

    /// Ends it without sending it.
    pub fn cancel(mut self) {
        self.silent = true;
    }

    fn finish(&mut self) -> Duration {
        let elapsed = self.started.elapsed();
        if !std::mem::replace(&mut self.silent, true) {
            send(self.client, self.name, None, elapsed, self.rate, self.members.members());
        }
        elapsed
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Sends a time that was measured elsewhere.
pub(crate) fn send(
    client: &Client,
    name: &str,
    logger: Option<&str>,
    elapsed: Duration,
    rate: f64,
    members: Members<'_>,
) {
    if !chosen(rate) {
        client.count_sampled_out();
        return;
    }
    client.submit(&Message {
        kind: KIND,
        logger,
        severity: client.severity(),
        payload: Payload::Microseconds(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
        fields: Fields::Metric { name, rate: rate.min(1.0), members },
        timestamp: None,
    });
}
