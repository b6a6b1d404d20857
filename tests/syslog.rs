//! What real syslog servers understand of what the endpoint sends them, over every transport.

use metlog_message::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    Router, Setup,
    ledger::number,
    messages, senders,
    syslog_servers::{Program, Record, SyslogServer, Way},
};

const fn way(transport: &'static str, format: &'static str, framing: &'static str) -> Way {
    Way { transport, format, framing }
}

pub const TCP: Way = way("tcp", "rfc5424", "octet_counting");

/// What every server takes.
const WAYS: [Way; 10] = [
    way("udp", "rfc5424", ""),
    way("udp", "rfc3164", ""),
    TCP,
    way("tcp", "rfc5424", "newline"),
    way("tcp", "rfc3164", "newline"),
    way("unix", "local", ""),
    way("unix", "rfc5424", ""),
    way("unix_stream", "local", "newline"),
    way("unix_stream", "rfc3164", "newline"),
    way("unix_stream", "rfc5424", "newline"),
];

/// What only rsyslog takes: it finds out by itself how a stream is framed.
const OTHER_WAYS: [Way; 2] =
    [way("tcp", "rfc3164", "octet_counting"), way("unix_stream", "rfc5424", "octet_counting")];

fn configuration(server: &SyslogServer, ways: &[Way], more: &str) -> String {
    configuration_in("utc", server, ways, more)
}

fn configuration_in(timezone: &str, server: &SyslogServer, ways: &[Way], more: &str) -> String {
    let mut text = "[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n".to_owned();
    let mut names = Vec::new();
    for way in ways {
        let (name, keys) = (way.name(), server.endpoint(*way));
        text += &format!("[endpoints.{name}]\nkind = \"syslog\"\ntimezone = \"{timezone}\"\n{keys}{more}\n");
        names.push(name);
    }
    text + &format!("[[routes]]\nto = {names:?}\n")
}

/// Every CEF event of the original clients, and whatever could be misunderstood.
fn real_and_hostile() -> Vec<Value> {
    let parsed = |line: String| serde_json::from_str::<Value>(&line).expect("a message");
    let mut all: Vec<Value> = messages::real("metlog-0.8.jsonl").into_iter().map(parsed).collect();
    all.retain(|message| message["type"] == "cef");
    assert!(all.len() > 10);
    let mut message = |changes: Value| {
        let mut message = json!({
            "type": "oldstyle", "timestamp": "2012-07-08T21:13:25.687518Z", "logger": "shop", "severity": 6,
            "payload": "a log line", "fields": {}, "env_version": "0.8", "metlog_pid": 4711, "metlog_hostname": "web1",
        });
        for (key, value) in changes.as_object().expect("an object") {
            message[key] = value.clone();
        }
        all.push(message);
    };
    for severity in 0..8 {
        message(json!({ "severity": severity }));
    }
    for payload in [
        "ünïcode ダチヂ 🦀 e\u{301}",
        "two\nlines\r\nand <13>Jan  1 00:00:00 evil su[1]: more",
        "control \0 \u{1b}[31m \u{7f} \u{9b}2J \u{85} end",
        "a\ttab",
        "52 <13>1 2012-07-08T21:13:25Z evil su 1 - - counted",
        "-",
        "[not@1 structured=\"data\"] \"quotes\" \\ back",
        "%n %s $(id) {payload}",
        "mark \u{feff} inside",
        "back: slash\\nbut no break",
    ] {
        message(json!({ "payload": payload }));
    }
    for long in ["x".repeat(20_000), "ダ".repeat(7_000), "a\n".repeat(9_000)] {
        message(json!({ "payload": long }));
    }
    for logger in [
        "a b",
        "shop[1]: evil",
        "ünï",
        "sync-put/x_1.2",
        "x\ny",
        "logger-of-more-than-thirty-two-and-of-forty-eight-characters",
    ] {
        message(json!({ "logger": logger }));
    }
    for host in ["sync17.web.phx1.example.com", "192.0.2.7", "my host", "web1:x", "[::1]", "2001:db8::7"] {
        message(json!({ "metlog_hostname": host }));
    }
    message(json!({ "type": "a type\nof many characters, far more than fit" }));
    message(json!({ "timestamp": "2012-07-08T23:13:25.5+02:00" }));
    message(json!({ "payload": { "not": ["a", "text"] } }));
    message(
        json!({ "fields": { "cef_meta": { "syslog_facility": "LOG_CRON", "syslog_priority": "emerg" } } }),
    );
    all
}

