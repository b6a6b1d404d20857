//! SIGTERM: inputs stop, what the kernel holds is read, what is buffered is delivered, exit status 0.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::TcpStream,
    os::unix::net::{UnixDatagram, UnixStream},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Router, Setup, ledger::number, messages, receivers, receivers::make_full_pipe, router::METLOG, senders,
};

const CONFIGURATION: &str = r#"
shutdown_timeout = "20s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[inputs.stream]
kind = "unix"
path = "stream.sock"

[inputs.datagrams]
kind = "unix"
path = "datagrams.sock"
mode = "datagram"

[endpoints.all]
kind = "file"
path = "out/{logger}.jsonl"

[[routes]]
to = ["all"]
"#;

#[test]
fn what_the_kernel_holds_is_delivered_over_every_transport() {
    const EACH: usize = 100;
    let router = Router::start(CONFIGURATION);
    // One connection is known to the router, with the first half of a line; the others wait to be accepted.
    let mut known = TcpStream::connect(router.address("tcp")).expect("connect");
    let lines = messages::numbered("known", EACH, 300);
    let text = messages::text_of(&lines);
    known.write_all(&text.as_bytes()[..10]).expect("send");
    router.wait("the connection is known", |ledger| ledger.input("tcp")["connections"]["opened"] == 1);

    router.signal("STOP");
    router.wait_until_stopped();
    known.write_all(&text.as_bytes()[10..]).expect("send");
    let mut open = Vec::new();
    for number in 0..5 {
        let mut stream = TcpStream::connect(router.address("tcp")).expect("connect");
        let text = messages::text_of(&messages::numbered(&format!("tcp-{number}"), EACH, 300));
        stream.write_all(text.as_bytes()).expect("send");
        if number % 2 == 0 {
            open.push(stream);
        }
    }
    let mut stream = UnixStream::connect(router.socket_path("stream")).expect("connect");
    stream.write_all(messages::text_of(&messages::numbered("stream", EACH, 300)).as_bytes()).expect("send");
    let socket = UnixDatagram::unbound().expect("make a socket");
    socket.set_nonblocking(true).expect("set an option");
    let mut datagrams = 0;
    // The kernel holds only a few datagrams of a Unix socket.
    for message in messages::numbered("datagrams", EACH, 300) {
        match socket.send_to(message.as_bytes(), router.socket_path("datagrams")) {
            Ok(_) => datagrams += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                break;
            }
        }
    }
    assert!(datagrams > 0);
    let socket = senders::udp_socket(router.address("udp"));
    for message in messages::numbered("udp", EACH, 300) {
        socket.send(message.as_bytes()).expect("send a datagram");
    }
    router.signal("TERM");
    router.signal("CONT");

    let stopped = router.wait_until_stopped_by_itself();
    let arrived =
        |logger: &str| messages::numbers(receivers::lines(&stopped.path(&format!("out/{logger}.jsonl"))));
    for logger in ["known", "tcp-0", "tcp-1", "tcp-2", "tcp-3", "tcp-4", "stream", "udp"] {
        assert!(arrived(logger).into_iter().eq(0..EACH), "{logger}");
    }
    assert!(arrived("datagrams").into_iter().eq(0..datagrams));
    assert_eq!(stopped.ledger.delivered("all"), 8 * EACH as u64 + datagrams as u64);
}

#[test]
fn a_message_that_is_only_half_there_when_the_router_stops_is_no_bad_input() {
    let router = Router::start(CONFIGURATION);
    let mut sender = TcpStream::connect(router.address("tcp")).expect("connect");
    let lines = messages::numbered("app", 2, 300);
    let text = messages::text_of(&lines);
    sender.write_all(&text.as_bytes()[..400]).expect("send");
    // What has no line break and is whole all the same is a message.
    let mut other = TcpStream::connect(router.address("tcp")).expect("connect");
    other.write_all(lines[1].as_bytes()).expect("send");
    router.wait("both are known", |ledger| {
        ledger.received("tcp") == 1 && ledger.input("tcp")["connections"]["opened"] == 2
    });
    let stopped = router.stop();
    let ledger = &stopped.ledger;
    assert_eq!(messages::numbers(receivers::lines(&stopped.path("out/app.jsonl"))), [0, 1]);
    assert_eq!(ledger.received("tcp"), 2);
    assert!(stopped.log.contains("a line was not whole yet when the router stopped reading it"));
}

