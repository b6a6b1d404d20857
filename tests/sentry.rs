//! Events arrive at Sentry as Sentry's own library reads them, and whatever the server answers, the ledger says what became
//! of each.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::support::{
    Router, Setup,
    http_server::Server,
    ledger::{number, sum},
    messages, senders,
    sentry::{Sentry, events_of_real_clients},
};

fn configuration(endpoint: &str) -> String {
    format!(
        r#"
shutdown_timeout = "2s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.errors]
kind = "sentry"
{endpoint}

[[routes]]
match = {{ type = "sentry" }}
to = ["errors"]
"#
    )
}

/// A router whose default DSN is project 2 of this server.
fn router(sentry: &Sentry, more: &str) -> Router {
    Router::start(&configuration(&format!("dsn = \"{}\"\n{more}", sentry.dsn("2"))))
}

/// Messages numbered from `first` on for one of a server's projects.
fn events(sentry: &Sentry, project: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers
        .map(|number| {
            let event = json!({"message": format!("number {number}"), "level": "error"});
            let dsn = sentry.dsn(project);
            json!({"type": "sentry", "timestamp": "2013-04-09T17:20:01.123456Z", "payload": event.to_string(),
                   "fields": {"dsn": dsn}})
            .to_string()
        })
        .collect()
}

fn send(router: &Router, lines: &[String]) {
    senders::tcp(router.address("tcp"), messages::text_of(lines).as_bytes());
}

/// The messages of requests that were answered like this.
fn answered(requests: &[Value], status: impl Into<Value>) -> Vec<String> {
    let status = status.into();
    let wanted = requests.iter().filter(|request| request["answer"] == status);
    wanted
        .map(|request| request["normalized"]["logentry"]["formatted"].as_str().expect("a message").to_owned())
        .collect()
}

fn numbered(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("number {number}")).collect()
}

fn no_problems(requests: &[Value]) {
    for request in requests {
        assert_eq!(request["problems"], json!([]), "{request:#}");
    }
}

#[test]
fn what_old_and_new_clients_make_is_what_sentry_reads() {
    let Some(sentry) = Sentry::start() else { return };
    let Some(lines) = events_of_real_clients(&sentry.dsn("7")) else { return };
    let router = router(&sentry, "");
    send(&router, &lines);
    router.wait_until_delivered(lines.len() as u64);
    let requests = sentry.requests();
    no_problems(&requests);
    assert_eq!(requests.len(), lines.len());
    assert!(requests.iter().all(|request| request["path"] == "/api/7/envelope/"));
    let auth = requests[0]["auth"].as_str().expect("a header");
    assert!(auth.ends_with(", sentry_key=public, sentry_secret=secret"), "{auth}");
    let messages: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (message, request) in messages.iter().zip(&requests) {
        let event: Value = serde_json::from_str(request["event"].as_str().expect("text")).expect("JSON");
        match message["logger"].as_str() {
            Some("sdk-object") => assert_eq!(event, message["payload"]),
            Some("sdk-text") => assert_eq!(request["event"], message["payload"], "byte for byte"),
            _ => assert_eq!(event["platform"], "python"),
        }
        assert_eq!(event["event_id"], request["head"]["event_id"]);
    }
    let exceptions: Vec<&Value> =
        requests.iter().map(|request| &request["normalized"]["exception"]["values"][0]).collect();
    let named = exceptions.iter().filter(|exception| exception["type"] == "ValueError");
    assert_eq!(named.count(), lines.len() / 2, "the others are messages");
    let ledger = router.stop().ledger;
    assert_eq!(ledger.delivered("errors"), lines.len() as u64);
}

