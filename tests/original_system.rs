//! The whole back end of the original system: every message of `tests/data` goes to the server that it was meant for and is
//! accepted there, or is refused with a reason that the documentation has.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::{
    hostile_frames::{Verdict, assert_kept},
    support::{
        Router,
        messages::{hostile, real, tests_folder},
        receivers, senders,
        sentry::Sentry,
        statsd,
        syslog_servers::{Program, SyslogServer},
    },
    syslog,
};

/// Where the messages of a type go, how many are accepted there, and how many are refused by which reason.
type Row = (&'static str, &'static str, usize, &'static [(&'static str, usize)]);

/// What is to become of everything that the clients and services of the past wrote.
const FATES: [Row; 8] = [
    ("oldstyle", "app-log", 35, &[]),
    ("counter", "stats", 27, &[("statsd-name", 1)]),
    ("timer", "stats", 19, &[("statsd-value", 1)]),
    ("sentry", "errors", 6, &[("sentry-payload", 1)]),
    ("cef", "cef-log", 11, &[]),
    ("wsgi", "rest", 290, &[]),
    ("procinfo", "rest", 18, &[]),
    (OTHERS, "rest", 106, &[]),
];

/// The types that the configuration knows nothing of, and that are many.
const OTHERS: &str = "(others)";

/// The published back end ([`tests/from-logstash/by-hand.toml`]), with CEF events to syslog and an input for what fits no
/// datagram.
fn configuration(statsd: &statsd::Server, sentry: &Sentry, syslog: &SyslogServer) -> String {
    let published = fs::read_to_string(tests_folder().join("from-logstash/by-hand.toml")).expect("read");
    let (before, rest) = published.split_once("[endpoints.cef-log]\n").expect("an endpoint for CEF events");
    let (_, behind) = rest.split_once("\n[").expect("another section");
    let keys = syslog.endpoint(syslog::TCP);
    let text = format!("{before}[endpoints.cef-log]\nkind = \"syslog\"\n{keys}\n[{behind}");
    let text = text
        .replace("0.0.0.0:5565", "127.0.0.1:0")
        .replace("127.0.0.1:8125", &format!("127.0.0.1:{}", statsd.udp_port))
        .replace("sentry.example.org:9000", &sentry.authority())
        .replace("/var/log/metlog/", "out/");
    format!("{text}\n[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n")
}

fn parsed(line: &String) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:.200}"))
}

/// The row of [`FATES`] that a message belongs to.
fn row_of(message: &Value) -> &'static str {
    let of_message = message["type"].as_str().expect("a type");
    FATES.iter().map(|row| row.0).find(|known| *known == of_message).unwrap_or(OTHERS)
}

fn of_type<'m>(messages: &'m [Value], wanted: &str) -> Vec<&'m Value> {
    messages.iter().filter(|message| message["type"] == wanted).collect()
}

