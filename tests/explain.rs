//! `metlog explain`: what it says, and that a running router does exactly that.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::support::{Router, Setup, ledger::sum, messages, router::METLOG, senders, wait};

fn explain(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(METLOG)
        .args(["explain", "--config", "metlog.toml"])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run metlog");
    let (mut stdin, input) = (child.stdin.take().expect("standard input"), input.to_vec());
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("wait for metlog");
    // It may have ended without reading.
    let _ = writer.join().expect("the writer");
    output
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn folder_with(configuration: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::write(folder.path().join("metlog.toml"), configuration).expect("write");
    folder
}

const TOUR: &str = r#"
[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[endpoints.app-log]
kind = "file"
path = "logs/{logger}.log"
format = "text"
template = "{timestamp} {payload}"

[endpoints.stats]
kind = "statsd"
address = "127.0.0.1:8125"

[[routes]]
match = { type = ["counter", "timer"] }
to = ["stats"]

[[routes]]
name = "urgent"
match = { type = "oldstyle", severity = { max = 4 } }
to = ["app-log"]
"#;

#[test]
fn a_message_is_told_route_by_route_with_the_bytes_at_the_end() {
    let folder = folder_with(TOUR);
    let message = br#"{"type":"oldstyle","timestamp":"2026-11-22T09:05:24Z","logger":"shop","severity":4,"payload":"\u001b[2Jtook 3 s"}"#;
    let text = said(&explain(folder.path(), &[], message));
    assert_eq!(
        text,
        concat!(
            "line 1: oldstyle from shop, severity 4\n",
            "  route 1 leaves it: type = \"oldstyle\" is none of \"counter\", \"timer\"\n",
            "  route 2 (urgent) takes it: type = \"oldstyle\", severity = 4 is within max = 4 → app-log\n",
            "  app-log (file) sends 34 bytes to logs/shop.log\n",
            "      2026-11-22T09:05:24Z \\u{1b}[2Jtook 3 s\\n\n",
            "    acknowledged once it is delivered; while the buffer is full its senders wait where they can\n",
        )
    );
    assert_eq!(fs::read_dir(folder.path()).expect("look").count(), 1, "nothing is opened");
}

#[test]
fn the_page_in_the_documentation_shows_what_it_really_says() {
    let page = fs::read_to_string(messages::tests_folder().join("../docs/explain.md")).expect("the page");
    let block = |language: &str| {
        let begin = format!("```{language}\n");
        let blocks = page.split(&begin).skip(1);
        blocks.filter_map(|rest| rest.split("```").next()).map(str::to_owned).collect::<Vec<_>>()
    };
    let folder = folder_with(&block("toml")[0]);
    fs::write(folder.path().join("messages.jsonl"), &block("json")[0]).expect("write");
    let text = said(&explain(folder.path(), &["messages.jsonl"], b""));
    assert!(page.contains(&text), "the page does not show:\n{text}");
}

#[test]
fn what_goes_nowhere_is_refused_or_rejected_says_why() {
    let folder = folder_with(TOUR);
    let input = b"{\"type\":\"oldstyle\"}\n{\"type\":\"counter\",\"payload\":\"x\",\"fields\":{\"name\":\"n\"}}\n\n{'type': 1}\n";
    let text = said(&explain(folder.path(), &[], input));
    for words in [
        "route 2 (urgent) leaves it: severity = 6 (the default) is above max = 4",
        "no route takes it: it is counted as `unrouted`",
        "stats (statsd) refuses it, statsd-value: its payload is no number that statsd takes",
        "line 3: blank",
        "line 4: rejected: invalid-json\n  byte 2: strings take double quotes\n      {'type': 1}\n       ^\n",
    ] {
        assert!(text.contains(words), "`{words}` is missing in:\n{text}");
    }
}

#[test]
fn long_output_is_shortened_unless_all_of_it_is_asked_for() {
    let folder = folder_with(TOUR);
    let payload = "x".repeat(5000);
    let message = format!(
        r#"{{"type":"oldstyle","timestamp":"2026-11-22T09:05:24Z","severity":1,"payload":"{payload}"}}"#
    );
    let text = said(&explain(folder.path(), &[], message.as_bytes()));
    assert!(text.contains("… 5022 bytes in all") && !text.contains(&payload), "{text}");
    assert!(said(&explain(folder.path(), &["--full"], message.as_bytes())).contains(&payload));
}

#[test]
fn an_unknown_input_is_an_error_that_names_the_known_ones() {
    let folder = folder_with(TOUR);
    let output = explain(folder.path(), &["--input", "upd"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("(udp)"), "{output:?}");
}

#[test]
fn every_hostile_frame_is_rejected_for_the_reason_that_a_router_has() {
    let folder = folder_with(TOUR);
    let all = messages::hostile();
    let mut names = Vec::new();
    for (number, hostile) in all.iter().enumerate() {
        let name = format!("{number:03}");
        fs::write(folder.path().join(&name), &hostile.frame).expect("write");
        names.push(name);
    }
    let mut arguments = vec!["--json", "--datagram"];
    arguments.extend(names.iter().map(String::as_str));
    let text = said(&explain(folder.path(), &arguments, b""));
    let mut told: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let fate: Value = serde_json::from_str(line).expect("JSON");
        let place = fate["place"].as_str().expect("a place").split(':').next().expect("a name").to_owned();
        told.entry(place).or_default().push(fate);
    }
    for (hostile, name) in all.iter().zip(&names) {
        let fates = told.remove(name).unwrap_or_default();
        let expected = match hostile.verdict.as_str() {
            "reject" => vec![hostile.reason.as_str()],
            _ => Vec::new(),
        };
        let reasons: Vec<&str> = fates.iter().filter_map(|fate| fate["reason"].as_str()).collect();
        let frames_with_lines = hostile.frame.contains(&b'\n') && hostile.frame.first() != Some(&0);
        if frames_with_lines && expected.len() == 1 {
            assert!(reasons.contains(&expected[0]), "{}: {fates:?}", hostile.label);
        } else {
            assert_eq!(reasons, expected, "{}: {fates:?}", hostile.label);
        }
        for fate in fates.iter().filter(|fate| fate["fate"] == "rejected") {
            assert!(!fate["problem"].as_str().unwrap_or_default().is_empty(), "{}", hostile.label);
        }
    }
}

/// Everything that was sent to an address, over any number of connections.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<u8>>>);

impl Received {
    fn add(&self, bytes: &[u8]) {
        self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
    }

    fn wait_for(&self, length: usize) -> Vec<u8> {
        wait::until("everything has arrived", || {
            let bytes = self.0.lock().expect("no test panics with it");
            (bytes.len() >= length).then(|| bytes.clone())
        })
    }
}

/// Keeps what `serve` makes of every connection.
fn listen(serve: fn(TcpStream, &Received) -> std::io::Result<()>) -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let (address, received) = (listener.local_addr().expect("an address"), Received::default());
    let kept = received.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, kept) = (stream.expect("a connection"), kept.clone());
            thread::spawn(move || serve(stream, &kept));
        }
    });
    (address, received)
}

