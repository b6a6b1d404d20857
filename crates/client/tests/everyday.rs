//! What the calls put into messages, and what filters, rates and disabled timers leave out.

// A test that fails panics; clippy cannot see that the helpers here are tests.
#![allow(clippy::panic, clippy::unwrap_used)]

mod support;

use std::error::Error;
use std::fmt;
use std::time::Duration;

use metlog::filters::{SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
use metlog::senders::{Capture, CaptureSender};
use metlog::{Client, ClientBuilder, FieldValue, Fields, Message, Payload, Severity};
use serde_json::{Value, json};
use support::{LONG, parse, payloads};

fn client(build: impl FnOnce(ClientBuilder) -> ClientBuilder) -> (Client, Capture) {
    let (sender, capture) = CaptureSender::new();
    (build(Client::builder().sender(sender)).build().unwrap(), capture)
}

fn captured(client: &Client, capture: &Capture) -> Vec<Value> {
    assert!(client.flush(LONG));
    capture.take().iter().map(parse).collect()
}

#[test]
fn each_log_level_has_its_number() {
    let (client, capture) = client(|builder| builder);
    client.emergency("0");
    client.alert("1");
    client.critical("2");
    client.error("3");
    client.warning("4");
    client.notice("5");
    client.info("6");
    client.debug("7");
    let messages = captured(&client, &capture);
    assert_eq!(messages.len(), 8);
    for message in messages {
        assert_eq!(message["type"], "oldstyle");
        assert_eq!(message["payload"], message["severity"].to_string());
    }
}

#[test]
fn metrics_have_their_value_as_text_and_their_name_and_rate_as_fields() {
    let (client, capture) = client(|builder| builder.severity(Severity::Notice).logger("shop"));
    client.incr("hits");
    client.incr_by("hits", -3);
    client.gauge("depth", 17);
    client.gauge("load", 0.25);
    client.timer_send("boot", Duration::from_micros(12_340));
    client.counter("bytes", 1500).field("port", 80).logger("net").severity(Severity::Debug).send();
    client.metric("set", "users", u64::MAX).send();
    let messages = captured(&client, &capture);
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (m["type"].as_str().unwrap(), m["payload"].as_str().unwrap(), m["fields"].to_string()))
        .collect();
    let fields = |name: &str| format!(r#"{{"name":"{name}","rate":1.0}}"#);
    assert_eq!(seen[0], ("counter", "1", fields("hits")));
    assert_eq!(seen[1], ("counter", "-3", fields("hits")));
    assert_eq!(seen[2], ("gauge", "17", fields("depth")));
    assert_eq!(seen[3], ("gauge", "0.25", fields("load")));
    assert_eq!(seen[4], ("timer", "12.34", fields("boot")));
    assert_eq!(messages[5]["fields"], json!({"name": "bytes", "rate": 1.0, "port": 80}));
    assert_eq!((&messages[5]["logger"], &messages[5]["severity"]), (&json!("net"), &json!(7)));
    assert_eq!((&messages[0]["logger"], &messages[0]["severity"]), (&json!("shop"), &json!(5)));
    assert_eq!(messages[6]["payload"], u64::MAX.to_string());
}

#[test]
fn a_draft_has_whatever_it_is_given() {
    let (client, capture) = client(|builder| builder);
    client
        .metlog("wsgi")
        .payload("GET /")
        .timestamp("2012-07-18T12:30:00Z")
        .field("none", None::<i64>)
        .field("nan", f64::NAN)
        .field("yes", true)
        .field("text", "a\nb")
        .field("nested", FieldValue::Json("{\n\"a\": [1]\n}"))
        .send();
    client.metlog("wsgi").send();
    let messages = captured(&client, &capture);
    assert_eq!(messages[0]["timestamp"], "2012-07-18T12:30:00Z");
    let fields = json!({"none": null, "nan": null, "yes": true, "text": "a\nb", "nested": {"a": [1]}});
    assert_eq!(messages[0]["fields"], fields);
    assert_eq!((&messages[1]["payload"], &messages[1]["fields"]), (&json!(""), &json!({})));
}

#[test]
fn timers_measure_scopes_closures_and_until_they_are_stopped() {
    let (client, capture) = client(|builder| builder);
    {
        let _timer = client.timer("scope").field("k", "v");
    }
    assert_eq!(client.time("closure", || 7), 7);
    let stopped = client.timer("stopped");
    std::thread::sleep(Duration::from_millis(3));
    assert!(stopped.elapsed() >= Duration::from_millis(3));
    let elapsed = stopped.stop();
    client.timer("cancelled").cancel();
    let messages = captured(&client, &capture);
    let names: Vec<_> = messages.iter().map(|message| message["fields"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["scope", "closure", "stopped"]);
    assert_eq!(messages[0]["fields"]["k"], "v");
    let sent: f64 = messages[2]["payload"].as_str().unwrap().parse().unwrap();
    assert!((sent - elapsed.as_secs_f64() * 1000.0).abs() < 0.01, "{sent} {elapsed:?}");
}

#[test]
fn disabled_timers_are_not_sent_and_a_star_disables_all() {
    let (client, capture) = client(|builder| builder.disable_timer("noisy"));
    client.timer_send("noisy", Duration::ZERO);
    drop(client.timer("noisy"));
    drop(client.timer("other"));
    client.incr("noisy");
    assert_eq!(captured(&client, &capture).len(), 2);
    assert_eq!(client.stats().filtered, 2);

    let (client, capture) = self::client(|builder| builder.disable_timer("*"));
    drop(client.timer("other"));
    client.timer_send("any", Duration::ZERO);
    assert!(captured(&client, &capture).is_empty());
}

#[test]
fn a_sample_rate_leaves_out_its_share_and_says_so() {
    let (client, capture) = client(|builder| builder);
    for _ in 0..10_000 {
        client.counter("hits", 1).rate(0.1).send();
    }
    let messages = captured(&client, &capture);
    assert!((800..1200).contains(&messages.len()), "{}", messages.len());
    assert!(messages.iter().all(|message| message["fields"]["rate"] == 0.1));
    assert_eq!(client.stats().sampled_out, 10_000 - messages.len() as u64);
    client.metlog("x").rate(7.0).send();
    assert_eq!(captured(&client, &capture)[0]["fields"]["rate"], 1.0);
}

#[test]
fn a_message_is_sent_only_if_every_filter_keeps_it() {
    let (client, capture) = client(|builder| {
        builder
            .filter(SeverityMax(Severity::Notice))
            .filter(TypeAllow::new(["oldstyle", "counter"]))
            .filter(TypeDeny::new(["counter"]))
            .filter(TypeSeverityMax::new([("oldstyle", Severity::Error)]))
            .filter(|message: &Message<'_>| message.payload != Payload::Text("secret"))
            .filter(|message: &Message<'_>| message.logger == Some(""))
    });
    client.error("kept");
    client.warning("too mild for its type");
    client.info("too mild");
    client.error("secret");
    client.incr("denied");
    client.metlog("other").severity(Severity::Alert).send();
    client.log(Severity::Error, "another logger").logger("other").send();
    assert_eq!(payloads(&captured(&client, &capture)), ["kept"]);
    assert_eq!(client.stats().filtered, 6);
    assert_eq!(client.stats().accepted, 1);
}

#[test]
fn a_filter_that_panics_keeps_the_message_and_its_panic() {
    let (client, capture) =
        client(|builder| builder.filter(|_: &Message<'_>| -> bool { panic!("as the test wants it") }));
    client.info("kept");
    assert_eq!(payloads(&captured(&client, &capture)), ["kept"]);
}

#[test]
fn encoded_fields_go_through_as_they_are_unless_they_are_no_object() {
    let (client, capture) = client(|builder| builder);
    let send = |fields: &str| {
        client.send(&Message {
            kind: "x",
            logger: None,
            severity: Severity::Error,
            payload: Payload::Text(""),
            fields: Fields::Object(fields),
            timestamp: None,
        });
    };
    send(r#"{"a":{"b":[1,2.50]}}"#);
    send(" {\n \"a\": 1\n} \n");
    send("[1]");
    send("");
    send(r#"{"a":1},"severity":0,"x":{}"#);
    send(r#"{"a":NaN}"#);
    let fields: Vec<Value> =
        captured(&client, &capture).iter().map(|message| message["fields"].clone()).collect();
    assert_eq!(
        fields,
        [
            json!({"a": {"b": [1, 2.5]}}),
            json!({"a": 1}),
            json!({"not_an_object": "[1]"}),
            json!({"not_an_object": ""}),
            json!({"not_an_object": r#"{"a":1},"severity":0,"x":{}"#}),
            json!({"a": null})
        ]
    );
}

#[test]
fn an_error_that_cannot_be_written_is_sent_all_the_same() {
    #[derive(Clone, Copy)]
    enum Fault {
        Fails,
        Panics,
    }
    impl Fault {
        fn strike(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            match self {
                Fault::Fails => Err(fmt::Error),
                Fault::Panics => panic!("in the middle, as the test wants it"),
            }
        }
    }
    struct Broken(Fault);
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.strike(f)
        }
    }
    impl fmt::Debug for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.strike(f)
        }
    }
    impl Error for Broken {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            if let Fault::Panics = self.0 { panic!("no source, as the test wants it") } else { None }
        }
    }
    let (client, capture) = client(|builder| builder);
    for fault in [Fault::Fails, Fault::Panics] {
        client.exception(&Broken(fault));
        let behind: &dyn Error = &Broken(fault);
        client.exception(behind);
    }
    let messages = captured(&client, &capture);
    assert_eq!(messages.len(), 4);
    for message in messages {
        assert_eq!(message["payload"], "half");
        assert_eq!(message["fields"]["stack"].as_array().unwrap().len(), 1);
    }
}
