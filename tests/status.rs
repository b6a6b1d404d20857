//! The commands that look at a running router once: is anything wrong, and what are the numbers?

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;

use crate::support::{
    Router, Setup,
    ledger::{ask, number},
    messages,
    receivers::{drain_pipe, make_pipe},
    router::METLOG,
    senders,
};

const CONFIGURATION: &str = r#"
shutdown_timeout = "1s"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.log]
kind = "file"
path = "log.jsonl"

[endpoints.stuck]
kind = "file"
path = "/dev/full"

[[routes]]
match = { type = "oldstyle" }
to = ["log"]

[[routes]]
match = { type = "stuck" }
to = ["stuck"]
"#;

fn metlog(router: &Router, arguments: &[&str]) -> Output {
    let api = router.api().to_string();
    Command::new(METLOG).args(arguments).args(["--api", &api]).output().expect("run metlog")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn a_healthy_router_says_so_and_shows_its_ledger() {
    let router = Router::start(CONFIGURATION);
    senders::tcp(router.address("tcp"), b"{\"type\":\"oldstyle\"}\n{\"type\":\"other\"}\nno json\n");
    router.wait_until_delivered(3);
    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().next().expect("a line").ends_with("is healthy: no endpoint fails"), "{said}");
    for part in ["3 frames received", "1 frame rejected at input `tcp`: invalid-json 1", "no route took"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let json: Value = serde_json::from_str(&text(&metlog(&router, &["status", "--json"]))).expect("JSON");
    assert_eq!(json["health"], "healthy");
    assert_eq!(json["inputs"][0]["received"], 3);
    assert_eq!(json["endpoints"][0]["delivered"], 1);
    router.stop();
}

#[test]
fn a_failing_endpoint_is_named_and_is_the_exit_status() {
    let router = Router::start(CONFIGURATION);
    senders::tcp(router.address("tcp"), b"{\"type\":\"stuck\"}\n");
    router.wait("the endpoint fails", |ledger| !ledger.endpoint("stuck")["failure"].is_null());
    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("IN TROUBLE\n  endpoint `stuck` fails: "), "{said}");
    assert!(said.contains("1 message waits"), "{said}");
    let json: Value = serde_json::from_str(&text(&metlog(&router, &["status", "--json"]))).expect("JSON");
    assert_eq!(json["health"], "in trouble");
    router.stop();
}

#[test]
fn an_endpoint_that_cannot_open_its_file_is_in_trouble_from_the_start_until_it_can() {
    let setup = Setup::new(&CONFIGURATION.replace("log.jsonl", "logs/log.jsonl"));
    fs::write(setup.path("logs"), "in the way of the folder").expect("write");
    let router = setup.start();
    // Nothing was sent.
    let failing = router.wait("it fails", |ledger| !ledger.endpoint("log")["failure"].is_null());
    let error = failing.endpoint("log")["failure"]["error"].as_str().expect("a text").to_owned();
    assert!(error.starts_with("cannot open logs/log.jsonl: "), "{error}");
    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("endpoint `log` fails: cannot open logs/log.jsonl: "), "{said}");
    assert!(said.contains("nothing waits, and it is tried again by itself"), "{said}");
    assert_eq!(ask(router.api(), "/healthz").expect("an answer")["status"], "degraded");

    fs::remove_file(router.path("logs")).expect("remove");
    let ledger = router.wait("it does not fail", |ledger| ledger.endpoint("log")["failure"].is_null());
    assert_eq!(ledger.received("tcp"), 0);
    assert!(router.path("logs/log.jsonl").exists());
    assert_eq!(metlog(&router, &["status"]).status.code(), Some(0));
    senders::tcp(router.address("tcp"), b"{\"type\":\"oldstyle\"}\n");
    router.wait_until_delivered(1);
    assert_eq!(router.stop().ledger.delivered("log"), 1);
}

#[test]
fn a_file_that_cannot_be_read_is_told_among_the_notes() {
    let input = "[inputs.logs]\nkind = \"file\"\npath = \"in/*.log\"\nlinks = \"refuse\"\n";
    let setup = Setup::new(
        &(input.to_owned() + CONFIGURATION.trim_start().trim_start_matches("shutdown_timeout = \"1s\"")),
    );
    fs::create_dir(setup.path("in")).expect("make a folder");
    std::os::unix::fs::symlink("/etc/hostname", setup.path("in/app.log")).expect("make a link");
    let router = setup.start();
    router.wait("it is left alone", |ledger| {
        ledger.input("logs")["files"]["left_alone"][0]["reason"] == "file-unreadable"
    });
    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("since it started:\n  input `logs` cannot read in/app.log ("), "{said}");
    router.stop();
}

