//! What the logger makes of lines that are logged with the crate `log`.

#![cfg(feature = "log")]
// A test that fails panics; clippy cannot see that the helpers here are tests.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::fmt;

use log::{Level, LevelFilter, Log, Record};
use metlog::log::Logger;
use metlog::senders::{Capture, CaptureSender};
use metlog::{Client, Message};
use serde_json::{Value, json};
use support::{LONG, parse};

fn client() -> (Client, Capture) {
    let (sender, capture) = CaptureSender::new();
    (Client::builder().logger("shop").sender(sender).build().unwrap(), capture)
}

fn captured(client: &Client, capture: &Capture) -> Vec<Value> {
    assert!(client.flush(LONG));
    capture.take().iter().map(parse).collect()
}

#[test]
fn each_level_has_its_severity_and_each_target_its_own_most_verbose_level() {
    let (client, capture) = client();
    let logger = Logger::new(client.clone())
        .max_level(LevelFilter::Trace)
        .level_for("hyper", LevelFilter::Warn)
        .level_for("hyper::client", LevelFilter::Debug);
    let log = |level: Level, target: &str| {
        logger.log(&Record::builder().level(level).target(target).args(format_args!("text")).build());
    };
    for level in Level::iter() {
        log(level, "shop");
    }
    log(Level::Info, "hyper");
    log(Level::Info, "hyper::server");
    log(Level::Info, "hyperactive");
    log(Level::Debug, "hyper::client::pool");
    let messages = captured(&client, &capture);
    let seen: Vec<(u64, &str)> = messages
        .iter()
        .map(|m| (m["severity"].as_u64().unwrap(), m["fields"]["target"].as_str().unwrap()))
        .collect();
    let expected = [
        (3, "shop"),
        (4, "shop"),
        (6, "shop"),
        (7, "shop"),
        (7, "shop"),
        (6, "hyperactive"),
        (7, "hyper::client::pool"),
    ];
    assert_eq!(seen, expected);
    assert_eq!(messages[4]["fields"], json!({"target": "shop", "level": "TRACE"}));
    assert!(messages.iter().all(|message| message["type"] == "oldstyle" && message["logger"] == "shop"));
}

struct Breaks;

impl fmt::Display for Breaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("half")?;
        panic!("this Display panics");
    }
}

/// One test for the process's one logger.
#[test]
fn the_macros_keep_the_types_of_key_values_and_survive_what_panics() {
    let (sender, capture) = CaptureSender::new();
    let chatty_filter = |_: &Message<'_>| {
        log::warn!("looking at a message");
        true
    };
    let client = Client::builder().sender(sender).filter(chatty_filter).build().unwrap();
    Logger::new(client.clone()).source_location().install().unwrap();
    assert_eq!(log::max_level(), LevelFilter::Info);
    assert!(metlog::log::init(client.clone()).is_err(), "a second logger");

    log::info!(a = 1, b = -2, c = 0.5, d = true, e = "t", f:? = [1], target = "mine"; "text {}", 9);
    log::info!("{}", Breaks);
    log::debug!("not sent");
    let messages = captured(&client, &capture);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert_eq!(messages[0]["payload"], "text 9");
    let mut fields = messages[0]["fields"].clone();
    assert!(fields["line"].take().is_u64() && fields["file"].take().as_str().unwrap().ends_with("log.rs"));
    let expected = json!({"a": 1, "b": -2, "c": 0.5, "d": true, "e": "t", "f": "[1]", "target": "mine",
        "file": null, "line": null});
    assert_eq!(fields, expected);
    assert_eq!(messages[1]["payload"], "half");
}

#[test]
fn the_target_may_be_the_logger() {
    let (client, capture) = client();
    let logger = Logger::new(client.clone()).target_as_logger();
    logger.log(&Record::builder().level(Level::Info).target("shop::cart").args(format_args!("text")).build());
    let messages = captured(&client, &capture);
    assert_eq!((&messages[0]["logger"], &messages[0]["fields"]), (&json!("shop::cart"), &json!({})));
}