/// Keeps a load below what the endpoint's buffer holds: nothing can hold up a sender of datagrams, so that a full buffer
/// would drop them.
fn pace(number: usize) {
    if number % 20 == 19 {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn while_senders_go_on_sending_all_that_was_received_is_delivered() {
    let router = Router::start(CONFIGURATION);
    let address = router.address("tcp");
    let udp = router.address("udp");
    let stop = AtomicBool::new(false);
    let stopped = thread::scope(|scope| {
        for sender in 0..3 {
            let stop = &stop;
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).expect("connect");
                for number in 0.. {
                    let line = messages::numbered_one(&format!("tcp-{sender}"), number, 200) + "\n";
                    // The router closes the connection at some moment; that is the end.
                    if stop.load(Ordering::Relaxed) || stream.write_all(line.as_bytes()).is_err() {
                        break;
                    }
                    pace(number);
                }
            });
        }
        scope.spawn(|| {
            let socket = senders::udp_socket(udp);
            for number in 0.. {
                let sent = socket.send(messages::numbered_one("udp", number, 200).as_bytes());
                if stop.load(Ordering::Relaxed) || sent.is_err() {
                    break;
                }
                pace(number);
            }
        });
        router.wait("messages flow", |ledger| ledger.delivered("all") > 5_000);
        let stopped = router.stop();
        stop.store(true, Ordering::Relaxed);
        stopped
    });
    let mut arrived = 0;
    for logger in ["tcp-0", "tcp-1", "tcp-2", "udp"] {
        let numbers = messages::numbers(receivers::lines(&stopped.path(&format!("out/{logger}.jsonl"))));
        arrived += numbers.len() as u64;
        assert!(numbers.is_sorted(), "{logger} is in order");
        if logger != "udp" {
            assert!(numbers.iter().copied().eq(0..numbers.len()), "{logger} has no gap");
        }
    }
    assert_eq!(arrived, stopped.ledger.delivered("all"), "what the files hold");
    // On a machine whose disk is busy the endpoint may be held up for so long that its buffer is full, and then nothing
    // but datagrams is dropped: the connections have no gap.
    let dropped = stopped.ledger.dropped("all");
    let reasons =
        if dropped == 0 { serde_json::json!({}) } else { serde_json::json!({ "buffer-full": dropped }) };
    assert_eq!(stopped.ledger.endpoint("all")["dropped"], reasons);
    let routed: u64 = ["tcp", "udp"].map(|input| number(&stopped.ledger.input(input)["routed"])).iter().sum();
    assert_eq!(arrived + dropped, routed, "what was received was delivered");
}

#[test]
fn an_endpoint_that_never_answers_costs_the_timeout_and_its_messages_are_counted() {
    let setup = Setup::new(
        r#"
shutdown_timeout = "300ms"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.hanging]
kind = "file"
path = "out/pipe"

[endpoints.good]
kind = "file"
path = "out/good.jsonl"

[[routes]]
to = ["hanging", "good"]
"#,
    );
    let _full = make_full_pipe(&setup.path("out/pipe"));
    let router = setup.start();
    let lines = messages::numbered("any", 1_000, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the messages are received", |ledger| ledger.received("tcp") == 1_000);
    let asked = Instant::now();
    let stopped = router.stop();
    assert!(asked.elapsed() < Duration::from_secs(10), "it waited too long for the endpoint");
    assert_eq!(stopped.ledger.endpoint("hanging")["dropped"], serde_json::json!({ "shutdown": 1_000 }));
    assert_eq!(stopped.ledger.delivered("good"), 1_000);
    assert_eq!(receivers::lines(&stopped.path("out/good.jsonl")), lines);
}

#[test]
fn connections_that_wait_for_a_full_buffer_are_given_up_at_the_timeout_and_counted() {
    let setup = Setup::new(
        r#"
shutdown_timeout = "300ms"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.hanging]
kind = "file"
path = "out/pipe"
buffer = { memory = "64KiB", when_full = "block" }

[[routes]]
to = ["hanging"]
"#,
    );
    let _full = make_full_pipe(&setup.path("out/pipe"));
    let router = setup.start();
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(router.address("tcp")).expect("connect");
        stream.write_all(messages::text_of(&messages::numbered("any", 300, 500)).as_bytes()).expect("send");
        streams.push(stream);
    }
    router.wait("some wait and some are queued", |ledger| {
        number(&ledger.endpoint("hanging")["queued_bytes"]) > 0 && ledger.received("tcp") > 300
    });
    let stopped = router.stop();
    // A line of which only the beginning was read is rejected.
    let routed = number(&stopped.ledger.input("tcp")["routed"]);
    assert_eq!(stopped.ledger.endpoint("hanging")["dropped"], serde_json::json!({ "shutdown": routed }));
}

#[test]
fn at_the_end_of_a_shell_pipeline_the_router_delivers_and_ends() {
    let setup = Setup::new(
        r#"
[inputs.in]
kind = "stdin"

[endpoints.out]
kind = "stdout"

[[routes]]
to = ["out"]
"#,
    );
    let lines = messages::numbered("piped", 20_000, 200);
    let mut command = setup.command();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("run metlog");
    let mut stdin = child.stdin.take().expect("standard input");
    let text = messages::text_of(&lines);
    let writer = thread::spawn(move || {
        // The last line has no line break, and counts.
        stdin.write_all(text.trim_end().as_bytes()).expect("send");
    });
    let output = child.wait_with_output().expect("wait");
    writer.join().expect("send");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == messages::text_of(&lines).as_bytes(), "not what was sent");
}

