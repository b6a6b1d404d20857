//! What a `tracing` layer makes of events and spans.

#![cfg(feature = "tracing")]
// A test that fails panics; clippy cannot see that the helpers here are tests.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::fmt;

use metlog::senders::{Answer, Batch, Capture, CaptureSender, Sender};
use metlog::tracing::MetlogLayer;
use metlog::{Client, Message};
use serde_json::{Value, json};
use support::{LONG, parse};
use tracing::{Level, debug, error, info, info_span, trace, warn};
use tracing_subscriber::prelude::*;

/// Runs some code under a layer and returns what it sent.
fn sent(adjust: impl FnOnce(MetlogLayer) -> MetlogLayer, run: impl FnOnce()) -> Vec<Value> {
    let (sender, capture) = CaptureSender::new();
    let client = Client::builder().logger("shop").sender(sender).disable_timer("disabled").build().unwrap();
    sent_by(&client, &capture, adjust, run)
}

fn sent_by(
    client: &Client,
    capture: &Capture,
    adjust: impl FnOnce(MetlogLayer) -> MetlogLayer,
    run: impl FnOnce(),
) -> Vec<Value> {
    let layer = adjust(metlog::tracing::layer(client.clone()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), run);
    assert!(client.flush(LONG));
    capture.take().iter().map(parse).collect()
}

#[test]
fn each_level_has_its_severity() {
    let messages = sent(
        |layer| layer,
        || {
            error!("3");
            warn!("4");
            info!("6");
            debug!("7");
            trace!("7");
        },
    );
    for message in &messages {
        assert_eq!((&message["type"], &message["logger"]), (&json!("oldstyle"), &json!("shop")));
        assert_eq!(message["payload"], message["severity"].to_string());
    }
    let levels: Vec<&Value> = messages.iter().map(|message| &message["fields"]["level"]).collect();
    assert_eq!(levels, [&Value::Null, &Value::Null, &Value::Null, &Value::Null, &json!("TRACE")]);
}