#[test]
fn every_recorded_event_is_taken_or_refused_with_its_reason() {
    let Some(sentry) = Sentry::start() else { return };
    let router = router(&sentry, "");
    let lines: Vec<String> = messages::real("metlog-0.8.jsonl")
        .into_iter()
        .filter(|line| line.starts_with("{\"type\": \"sentry\""))
        .map(|line| line.replace("https://a:b@s.example.com/42", &sentry.dsn("42")))
        .collect();
    assert!(lines.len() > 5);
    send(&router, &lines);
    let ledger = router.wait_until_delivered(lines.len() as u64);
    let requests = sentry.requests();
    no_problems(&requests);
    let refused = &ledger.endpoint("errors")["refused"];
    assert_eq!(refused, &json!({ "sentry-payload": 1 }), "the one that is not base64");
    assert_eq!(requests.len(), lines.len() - 1);
    assert_eq!(requests.iter().filter(|request| request["project"] == "42").count(), 1);
    assert!(
        requests.iter().all(|request| request["normalized"]["exception"]["values"][0]["type"].is_string())
    );
    assert_eq!(router.stop().ledger.delivered("errors"), requests.len() as u64);
}

#[test]
fn an_event_that_sentry_refuses_is_counted_and_the_next_goes_on() {
    let Some(sentry) = Sentry::start() else { return };
    let router = router(&sentry, "");
    let answers: Vec<Value> = [400, 200, 413, 403, 302, 418]
        .iter()
        .map(|status| json!({"status": status, "headers": {"Location": "/"}}))
        .collect();
    sentry.answer("2", &json!(answers));
    send(&router, &events(&sentry, "2", 0..8));
    let ledger = router.wait_until_delivered(8);
    let refused = json!({"sentry-invalid": 1, "sentry-413": 1, "sentry-denied": 1, "sentry-redirect": 1, "sentry-refused": 1});
    assert_eq!(ledger.endpoint("errors")["refused"], refused);
    let requests = sentry.requests();
    assert_eq!(requests.len(), 8, "each was sent once, and no redirect followed");
    let delivered = answered(&requests, 200);
    assert_eq!(delivered, ["number 1", "number 6", "number 7"]);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.delivered("errors"), 3);
    assert!(!stopped.log.contains("public:secret"), "{}", stopped.log);
}

#[test]
fn what_fails_for_a_while_is_tried_again_in_order_and_with_the_same_identifier() {
    let Some(sentry) = Sentry::start() else { return };
    // Long enough for a busy machine: a server that answers later gets the event once more.
    let router = router(&sentry, "timeout = \"5s\"");
    sentry.answer(
        "2",
        &json!([{"status": 500}, {"reset": true}, {"status": 200}, {"hang": true}, {"status": 503}]),
    );
    send(&router, &events(&sentry, "2", 0..20));
    router.wait_until_delivered(20);
    let requests = sentry.requests();
    no_problems(&requests);
    assert_eq!(answered(&requests, 200), numbered(0..20));
    assert_eq!(answered(&requests, 500), ["number 0"]);
    assert_eq!(
        answered(&requests, Value::Null),
        ["number 0", "number 1"],
        "the reset, and the one that hung"
    );
    assert_eq!(answered(&requests, 503), ["number 1"]);
    let identifiers: Vec<&Value> = requests[..3].iter().map(|request| &request["head"]["event_id"]).collect();
    assert!(identifiers.iter().all(|identifier| *identifier == identifiers[0]), "{identifiers:?}");
    assert_eq!(router.stop().ledger.delivered("errors"), 20);
}

#[test]
fn a_limit_is_kept_and_then_nothing_is_lost() {
    let Some(sentry) = Sentry::start() else { return };
    let router = router(&sentry, "");
    for (project, answer) in [
        ("11", json!({"status": 429, "headers": {"Retry-After": "1"}})),
        (
            "12",
            json!({"status": 429, "headers": {"X-Sentry-Rate-Limits": "1:error:project", "Retry-After": "60"}}),
        ),
        (
            "13",
            json!({"status": 200, "headers": {"X-Sentry-Rate-Limits": "60:transaction:key, 1::organization"}}),
        ),
        ("14", json!({"status": 200, "headers": {"X-Sentry-Rate-Limits": "60:transaction;session:key"}})),
    ] {
        let begin = Instant::now();
        sentry.answer(project, &json!([answer]));
        send(&router, &events(&sentry, project, 0..3));
        let is_delivered = answer["status"] == 200;
        // Nobody waits here for as long as the limits of a minute last, which are not about errors.
        let requests = sentry.wait_for(project, if is_delivered { 3 } else { 4 });
        assert!(begin.elapsed().as_millis() >= 1000 || project == "14", "project {project}");
        assert_eq!(answered(&requests, 200), numbered(0..3), "project {project}");
    }
    router.wait_until_delivered(12);
    assert_eq!(router.stop().ledger.delivered("errors"), 12);
}

