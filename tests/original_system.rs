//! The whole back end of the original system: every message of `tests/data` goes to the server that it was meant for and is
//! accepted there, or is refused with a reason that the documentation has.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::{
    hostile_frames::{Verdict, assert_kept},
    support::{
        Ledger, Router,
        messages::{hostile, real, tests_folder},
        receivers,
        router::Stopped,
        senders,
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

/// All types that have no row of their own.
const OTHERS: &str = "(others)";

/// The published back end (`tests/from-logstash/by-hand.toml`), with CEF events to syslog and an input for what fits no
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

/// Whether a message is of none of the types that the configuration names.
fn is_for_rest(line: &String) -> bool {
    let row = row_of(&parsed(line));
    FATES.iter().any(|fate| fate.0 == row && fate.1 == "rest")
}

/// How many messages were accepted, by the rows of [`FATES`].
type Accepted = BTreeMap<&'static str, usize>;

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
    let messages: Vec<Value> = lines.iter().map(parsed).collect();
    senders::udp(&router, "udp", &lines);
    router.wait_until_delivered(lines.len() as u64);
    let hostile_in_rest = send_hostile_frames(&router);

    let mut accepted = Accepted::new();
    accepted_by_statsd(&statsd, &mut accepted);
    accepted_by_sentry(&sentry, &mut accepted);
    accepted_by_syslog(&syslog, &of_type(&messages, "cef"), &mut accepted);
    let stopped = router.stop();
    kept_in_the_log(&stopped, &of_type(&messages, "oldstyle"), &mut accepted);
    kept_in_the_rest(&stopped, &lines, hostile_in_rest, &mut accepted);

    let expected: Accepted = FATES.iter().map(|row| (row.0, row.2)).collect();
    assert_eq!(accepted, expected);
    for (row, _, accepted, refused) in FATES {
        let sent = messages.iter().filter(|message| row_of(message) == row).count();
        assert_eq!(sent, accepted + refused.iter().map(|(_, count)| count).sum::<usize>(), "{row}");
    }
    the_ledger_says_the_same(&stopped.ledger, hostile_in_rest);
}

/// Sends the frames that are hard to use, or cannot be used at all; some fit no datagram. Each is accepted or rejected as
/// `hostile.tsv` says. Gives how many messages were accepted.
fn send_hostile_frames(router: &Router) -> usize {
    let (mut verdict, mut stream) = (Verdict::default(), Vec::new());
    for hostile in hostile() {
        verdict.add(&Verdict::expected(&hostile));
        stream.extend_from_slice(hostile.frame.strip_suffix(b"\n").unwrap_or(&hostile.frame));
        stream.push(b'\n');
    }
    let before = router.ledger().received_in_all();
    senders::tcp(router.address("tcp"), &stream);
    let ledger = router.wait_until_delivered(before + verdict.received);
    assert_eq!(Verdict::counted(&ledger, "tcp"), verdict);
    assert_eq!(ledger.input("udp")["rejected"], json!({}));
    assert_eq!(ledger.input("udp")["kernel_drops"], 0);
    verdict.routed as usize
}

/// What the statsd server itself counts: every line, what it cannot read, and the values of timers.
fn accepted_by_statsd(server: &statsd::Server, accepted: &mut Accepted) {
    let expected = FATES.iter().filter(|row| row.1 == "stats").map(|row| row.2 as u64).sum();
    let totals = server.totals(expected);
    assert_eq!(totals.own("bad_lines_seen"), 0);
    let timers = statsd::Totals::of_others(&totals.timers).values().map(|values| values.len()).sum();
    accepted.insert("timer", timers);
    accepted.insert("counter", totals.received() as usize - timers);
}

/// The events that Sentry's own library finds nothing wrong with.
fn accepted_by_sentry(server: &Sentry, accepted: &mut Accepted) {
    let events = server.requests();
    for event in &events {
        assert!(event["answer"] == 200 && event["problems"] == json!([]), "{event:#}");
    }
    let with_its_own_dsn = events.iter().filter(|event| event["project"] == "42");
    assert_eq!(with_its_own_dsn.count(), 1);
    accepted.insert("sentry", events.len());
}

/// What rsyslog understood is what the messages say.
fn accepted_by_syslog(server: &SyslogServer, sent: &[&Value], accepted: &mut Accepted) {
    let records = server.wait_for(syslog::TCP, sent.len());
    assert_eq!(records.len(), sent.len());
    for (record, message) in records.iter().zip(sent) {
        syslog::compare(record, message, syslog::TCP);
    }
    accepted.insert("cef", records.len());
}

/// The log has each line with its timestamp, in the order in which they were sent.
fn kept_in_the_log(stopped: &Stopped, sent: &[&Value], accepted: &mut Accepted) {
    let text = |message: &Value, key: &str| message[key].as_str().expect("text").to_owned();
    let line = |message: &&Value| format!("{} {}\n", text(message, "timestamp"), text(message, "payload"));
    let expected: String = sent.iter().map(line).collect();
    let log = fs::read_to_string(stopped.path("out/app.log")).expect("read");
    assert!(log == expected, "the log is not what was sent:\n{log:.2000}");
    accepted.insert("oldstyle", sent.len());
}

/// Everything else is kept byte for byte and in its order, and behind it what was accepted of the hostile frames.
fn kept_in_the_rest(stopped: &Stopped, sent: &[String], hostile_messages: usize, accepted: &mut Accepted) {
    let rest = receivers::lines(&stopped.path("out/rest.jsonl"));
    let (real, hard_to_use) = rest.split_at(rest.len() - hostile_messages);
    assert!(real.iter().eq(sent.iter().filter(|line| is_for_rest(line))), "something is not as it was sent");
    for message in real.iter().map(parsed) {
        *accepted.entry(row_of(&message)).or_default() += 1;
    }
    assert_kept(&hostile(), hard_to_use);
}

/// What the endpoints delivered is what the servers and files have, and what they refused is what [`FATES`] says.
fn the_ledger_says_the_same(ledger: &Ledger, hostile_messages: usize) {
    let mut by_endpoint: BTreeMap<&str, (usize, BTreeMap<&str, usize>)> = BTreeMap::new();
    by_endpoint.entry("rest").or_default().0 = hostile_messages;
    for (_, endpoint, accepted, refused) in FATES {
        let (delivered, reasons) = by_endpoint.entry(endpoint).or_default();
        *delivered += accepted;
        reasons.extend(refused.iter().copied());
    }
    for (endpoint, (delivered, refused)) in by_endpoint {
        assert_eq!(ledger.delivered(endpoint), delivered as u64, "{endpoint}");
        assert_eq!(ledger.endpoint(endpoint)["refused"], json!(refused), "{endpoint}");
        assert_eq!(ledger.dropped(endpoint), 0, "{endpoint}");
    }
}