#[test]
fn fields_keep_their_types_and_an_event_s_own_names_come_first() {
    let messages = sent(
        |layer| layer,
        || {
            info!(a = 1, b = -2, c = 0.5, d = true, e = "t", f = ?[1], g = %7, big = u128::MAX, r#type = 1, "text {}", 9);
            info!(target: "elsewhere", target = "mine", spans = 3);
        },
    );
    assert_eq!(messages[0]["payload"], "text 9");
    let fields = json!({"a": 1, "b": -2, "c": 0.5, "d": true, "e": "t", "f": "[1]", "g": "7",
        "big": u128::MAX.to_string(), "type": 1, "target": "tracing"});
    assert_eq!(messages[0]["fields"], fields);
    assert_eq!(
        (&messages[1]["payload"], &messages[1]["fields"]),
        (&json!(""), &json!({"target": "mine", "spans": 3}))
    );
}

#[test]
fn the_spans_around_an_event_go_with_it() {
    let messages = sent(
        |layer| layer,
        || {
            let request = info_span!("request", user = 7, status = tracing::field::Empty, n = 0);
            let _request = request.enter();
            request.record("status", 1).record("status", 402);
            let _inner = info_span!("step", n = 1).entered();
            let _innermost = info_span!("step", n = 2).entered();
            info!(parent: None, "outside");
            info!("inside");
        },
    );
    assert_eq!(messages[0]["fields"], json!({"target": "tracing"}));
    let spans = json!({"step": {"n": 2}, "request": {"user": 7, "n": 0, "status": 402}});
    assert_eq!(messages[1]["fields"]["spans"], spans);
    assert_eq!(messages.len(), 2);
}

#[test]
fn a_field_that_is_recorded_for_ever_takes_no_more_memory_than_once() {
    let messages = sent(
        |layer| layer,
        || {
            let span =
                info_span!("loop", round = tracing::field::Empty, note = tracing::field::Empty).entered();
            for round in 0..10_000 {
                span.record("round", round);
            }
            span.record("note", "x".repeat(20_000).as_str());
            info!("end");
        },
    );
    assert_eq!(messages[0]["fields"]["spans"], json!({"loop": {"round": 9999}}));
}

#[test]
fn spans_are_timers_on_request() {
    let run = || {
        let _request = info_span!("request", name = "not the timer's", user = 7).entered();
        drop(info_span!("query").entered());
        drop(tracing::debug_span!("detail").entered());
        drop(info_span!("disabled").entered());
    };
    assert_eq!(sent(|layer| layer, run).len(), 0);
    let messages = sent(MetlogLayer::with_span_timers, run);
    let names: Vec<_> = messages.iter().map(|message| message["fields"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["query", "detail", "request"]);
    assert!(messages.iter().all(|message| message["type"] == "timer" && message["fields"]["rate"] == 1.0));
    assert!(messages[2]["payload"].as_str().unwrap().parse::<f64>().is_ok());
    assert_eq!(messages[2]["fields"]["spans"], json!({"request": {"name": "not the timer's", "user": 7}}));
    assert_eq!(messages[0]["fields"]["spans"]["request"]["user"], 7);
    let some = sent(|layer| layer.with_span_timers_for(|span| *span.level() <= Level::INFO), run);
    assert_eq!(some.len(), 2);
}

#[test]
fn a_timer_is_as_long_as_its_span() {
    let mut least = 0.0;
    let messages = sent(MetlogLayer::with_span_timers, || {
        let span = info_span!("work");
        let begin = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(5));
        least = begin.elapsed().as_secs_f64() * 1000.0;
        drop(span);
    });
    let milliseconds: f64 = messages[0]["payload"].as_str().unwrap().parse().unwrap();
    assert!(milliseconds + 0.001 >= least, "{milliseconds} < {least}");
}

#[derive(Debug, thiserror::Error)]
#[error("cannot charge")]
struct Outer {
    #[source]
    cause: std::num::ParseIntError,
}

#[test]
fn an_event_with_an_error_is_an_exception_with_its_causes() {
    let problem = Outer { cause: "x".parse::<i32>().unwrap_err() };
    let messages = sent(
        |layer| layer,
        || {
            warn!(error = &problem as &dyn Error, user = 7, "no sale");
            error!(error = &problem as &dyn Error);
        },
    );
    let expected = json!({"error": "cannot charge", "user": 7, "target": "tracing", "exc_type": "Outer",
        "exc_message": "cannot charge",
        "stack": ["Outer: cannot charge", "caused by ParseIntError: invalid digit found in string"]});
    assert_eq!(messages[0]["fields"], expected);
    assert_eq!((&messages[0]["payload"], &messages[0]["severity"]), (&json!("no sale"), &json!(4)));
    assert_eq!((&messages[1]["payload"], &messages[1]["severity"]), (&json!("cannot charge"), &json!(3)));
}

#[test]
fn the_target_and_the_place_in_the_source_are_told_as_wanted() {
    let messages = sent(
        |layer| layer.target_as_logger().source_location().with_span_timers(),
        || {
            info!(target: "shop::cart", "in");
            drop(info_span!(target: "shop::cart", "work").entered());
        },
    );
    assert!(messages.iter().all(|message| message["logger"] == "shop::cart"), "{messages:?}");
    assert!(messages.iter().all(|message| message["fields"]["target"].is_null()), "{messages:?}");
    assert!(messages[0]["fields"]["file"].as_str().unwrap().ends_with("tracing.rs"));
    assert!(messages[0]["fields"]["line"].is_u64());
}

#[test]
fn two_layers_send_the_same_to_two_clients() {
    let (one, first) = Client::capture();
    let (two, second) = Client::capture();
    let subscriber = tracing_subscriber::registry()
        .with(metlog::tracing::layer(one.clone()))
        .with(metlog::tracing::layer(two.clone()).with_span_timers());
    tracing::subscriber::with_default(subscriber, || {
        let _span = info_span!("work", n = 1).entered();
        info!("in it");
    });
    assert!(one.flush(LONG) && two.flush(LONG));
    assert_eq!((first.take().len(), second.take().len()), (1, 2));
}

struct Breaks;

impl fmt::Debug for Breaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        panic!("this Debug panics");
    }
}

#[test]
fn a_value_that_panics_costs_its_own_text_and_nothing_else() {
    let messages = sent(|layer| layer, || info!(broken = ?Breaks, whole = 1, "text"));
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["payload"], "text");
    let fields = &messages[0]["fields"];
    assert_eq!((&fields["broken"], &fields["whole"]), (&json!("half"), &json!(1)));
}

/// Logs each batch.
struct Chatty {
    capture: CaptureSender,
}

impl Sender for Chatty {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        info!("sending {}", batch.len());
        self.capture.send(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(Chatty { capture: self.capture.clone() })
    }
}

#[test]
fn what_filters_and_senders_log_comes_back_no_second_time() {
    let (capture_sender, capture) = CaptureSender::new();
    let chatty_filter = |_: &Message<'_>| {
        warn!("looking at a message");
        true
    };
    let client =
        Client::builder().sender(Chatty { capture: capture_sender }).filter(chatty_filter).build().unwrap();
    // For all threads, as the sending thread has no default of its own.
    let layer = metlog::tracing::layer(client.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer)).unwrap();
    info!("once");
    assert!(client.flush(LONG));
    info!("twice");
    assert!(client.flush(LONG));
    let payloads: Vec<Value> = capture.take().iter().map(|text| parse(text)["payload"].clone()).collect();
    assert_eq!(payloads, ["once", "twice"]);
}
