//! Everything that a sender could make grow has a limit and a counter, and at the limit the others go on.

use std::{io::Write, net::TcpStream, process::Command, time::Duration};

use crate::support::{
    Router, Setup,
    ledger::{self, number},
    messages, receivers,
    router::METLOG,
    senders,
};

fn configuration(limits: &str) -> String {
    format!(
        r#"
threads = 2

[limits]
{limits}

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#
    )
}

#[test]
fn a_line_over_the_limit_is_rejected_and_the_stream_goes_on_behind_it() {
    let router = Router::start(&configuration("message = \"10KiB\""));
    let good = messages::numbered("good", 3, 300);
    let mut text = good[0].clone() + "\n";
    // Just over the limit, far over it, and so far that it does not fit into one read.
    for bytes in [10 * 1024 + 1, 100 * 1024, 2 * 1024 * 1024] {
        text += &(messages::numbered_one("long", 0, bytes) + "\n");
    }
    text += &(good[1].clone() + "\n");
    text += &(messages::numbered_one("long", 0, 50 * 1024) + "\n");
    text += &(good[2].clone() + "\n");
    // The largest that is allowed.
    let largest = messages::numbered_one("largest", 0, 10 * 1024);
    assert_eq!(largest.len(), 10 * 1024);
    text += &(largest.clone() + "\n");
    senders::tcp(router.address("tcp"), text.as_bytes());
    let ledger = router.wait_until_delivered(8);
    assert_eq!(ledger.input("tcp")["rejected"], serde_json::json!({ "too-large": 4 }));
    let stopped = router.stop();
    let expected = [good, vec![largest]].concat();
    assert_eq!(receivers::lines(&stopped.path("all.jsonl")), expected);
}

#[test]
fn a_last_line_without_a_line_break_counts() {
    let router = Router::start(&configuration(""));
    let lines = messages::numbered("last", 3, 0);
    senders::tcp(router.address("tcp"), lines.join("\n").as_bytes());
    router.wait_until_delivered(3);
    assert_eq!(receivers::lines(&router.stop().path("all.jsonl")), lines);
}

#[test]
fn connections_over_the_limit_wait_and_lose_nothing() {
    let router = Router::start(&configuration("connections = 3"));
    let address = router.address("tcp");
    let mut open: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).expect("connect")).collect();
    router.wait("three are open", |ledger| ledger.input("tcp")["connections"]["opened"] == 3);
    assert_eq!(router.ledger().input("tcp")["connections"]["waiting"], false);
    // Each is done before it is even let in.
    for number in 0..10 {
        senders::tcp(address, (messages::numbered_one("all", number, 0) + "\n").as_bytes());
    }
    let ledger =
        router.wait("the others wait", |ledger| ledger.input("tcp")["connections"]["waiting"] == true);
    assert_eq!((ledger.received("tcp"), &ledger.input("tcp")["connections"]["opened"]), (0, &3.into()));

    // Those that are open go on, and that the others wait is trouble.
    for (number, stream) in open.iter_mut().enumerate() {
        let line = messages::numbered_one("all", 10 + number, 0) + "\n";
        stream.write_all(line.as_bytes()).expect("send");
    }
    router.wait("three are delivered", |ledger| ledger.delivered("all") == 3);
    let health = ledger::ask(router.api(), "/healthz").expect("an answer");
    assert_eq!((&health["status"], &health["inputs"]), (&"degraded".into(), &serde_json::json!(["tcp"])));
    let status = Command::new(METLOG).args(["status", "--api", &router.api().to_string()]).output();
    let status = status.expect("run metlog");
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{said}");
    assert!(said.contains("\n  input `tcp` lets nobody in: 3 connections are open, "), "{said}");
    router.wait_for_log(
        "as many connections are open as [limits] connections allows; more wait until one of them ends",
    );

    // One place is enough for all of them, one after the other.
    open.pop();
    let ledger = router.wait_until_delivered(13);
    assert_eq!(ledger.input("tcp")["connections"]["waiting"], false);
    let health = ledger::ask(router.api(), "/healthz").expect("an answer");
    assert_eq!(health["status"], "ok");
    let stopped = router.stop();
    let mut arrived = messages::numbers(receivers::lines(&stopped.path("all.jsonl")));
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..13));
}

#[test]
fn connections_that_wait_at_the_limit_are_let_in_by_a_reload_that_raises_it() {
    let router = Router::start(&configuration("connections = 1"));
    let address = router.address("tcp");
    let _open = TcpStream::connect(address).expect("connect");
    router.wait("it is open", |ledger| ledger.input("tcp")["connections"]["opened"] == 1);
    senders::tcp(address, messages::text_of(&messages::numbered("all", 3, 0)).as_bytes());
    router.wait("another one waits", |ledger| ledger.input("tcp")["connections"]["waiting"] == true);
    router.reload(&configuration("connections = 2"));
    router.wait_until_delivered(3);
    router.stop();
}

