//! `metlog demo` as a script sees it: plain lines, an exit status that means something, files to look at.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

const ARRIVED: &str = "everything that was sent arrived, and the ledger balances";

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metlog"));
    command.arg("demo").args(arguments).stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What stands behind the beginning of a line.
fn after<'t>(text: &'t str, beginning: &str) -> &'t str {
    text.lines()
        .find_map(|line| line.strip_prefix(beginning))
        .unwrap_or_else(|| panic!("no {beginning}: {text}"))
}

#[test]
fn a_short_demo_loses_nothing_and_cleans_up() {
    let output = demo(&["--seconds", "3"]).output().unwrap();
    let text = text(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    for part in [
        "metlog.incr(\"hits\");",
        // After a second; which one it is called is the machine's affair.
        "s sent=",
        "\n  stats ",
        "shop.request.home",
        "signed in",
        "PaymentError",
        ARRIVED,
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(!Path::new(after(&text, "files: ")).exists());
    let (_, summary) = text.split_once("what flowed in").unwrap();
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
}

/// A service that sends over a connection and gives an account of it, as one in any language does.
const SERVICE: &str = r#"
host=${METLOG_URL#tcp://}
exec 3<>"/dev/tcp/${host%:*}/${host#*:}"
printf '%s\n' '{"type":"counter","logger":"bash","payload":"1","fields":{"name":"hits","rate":1.0}}' >&3
cat
echo '{"name":"bash","accepted":1,"sent":1,"by_type":{"counter":1},"counters":{"bash.hits":SAID},"audited":{},"exceptions":{}}'
"#;

#[test]
fn a_service_beside_the_shop_is_held_to_what_it_says() {
    for (said, status) in [(1, 0), (2, 1)] {
        let script = SERVICE.replace("SAID", &said.to_string());
        let output = demo(&["--seconds", "1", "--", "bash", "-c", &script]).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(status), "{text}");
        assert!(text.contains("bash sent 1 messages: counter 1"), "{text}");
        let missing = "bash.hits was counted 2 times, the statsd server has 1";
        assert_eq!((text.contains(ARRIVED), text.contains(missing)), (status == 0, status != 0), "{text}");
        if status != 0 {
            std::fs::remove_dir_all(after(&text, "files: ")).unwrap();
        }
    }
}

#[test]
fn what_is_kept_is_a_configuration_to_start_from_and_its_output() {
    let outside = tempfile::tempdir().unwrap();
    let kept: PathBuf = outside.path().join("kept");
    let output = demo(&["--seconds", "1", "--keep", kept.to_str().unwrap()]).output().unwrap();
    let shown = text(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    assert!(shown.contains("the files stay in"), "{shown}");
    let log = std::fs::read_to_string(kept.join("logs/shop.log")).unwrap();
    assert!(log.lines().all(|line| line.contains("Z <")) && log.contains("<5> shop 2.4.1 is open"), "{log}");

    let configuration = kept.join("metlog.toml");
    let mut check = Command::new(env!("CARGO_BIN_EXE_metlog"));
    let check = check.args(["check", "--config"]).arg(&configuration).output().unwrap();
    assert!(check.status.success(), "{}", text(&check));

    let again = demo(&["--seconds", "1", "--keep", kept.to_str().unwrap()]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("is not empty"), "{}", text(&again));
}

#[test]
fn the_api_answers_meanwhile_and_a_signal_ends_it_in_order() {
    let mut process = demo(&[]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut shown = String::new();
    while !shown.contains(" sent=") {
        assert!(output.read_line(&mut shown).unwrap() > 0, "{shown}");
    }
    let address = after(&shown, "ledger: http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(r#"{"status":"ok","endpoints":[],"inputs":[]}"#), "{answer}");

    assert!(Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap().success());
    output.read_to_string(&mut shown).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(0), "{shown}");
    assert!(shown.contains(ARRIVED), "{shown}");
}
