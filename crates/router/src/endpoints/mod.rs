//! Endpoints: where messages go.
//!
//! An endpoint owns its protocol and nothing else. It is handed [`Work`] and gives an [`Answer`]; batching, buffering,
//! retry, counting and shutdown live once, in the runner that drives it. Adding a kind is one file here and its two
//! lines in [`registry`].

pub mod counter;
pub mod file;
pub mod http;
pub mod metlog;
pub mod null;
pub mod registry;
pub mod sentry;
pub mod statsd;
pub mod stdout;
pub mod syslog;

use std::{fmt::Debug, future::Future, path::Path, pin::Pin, sync::Arc, time::Duration};

use metlog_buffer::{Charge, WhenFull};

use crate::{
    acknowledgement::Ack,
    batch::{Handover, Message},
    clock::Clock,
    config::Section,
    ledger::EndpointCounters,
    territory::Territory,
};

/// Messages handed to an endpoint, in order. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Work {
    handovers: Vec<Handover>,
    /// How many messages of the first hand-over were answered for before.
    cursor: usize,
}

impl Work {
    /// The messages of these hand-overs, less the first `cursor` ones.
    pub fn new(handovers: Vec<Handover>, cursor: usize) -> Self {
        Work { handovers, cursor }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.handovers.iter().map(Handover::len).sum::<usize>().saturating_sub(self.cursor)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every message, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut skipped = self.cursor;
        self.handovers.iter().flat_map(move |handover| {
            let first = std::mem::take(&mut skipped);
            (first..handover.len()).filter_map(|position| handover.message(position))
        })
    }

    /// The messages in order, in the longest runs that lie side by side in memory: how many messages, and their bytes,
    /// each with its line break.
    pub fn runs(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut skipped = self.cursor;
        self.handovers.iter().flat_map(move |handover| {
            let mut position = std::mem::take(&mut skipped);
            std::iter::from_fn(move || {
                let (count, bytes) = handover.run(position)?;
                position += count;
                Some((count, bytes))
            })
        })
    }

    /// Whether there may be messages in it that tell an endpoint what to do (`allow_meta`).
    pub fn allows_meta(&self) -> bool {
        self.handovers.iter().any(Handover::allows_meta)
    }

    pub(crate) fn charged_bytes(&self) -> usize {
        self.handovers.iter().map(Charge::charged_bytes).sum()
    }

    pub(crate) fn handovers_mut(&mut self) -> &mut Vec<Handover> {
        &mut self.handovers
    }

    pub(crate) fn set_cursor(&mut self, cursor: usize) {
        self.cursor = cursor;
    }
}

/// What an endpoint says of the work that it was handed.
///
/// The answer is for a prefix: the first `settled` messages are done with, delivered except for those in `refused`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How many messages, from the first on, need no more attention.
    pub settled: usize,
    /// Those of them that the endpoint will never take, by reason.
    pub refused: Refusals,
    /// Why it stopped there.
    pub then: Then,
}

/// Why an endpoint stopped where it stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Nothing stands in the way of more.
    Done,
    /// Try the rest again.
    Retry {
        /// What happened, in words for an operator.
        error: String,
        /// Not before this time has passed, where the endpoint's peer said so; otherwise the runner backs off.
        after: Option<Duration>,
    },
    /// Nothing is wrong, but it was told to wait: ask again soon, or when there is more.
    Wait {
        /// What it waits for, in words for an operator.
        until: String,
        /// How long it waits at most before it is asked again; a lane waits all of it.
        longest: Duration,
    },
    /// It will never take anything again, and the router is to end: who read its standard output has gone.
    Gone {
        /// What happened, in words for an operator.
        error: String,
    },
}

/// Messages refused for good, counted by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusals(Vec<(&'static str, usize)>);

impl Refusals {
    /// Counts one message.
    pub fn add(&mut self, reason: &'static str) {
        self.add_many(reason, 1);
    }

    /// Counts several messages.
    pub fn add_many(&mut self, reason: &'static str, messages: usize) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += messages,
            None => self.0.push((reason, messages)),
        }
    }

    /// How many messages there are.
    pub fn total(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().copied()
    }
}

impl Answer {
    /// Everything was delivered.
    pub fn delivered(messages: usize) -> Answer {
        Answer { settled: messages, refused: Refusals::default(), then: Then::Done }
    }

    /// The first `settled` messages were delivered; then something went wrong that may pass.
    pub fn retry(settled: usize, error: impl ToString) -> Answer {
        Answer {
            settled,
            refused: Refusals::default(),
            then: Then::Retry { error: error.to_string(), after: None },
        }
    }

    /// The first `settled` messages were delivered; nothing ever will be again.
    pub fn gone(settled: usize, error: impl ToString) -> Answer {
        Answer { settled, refused: Refusals::default(), then: Then::Gone { error: error.to_string() } }
    }

    /// The same, but something went wrong behind it that may pass.
    pub fn stopped(mut self, error: impl ToString) -> Answer {
        self.then = Then::Retry { error: error.to_string(), after: None };
        self
    }

    /// This answer, followed by one for the messages behind it.
    pub fn and(mut self, next: Answer) -> Answer {
        self.settled += next.settled;
        for (reason, messages) in next.refused.iter() {
            self.refused.add_many(reason, messages);
        }
        self.then = next.then;
        self
    }
}