#[test]
fn every_message_is_accepted_where_the_original_system_sent_it_or_refused_with_its_reason() {
    let Some(statsd) = statsd::Server::start() else { return };
    let Some(sentry) = Sentry::start() else { return };
    let Some(syslog) = SyslogServer::start(Program::Rsyslog, &[syslog::TCP]) else { return };
    let router = Router::start(&configuration(&statsd, &sentry, &syslog));

    // One event names a host of its own, which is the test's here.
    let mut lines = real("metlog-0.8.jsonl");
    for line in &mut lines {
        *line = line.replace("https://a:b@s.example.com/42", &sentry.dsn("42"));
    }
    lines.extend(real("aitc-2012-07-18.jsonl"));
    let sent: Vec<Value> = lines.iter().map(parsed).collect();
    senders::udp(&router, "udp", &lines);
    router.wait_until_delivered(lines.len() as u64);

    // The frames that are hard to use, or cannot be used at all; some fit no datagram.
    let (mut verdict, mut stream) = (Verdict::default(), Vec::new());
    for hostile in hostile() {
        verdict.add(&Verdict::expected(&hostile));
        stream.extend_from_slice(hostile.frame.strip_suffix(b"\n").unwrap_or(&hostile.frame));
        stream.push(b'\n');
    }
    senders::tcp(router.address("tcp"), &stream);
    let ledger = router.wait_until_delivered(lines.len() as u64 + verdict.received);
    assert_eq!(Verdict::counted(&ledger, "tcp"), verdict, "accepted, or rejected with its reason");
    assert_eq!(ledger.input("udp")["rejected"], json!({}));
    assert_eq!(ledger.input("udp")["kernel_drops"], 0);

    // What each server says that it took.
    let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
    let expected_metrics = FATES.iter().filter(|row| row.1 == "stats").map(|row| row.2 as u64).sum();
    let metrics = statsd.totals(expected_metrics);
    assert_eq!(metrics.own("bad_lines_seen"), 0);
    let timers = statsd::Totals::of_others(&metrics.timers).values().map(|values| values.len()).sum();
    accepted.insert("timer", timers);
    accepted.insert("counter", metrics.received() as usize - timers);

    let events = sentry.requests();
    assert!(
        events.iter().all(|event| event["answer"] == 200 && event["problems"] == json!([])),
        "{events:#?}"
    );
    assert_eq!(
        events.iter().filter(|event| event["project"] == "42").count(),
        1,
        "the one with a DSN of its own"
    );
    accepted.insert("sentry", events.len());

    let security = of_type(&sent, "cef");
    let records = syslog.wait_for(syslog::TCP, security.len());
    assert_eq!(records.len(), security.len());
    for (record, message) in records.iter().zip(security) {
        syslog::compare(record, message, syslog::TCP);
    }
    accepted.insert("cef", records.iter().filter(|record| record.id == "cef").count());

    // What the files hold, and the ledger's last word.
    let stopped = router.stop();
    let log = fs::read_to_string(stopped.path("out/app.log")).expect("read");
    let log_lines = of_type(&sent, "oldstyle");
    let text = |message: &Value, key: &str| message[key].as_str().expect("text").to_owned();
    let expected_log: String = log_lines
        .iter()
        .map(|message| format!("{} {}\n", text(message, "timestamp"), text(message, "payload")))
        .collect();
    assert!(log == expected_log, "the log is not what was sent:\n{log:.2000}");
    accepted.insert("oldstyle", log_lines.len());

    let rest = receivers::lines(&stopped.path("out/rest.jsonl"));
    let (real_rest, hostile_rest) = rest.split_at(rest.len() - verdict.routed as usize);
    for message in real_rest.iter().map(parsed) {
        *accepted.entry(row_of(&message)).or_default() += 1;
    }
    let meant: Vec<&String> = lines.iter().filter(|line| is_for_rest(line)).collect();
    assert!(real_rest.iter().eq(meant), "the rest is kept byte for byte, in its order");
    assert_kept(&hostile(), hostile_rest);

    let expected: BTreeMap<&str, usize> = FATES.iter().map(|row| (row.0, row.2)).collect();
    assert_eq!(accepted, expected);
    let mut by_endpoint: BTreeMap<&str, (usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    for (of_type, endpoint, accepted, refused) in FATES {
        let (delivered, reasons) = by_endpoint.entry(endpoint).or_default();
        *delivered += accepted;
        let sent = sent.iter().filter(|message| row_of(message) == of_type).count();
        assert_eq!(sent, accepted + refused.iter().map(|(_, count)| count).sum::<usize>(), "{of_type}");
        for (reason, count) in refused {
            *reasons.entry(reason).or_default() += count;
        }
    }
    by_endpoint.entry("rest").or_default().0 += verdict.routed as usize;
    for (endpoint, (delivered, refused)) in by_endpoint {
        assert_eq!(stopped.ledger.delivered(endpoint), delivered as u64, "{endpoint}");
        assert_eq!(stopped.ledger.endpoint(endpoint)["refused"], json!(refused), "{endpoint}");
        assert_eq!(stopped.ledger.dropped(endpoint), 0, "{endpoint}");
    }
}

/// Whether a message is of none of the types that the configuration names.
fn is_for_rest(line: &String) -> bool {
    let row = row_of(&parsed(line));
    FATES.iter().any(|fate| fate.0 == row && fate.1 == "rest")
}