fn keep_stream(mut stream: TcpStream, received: &Received) -> std::io::Result<()> {
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => received.add(&buffer[..length]),
        }
    }
}

/// Answers every request with 204 and keeps its body.
fn keep_bodies(stream: TcpStream, received: &Received) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        received.add(&body);
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
    }
}

#[test]
fn a_running_router_sends_the_very_bytes_to_the_very_places() {
    let (statsd, statsd_received) = listen(keep_stream);
    let (syslog, syslog_received) = listen(keep_stream);
    let (http, http_received) = listen(keep_bodies);
    let configuration = format!(
        r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"
[endpoints.json]
kind = "file"
path = "out/{{type}}.jsonl"
[endpoints.text]
kind = "file"
path = "out/{{logger}}-{{date}}.log"
format = "text"
template = "{{timestamp}} {{severity}} {{fields.name}} {{payload}}"
[endpoints.statsd]
kind = "statsd"
transport = "tcp"
address = "{statsd}"
[endpoints.syslog]
kind = "syslog"
transport = "tcp"
address = "{syslog}"
[endpoints.http]
kind = "http"
url = "http://{http}/in"
[[routes]]
match = {{ type = ["counter", "timer"] }}
to = ["statsd", "json"]
[[routes]]
match = {{ any = [{{ type = "cef" }}, {{ severity = {{ max = 5 }} }}] }}
to = ["syslog"]
final = true
[[routes]]
match = {{ not = {{ type = "counter" }} }}
to = ["http", "text"]
[[routes]]
unrouted = true
to = ["json"]
"#
    );
    let router = Router::start(&configuration);
    let mut all = messages::real("metlog-0.8.jsonl");
    all.extend(messages::real("aitc-2012-07-18.jsonl"));
    let input = messages::text_of(&all);
    senders::tcp(router.address("tcp"), input.as_bytes());
    let ledger = router.wait_until_delivered(all.len() as u64);

    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut refused = BTreeMap::<String, u64>::new();
    for line in said(&explain(&router.path(""), &["--json"], input.as_bytes())).lines() {
        let fate: Value = serde_json::from_str(line).expect("JSON");
        for endpoint in fate["endpoints"].as_array().into_iter().flatten() {
            let text = |key: &str| endpoint[key].as_str().unwrap_or_default().to_owned();
            let (name, kind) = (text("name"), text("kind"));
            match text("does").as_str() {
                "send" if kind == "file" => *expected.entry(text("to")).or_default() += &text("text"),
                "send" => *expected.entry(name).or_default() += &text("text"),
                "refuse" => *refused.entry(name).or_default() += 1,
                other => panic!("{name} does {other}"),
            }
        }
    }
    assert!(expected.len() > 8, "{:?}", expected.keys());
    for name in ["json", "text", "statsd", "syslog", "http"] {
        let refused = refused.get(name).copied().unwrap_or_default();
        assert_eq!(sum(&ledger.endpoint(name)["refused"]), refused, "{name}");
    }
    for (name, received) in
        [("statsd", statsd_received), ("syslog", syslog_received), ("http", http_received)]
    {
        let text = expected.remove(name).expect("something is sent");
        assert_eq!(String::from_utf8_lossy(&received.wait_for(text.len())), text, "{name}");
    }
    let stopped = router.stop();
    for (path, text) in &expected {
        assert_eq!(fs::read_to_string(stopped.path(path)).expect("a file"), *text, "{path}");
    }
    assert_eq!(fs::read_dir(stopped.path("out")).expect("look").count(), expected.len(), "no other files");
}

