//! Live messages: filtered in the router, bounded, and never at the expense of what is delivered.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
};

use serde_json::Value;

use crate::support::{Router, Setup, messages, router::METLOG, senders, wait};

const CONFIGURATION: &str = r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[endpoints.log]
kind = "file"
path = "log.jsonl"

[endpoints.alarms]
kind = "file"
path = "alarms.jsonl"

[[routes]]
match = { severity = { max = 3 } }
to = ["alarms"]

[[routes]]
match = { type = "oldstyle" }
to = ["log"]
"#;

/// How many may watch at once.
const PLACES: usize = 16;

/// A tap on its own connection, read event by event.
struct Tap {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Tap {
    /// Returns when the router has answered: it watches from then on, if the answer is 200.
    fn ask(api: SocketAddr, query: &str, headers: &str) -> Tap {
        let mut stream = TcpStream::connect(api).expect("connect");
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("set a time-out");
        write!(stream, "GET /api/v1/tap?{query} HTTP/1.1\r\nHost: {api}\r\n{headers}\r\n").expect("ask");
        let mut tap = Tap { reader: BufReader::new(stream), head: String::new() };
        while !tap.head.ends_with("\r\n\r\n") {
            assert!(tap.reader.read_line(&mut tap.head).expect("read the head") > 0, "{}", tap.head);
        }
        tap
    }

    fn open(router: &Router, query: &str) -> Tap {
        let tap = Tap::ask(router.api(), query, "");
        assert_eq!(tap.status(), 200, "{}", tap.head);
        tap
    }

    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).expect("a status").parse().expect("a number")
    }

    /// The next event's name and data. The lines that say how long the pieces of the answer are stand between them.
    fn next(&mut self) -> (String, Value) {
        let mut name = String::new();
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).expect("read an event") > 0, "the tap has ended");
            if let Some(event) = line.strip_prefix("event: ") {
                name = event.trim().to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                return (name, serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")));
            }
        }
    }
}

/// A `metlog tap` that watches.
struct Watching {
    child: Child,
    errors: Receiver<String>,
}