#[test]
fn an_endpoint_that_fails_and_blocks_says_how_many_senders_it_holds_up() {
    let buffer = "path = \"/dev/full\"\nbuffer = { memory = \"64KiB\" }";
    let router = Router::start(&CONFIGURATION.replace("path = \"/dev/full\"", buffer));
    let stuck = "{\"type\":\"stuck\"}\n".repeat(10_000);
    for _ in 0..2 {
        senders::tcp(router.address("tcp"), (stuck.clone() + "{\"type\":\"oldstyle\"}\n").as_bytes());
    }
    // One that sends nothing to it goes on.
    senders::tcp(router.address("tcp"), b"{\"type\":\"oldstyle\"}\n");
    router.wait("two are held up", |ledger| ledger.endpoint("stuck")["held_up"] == 2);
    router.wait("the third is not", |ledger| ledger.delivered("log") == 1);
    let said = text(&metlog(&router, &["status"]));
    let unwrapped = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = "its buffer is full, and 2 connections or files are not read until there is room";
    assert!(unwrapped.contains(expected), "{said}");
    router.stop();
}

/// An endpoint without any failure: its pipe has a reader, which is only slow.
const OVERFLOWING: &str = r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.slow]
kind = "file"
path = "pipe"
buffer = { memory = "1MiB", when_full = "drop_newest" }

[[routes]]
match = { logger = "slow" }
to = ["slow"]
"#;

#[test]
fn an_endpoint_whose_buffer_overflows_is_in_trouble_although_it_does_not_fail() {
    const SENT: usize = 10_000;
    let setup = Setup::new(OVERFLOWING);
    let pipe = setup.path("pipe");
    make_pipe(&pipe);
    // For both directions, which waits for nobody.
    let idle = std::fs::File::options().read(true).write(true).open(&pipe).expect("open the pipe");
    let router = setup.start();
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("slow", SENT, 500)).as_bytes());
    let ledger = router.wait("everything is received", |ledger| ledger.received("tcp") == SENT as u64);
    let dropped = number(&ledger.endpoint("slow")["dropped"]["buffer-full"]);
    assert!(dropped > 0 && ledger.endpoint("slow")["failure"].is_null(), "{ledger:?}");

    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("IN TROUBLE\n  endpoint `slow` loses messages: buffer-full "), "{said}");
    let health = ask(router.api(), "/healthz").expect("an answer");
    assert_eq!(health["status"], "degraded");
    assert!(number(&health["endpoints"][0]["dropped_last_minute"]["buffer-full"]) > 0, "{health}");

    let reader = drain_pipe(&pipe);
    router.wait_until_delivered(SENT as u64);
    drop(idle);
    let delivered = router.stop().ledger.delivered("slow");
    assert_eq!(reader.join().expect("read the pipe").len() as u64, delivered);
}

#[test]
fn a_pipe_that_nobody_reads_is_named_until_its_reader_comes() {
    let setup = Setup::new(OVERFLOWING);
    let pipe = setup.path("pipe");
    make_pipe(&pipe);
    let router = setup.start();
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("slow", 1, 0)).as_bytes());
    router.wait("it waits", |ledger| !ledger.endpoint("slow")["failure"].is_null());
    let output = metlog(&router, &["status"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let why = "endpoint `slow` is held up: nobody reads the named pipe pipe; until the program that does is started (for ";
    assert!(said.contains(why) && said.contains("; 1 message waits"), "{said}");

    let reader = drain_pipe(&pipe);
    router.wait_until_delivered(1);
    router.wait("nothing is in the way", |ledger| ledger.endpoint("slow")["failure"].is_null());
    assert_eq!(router.stop().ledger.delivered("slow"), 1);
    assert_eq!(reader.join().expect("read the pipe").len(), 1);
}

#[test]
fn a_router_that_cannot_be_reached_is_a_status_of_its_own() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let output = Command::new(METLOG).args(["status", "--json", "--api", &free.to_string()]).output();
    let output = output.expect("run metlog");
    assert_eq!(output.status.code(), Some(2));
    let json: Value = serde_json::from_str(&text(&output)).expect("JSON");
    assert_eq!(json["health"], "unreachable");
    assert!(json["problems"][0].as_str().expect("a text").contains("connection refused"), "{json}");
}

#[test]
fn top_prints_one_picture_where_there_is_no_terminal() {
    let router = Router::start(CONFIGURATION);
    senders::tcp(router.address("tcp"), b"{\"type\":\"oldstyle\"}\nno json\n");
    router.wait_until_delivered(2);
    let output = metlog(&router, &["top", "--once", "--interval", "0.1"]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in ["healthy", "ENDPOINT", "INPUT", "1  tcp rejected: invalid-json"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains('\x1b'), "{said:?}");
    router.stop();
}
