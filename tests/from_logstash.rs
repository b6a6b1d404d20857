//! A back end of 2012 goes on: what `from-logstash` makes of its configuration and what one would write by hand do the same
//! with the messages of the original clients.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::support::{
    Router,
    messages::{real, tests_folder},
    receivers,
    router::METLOG,
    senders,
};

/// A file of this test, with the places that it names replaced by those of a router under test.
fn here(text: &str, statsd: SocketAddr, sentry: SocketAddr) -> String {
    text.replace("0.0.0.0:5565", "127.0.0.1:0")
        .replace("127.0.0.1:8125", &statsd.to_string())
        .replace("sentry.example.org:9000", &sentry.to_string())
        .replace("/var/log/metlog/", "out/")
}

/// Collects the bodies of requests, and answers each with 200.
fn collect_requests() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    let bodies = Arc::<Mutex<Vec<String>>>::default();
    let collected = bodies.clone();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let bodies = bodies.clone();
            thread::spawn(move || serve(&connection, &bodies));
        }
    });
    (address, collected)
}

fn serve(connection: &TcpStream, bodies: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(connection);
    loop {
        let mut length = 0;
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("the body");
        bodies.lock().expect("a lock").push(String::from_utf8_lossy(&body).into_owned());
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        (&*connection).write_all(answer).expect("answer");
    }
}

/// What came out of a router, each list in an order of its own.
#[derive(Debug, PartialEq)]
struct Outcome {
    files: BTreeMap<&'static str, Vec<String>>,
    metrics: Vec<String>,
    events: Vec<String>,
    /// Delivered and refused, by what the endpoint is for.
    counts: BTreeMap<&'static str, (u64, u64)>,
}

/// Runs a router with this configuration on every real message. `names` are its endpoints: log, CEF, rest, statsd, Sentry.
fn run(configuration: &str, names: [&str; 5]) -> Outcome {
    let server = UdpSocket::bind("127.0.0.1:0").expect("bind");
    server.set_read_timeout(Some(Duration::from_millis(300))).expect("set an option");
    let (sentry, bodies) = collect_requests();
    let configuration = here(configuration, server.local_addr().expect("an address"), sentry);
    let router = Router::start(&configuration);
    let mut all = real("metlog-0.8.jsonl");
    all.extend(real("aitc-2012-07-18.jsonl"));
    senders::udp(&router, "udp", &all);
    router.wait_until_delivered(all.len() as u64);
    let stopped = router.stop();

    let files = ["app.log", "cef.log", "rest.jsonl"];
    let files = files.map(|name| (name, receivers::lines(&stopped.path(&format!("out/{name}")))));
    let mut metrics = Vec::new();
    let mut datagram = vec![0; 65_536];
    while let Ok(length) = server.recv(&mut datagram) {
        metrics.extend(String::from_utf8_lossy(&datagram[..length]).lines().map(str::to_owned));
    }
    metrics.sort();
    // The first line of an envelope has the time at which it was sent.
    let bodies = bodies.lock().expect("a lock");
    let mut events: Vec<String> =
        bodies.iter().map(|body| body.split_once('\n').expect("an envelope").1.to_owned()).collect();
    events.sort();
    let purposes = ["log", "cef", "rest", "statsd", "sentry"];
    let counts = purposes.into_iter().zip(names).map(|(purpose, name)| {
        let refused = crate::support::ledger::sum(&stopped.ledger.endpoint(name)["refused"]);
        (purpose, (stopped.ledger.delivered(name), refused))
    });
    Outcome { files: files.into(), metrics, events, counts: counts.collect() }
}

#[test]
fn a_published_configuration_does_the_same_turned_and_written_by_hand() {
    let folder = tests_folder().join("from-logstash");
    let turned = Command::new(METLOG)
        .args(["config", "from-logstash", "logstash.conf"])
        .current_dir(&folder)
        .output()
        .expect("run metlog");
    let said = String::from_utf8_lossy(&turned.stderr);
    assert!(turned.status.success(), "{said}");
    assert!(said.contains("logstash.conf:66:16") && !said.contains("public:secret"), "{said}");
    let turned = String::from_utf8(turned.stdout).expect("text");
    let by_hand = fs::read_to_string(folder.join("by-hand.toml")).expect("read");

    let by_hand = run(&by_hand, ["app-log", "cef-log", "rest", "stats", "errors"]);
    let turned = run(&turned, ["app", "cef", "rest", "statsd", "sentry"]);
    assert_eq!(turned.counts, by_hand.counts);
    assert!(turned == by_hand, "turned:\n{turned:#?}\nby hand:\n{by_hand:#?}");

    // Every kind of message was there.
    let counts = &by_hand.counts;
    for purpose in ["log", "cef", "rest", "statsd", "sentry"] {
        assert!(counts[purpose].0 > 0, "nothing for {purpose}: {counts:?}");
    }
    assert_eq!(by_hand.metrics.len() as u64, counts["statsd"].0);
    assert_eq!(by_hand.events.len() as u64, counts["sentry"].0);
    assert_eq!(by_hand.files["rest.jsonl"].len() as u64, counts["rest"].0);
    let line = "2026-11-22T09:05:24.998607Z plain debug message".to_owned();
    assert!(by_hand.files["app.log"].contains(&line), "{:?}", by_hand.files["app.log"]);
    // A payload with a line break is two lines, as it was.
    let events = by_hand.files["cef.log"].iter().filter(|line| line.contains(" CEF:0|")).count();
    assert_eq!(events as u64, counts["cef"].0);
}

#[test]
fn the_example_in_the_documentation_is_the_one_that_runs() {
    let page = fs::read_to_string(tests_folder().join("../docs/from-logstash.md")).expect("read");
    let file = fs::read_to_string(tests_folder().join("from-logstash/by-hand.toml")).expect("read");
    let (_, example) = file.split_once("\n\n").expect("a comment, and the configuration");
    assert!(page.contains(&format!("```toml\n{example}```")), "docs/from-logstash.md shows something else");
}

#[test]
fn every_output_is_turned_into_what_the_router_can_run() {
    let folder = tempfile::tempdir().expect("make a folder");
    let text = r#"
        input { udp { port => 5565 } tcp { port => 5565 format => "json" } stdin { } }
        filter { tagger { pattern => ["type", "cef"] add_tag => ["cef"] } catchall { tags => ["cef"] } }
        output {
            stdout { debug => true }
            metlog_cef { tags => ["cef"] }
            metlog_sentry_dsn { tags => ["filter-catchall"] }
            metlog_statsd { }
            metlog_file { path => "/var/log/{braces} and $dollars.log" }
            metlog_file { path => "other" exclude_tags => ["cef"] }
        }"#;
    fs::write(folder.path().join("logstash.conf"), text).expect("write");
    let metlog = |arguments: &[&str]| {
        Command::new(METLOG).args(arguments).current_dir(folder.path()).output().expect("run metlog")
    };
    let output = metlog(&["config", "from-logstash", "logstash.conf", "--allow-host", "sentry.example.org"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    fs::write(folder.path().join("metlog.toml"), &output.stdout).expect("write");
    let output = metlog(&["check", "--config", "metlog.toml"]);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));

    let output = metlog(&["config", "from-logstash", "logstash.conf"]);
    assert_eq!(output.status.code(), Some(1), "the hosts of Sentry are missing");
    let output = metlog(&["config", "from-logstash", "none.conf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot read none.conf: there is no such file"));
}