/// What a server should understand, found in another way than the router's.
fn expected(message: &Value, way: Way) -> Record {
    let text = |key: &str| match &message[key] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let meta = &message["fields"]["cef_meta"];
    let is_standard = way.format == "rfc5424";
    let visible = |character: char| ('!'..='~').contains(&character);
    let for_tag = |character: char| visible(character) && (is_standard || !":[]".contains(character));
    let for_host = |character: char| {
        if is_standard {
            visible(character) && !":[]".contains(character)
        } else {
            character.is_ascii_alphanumeric() || ".-_".contains(character)
        }
    };
    let only = |text: &str, limit: usize, allowed: &dyn Fn(char) -> bool| -> String {
        text.chars().map(|character| if allowed(character) { character } else { '_' }).take(limit).collect()
    };
    let ident = meta["syslog_ident"].as_str().map_or_else(|| text("logger"), str::to_owned);
    Record {
        facility: match meta["syslog_facility"].as_str() {
            None | Some("LOCAL4") => 20,
            Some("LOG_CRON") => 9,
            Some(other) => panic!("{other}"),
        },
        severity: match meta["syslog_priority"].as_str() {
            None => message["severity"].as_u64().expect("a severity"),
            Some("ALERT") => 1,
            Some("emerg") => 0,
            Some(other) => panic!("{other}"),
        },
        host: match text("metlog_hostname").as_str() {
            address @ "2001:db8::7" if is_standard => address.to_owned(),
            "[::1]" if !is_standard => "___1".to_owned(),
            name => only(name, 255, &for_host),
        },
        program: only(&ident, if is_standard { 48 } else { 32 }, &for_tag),
        process: text("metlog_pid"),
        id: if is_standard { only(&text("type"), 32, &visible) } else { String::new() },
        data: String::new(),
        time: match message["timestamp"].as_str().expect("a time") {
            "2012-07-08T23:13:25.5+02:00" => "2012-07-08T21:13:25.500000".to_owned(),
            time => time.trim_end_matches('Z').to_owned(),
        },
        text: text("payload")
            .chars()
            .map(|character| match character {
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\t".to_owned(),
                other if other.is_control() => format!("\\u{:04X}", u32::from(other)),
                other => other.to_string(),
            })
            .collect(),
    }
}

/// Compares, with what a format or a server cannot say left out.
#[track_caller]
pub fn compare(found: &Record, message: &Value, way: Way) {
    let mut expected = expected(message, way);
    let mut found = found.clone();
    if way.format == "local" {
        // The server takes its own host.
        expected.host.clone_from(&found.host);
    }
    if way.format == "rfc5424" {
        found.time.truncate("2012-07-08T21:13:25.687518".len());
    } else {
        // No year and no fraction of a second.
        for time in [&mut found.time, &mut expected.time] {
            *time = time.get("2012-".len().."2012-07-08T21:13:25".len()).expect("a time").to_owned();
        }
    }
    if way.transport.starts_with("unix") {
        // syslog-ng numbers local messages there.
        found.data.clear();
    }
    if expected.text.len() > 8000 {
        assert!((7800..8000).contains(&found.text.len()), "{way:?}: cut at {}", found.text.len());
        expected.text.truncate(found.text.len());
    }
    assert_eq!(found, expected, "{way:?}");
}

