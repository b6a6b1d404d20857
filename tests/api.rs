//! The API of a running router, asked over HTTP after known messages were sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::router::with_udp_and_tcp;

const DEADLINE: Duration = Duration::from_secs(20);

/// A router in a folder of its own; killed when it is dropped.
struct Router {
    process: Child,
    addresses: BTreeMap<String, SocketAddr>,
    _folder: tempfile::TempDir,
}

const PIPELINE: &str = r#"
[endpoints.log]
kind = "file"
path = "log.txt"

[endpoints.rest]
kind = "null"

[[routes]]
name = "log lines"
match = { type = "oldstyle", severity = { max = 6 } }
to = ["log", "rest"]

[[routes]]
unrouted = true
to = ["rest"]
"#;

impl Router {
    fn start(configuration: &str) -> Router {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metlog.toml");
        fs::write(&file, configuration).unwrap();
        let mut process = command(&file).current_dir(folder.path()).spawn().unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut addresses = BTreeMap::new();
        let mut line = String::new();
        while !addresses.contains_key("api") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the router ended early");
            if let Some((name, address)) = listener(&line) {
                addresses.insert(name, address);
            }
        }
        // Read on, so that the router never waits for its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Router { process, addresses, _folder: folder }
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    fn request(&self, method: &str, path: &str, headers: &str) -> Answer {
        let address = self.addresses["api"];
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {address}\r\n") };
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nConnection: close\r\n{host}{headers}\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        Answer::parse(&text)
    }

