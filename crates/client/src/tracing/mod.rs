//! A layer for `tracing-subscriber`: an application that uses `tracing` has Metlog by one line more.
//!
//! ```
//! use tracing_subscriber::prelude::*;
//!
//! let (metlog, capture) = metlog::Client::capture();      // or Client::udp("127.0.0.1:5565")?
//! tracing_subscriber::registry().with(metlog::tracing::layer(metlog.clone())).init();
//!
//! let _request = tracing::info_span!("request", user = 7).entered();
//! tracing::warn!(items = 3, "the cart is nearly full");
//!
//! assert!(metlog.flush(std::time::Duration::from_secs(5)));
//! let message = &capture.messages()[0];
//! assert!(message.contains(r#""severity":4,"payload":"the cart is nearly full","fields":{"items":3,"#));
//! assert!(message.contains(r#""spans":{"request":{"user":7}}"#));
//! ```
//!
//! # What becomes of an event
//!
//! A message of type `oldstyle`, which is a log line. Its payload is the event's message. Its `fields` are the event's,
//! numbers and booleans as such, everything else as text, and besides them:
//!
//! * `target`, the event's target, unless that is the message's `logger` ([`MetlogLayer::target_as_logger`]);
//! * `spans`, the spans around it, innermost first, each with its own fields: `fields.spans.request.user` is a path that
//!   a router can match. Of several of one name there is the innermost;
//! * `level` = `TRACE` for that level, because it shares a severity with debug;
//! * `file` and `line` on request ([`MetlogLayer::source_location`]).
//!
//! A field of the event's own that has one of these names takes its place. Levels become severities: error 3, warn 4, info 6,
//! debug and trace 7.
//!
//! An event with an error among its fields (`error = &problem as &dyn std::error::Error`) is an exception as
//! [`Client::exception`] sends it: `exc_type`, `exc_message` and `stack`, with the sources of the error. The severity is
//! that of the event's level; without a message the payload is the error's text.
//!
//! # Spans as timers
//!
//! On request ([`MetlogLayer::with_span_timers`]) a span that ends is a message of type `timer`, whose name is the span's;
//! it counts from the span's making to its end, whatever was awaited in between. `fields.spans` has the span itself, too.
//! Timers that are disabled in the client are not sent.
//!
//! # What is left out
//!
//! What a layer's filter leaves out: `layer(client).with_filter(LevelFilter::INFO)`. And what is logged on a thread
//! while it is inside a client (by a filter), or by the thread that sends (by a sender): it would come back for ever.

use std::fmt;
use std::time::Instant;

use ::tracing::span::{Attributes, Id, Record};
use ::tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::exception::Description;
use crate::scratch::{self, Scratch};
use crate::{Client, FieldValue, Fields, Message, Payload, Severity, reentry, timer};

mod span;
mod visitor;

use span::SpanFields;
use visitor::Visitor;

/// Spans further out than this are left out.
const DEEPEST_SPAN: usize = 64;