#[test]
fn lines_that_a_file_input_joins_are_explained_as_the_messages_that_a_running_router_makes_of_them() {
    let text = "before\n1 failed\n  at x\n\n  at y\n2 fine\n3 too long for one message\n  of forty bytes\n  so it is cut\n4 \
                a line that is too long for a message, and in the middle\n  of others\n5 last\n  line";
    let configuration = r#"
[inputs.app]
kind = "file"
path = "app.txt"
mode = "once"
decoder = "line"
multiline = { start = '^\d', max_bytes = "40B" }
[limits]
message = "50B"
[endpoints.all]
kind = "file"
path = "all.log"
format = "text"
template = "{payload}"
[[routes]]
to = ["all"]
"#;
    let setup = Setup::new(configuration);
    fs::write(setup.path("app.txt"), text).expect("write");
    let folder = folder_with(configuration);
    let told = said(&explain(folder.path(), &["--json"], text.as_bytes()));
    let fates: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let sent: String = fates.iter().filter_map(|fate| fate["endpoints"][0]["text"].as_str()).collect();
    let ran = setup.run_to_its_good_end();
    assert_eq!(sent, fs::read_to_string(ran.path("all.log")).expect("read"));
    let rejected = fates.iter().filter(|fate| fate["reason"] == "too-large").count();
    assert_eq!(ran.ledger.input("app")["rejected"]["too-large"], rejected);
    let places: Vec<&str> = fates.iter().filter_map(|fate| fate["place"].as_str()).collect();
    let expected =
        ["line 1", "lines 2-5", "line 6", "line 7", "lines 8-9", "line 10", "line 11", "lines 12-13"];
    assert_eq!(places, expected);
}