fn what_is_sent_is_understood(program: Program, ways: &[Way]) {
    let Some(server) = SyslogServer::start(program, ways) else { return };
    let sent = real_and_hostile();
    let router = Router::start(&configuration(&server, ways, ""));
    let lines: Vec<String> = sent.iter().map(Value::to_string).collect();
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait_until_delivered(lines.len() as u64);
    for way in ways {
        let received = server.wait_for(*way, sent.len());
        assert_eq!(received.len(), sent.len(), "{way:?}");
        for (record, message) in received.iter().zip(&sent) {
            compare(record, message, *way);
        }
    }
    let ledger = router.stop().ledger;
    for way in ways {
        assert_eq!(ledger.delivered(&way.name()), sent.len() as u64);
    }
}

#[test]
fn rsyslog_understands_every_message_over_every_transport() {
    what_is_sent_is_understood(Program::Rsyslog, &[&WAYS[..], &OTHER_WAYS].concat());
}

#[test]
fn syslog_ng_understands_every_message_over_every_transport() {
    what_is_sent_is_understood(Program::SyslogNg, &WAYS);
}

/// The old formats name no zone, so that the router and the server must mean the same one.
#[test]
fn a_time_without_a_zone_is_understood_where_clocks_do_not_show_utc() {
    // India's time, in a notation that needs no zone files. It has no summer time: a server takes a date of half a year ago
    // to have the offset of today.
    const ZONE: &str = "IST-5:30";
    let ways = [way("udp", "rfc3164", ""), way("tcp", "rfc3164", "newline"), way("unix", "local", "")];
    for program in [Program::Rsyslog, Program::SyslogNg] {
        let Some(server) = SyslogServer::start_in(ZONE, program, &ways) else { return };
        let setup = Setup::new(&configuration_in("local", &server, &ways, ""));
        let router = setup.variable("TZ", ZONE).start();
        let times = ["2012-07-08T21:13:25Z", "2012-07-08T23:59:59.9+02:00", "2012-01-31T19:00:00Z"];
        for time in times {
            let message = json!({ "type": "oldstyle", "timestamp": time, "payload": time });
            senders::tcp(router.address("tcp"), format!("{message}\n").as_bytes());
        }
        for way in ways {
            let mut received = server.wait_for(way, times.len());
            received.sort_by(|one, other| one.text.cmp(&other.text));
            // Without the year, which these formats do not have either.
            let understood: Vec<String> = received.iter().map(|record| in_utc(&record.time)).collect();
            assert_eq!(
                understood,
                ["01-31T19:00:00", "07-08T21:13:25", "07-08T21:59:59"],
                "{program:?} over {}",
                way.name()
            );
        }
        router.wait_until_delivered(times.len() as u64);
        router.stop();
    }
}

/// Month to second of a time in RFC 3339, in UTC. One that names no zone is in UTC already.
fn in_utc(time: &str) -> String {
    let timestamp = Timestamp::parse(time.as_bytes()).expect("a time");
    timestamp.to_string()[5..19].to_owned()
}