/// Says of a span whether it is sent as a timer.
type Timed = dyn Fn(&Metadata<'_>) -> bool + Send + Sync;

/// A layer that sends events as log lines.
pub fn layer(client: Client) -> MetlogLayer {
    MetlogLayer { client, timed: None, target_as_logger: false, source_location: false }
}

/// Sends events, and on request spans, with a [`Client`]; see [the module](self).
#[must_use = "a layer does nothing until it is part of a subscriber"]
pub struct MetlogLayer {
    client: Client,
    /// Which spans are sent as timers.
    timed: Option<Box<Timed>>,
    target_as_logger: bool,
    source_location: bool,
}

impl MetlogLayer {
    /// Every span that ends is sent as a timer.
    pub fn with_span_timers(self) -> MetlogLayer {
        self.with_span_timers_for(|_| true)
    }

    /// Some spans are sent as timers when they end.
    ///
    /// ```
    /// # let client = metlog::Client::noop();
    /// let layer = metlog::tracing::layer(client)
    ///     .with_span_timers_for(|span| span.target().starts_with("shop") && *span.level() <= tracing::Level::INFO);
    /// # let _ = layer;
    /// ```
    pub fn with_span_timers_for(
        mut self,
        timed: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static,
    ) -> MetlogLayer {
        self.timed = Some(Box::new(timed));
        self
    }

    /// The target is the message's `logger`, instead of the client's and `fields.target`.
    pub fn target_as_logger(mut self) -> MetlogLayer {
        self.target_as_logger = true;
        self
    }

    /// Adds `fields.file` and `fields.line`, where the event is in the source.
    pub fn source_location(mut self) -> MetlogLayer {
        self.source_location = true;
        self
    }

    fn is_timed(&self, metadata: &Metadata<'_>) -> bool {
        self.timed.as_ref().is_some_and(|timed| timed(metadata))
    }

    fn send_event<'a, S>(&self, event: &Event<'_>, scope: Option<Scope<'a, S>>, scratch: &mut Scratch)
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let metadata = event.metadata();
        let mut visitor = Visitor::new(scratch);
        event.record(&mut visitor);
        let Visitor { error, bridged_target, .. } = visitor;

        let is_free = |key: &str| metadata.fields().field(key).is_none();
        let target = bridged_target.as_deref().unwrap_or(metadata.target());
        if !self.target_as_logger && is_free("target") {
            scratch.members.write("target", target.into());
        }
        if *metadata.level() == Level::TRACE && is_free("level") {
            scratch.members.write("level", "TRACE".into());
        }
        if self.source_location
            && let (Some(file), Some(line)) = (metadata.file(), metadata.line())
            && is_free("file")
            && is_free("line")
        {
            scratch.members.write("file", file.into());
            scratch.members.write("line", line.into());
        }
        if let Some(scope) = scope
            && is_free("spans")
        {
            write_spans(scope, scratch);
        }
        if let Some(Description { kind, message, stack }) = error {
            if scratch.text.is_empty() {
                scratch.text.push_str(&message);
            }
            for (key, value) in [
                ("exc_type", FieldValue::Text(&kind)),
                ("exc_message", FieldValue::Text(&message)),
                ("stack", FieldValue::Json(&stack)),
            ] {
                if is_free(key) {
                    scratch.members.write(key, value);
                }
            }
        }
        let message = Message {
            kind: crate::client::LOG_LINE,
            logger: self.target_as_logger.then_some(target),
            severity: severity(*metadata.level()),
            payload: Payload::Text(&scratch.text),
            fields: Fields::Members(scratch.members.members()),
            timestamp: None,
        };
        reentry::enter(|| self.client.submit(&message));
    }
}

impl<S> Layer<S> for MetlogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !reentry::is_inside() {
            scratch::with(|scratch| self.send_event(event, context.event_scope(event), scratch));
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = SpanFields::default();
        // Before the lock on the span's extensions: values are formatted by code of the application.
        scratch::with(|scratch| {
            attributes.record(&mut Visitor::new(scratch));
            fields.begin(scratch.members.members());
        });
        if self.is_timed(attributes.metadata()) {
            fields.started = Some(Instant::now());
        }
        let mut extensions = span.extensions_mut();
        // Another layer of this kind may have been here.
        match extensions.get_mut::<SpanFields>() {
            Some(present) => present.started = present.started.or(fields.started),
            None => extensions.insert(fields),
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut later = span::Later::default();
        values.record(&mut later);
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            fields.add(later);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        if reentry::is_inside() || !self.is_timed(span.metadata()) {
            return;
        }
        let started = span.extensions().get::<SpanFields>().and_then(|fields| fields.started);
        let Some(started) = started else { return };
        let elapsed = started.elapsed();
        if self.client.is_timer_disabled(span.name()) {
            return self.client.count_filtered();
        }
        scratch::with(|scratch| {
            if !self.target_as_logger {
                scratch.members.write("target", span.metadata().target().into());
            }
            write_spans(span.scope(), scratch);
            let members = scratch.members.members();
            let logger = self.target_as_logger.then(|| span.metadata().target());
            reentry::enter(|| timer::send(&self.client, span.name(), logger, elapsed, 1.0, members));
        });
    }
}

impl fmt::Debug for MetlogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetlogLayer").field("client", &self.client).finish_non_exhaustive()
    }
}

fn severity(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        Level::INFO => Severity::Informational,
        Level::DEBUG | Level::TRACE => Severity::Debug,
    }
}

/// Writes spans as an object of objects, innermost first; of several of one name, the innermost.
fn write_spans<'a, S>(scope: Scope<'a, S>, scratch: &mut Scratch)
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    let Scratch { members, names, .. } = scratch;
    members.write_object("spans", |spans| {
        for span in scope.take(DEEPEST_SPAN) {
            if names.contains(&span.name()) {
                continue;
            }
            names.push(span.name());
            let extensions = span.extensions();
            spans.write_object(span.name(), |out| {
                if let Some(fields) = extensions.get::<SpanFields>() {
                    fields.write_to(out);
                }
            });
        }
    });
}
