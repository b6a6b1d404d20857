//! The examples of the Rust client, each a process of its own, through a router to a file.
//!
//! They are built with the client's optional parts: `cargo build -p metlog --examples --all-features`. Where they are
//! missing a test fails if `CI` is set, and otherwise says so and passes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{
    Router, receivers,
    router::{METLOG, with_udp_and_tcp},
    skipped::skip,
};

const ROUTER: &str = r#"
[endpoints.timers]
kind = "file"
path = "out/timers.jsonl"

[endpoints.visa]
kind = "file"
path = "out/visa.jsonl"

[endpoints.rest]
kind = "file"
path = "out/rest.jsonl"

[[routes]]
match = { type = "timer" }
to = ["timers"]
final = true

[[routes]]
match = { "fields.spans.charge.card" = "visa" }
to = ["visa"]
final = true

[[routes]]
to = ["rest"]
"#;

/// The command that runs an example, if it was built.
fn example(name: &str) -> Option<Command> {
    let path = Path::new(METLOG).with_file_name("examples").join(name);
    if path.exists() {
        return Some(Command::new(path));
    }
    let message =
        format!("missing: {}. Run: cargo build -p metlog --examples --all-features", path.display());
    skip("the Rust client", &message);
    None
}

#[track_caller]
fn run(mut command: Command) {
    let output = command.output().expect("run the example");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{}: {stderr}", output.status);
}

/// Waits for so many messages, stops the router, and returns what is in each file.
#[track_caller]
fn delivered<const N: usize>(router: Router, count: u64, files: [&str; N]) -> [Vec<Value>; N] {
    router.wait_until_delivered(count);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.received_in_all(), count);
    files.map(|file| {
        let path = stopped.path(&format!("out/{file}.jsonl"));
        let lines = if path.exists() { receivers::lines(&path) } else { Vec::new() };
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    })
}

fn payloads(messages: &[Value]) -> Vec<(&str, u64)> {
    let payload = |message: &Value| message["severity"].as_u64().expect("a severity");
    messages.iter().map(|m| (m["payload"].as_str().expect("text"), payload(m))).collect()
}

#[test]
fn an_application_with_tracing_sends_log_lines_timers_and_exceptions() {
    let Some(mut command) = example("tracing") else { return };
    let router = Router::start(&with_udp_and_tcp(ROUTER));
    command.arg(router.listening("tcp"));
    run(command);
    let [timers, visa, rest] = delivered(router, 7, ["timers", "visa", "rest"]);

    let names: Vec<&Value> = timers.iter().map(|timer| &timer["fields"]["name"]).collect();
    assert_eq!(names, ["charge", "request"]);
    assert_eq!(timers[1]["fields"]["spans"], json!({"request": {"user": 7, "status": 402}}));
    assert_eq!(
        payloads(&rest),
        [("started", 6), ("the cart is nearly full", 4), ("no more requests", 7), ("done", 7)]
    );
    assert_eq!(rest[1]["fields"]["items"], 31);
    assert_eq!(rest[3]["fields"]["level"], "TRACE");
    assert_eq!(payloads(&visa), [("cannot charge", 3)]);
    assert_eq!(visa[0]["fields"]["exc_type"], "ParseIntError");
    assert_eq!(visa[0]["fields"]["stack"], json!(["ParseIntError: invalid digit found in string"]));
    assert!(rest.iter().all(|message| message["type"] == "oldstyle" && message["logger"] == "shop"));
}

#[test]
fn an_application_with_log_sends_its_lines() {
    let Some(mut command) = example("log") else { return };
    let router = Router::start(&with_udp_and_tcp(ROUTER));
    command.arg(router.listening("tcp"));
    run(command);
    let [rest] = delivered(router, 5, ["rest"]);
    let looking = "looking at [\"a\", \"b\"]";
    assert_eq!(
        payloads(&rest),
        [
            ("started", 6),
            ("the cart is nearly full", 4),
            ("cannot charge visa", 3),
            (looking, 7),
            ("done", 7)
        ]
    );
    assert_eq!(rest[1]["fields"], json!({"items": 31, "full": true, "target": "log"}));
    assert_eq!(rest[2]["fields"]["target"], "shop::payment");
}

#[test]
fn an_application_with_an_ini_file_of_an_original_client_sends_over_udp() {
    let Some(mut command) = example("ini") else { return };
    let router = Router::start(&with_udp_and_tcp(ROUTER));
    let port = router.address("udp").port();
    command.env("METLOG_PORT", port.to_string()).env_remove("METLOG_HOST");
    run(command);
    let [timers, rest] = delivered(router, 3, ["timers", "rest"]);
    assert_eq!(payloads(&timers), [("350", 5)]);
    assert_eq!(payloads(&rest), [("1", 5), ("the disk is nearly full", 4)]);
    assert!(rest.iter().all(|message| message["logger"] == "shop" && message["metlog_src"].is_string()));
}

#[test]
fn a_call_that_somebody_added_sends_as_the_client_s_own() {
    let Some(mut command) = example("extend") else { return };
    let router = Router::start(&with_udp_and_tcp(ROUTER));
    command.arg(router.listening("tcp"));
    run(command);
    let [rest] = delivered(router, 2, ["rest"]);
    assert!(rest.iter().all(|message| message["type"] == "cef"));
    assert_eq!(
        payloads(&rest),
        [
            ("CEF:0|Example|shop|1.0|login-failed|wrong password|5|suser=vera src=192.0.2.7", 6),
            ("CEF:0|Example|shop|1.0|login|signed in|1|suser=vera\\=1", 6)
        ]
    );
    assert_eq!(rest[0]["fields"]["cef_meta"], json!({"syslog_facility": "AUTH", "syslog_ident": "shop"}));
}