#[test]
fn structured_data_arrives_as_parameters() {
    for program in [Program::Rsyslog, Program::SyslogNg] {
        let Some(server) = SyslogServer::start(program, &[TCP]) else { return };
        let more = "structured_data = { id = \"shop@32473\", fields = [\"logger\", \"fields.user\", \"fields.none\"] }";
        let router = Router::start(&configuration(&server, &[TCP], more));
        let message = r#"{"type":"t","logger":"shop","payload":"text","fields":{"user":"a\"b]c\\d\ne"}}"#;
        senders::tcp(router.address("tcp"), format!("{message}\n").as_bytes());
        let received = server.wait_for(TCP, 1);
        assert_eq!(received[0].data, r#"[shop@32473 logger="shop" user="a\"b\]c\\d\\ne"]"#, "{program:?}");
        assert_eq!(received[0].text, "text");
        router.wait_until_delivered(1);
        router.stop();
    }
}

#[test]
fn a_server_that_is_away_gets_everything_once_when_it_is_back() {
    for program in [Program::Rsyslog, Program::SyslogNg] {
        let Some(mut server) = SyslogServer::start(program, &[TCP]) else { return };
        let router = Router::start(&configuration(&server, &[TCP], ""));
        let lines = messages::numbered("shop", 2_000, 300);
        senders::tcp(router.address("tcp"), messages::text_of(&lines[..1_000]).as_bytes());
        server.wait_for(TCP, 1_000);
        server.stop();

        senders::tcp(router.address("tcp"), messages::text_of(&lines[1_000..]).as_bytes());
        let name = TCP.name();
        router.wait("all are received", |ledger| ledger.received_in_all() == 2_000);
        router.wait("the endpoint says that it fails", |ledger| !ledger.endpoint(&name)["failure"].is_null());
        assert_eq!(number(&router.balanced().endpoint(&name)["queued"]), 1_000);
        server.start_again();
        router.wait_until_delivered(2_000);
        server.wait_for(TCP, 2_000);
        assert_eq!(router.stop().ledger.delivered(&name), 2_000);
        assert_eq!(server.received(TCP).len(), 2_000, "each once");
    }
}

/// The number in a message of [`counted`].
fn number_of(record: &Record) -> usize {
    let (number, rest) = record.text.split_once(' ').expect("a number and the rest");
    assert_eq!(rest, "x".repeat(200), "a torn message");
    number.parse().expect("a number")
}

fn counted(numbers: std::ops::Range<usize>) -> String {
    let filling = "x".repeat(200);
    numbers.map(|number| format!("{{\"type\":\"t\",\"payload\":\"{number} {filling}\"}}\n")).collect()
}

#[test]
fn a_server_that_is_killed_loses_only_what_the_kernel_held() {
    const PIECE: usize = 500;
    const PIECES: usize = 40;
    const KILLED_AT: usize = PIECES / 2;
    for program in [Program::Rsyslog, Program::SyslogNg] {
        let Some(mut server) = SyslogServer::start(program, &[TCP]) else { return };
        let router = Router::start(&configuration(&server, &[TCP], ""));
        for piece in 0..PIECES {
            if piece == KILLED_AT {
                // Whatever the kernel's buffers hold then, it is of the piece that follows: the bound on what is lost.
                server.wait_for(TCP, KILLED_AT * PIECE);
            }
            senders::tcp(router.address("tcp"), counted(piece * PIECE..(piece + 1) * PIECE).as_bytes());
            router.wait("the piece is received", |ledger| {
                ledger.received_in_all() >= ((piece + 1) * PIECE) as u64
            });
            if piece == KILLED_AT {
                server.kill();
                server.start_again();
            }
        }
        router.wait_until_delivered((PIECE * PIECES) as u64);
        let last = PIECE * PIECES - 1;
        crate::support::wait::until("the last message arrives", || {
            server.received(TCP).iter().any(|record| number_of(record) == last).then_some(())
        });
        router.stop();
        let mut arrived: Vec<usize> = server.received(TCP).iter().map(number_of).collect();
        arrived.dedup();
        arrived.sort_unstable();
        arrived.dedup();
        let gaps: Vec<[usize; 2]> =
            arrived.windows(2).filter(|pair| pair[1] != pair[0] + 1).map(|pair| [pair[0], pair[1]]).collect();
        assert!(gaps.len() <= 1, "{program:?}: what the kernel held lies together: {gaps:?}");
        let under_way = KILLED_AT * PIECE..(KILLED_AT + 1) * PIECE;
        for [before, after] in gaps {
            assert!(
                before + 1 >= under_way.start && after <= under_way.end,
                "{program:?}: {before} to {after}"
            );
        }
        assert_eq!(arrived.first(), Some(&0));
    }
}