#[test]
fn when_standard_input_ends_other_inputs_keep_the_router_running() {
    let setup = Setup::new(&format!(
        "[inputs.stdin]\nkind = \"stdin\"\n{}",
        CONFIGURATION.replace("shutdown_timeout = \"20s\"", "")
    ));
    std::fs::write(setup.path("messages"), messages::text_of(&messages::numbered("stdin", 10, 0)))
        .expect("write");
    let file = std::fs::File::open(setup.path("messages")).expect("open");
    let router = setup.stdin(file).start();
    router.wait("standard input is read", |ledger| ledger.received("stdin") == 10);
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("tcp", 10, 0)).as_bytes());
    router.wait_until_delivered(20);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("out/stdin.jsonl")).len(), 10);
    assert_eq!(receivers::lines(&stopped.path("out/tcp.jsonl")).len(), 10);
}

#[test]
fn the_binary_says_which_version_it_is() {
    let output = Command::new(METLOG).arg("--version").output().expect("run");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("metlog "));
}

#[test]
fn when_nobody_reads_standard_output_any_more_the_router_ends_in_good_order() {
    let setup = Setup::new(
        r#"
[inputs.stdin]
kind = "stdin"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"
[endpoints.out]
kind = "stdout"
[endpoints.all]
kind = "file"
path = "all.jsonl"
[[routes]]
to = ["out", "all"]
"#,
    );
    let lines = messages::numbered("head", 20_000, 300);
    std::fs::write(setup.path("big.jsonl"), messages::text_of(&lines)).expect("write");
    let big = std::fs::File::open(setup.path("big.jsonl")).expect("open");
    let mut child =
        setup.command().stdin(big).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("run metlog");
    let mut first = String::new();
    // `head -1`: it reads a line and goes.
    BufReader::new(child.stdout.take().expect("standard output")).read_line(&mut first).expect("read");
    assert_eq!(first.trim_end(), lines[0]);
    let output = child.wait_with_output().expect("wait");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    assert!(log.contains("nobody reads standard output any more"), "{log}");
    let dropped = log.lines().find(|line| line.contains("messages were dropped")).expect(&log);
    assert!(dropped.contains("shutdown="), "{dropped}");
    // What had arrived by then is in the file, whole.
    let arrived = receivers::lines(&setup.path("all.jsonl"));
    assert_eq!(arrived, lines[..arrived.len()]);
}

#[test]
fn a_second_signal_ends_the_router_at_once() {
    let mut router = Router::start(
        r#"
shutdown_timeout = "60s"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"
[endpoints.nobody]
kind = "statsd"
transport = "tcp"
address = "127.0.0.1:1"
[[routes]]
to = ["nobody"]
"#,
    );
    let counter = br#"{"type":"counter","payload":"1","fields":{"name":"n"}}"#;
    senders::tcp(router.address("tcp"), counter);
    router.wait("it is queued, and nobody takes it", |ledger| {
        ledger.queued() == 1 && !ledger.endpoint("nobody")["failure"].is_null()
    });
    router.signal("TERM");
    router.wait_for_log("stopping: delivering what is buffered");
    router.wait_for_log(
        "waiting up to 60s for `nobody` (1 message): cannot reach 127.0.0.1:1 over TCP: Connection refused (os error 111); \
         a second signal stops at once",
    );
    let asked = Instant::now();
    router.signal("TERM");
    assert_eq!(router.wait_for_exit().code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_last_report_has_a_line_for_every_endpoint_however_many_there_are() {
    const ENDPOINTS: usize = 300;
    let mut configuration =
        "[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n[[routes]]\nto = [".to_owned();
    for number in 0..ENDPOINTS {
        configuration += &format!("\"nowhere-{number:03}\", ");
    }
    configuration += "]\n";
    for number in 0..ENDPOINTS {
        configuration += &format!(
            "[endpoints.nowhere-{number:03}]\nkind = \"statsd\"\naddress = \"127.0.0.1:9\"\nbuffer = {{ memory = \"64KiB\" }}\n"
        );
    }
    let router = Router::start(&configuration);
    senders::tcp(router.address("tcp"), b"{\"type\":\"other\"}\n");
    router.wait_until_delivered(1);
    let stopped = router.stop();
    for number in 0..ENDPOINTS {
        let name = format!("nowhere-{number:03}");
        let lines =
            stopped.log.lines().filter(|line| line.contains(&name) && line.contains("\"enqueued\":1"));
        assert_eq!(lines.count(), 1, "{name}");
    }
}