#[test]
fn what_waits_at_the_limit_is_read_when_the_router_stops() {
    let router = Router::start(&configuration("connections = 1"));
    let address = router.address("tcp");
    let _open = TcpStream::connect(address).expect("connect");
    router.wait("it is open", |ledger| ledger.input("tcp")["connections"]["opened"] == 1);
    for number in 0..5 {
        senders::tcp(address, messages::numbered_one("all", number, 0).as_bytes());
    }
    router.wait("they wait", |ledger| ledger.input("tcp")["connections"]["waiting"] == true);
    let stopped = router.stop();
    let mut arrived = messages::numbers(receivers::lines(&stopped.path("all.jsonl")));
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..5));
}

#[test]
fn a_flood_of_connections_at_one_input_does_not_keep_those_of_another_out() {
    let configuration = configuration("connections = 1");
    let router = Router::start(&(configuration + "\n[inputs.unix]\nkind = \"unix\"\npath = \"in.sock\"\n"));
    let (address, path) = (router.address("tcp"), router.socket_path("unix"));
    let open = TcpStream::connect(address).expect("connect");
    router.wait("it is open", |ledger| ledger.input("tcp")["connections"]["opened"] == 1);
    // They never end by themselves: whoever is let in holds the place.
    let flood: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).expect("connect")).collect();
    router.wait("the flood waits", |ledger| ledger.input("tcp")["connections"]["waiting"] == true);
    senders::unix_stream(&path, messages::numbered_one("all", 0, 0).as_bytes());
    router.wait("so does the other one", |ledger| ledger.input("unix")["connections"]["waiting"] == true);
    // Two places come free at most before it is its turn.
    drop(open);
    router.wait("one of the flood, or the other one", |ledger| {
        let opened = |input: &str| number(&ledger.input(input)["connections"]["opened"]);
        opened("tcp") == 2 || opened("unix") == 1
    });
    let mut flood = flood.into_iter();
    drop(flood.next());
    router.wait_until_delivered(1);
    drop(flood);
    router.stop();
}

#[test]
fn unfinished_lines_share_bounded_memory_and_the_largest_gives_way() {
    const CONNECTIONS: usize = 100;
    const LINE_BYTES: usize = 900 * 1024;
    // An eighth of it is for unfinished lines: room for 35 of them.
    let router = Router::start(&configuration(""));
    let address = router.address("tcp");
    let before = router.resident_bytes();
    let line = messages::numbered_one("long", 0, LINE_BYTES) + "\n";
    let (begin, end) = line.as_bytes().split_at(LINE_BYTES - 10);
    let mut streams: Vec<TcpStream> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).expect("connect");
        stream.write_all(begin).expect("send");
        streams.push(stream);
    }
    let most = 36;
    let ledger = router.wait("all but those that fit are given up", |ledger| {
        number(&ledger.input("tcp")["lines_given_up"]) >= (CONNECTIONS - most) as u64
    });
    assert!(number(&ledger.input("tcp")["lines_given_up"]) < CONNECTIONS as u64, "{ledger:?}");
    let grown = router.resident_bytes().saturating_sub(before);
    assert!(grown < 100 << 20, "{} MiB for unfinished lines", grown >> 20);

    // The others go on.
    let small = messages::numbered("small", 1_000, 200);
    senders::tcp(address, messages::text_of(&small).as_bytes());
    router.wait("the others go on", |ledger| ledger.delivered("all") == 1_000);

    // Whoever was given up is a reject; the rest arrive when they end. Afterwards every connection works as before.
    for stream in &mut streams {
        stream.write_all(end).expect("send");
        stream.write_all((messages::numbered_one("after", 0, 0) + "\n").as_bytes()).expect("send");
    }
    let ledger = router.wait_until_delivered((2 * CONNECTIONS + 1_000) as u64);
    let given_up = number(&ledger.input("tcp")["lines_given_up"]);
    assert_eq!(ledger.input("tcp")["rejected"], serde_json::json!({ "too-large": given_up }));
    let stopped = router.stop();
    let lines = receivers::lines(&stopped.path("all.jsonl"));
    let long = lines.iter().filter(|arrived| arrived.len() + 1 == line.len()).count() as u64;
    assert_eq!(long + given_up, CONNECTIONS as u64);
    assert_eq!(lines.len() as u64, 1_000 + CONNECTIONS as u64 + long);
}