#[test]
fn one_dsn_that_is_limited_hangs_or_is_dead_holds_up_no_other() {
    let Some(sentry) = Sentry::start() else { return };
    // Nobody listens on the discard port.
    let dead = 9;
    // A small buffer, to see that those that are held up do not take it all.
    let more = format!(
        "allow_hosts = [\"127.0.0.1:{dead}\"]\ntimeout = \"60s\"\nbuffer = {{ memory = \"256KiB\", when_full = \"drop_newest\" }}"
    );
    let router = router(&sentry, &more);
    sentry.answer("20", &json!([{"status": 429}]));
    sentry.answer("21", &json!([{"hang": true}]));
    let mut sent = 0;
    for round in 0..40 {
        let mut lines = Vec::new();
        for number in round * 25..(round + 1) * 25 {
            for project in ["20", "21", "2"] {
                lines.extend(events(&sentry, project, number..number + 1));
            }
            let line =
                lines.last().expect("a line").replace(&sentry.authority(), &format!("127.0.0.1:{dead}"));
            lines.push(line);
        }
        send(&router, &lines);
        sent += lines.len() as u64;
        let expected = (round as u64 + 1) * 25;
        router.wait("the healthy one goes on", |ledger| ledger.delivered("errors") == expected);
    }
    let ledger = router.wait("all were received", |ledger| ledger.received_in_all() == sent);
    assert_eq!(answered(&sentry.wait_for("2", 1000), 200), numbered(0..1000));
    let errors = ledger.endpoint("errors");
    assert!(number(&errors["dropped"]["lane-full"]) > 100, "{errors}");
    assert_eq!(errors["dropped"]["buffer-full"], Value::Null, "{errors}");
    let failure = errors["failure"]["error"].as_str().unwrap_or_default();
    let culprits = [format!("{}/20 accepts no more events", sentry.authority()), format!("127.0.0.1:{dead}")];
    assert!(
        culprits.iter().any(|culprit| failure.contains(culprit)),
        "it names one that is held up: {errors}"
    );
    assert!(failure.ends_with("(and 1 more)"), "and says how many there are: {errors}");
    let busiest = sentry.requests().iter().map(|request| number(&request["under_way"])).max();
    assert_eq!(busiest, Some(1), "one request at a time for each");
    let begin = Instant::now();
    let stopped = router.stop();
    assert!(begin.elapsed().as_secs() < 10);
    let errors = stopped.ledger.endpoint("errors");
    assert_eq!(stopped.ledger.delivered("errors"), 1000);
    assert_eq!(sum(&errors["dropped"]), sent - 1000);
}

#[test]
fn only_allowed_hosts_are_spoken_to() {
    let Some(sentry) = Sentry::start() else { return };
    let Some(other) = Sentry::start() else { return };
    let router = router(&sentry, "");
    let mut lines = events(&other, "2", 0..3);
    lines.extend(events(&sentry, "3", 3..5));
    let udp = |line: String| line.replace(&sentry.dsn("4"), "udp://public:secret@localhost:9/4");
    lines.extend(events(&sentry, "4", 5..7).into_iter().map(udp));
    send(&router, &lines);
    let ledger = router.wait_until_delivered(7);
    assert_eq!(ledger.endpoint("errors")["refused"], json!({ "dsn-host": 3 }));
    let line = router.wait_for_log("an event was refused: `allow_hosts` does not have the host of its DSN");
    assert_eq!(line["host"], other.authority(), "{line}");
    assert!(other.requests().is_empty());
    let projects: Vec<Value> = sentry.requests().iter().map(|request| request["project"].clone()).collect();
    assert_eq!(projects.iter().filter(|project| **project == "3").count(), 2);
    assert_eq!(
        projects.iter().filter(|project| **project == "2").count(),
        2,
        "those over UDP, by the default"
    );
    router.stop();

    let router = Router::start(&configuration("allow_hosts = [\"localhost\"]"));
    send(&router, &[udp(events(&sentry, "4", 0..1).remove(0))]);
    let ledger = router.wait_until_delivered(1);
    assert_eq!(ledger.endpoint("errors")["refused"], json!({ "dsn-scheme": 1 }));
    router.stop();
}