/// An endpoint that is driven by a thread of its own, with blocking calls.
pub trait Endpoint: Send {
    /// Called before everything else, and again until it works or messages come: opens what should be there from the start on, unless
    /// that has to be waited for. The error says, in words for an operator, what cannot be opened now.
    fn begin(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Delivers, in order, as much of `work` as it can.
    fn deliver(&mut self, work: &Work) -> Answer;

    /// When [`Endpoint::tick`] wants to be called next, on the monotonic clock; `None` for never.
    fn next_tick(&self) -> Option<Duration> {
        None
    }

    /// Called at [`Endpoint::next_tick`] while nothing is being delivered.
    fn tick(&mut self, now: Duration) {
        let _ = now;
    }

    /// Opens files anew, for log rotation. The error says, in words for an operator, what cannot be opened now.
    fn reopen(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// What a delivery of a [`NetworkEndpoint`] gives.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// An endpoint that is driven by a task on the shared network runtime.
pub trait NetworkEndpoint: Send {
    /// Delivers, in order, as much of `work` as it can.
    fn deliver<'a>(&'a mut self, work: &'a Work) -> Delivery<'a>;
}

/// An endpoint whose messages go several ways that must not wait for one another: its lanes. Within a lane messages are
/// delivered in order, one delivery at a time; different lanes in parallel. Driven by a task on the shared network runtime.
pub trait LaneEndpoint: Send + Sync {
    /// Appends the key of the lane in which a message goes, or says why the endpoint will never take it.
    fn lane(&self, message: &Message<'_>, key: &mut Vec<u8>) -> Result<(), &'static str>;

    /// Delivers, in order, as much of `work` as is good to have under way at once: one message at least. All of it is of
    /// the lane with this key.
    fn deliver<'a>(&'a self, key: &'a [u8], work: &'a Work) -> Delivery<'a>;
}

/// An opened endpoint, by the way in which it is driven.
pub enum Opened {
    /// By an OS thread.
    Blocking(Box<dyn Endpoint>),
    /// By a task.
    Network(Box<dyn NetworkEndpoint>),
    /// By a task, in lanes, of which there are so many at most.
    Lanes(Arc<dyn LaneEndpoint>, usize),
}

/// What an endpoint is given when it is opened.
#[derive(Debug, Clone)]
pub struct EndpointContext {
    /// Its name in the configuration.
    pub name: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where it counts what is not a message's fate (`notice`); the runner does the rest.
    pub counters: Arc<EndpointCounters>,
    /// `[limits] open_files`: how many files it may keep open.
    pub open_files: usize,
}

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("endpoint `{name}`: {problem}")]
pub struct OpenError {
    /// The endpoint's name.
    pub name: String,
    /// What happened and what to do.
    pub problem: String,
}

/// What an endpoint does with one message, without doing it: for `metlog explain` and `metlog test`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// These very bytes go there.
    Sends {
        /// Where to, in words for an operator: a path, an address.
        to: String,
        /// What, framing included.
        bytes: Vec<u8>,
    },
    /// It never takes the message.
    Refuses {
        /// Why, as the ledger calls it.
        reason: &'static str,
        /// What it is about the message, where that is worth a word: the host that it names. Never a secret.
        what: Option<String>,
    },
    /// It takes the message and sends nothing.
    Keeps,
    /// It does what the message tells it to (`allow_meta`), and sends nothing.
    Obeys {
        /// What that is: "close its files".
        order: &'static str,
    },
}

impl From<&'static str> for Preview {
    /// It never takes the message, for this reason.
    fn from(reason: &'static str) -> Preview {
        Preview::Refuses { reason, what: None }
    }
}

/// An endpoint's checked parameters, ready to be opened.
pub trait EndpointSettings: Debug + Send + Sync {
    /// Opens it. Only what can never work is an error here; a peer that is down is the runner's business. Files that it writes
    /// are not touched before [`Endpoint::begin`]: another endpoint may still write them, or a reload be refused.
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError>;

    /// The files that it writes. Of two endpoints that can write the same ones, the second begins when the first has ended.
    fn territory(&self) -> Option<Territory> {
        None
    }

    /// Who it is to its server, as a number: another one where the server or the credentials are others. What a server asked for
    /// (`Retry-After`) holds over a reload where this stays. `None` where servers ask for nothing.
    fn sender(&self) -> Option<u64> {
        None
    }

    /// What it would do with this message, found with the very code that does it. Opens and sends nothing.
    fn preview(&self, message: &Message<'_>) -> Preview;

    /// What is meant by a reason for which it refuses messages, in words for an operator. `None` for a reason of which it
    /// knows nothing.
    fn refusal(&self, reason: &str) -> Option<&'static str> {
        let _ = reason;
        None
    }

    /// Reports what is wrong with keys together, after each was read by itself.
    fn check(&self, section: &mut Section<'_>) {
        let _ = section;
    }

    /// The same with the keys that every endpoint has; of these there is nothing to say.
    fn check_section(&self, section: &mut Section<'_>) {
        self.check(section);
    }

    /// Files of which it reads the content when it is opened. A reload opens it anew where that has changed.
    fn named_files(&self) -> Vec<&Path> {
        Vec::new()
    }

    /// What its buffer does when full, unless the configuration says otherwise.
    fn when_full(&self) -> WhenFull {
        WhenFull::DropNewest
    }

    /// When it acknowledges a message to the input that brought it, unless the configuration says otherwise.
    fn ack(&self) -> Ack {
        Ack::Queued
    }

    /// How long the runner waits for more before it delivers.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }
}