#[test]
fn idle_connections_take_no_file_descriptors_that_files_and_the_api_need() {
    const CLIENTS: usize = 60;
    // Fewer descriptors than clients, and each message goes to a file of its own.
    let configuration = configuration("").replace("all.jsonl", "all/{payload}.jsonl");
    let router = Setup::new(&configuration).ulimit("-n 60").start();
    router.wait_for_log(
        "the limit on open files is lower than what [limits] connections and open_files allow, so that they are less now: raise it (LimitNOFILE, ulimit -n)",
    );
    let address = router.address("tcp");
    let streams: Vec<TcpStream> = (0..CLIENTS)
        .map(|number| {
            let mut stream = TcpStream::connect(address).expect("the kernel takes it");
            let line = format!(
                "{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"payload\":\"{number}\"}}\n"
            );
            stream.write_all(line.as_bytes()).expect("send");
            stream
        })
        .collect();
    router.wait("some are let in, and what they sent is delivered", |ledger| {
        let input = ledger.input("tcp");
        input["connections"]["waiting"] == true
            && ledger.delivered("all") == number(&input["connections"]["opened"])
    });
    drop(streams);
    router.wait_until_delivered(CLIENTS as u64);
    let stopped = router.stop();
    assert_eq!(std::fs::read_dir(stopped.path("all")).expect("a folder").count(), CLIENTS);
    assert!(!stopped.log.contains("Too many open files"), "{}", stopped.log);
}

#[test]
fn who_has_no_file_descriptor_left_says_so_once_until_there_is_one() {
    let router = Router::start(&configuration(""));
    let limit_to = |files: &str| {
        let limits = format!("--nofile={files}");
        let status = Command::new("prlimit").args(["--pid", &router.process().to_string(), &limits]).status();
        assert!(status.expect("run prlimit").success());
    };
    limit_to("5:");
    let _api = TcpStream::connect(router.api()).expect("the kernel takes it");
    senders::tcp(router.address("tcp"), messages::numbered_one("all", 0, 0).as_bytes());
    router.wait_for_log("the API cannot accept a connection; trying again");
    router.wait_for_log("cannot accept a connection; trying again");
    // In which both have tried again several times.
    std::thread::sleep(Duration::from_secs(1));
    limit_to("1000:");
    router.wait_for_log("the API accepts connections again");
    router.wait_until_delivered(1);
    let log = router.stop().log;
    assert_eq!(log.matches("cannot accept a connection; trying again").count(), 2, "{log}");
}

#[test]
fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
    const CLIENTS: usize = 60;
    let router = Setup::new(&configuration("connections = 100\nopen_files = 1")).ulimit("-S -n 40").start();
    let mut streams: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| TcpStream::connect(router.address("tcp")).expect("the kernel takes it"))
        .collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        let line = messages::numbered_one("client", number, 0) + "\n";
        stream.write_all(line.as_bytes()).expect("send");
    }
    // While all of them are open.
    router.wait_until_delivered(CLIENTS as u64);
    router.stop();
}

#[test]
fn a_unix_datagram_may_be_as_large_as_a_message_and_a_larger_one_is_a_reject() {
    let router = Router::start(
        r#"
[limits]
message = "100KiB"
[rejects]
to = ["rejects"]
[inputs.unix]
kind = "unix"
path = "in.sock"
mode = "datagram"
[endpoints.all]
kind = "file"
path = "all.jsonl"
[endpoints.rejects]
kind = "file"
path = "rejects.jsonl"
[[routes]]
to = ["all"]
"#,
    );
    let largest = messages::numbered_one("large", 0, 100 * 1024);
    let larger = messages::numbered_one("larger", 0, 150 * 1024);
    senders::unix_datagrams(&router.socket_path("unix"), &[largest.clone() + "\n", larger.clone()]);
    let ledger = router.wait_until_delivered(2);
    assert_eq!(ledger.input("unix")["rejected"], serde_json::json!({ "too-large": 1 }));
    assert_eq!(ledger.input("unix")["lines_given_up"], 0);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("all.jsonl")), [largest]);
    let rejects = receivers::lines(&stopped.path("rejects.jsonl"));
    assert_eq!(rejects.len(), 1);
    let reject: serde_json::Value = serde_json::from_str(&rejects[0]).expect("JSON");
    assert_eq!(reject["fields"]["reason"], "too-large");
    assert_eq!(reject["fields"]["bytes"], larger.len());
}

#[test]
fn many_that_wait_again_and_again_do_not_fill_the_log() {
    const TIMES: usize = 100;
    let router = Router::start(&configuration("connections = 1"));
    let address = router.address("tcp");
    // Each has the place to itself in its turn, while the next one waits.
    let mut last = TcpStream::connect(address).expect("connect");
    for number in 0..TIMES {
        let next = TcpStream::connect(address).expect("the kernel takes it");
        router.wait("it waits", |ledger| ledger.input("tcp")["connections"]["waiting"] == true);
        last = next;
        router.wait("it is let in", |ledger| ledger.input("tcp")["connections"]["opened"] == number + 2);
    }
    drop(last);
    let stopped = router.stop();
    let lines: Vec<&str> = stopped.log.lines().filter(|line| line.contains("more wait until")).collect();
    // More than one of the latter if this took longer than they are counted for.
    assert!(lines.len() < TIMES / 2, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("… repeated ")), "{lines:?}");
}