    /// Asks for the pipeline until it says what is expected.
    fn pipeline_with(&self, expected: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let pipeline: Value = serde_json::from_str(&self.get("/api/v1/pipeline").body).unwrap();
            if expected(&pipeline) {
                return pipeline;
            }
            assert!(begin.elapsed() < DEADLINE, "{pipeline:#}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn terminate(&self) {
        let status = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(configuration: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metlog"));
    command.arg("run").arg("--config").arg(configuration).stderr(Stdio::piped());
    command
}

/// What stands in a line such as `… listening input=tcp address=127.0.0.1:41234`.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (_, rest) = line.split_once("listening ")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let address = words.iter().find_map(|word| word.strip_prefix("address=")?.parse().ok())?;
    let name = words.iter().find_map(|word| word.strip_prefix("input=")).unwrap_or(words[0]);
    Some((name.to_owned(), address))
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn parse(text: &str) -> Answer {
        let (head, body) = text.split_once("\r\n\r\n").expect(text);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }
}

fn with_api(keys: &str) -> String {
    with_udp_and_tcp(&format!("{PIPELINE}\n[api]\nlisten = \"127.0.0.1:0\"\n{keys}\n"))
}

const KNOWN_LINES: [&str; 6] = [
    r#"{"type":"oldstyle","timestamp":"2026-01-02T03:04:05Z","payload":"one","severity":3}"#,
    r#"{"type":"oldstyle","timestamp":"2026-01-02T03:04:05Z","payload":"two","severity":7}"#,
    r#"{"type":"counter","timestamp":"yesterday","payload":"1","fields":{"name":"hits","rate":1}}"#,
    "no message",
    r#"{"payload":"without a type"}"#,
    "",
];

/// Two log lines, a counter, two rejects and a blank line over TCP, one log line over UDP.
fn send_known_messages(router: &Router) {
    let mut stream = TcpStream::connect(router.addresses["tcp"]).unwrap();
    stream.write_all((KNOWN_LINES.join("\n") + "\n").as_bytes()).unwrap();
    drop(stream);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(br#"{"type":"oldstyle","payload":"three"}"#, router.addresses["udp"]).unwrap();
}

fn all_arrived(pipeline: &Value) -> bool {
    pipeline["inputs"][1]["connections"]["closed"] == 1
        && pipeline["endpoints"][0]["delivered"] == 2
        && pipeline["endpoints"][1]["delivered"] == 4
        && pipeline["endpoints"][1]["queued"] == 0
}

#[test]
fn the_pipeline_accounts_for_every_message() {
    let router = Router::start(&with_api(""));
    send_known_messages(&router);
    let pipeline = router.pipeline_with(all_arrived);

    assert_eq!(pipeline["state"], "running");
    assert!(pipeline["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(
        pipeline["routes"],
        json!([
            {"number": 1, "name": "log lines", "condition": "{ type = \"oldstyle\", severity = { max = 6 } }",
             "to": ["log", "rest"], "final": false, "unrouted": false},
            {"number": 2, "name": null, "condition": null, "to": ["rest"], "final": false, "unrouted": true},
        ])
    );
    assert_eq!(
        pipeline["inputs"][1],
        json!({
            "name": "tcp", "kind": "tcp", "address": router.addresses["tcp"].to_string(), "removed": false,
            "received": 6, "routed": 3, "unrouted": 0, "blank": 1,
            "rejected": {"invalid-json": 1, "missing-type": 1}, "timestamp_unreadable": 1,
            "bytes": KNOWN_LINES.map(|line| line.len() + 1).iter().sum::<usize>(),
            "connections": {"opened": 1, "closed": 1, "waiting": false},
            "lines_given_up": 0, "kernel_drops": 0, "noticed": {}, "balances": true,
        })
    );
    assert_eq!(pipeline["inputs"][0]["name"], "udp");
    assert_eq!(pipeline["inputs"][0]["received"], 1);
    assert_eq!(
        pipeline["endpoints"][0],
        json!({
            "name": "log", "kind": "file", "removed": false, "enqueued": 2, "delivered": 2, "refused": {}, "dropped": {},
            "dropped_last_minute": {},
            "noticed_last_minute": {},
            "queued": 0, "queued_bytes": 0, "buffer_limit_bytes": 8 << 20, "held_up": 0, "oldest_undelivered_seconds": null,
            "retries": 0, "noticed": {}, "failure": null, "balances": true,
        })
    );
    assert_eq!(pipeline["endpoints"][1]["enqueued"], 4);
}

#[test]
fn metrics_are_valid_and_say_the_same() {
    let router = Router::start(&with_api(""));
    send_known_messages(&router);
    router.pipeline_with(all_arrived);
    let answer = router.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let samples = prometheus::parse(&answer.body);
    for (sample, value) in [
        (r#"metlog_input_received_total{input="tcp"}"#, 6.0),
        (r#"metlog_input_received_total{input="udp"}"#, 1.0),
        (r#"metlog_input_rejected_total{input="tcp",reason="missing-type"}"#, 1.0),
        (r#"metlog_input_rejected_total{input="udp",reason="missing-type"}"#, 0.0),
        (r#"metlog_input_kernel_drops_total{input="udp"}"#, 0.0),
        (r#"metlog_input_connections{input="tcp"}"#, 0.0),
        (r#"metlog_endpoint_enqueued_total{endpoint="log"}"#, 2.0),
        (r#"metlog_endpoint_delivered_total{endpoint="rest"}"#, 4.0),
        (r#"metlog_endpoint_dropped_total{endpoint="log",reason="buffer-full"}"#, 0.0),
        (r#"metlog_endpoint_oldest_undelivered_seconds{endpoint="log"}"#, 0.0),
        (r#"metlog_endpoint_up{endpoint="log"}"#, 1.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample}\n{}", answer.body);
    }
    // A file has no lanes.
    assert!(!answer.body.contains("lane"), "{}", answer.body);
    assert!(samples["process_start_time_seconds"] > 1.7e9);
}

#[test]
fn probes_answer_and_degraded_is_still_alive() {
    // A file that cannot be made: its folder is a file.
    let configuration = with_api("").replace("path = \"log.txt\"", "path = \"metlog.toml/log.txt\"");
    let router = Router::start(&configuration);
    // Before any message has come.
    router.pipeline_with(|pipeline| !pipeline["endpoints"][0]["failure"].is_null());
    let health = router.get("/healthz");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("degraded")));
    assert_eq!(health.json()["endpoints"][0]["name"], "log");
    assert_eq!(router.get("/readyz").status, 200);

    send_known_messages(&router);
    router.pipeline_with(|pipeline| pipeline["endpoints"][0]["queued"] == 2);

    // It cannot deliver, so it takes its time to stop, and says so.
    router.terminate();
    let begin = Instant::now();
    while router.get("/readyz").status != 503 {
        assert!(begin.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let health = router.get("/healthz");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("stopping")));
}

#[test]
fn a_token_protects_everything_but_the_probes() {
    let router = Router::start(&with_api("token = \"open sesame\""));
    for path in ["/metrics", "/api/v1/pipeline", "/elsewhere"] {
        let answer = router.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        assert_eq!(router.request("GET", path, "Authorization: Bearer open says me\r\n").status, 401);
    }
    let authorized = "Authorization: Bearer open sesame\r\n";
    assert_eq!(router.request("GET", "/metrics", authorized).status, 200);
    assert_eq!(router.request("GET", "/api/v1/pipeline", authorized).status, 200);
    assert_eq!(router.request("GET", "/elsewhere", authorized).status, 404);
    assert_eq!(router.get("/readyz").status, 200);
    assert_eq!(router.get("/healthz").json(), json!({"status": "ok"}));
    assert_eq!(
        router.request("GET", "/healthz", authorized).json(),
        json!({"status": "ok", "endpoints": [], "inputs": []})
    );
}

#[test]
fn what_is_not_there_says_what_is() {
    let router = Router::start(&with_api(""));
    let answer = router.get("/elsewhere");
    assert_eq!(answer.status, 404);
    assert!(answer.json()["paths"].as_array().unwrap().contains(&json!("/metrics")), "{}", answer.body);
    let answer = router.request("POST", "/metrics", "Content-Length: 0\r\n");
    assert_eq!(answer.status, 405);
    assert!(answer.head.contains("allow: get,head"), "{}", answer.head);
    assert_eq!(router.request("GET", "/api/v1/reopen", "").status, 405, "reading changes nothing");
    for other_site in ["Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site"] {
        let answer =
            router.request("POST", "/api/v1/reopen", &format!("Content-Length: 0\r\n{other_site}\r\n"));
        assert_eq!(answer.status, 403, "{other_site}");
    }
    let answer = router.request("POST", "/api/v1/reopen", "Content-Length: 0\r\n");
    assert_eq!((answer.status, answer.json()), (200, json!({"reopened": true, "not_reopened": []})));
    assert_eq!(router.request("HEAD", "/healthz", "").body, "");
    assert_eq!(router.request("GET", "/healthz", "Host: rebound.example\r\n").status, 421);
    assert_eq!(router.request("GET", "/healthz", "Host: localhost:1\r\n").status, 200);
    // Longer than the router reads: it may answer 431, or be gone before all of it is written.
    let mut stream = TcpStream::connect(router.addresses["api"]).unwrap();
    let mut answer = Vec::new();
    let _ = write!(stream, "GET /healthz HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(40_000));
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn an_address_that_is_taken_is_an_error_before_anything_runs() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metlog.toml");
    fs::write(&file, with_udp_and_tcp(&format!("{PIPELINE}\n[api]\nlisten = \"{address}\"\n"))).unwrap();
    let output = command(&file).current_dir(folder.path()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains(&format!("the API cannot listen on {address}: Address already in use")), "{log}");
    let owner = format!("process {} (", std::process::id());
    assert!(log.contains(&owner) && log.contains("give [api] another `listen`"), "{log}");
    assert!(!folder.path().join("log.txt").exists());
}

/// A strict reader of the Prometheus text format.
mod prometheus {
    use std::collections::{BTreeMap, BTreeSet};

    /// Every sample's value by its name and labels, as written. Panics where the text is not what Prometheus takes.
    pub fn parse(text: &str) -> BTreeMap<String, f64> {
        assert!(text.ends_with('\n'), "the last line must end");
        let mut samples = BTreeMap::new();
        let mut families = BTreeSet::new();
        let mut family = "";
        let mut has_type = false;
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap();
                assert!(families.insert(family), "a second {family}");
                assert!(help.len() > family.len() + 1, "no help: {line}");
                has_type = false;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, family, "a type without its help");
                assert!(["counter", "gauge"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                has_type = true;
            } else {
                let (series, value) = line.rsplit_once(' ').expect(line);
                let name = series.split('{').next().unwrap();
                assert_eq!(name, family, "a sample outside of its family");
                assert!(has_type, "no type before {line}");
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':'), "{line}");
                check_labels(&series[name.len()..]);
                assert!(
                    samples.insert(series.to_owned(), value.parse().expect(line)).is_none(),
                    "twice: {line}"
                );
            }
        }
        samples
    }

    /// `{name="value",…}` with the escapes that there are, or nothing.
    fn check_labels(text: &str) {
        if text.is_empty() {
            return;
        }
        let mut rest = text.strip_prefix('{').expect(text);
        loop {
            let (name, value) = rest.split_once("=\"").expect(text);
            assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{text}");
            let mut characters = value.char_indices();
            let end = loop {
                match characters.next().expect(text) {
                    (end, '"') => break end,
                    (_, '\\') => {
                        assert!(matches!(characters.next().expect(text).1, '\\' | '"' | 'n'), "{text}")
                    }
                    _ => {}
                }
            };
            rest = &value[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        assert_eq!(rest, "}", "{text}");
    }
}