impl Watching {
    fn start(router: &Router, arguments: &[&str]) -> Watching {
        let mut child = Command::new(METLOG)
            .arg("tap")
            .args(arguments)
            .args(["--api", &router.api().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run metlog tap");
        let stderr = BufReader::new(child.stderr.take().expect("standard error"));
        let (send, errors) = mpsc::channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let command = Watching { child, errors };
        command.wait_for("watching");
        command
    }

    /// Waits for a line on standard error.
    fn wait_for(&self, word: &str) -> String {
        loop {
            let line = self.errors.recv_timeout(wait::PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("`{word}` does not come on standard error"));
            if line.contains(word) {
                return line;
            }
        }
    }

    /// Waits until it ends; gives its exit status and its output.
    fn end(mut self) -> (Option<i32>, String) {
        let status = wait::until("metlog tap ends", || self.child.try_wait().expect("look at it"));
        let mut text = String::new();
        self.child.stdout.take().expect("standard output").read_to_string(&mut text).expect("read");
        (status.code(), text)
    }
}

fn line(kind: &str, severity: u8, payload: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"severity\":{severity},\"payload\":\"{payload}\",\"n\":1.50}}\n")
}

#[test]
fn only_what_matches_is_shown_with_where_it_came_in_and_where_it_went() {
    let router = Router::start(CONFIGURATION);
    let tap =
        Watching::start(&router, &["type=oldstyle,cef", "payload~^yes", "--format", "event", "-n", "3"]);
    let text = [
        line("oldstyle", 6, "no"),
        line("oldstyle", 2, "yes, twice"),
        line("counter", 6, "yes, but a counter"),
        line("cef", 6, "yes, nowhere"),
    ];
    senders::tcp(router.address("tcp"), text.concat().as_bytes());
    router.wait_until_delivered(4);
    senders::udp(&router, "udp", &[line("oldstyle", 6, "yes by udp").trim_end()]);
    let (status, output) = tap.end();
    assert_eq!(status, Some(0));
    let shown: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let facts: Vec<String> =
        shown.iter().map(|s| format!("{} {} {}", s["input"], s["to"], s["message"]["payload"])).collect();
    assert_eq!(
        facts,
        [
            r#""tcp" ["log","alarms"] "yes, twice""#,
            r#""tcp" [] "yes, nowhere""#,
            r#""udp" ["log"] "yes by udp""#
        ]
    );
    router.stop();
}

#[test]
fn messages_are_printed_as_the_router_has_them() {
    let router = Router::start(CONFIGURATION);
    let tap = Watching::start(&router, &["-n", "2"]);
    let sent = [line("oldstyle", 6, "one"), line("oldstyle", 6, "two \\u001b[2J")].concat();
    senders::tcp(router.address("tcp"), sent.as_bytes());
    let (status, output) = tap.end();
    assert_eq!(status, Some(0));
    router.wait_until_delivered(2);
    let stopped = router.stop();
    assert_eq!(output, fs::read_to_string(stopped.path("log.jsonl")).expect("read the file"));
}

#[test]
fn a_watcher_that_does_not_read_misses_messages_and_nobody_else_does() {
    const COUNT: usize = 400;
    let router = Router::start(CONFIGURATION);
    let mut tap = Tap::open(&router, "rate=10000");
    let lines = messages::numbered("app", COUNT, 100_000);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    // More than the endpoint's buffer holds, so that some of it may wait outside of it.
    router.wait("everything is delivered", |ledger| ledger.delivered("log") == COUNT as u64);
    // Only now it reads: what was kept for it, and how much was not.
    let (mut shown, mut missed) = (Vec::new(), [0; 3]);
    while shown.len() + missed.iter().sum::<usize>() < COUNT {
        let (name, data) = tap.next();
        match name.as_str() {
            "" => shown.push(data["message"].to_string()),
            "dropped" => {
                let count = |key: &str| data[key].as_u64().expect("a count") as usize;
                missed = [count("queue_full"), count("over_rate"), count("unexamined")];
            }
            other => panic!("{other}: {data}"),
        }
    }
    assert!(missed[0] > 0, "{missed:?}");
    assert_eq!(shown.len() + missed.iter().sum::<usize>(), COUNT);
    let numbers = messages::numbers(&shown);
    assert!(numbers.is_sorted(), "in order");
    let stopped = router.stop();
    let file = fs::read_to_string(stopped.path("log.jsonl")).expect("read the file");
    assert_eq!(messages::numbers(file.lines()), (0..COUNT).collect::<Vec<_>>());
}

#[test]
fn places_are_bounded_and_free_again_when_a_watcher_goes() {
    let router = Router::start(CONFIGURATION);
    let mut taps: Vec<Tap> = (0..PLACES).map(|_| Tap::open(&router, "")).collect();
    assert_eq!(Tap::ask(router.api(), "", "").status(), 503);
    taps.pop();
    wait::until("the place is free", || (Tap::ask(router.api(), "", "").status() == 200).then_some(()));
    senders::tcp(router.address("tcp"), line("oldstyle", 6, "seen by all").as_bytes());
    for tap in &mut taps {
        assert_eq!(tap.next().1["message"]["payload"], "seen by all");
    }
    router.stop();
}

#[test]
fn rejects_are_shown_with_their_reasons_to_who_asks() {
    let router = Router::start(CONFIGURATION);
    let mut tap = Tap::open(&router, "rejects=only");
    let frame = b"{\"type\":\"oldstyle\"}\nno json\n";
    senders::tcp(router.address("tcp"), frame);
    let (name, data) = tap.next();
    assert_eq!((name.as_str(), &data["reason"]), ("reject", &Value::from("invalid-json")));
    assert_eq!(data["message"]["fields"]["frame"], "bm8ganNvbg==");
    router.stop();
}

#[test]
fn rejects_of_before_are_shown_first_to_who_asks_for_them() {
    let router = Router::start(CONFIGURATION);
    senders::tcp(router.address("tcp"), b"no json\n{}\n");
    router.wait_until_delivered(2);
    let mut tap = Tap::open(&router, "rejects=only&recent=true&limit=3");
    assert_eq!(tap.next().1["reason"], "invalid-json");
    assert_eq!(tap.next().1["reason"], "missing-type");
    senders::tcp(router.address("tcp"), b"[]\n");
    assert_eq!(tap.next().1["reason"], "not-an-object");
    assert_eq!(tap.next().0, "end");
    let mut last = Tap::open(&router, "rejects=also&recent=true&limit=1");
    assert_eq!(last.next().1["reason"], "not-an-object");
    router.stop();
}

#[test]
fn a_carriage_return_between_tokens_ends_no_event() {
    let router = Router::start(CONFIGURATION);
    let mut tap = Tap::open(&router, "input=tcp");
    senders::tcp(router.address("tcp"), b"{\"type\":\r\"oldstyle\",\r\"payload\":\"data: {}\"}\n");
    assert_eq!(tap.next().1["message"]["payload"], "data: {}");
    router.stop();
}

#[test]
fn the_token_is_needed_where_one_is_set() {
    let router = Setup::new(CONFIGURATION).api("token = \"open sesame\"").start();
    assert_eq!(Tap::ask(router.api(), "", "").status(), 401);
    assert_eq!(Tap::ask(router.api(), "", "Authorization: Bearer open sesame\r\n").status(), 200);
    router.stop();
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let router = Router::start(CONFIGURATION);
    let said = |arguments: &[&str]| {
        let output = Command::new(METLOG)
            .arg("tap")
            .args(arguments)
            .args(["--api", &router.api().to_string()])
            .output()
            .expect("run metlog tap");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("text")
    };
    let never = said(&["--match", "{ type = 5 }"]);
    assert!(never.contains("this never matches") && never.contains("`type` is a string"), "{never}");
    let input = said(&["--input", "nope"]);
    assert!(input.contains("there is no input called `nope`; known inputs: tcp, udp"), "{input}");
    assert_eq!(Tap::ask(router.api(), "colour=red", "").status(), 400);
    router.stop();
}

#[test]
fn ctrl_c_ends_it_with_a_summary() {
    let router = Router::start(CONFIGURATION);
    let tap = Watching::start(&router, &[]);
    let id = tap.child.id().to_string();
    let sent = Command::new("sh").args(["-c", "kill -s INT \"$0\"", &id]).status().expect("run kill");
    assert!(sent.success());
    tap.wait_for("0 messages shown in");
    assert_eq!(tap.end().0, Some(0));
    router.stop();
}

#[test]
fn a_router_that_goes_away_is_said_and_is_a_failure() {
    let router = Router::start(CONFIGURATION);
    let tap = Watching::start(&router, &[]);
    router.stop();
    tap.wait_for("went away");
    assert_eq!(tap.end().0, Some(1));
}