#[test]
fn a_server_with_a_certificate_of_ones_own_authority_is_reached_over_tls() {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let setup = |endpoint: &str| {
        let setup = Setup::new(&configuration(endpoint));
        fs::write(setup.path("ca.pem"), issued.cert.pem()).expect("write");
        fs::write(setup.path("key.pem"), issued.signing_key.serialize_pem()).expect("write");
        setup
    };
    let files = setup("");
    let Some(sentry) = Sentry::start_with_tls(&files.path("ca.pem"), &files.path("key.pem")) else { return };
    let dsn = format!("dsn = \"{}\"", sentry.dsn("2"));

    let router = setup(&format!("{dsn}\nca_file = \"ca.pem\"")).start();
    send(&router, &events(&sentry, "2", 0..5));
    router.wait_until_delivered(5);
    assert_eq!(router.stop().ledger.delivered("errors"), 5);

    let router = setup(&dsn).start();
    send(&router, &events(&sentry, "2", 0..1));
    let is_explained = |error: &Value| error.as_str().is_some_and(|error| error.contains("ca_file"));
    router.wait("the failure is explained", |ledger| {
        is_explained(&ledger.endpoint("errors")["failure"]["error"])
    });
    let stopped = router.stop();
    assert_eq!(stopped.ledger.endpoint("errors")["dropped"], json!({ "shutdown": 1 }));
}

#[test]
fn large_events_keep_their_place_among_the_small_ones_of_their_dsn() {
    // What lies between the two is found to be large when it is unpacked; the largest at a glance.
    const PADDING: [usize; 3] = [0, 80_000, 400_000];
    let server = Server::start(&[]);
    let dsn = format!("http://public@{}/2", server.address);
    // A lane holds a quarter of it.
    let buffer = "buffer = { memory = \"64MiB\" }";
    let router = Router::start(&configuration(&format!("dsn = \"{dsn}\"\n{buffer}")));
    let lines: Vec<String> = (0..30)
        .map(|number| {
            let padding = "x".repeat(PADDING[number % PADDING.len()]);
            let event = json!({"message": format!("number {number}"), "extra": {"padding": padding}});
            json!({"type": "sentry", "timestamp": "2013-04-09T17:20:01Z", "payload": event.to_string()})
                .to_string()
        })
        .collect();
    send(&router, &lines);
    let ledger = router.wait_until_delivered(30);
    assert_eq!(ledger.delivered("errors"), 30);
    router.stop();
    let message = |line: &String| {
        let event: Value = serde_json::from_str(line).ok()?;
        event["message"].as_str().map(str::to_owned)
    };
    assert_eq!(server.lines().iter().filter_map(message).collect::<Vec<_>>(), numbered(0..30));
}

#[test]
fn a_large_event_over_the_limit_is_refused_and_the_next_goes_on() {
    let server = Server::start(&[]);
    let dsn = format!("http://public@{}/2", server.address);
    let router = Router::start(&configuration(&format!("dsn = \"{dsn}\"\nmax_event = \"100KiB\"")));
    let lines: Vec<String> = [300_000, 150_000, 90_000, 0]
        .map(|padding| {
            let event = json!({"message": "m", "extra": {"padding": "x".repeat(padding)}}).to_string();
            json!({"type": "sentry", "timestamp": "2013-04-09T17:20:01Z", "payload": event}).to_string()
        })
        .to_vec();
    send(&router, &lines);
    let ledger = router.wait_until_delivered(4);
    assert_eq!(ledger.endpoint("errors")["refused"], json!({ "sentry-too-large": 2 }));
    assert_eq!(ledger.delivered("errors"), 2);
    router.stop();
}
