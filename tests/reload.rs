//! Reload: the router goes on with another configuration while messages flow, and every message is accounted for.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::Command,
    sync::mpsc,
    thread,
};

use crate::support::{
    Ledger, Router, Setup,
    http_server::{Deed, Server},
    messages, receivers,
    router::METLOG,
    senders, wait,
};

const TCP: &str = "[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n";

/// One TCP input, one file, everything there.
fn to_file(name: &str, path: &str) -> String {
    format!("{TCP}[endpoints.{name}]\nkind = \"file\"\npath = \"{path}\"\n[[routes]]\nto = [\"{name}\"]\n")
}

#[test]
fn a_connection_and_its_half_sent_line_survive_a_reload() {
    let router = Router::start(&to_file("a", "a.jsonl"));
    let lines = messages::numbered("half", 2, 0);
    let (begin, end) = lines[1].split_at(40);
    let mut stream = TcpStream::connect(router.address("tcp")).unwrap();
    stream.write_all(format!("{}\n{begin}", lines[0]).as_bytes()).unwrap();
    router.wait_until_delivered(1);
    let said = router.reload(&format!("{}[endpoints.b]\nkind = \"null\"\n", to_file("a", "a.jsonl")));
    assert!(said.contains("inputs     kept 1\n") && said.contains("kept 1, added b\n"), "{said}");
    stream.write_all(format!("{end}\n").as_bytes()).unwrap();
    let ledger = router.wait_until_delivered(2);
    assert_eq!(ledger.input("tcp")["connections"]["opened"], 1);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("a.jsonl")), lines);
}

#[test]
fn a_decoder_changes_while_the_connection_stays() {
    let router = Router::start(&to_file("a", "a.jsonl"));
    let mut stream = TcpStream::connect(router.address("tcp")).unwrap();
    stream.write_all(b"no message\n").unwrap();
    router.wait_until_delivered(1);
    let with_lines = to_file("a", "a.jsonl").replace("kind = \"tcp\"", "kind = \"tcp\"\ndecoder = \"line\"");
    let said = router.reload(&with_lines);
    assert!(said.contains("inputs     changed tcp\n"), "{said}");
    stream.write_all(b"a log line\n").unwrap();
    let ledger = router.wait_until_delivered(2);
    assert_eq!(ledger.input("tcp")["connections"]["opened"], 1);
    let stopped = router.stop();
    assert!(receivers::lines(&stopped.path("a.jsonl"))[0].contains("\"payload\":\"a log line\""));
}

#[test]
fn routes_change_under_load_and_each_message_goes_one_way() {
    let with = |to: &str| {
        format!(
            "{TCP}[endpoints.a]\nkind = \"file\"\npath = \"a.jsonl\"\n[endpoints.b]\nkind = \"file\"\npath = \"b.jsonl\"\n\
             [[routes]]\nto = [\"{to}\"]\n[[routes]]\nmatch = {{ type = \"never\" }}\nto = [\"a\", \"b\"]\n"
        )
    };
    let router = Router::start(&with("a"));
    let (sent, ()) = senders::under_load(router.address("tcp"), || {
        for round in 0..10 {
            let to = if round % 2 == 0 { "b" } else { "a" };
            let before = router.ledger().delivered(to);
            let said = router.reload(&with(to));
            assert!(said.contains("kept 2\n") && said.contains("2, changed\n"), "{said}");
            router.wait("messages go the new way", |ledger| ledger.delivered(to) > before + 100);
        }
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    let [a, b] = ["a.jsonl", "b.jsonl"].map(|file| messages::numbers(receivers::lines(&stopped.path(file))));
    for numbers in [&a, &b] {
        assert!(numbers.is_sorted(), "each file has its messages in order");
    }
    let mut all = [a, b].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..sent), "each message once");
}

#[test]
fn an_endpoint_that_moves_to_another_file_under_load_loses_and_repeats_nothing() {
    let router = Router::start(&to_file("log", "0.jsonl"));
    const MOVES: usize = 5;
    let (sent, ()) = senders::under_load(router.address("tcp"), || {
        for number in 1..=MOVES {
            let before = router.ledger().delivered("log");
            router.wait("messages flow", |ledger| ledger.delivered("log") > before + 500);
            let said = router.reload(&to_file("log", &format!("{number}.jsonl")));
            assert!(said.contains("endpoints  changed log\n"), "{said}");
        }
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    let files = (0..=MOVES).map(|number| stopped.path(&format!("{number}.jsonl")));
    let arrived: Vec<usize> = files.flat_map(|file| messages::numbers(receivers::lines(&file))).collect();
    assert!(arrived.into_iter().eq(0..sent), "each message once, and in order over all files");
    assert_eq!(stopped.ledger.delivered("log"), sent as u64, "one account over all of it");
}

#[test]
fn what_a_removed_endpoint_cannot_deliver_in_time_is_dropped_and_counted() {
    let with_dead = format!(
        "shutdown_timeout = \"500ms\"\n{}[endpoints.dead]\nkind = \"metlog\"\naddress = \"127.0.0.1:1\"\n\
         [[routes]]\nto = [\"dead\"]\n",
        to_file("log", "log.jsonl")
    );
    let router = Router::start(&with_dead);
    let lines = messages::numbered("doomed", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the dead one holds them", |ledger| ledger.endpoint("dead")["queued"] == 100);
    let said = router.reload(&format!("shutdown_timeout = \"500ms\"\n{}", to_file("log", "log.jsonl")));
    assert!(said.contains("kept 1, removed dead\n"), "{said}");
    assert_eq!(router.ledger().endpoint("dead")["removed"], true);
    let ledger = router.wait("the rest is dropped, and the other one has its own", |ledger| {
        ledger.dropped("dead") == 100 && ledger.delivered("log") == 100
    });
    assert_eq!(ledger.endpoint("dead")["dropped"]["removed"], 100);
    router.balanced();
    router.stop();
}

#[test]
fn an_answer_after_the_messages_were_given_up_does_not_count_them_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let without = format!("shutdown_timeout = \"500ms\"\n{}", to_file("log", "log.jsonl"));
    let with_late = format!(
        "{without}[endpoints.late]\nkind = \"http\"\nurl = \"http://{}/\"\nlinger = \"0s\"\ntimeout = \"60s\"\n\
         [[routes]]\nto = [\"late\"]\n",
        server.local_addr().unwrap()
    );
    let router = Router::start(&with_late);
    let lines = messages::numbered("late", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    let (mut request, _) = server.accept().unwrap();
    router.wait("it holds them", |ledger| ledger.endpoint("late")["queued"] == 100);
    router.reload(&without);
    router.wait("they are dropped", |ledger| ledger.dropped("late") == 100);
    request.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    // The endpoint closes its connection once it has taken the answer.
    request.read_to_end(&mut Vec::new()).unwrap();
    let ledger = router.balanced();
    assert_eq!((ledger.delivered("late"), ledger.dropped("late")), (0, 100));
    router.stop();
}

#[test]
fn an_address_is_widened_and_narrowed_again_while_a_connection_goes_on() {
    let router = Router::start(&to_file("log", "log.jsonl"));
    let address = router.address("tcp");
    let beside = SocketAddr::from(([127, 0, 0, 2], address.port()));
    let listening_at =
        |ip: &str| to_file("log", "log.jsonl").replace("127.0.0.1:0", &format!("{ip}:{}", address.port()));
    let (sent, ()) = senders::under_load(address, || {
        router.wait("messages flow", |ledger| ledger.delivered("log") > 0);
        for _ in 0..3 {
            let said = router.reload(&listening_at("0.0.0.0"));
            assert!(said.contains("inputs     changed tcp\n"), "{said}");
            assert_eq!(router.address_now("tcp"), SocketAddr::from(([0, 0, 0, 0], address.port())));
            TcpStream::connect(beside).expect("it listens everywhere");
            router.reload(&listening_at("127.0.0.1"));
            wait::until("it listens here only", || TcpStream::connect(beside).is_err().then_some(()));
            TcpStream::connect(address).expect("it listens here");
        }
    });
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    let arrived = messages::numbers(receivers::lines(&stopped.path("log.jsonl")));
    assert!(arrived.into_iter().eq(0..sent), "each message once, over the one connection");
}

#[test]
fn an_address_of_datagrams_is_widened_in_one_reload() {
    for sockets in [1, 2] {
        let listening_at = |address: String| {
            format!(
                "{}[inputs.udp]\nkind = \"udp\"\nlisten = \"{address}\"\nsockets = {sockets}\n",
                to_file("log", "log.jsonl")
            )
        };
        let router = Router::start(&listening_at("127.0.0.1:0".to_owned()));
        let port = router.address("udp").port();
        router.reload(&listening_at(format!("0.0.0.0:{port}")));
        let beside = senders::udp_socket(SocketAddr::from(([127, 0, 0, 2], port)));
        beside.send(messages::numbered("udp", 1, 0)[0].as_bytes()).unwrap();
        router.wait_until_delivered(1);
        router.reload(&listening_at(format!("127.0.0.1:{port}")));
        router.stop();
    }
}

#[test]
fn an_address_that_somebody_else_has_a_part_of_is_not_taken_and_the_input_goes_on() {
    let router = Router::start(&to_file("log", "log.jsonl"));
    let address = router.address("tcp");
    let _other = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], address.port()))).unwrap();
    let wider = to_file("log", "log.jsonl").replace("127.0.0.1:0", &format!("0.0.0.0:{}", address.port()));
    router.reconfigure(&wider);
    let output = router.run_reload();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("input `tcp`: cannot listen on 0.0.0.0:"), "{said}");
    senders::tcp(address, messages::text_of(&messages::numbered("still", 10, 0)).as_bytes());
    router.wait_until_delivered(10);
    router.stop();
}

#[test]
fn a_changed_endpoint_does_not_wait_for_a_server_that_hangs() {
    let (hanging, healthy) = (Server::start(&[Deed::Hangs; 10]), Server::start(&[]));
    let sending_to = |server: &Server| {
        format!(
            "{}[endpoints.far]\nkind = \"http\"\nurl = \"http://{}/\"\nlinger = \"0s\"\ntimeout = \"1h\"\n[[routes]]\nto = [\"far\"]\n",
            to_file("log", "log.jsonl"),
            server.address
        )
    };
    let router = Router::start(&sending_to(&hanging));
    let lines = messages::numbered("far", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the file has them", |ledger| ledger.delivered("log") == 100);
    router.wait("the server hangs with them", |ledger| ledger.endpoint("far")["queued"] == 100);
    let said = router.reload(&sending_to(&healthy));
    assert!(said.contains("changed far\n"), "{said}");
    let ledger = router.wait_until_delivered(100);
    assert_eq!(ledger.delivered("far"), 100, "what hung is delivered, and counted once");
    router.wait_for_log(
        "a delivery is broken off, because the endpoint was changed; what it was to deliver is delivered anew",
    );
    router.stop();
    assert_eq!(healthy.lines(), lines);
}

#[test]
fn a_renewed_certificate_under_the_same_name_is_taken_up() {
    let certificate = || {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        issued.cert.pem()
    };
    let configuration = format!(
        "{}[endpoints.far]\nkind = \"http\"\nurl = \"https://localhost:1/\"\nca_file = \"ca.pem\"\n[[routes]]\nto = [\"far\"]\n",
        to_file("log", "log.jsonl")
    );
    let setup = Setup::new(&configuration);
    fs::write(setup.path("ca.pem"), certificate()).unwrap();
    let router = setup.start();
    let said = router.reload(&configuration);
    assert!(said.contains("endpoints  kept 2\n"), "{said}");
    fs::write(router.path("ca.pem"), certificate()).unwrap();
    let said = router.reload(&configuration);
    assert!(said.contains("endpoints  kept 1, changed far\n"), "{said}");
    let said = router.reload(&configuration);
    assert!(said.contains("endpoints  kept 2\n"), "{said}");
    fs::write(router.path("ca.pem"), "nonsense").unwrap();
    let output = router.run_reload();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("cannot use ca_file"), "{said}");
    router.stop();
}

#[test]
fn who_looks_at_the_new_address_of_an_api_that_is_still_at_the_old_one_is_told_what_to_type() {
    let router = Router::start(&to_file("log", "log.jsonl"));
    let file = router.path("metlog.toml");
    // Free now, and most likely still so when the router binds it.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let (before, _) = text.split_once("[api]").unwrap();
    fs::write(&file, format!("{before}[api]\nlisten = \"{address}\"\n")).unwrap();
    let reload = || {
        let mut command = Command::new(METLOG);
        command.args(["reload", "--config"]).arg(&file).output().unwrap()
    };
    let output = reload();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let process = said.split("`kill -HUP ").nth(1).and_then(|rest| rest.split('`').next());
    assert_eq!(process, Some(router.process().to_string().as_str()), "{said}");
    router.signal("HUP");
    wait::until("the router answers where the file says", || reload().status.success().then_some(()));
    router.stop();
}

#[test]
fn a_limit_that_sentry_set_is_kept_through_a_reload_that_changes_the_endpoint() {
    let server = Server::start(&[Deed::Answers(429, "X-Sentry-Rate-Limits: 600::organization\r\n")]);
    let configuration = |timeout: &str| {
        format!(
            "shutdown_timeout = \"1s\"\n{TCP}[endpoints.errors]\nkind = \"sentry\"\ndsn = \"http://public@{}/1\"\n\
             timeout = \"{timeout}\"\n[[routes]]\nto = [\"errors\"]\n",
            server.address
        )
    };
    let router = Router::start(&configuration("5s"));
    let event = |number: usize| {
        format!("{{\"type\":\"sentry\",\"payload\":\"{{\\\"message\\\":\\\"{number}\\\"}}\"}}\n")
    };
    senders::tcp(router.address("tcp"), event(0).as_bytes());
    let limit = router.wait("the limit is shown", |ledger| !ledger.endpoint("errors")["failure"].is_null());
    let said = router.reload(&configuration("6s"));
    assert!(said.contains("endpoints  changed errors\n"), "{said}");
    senders::tcp(router.address("tcp"), event(1).as_bytes());
    let words = |ledger: &Ledger| ledger.endpoint("errors")["failure"]["error"].clone();
    router.wait("the limit is shown again", |ledger| words(ledger) == words(&limit) && ledger.queued() == 2);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.endpoint("errors")["dropped"], serde_json::json!({ "shutdown": 2 }));
    assert_eq!(server.lines(), Vec::<String>::new(), "it was asked again");
}

#[test]
fn an_input_that_a_reload_adds_while_the_last_one_ends_keeps_the_router_running() {
    let to_log = "[endpoints.log]\nkind = \"file\"\npath = \"log.jsonl\"\n[[routes]]\nto = [\"log\"]\n";
    let setup = Setup::new(&format!("[inputs.in]\nkind = \"stdin\"\n{to_log}"));
    let (stdin, mut sender) = std::io::pipe().unwrap();
    let router = setup.stdin(File::from(OwnedFd::from(stdin))).start();
    let lines = messages::numbered("any", 2, 0);
    sender.write_all(lines[0].as_bytes()).unwrap();
    // A reload that reads a pipe lasts for as long as the test wants it to.
    let file = router.path("metlog.toml");
    fs::remove_file(&file).unwrap();
    receivers::make_pipe(&file);
    router.signal("HUP");
    let (opened, is_opened) = mpsc::channel();
    thread::spawn(move || opened.send(OpenOptions::new().write(true).open(file)));
    let mut configuration = is_opened.recv_timeout(wait::PATIENCE).expect("it reads its file").unwrap();
    drop(sender);
    // What had no line break yet is a message once the input ends.
    router.wait("standard input has ended", |ledger| ledger.delivered("log") == 1);
    write!(configuration, "{TCP}{to_log}[api]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    drop(configuration);
    router.wait_for_log("reloaded");
    senders::tcp(router.address("tcp"), format!("{}\n", lines[1]).as_bytes());
    router.wait("it goes on", |ledger| ledger.delivered("log") == 2);
    let stopped = router.stop();
    assert_eq!(receivers::lines(&stopped.path("log.jsonl")), lines);
    assert!(!stopped.log.contains("every input has ended"), "{}", stopped.log);
}

#[test]
fn a_removed_endpoint_delivers_what_it_holds() {
    let pipe_and_log = format!(
        "{}[endpoints.slow]\nkind = \"file\"\npath = \"pipe\"\n[[routes]]\nto = [\"slow\"]\n",
        to_file("log", "log.jsonl")
    );
    let setup = Setup::new(&pipe_and_log);
    receivers::make_pipe(&setup.path("pipe"));
    let router = setup.start();
    let lines = messages::numbered("late", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("the slow one holds them", |ledger| ledger.endpoint("slow")["queued"] == 100);
    router.reload(&to_file("log", "log.jsonl"));
    let read = receivers::drain_pipe(&router.path("pipe"));
    assert_eq!(messages::numbers(read.join().unwrap()), (0..100).collect::<Vec<_>>());
    router.wait("they are delivered", |ledger| ledger.delivered("slow") == 100);
    router.stop();
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing_and_says_why() {
    let router = Router::start(&to_file("log", "log.jsonl"));
    let lines = messages::numbered("bad", 2, 0);
    senders::tcp(router.address("tcp"), format!("{}\n", lines[0]).as_bytes());
    router.wait_until_delivered(1);
    for (configuration, problem) in [
        (to_file("log", "log.jsonl") + "nonsense = 1\n", "unknown key `nonsense`"),
        (to_file("log", "log.jsonl").replace("to = [\"log\"]", "to = [\"lug\"]"), "lug"),
        (
            format!("{}[inputs.b]\nkind = \"unix\"\npath = \"/proc/nowhere\"\n", to_file("log", "b.jsonl")),
            "input `b`: cannot listen on /proc/nowhere",
        ),
    ] {
        router.reconfigure(&configuration);
        let output = router.run_reload();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(problem) && said.contains("nothing has changed"), "{said}");
    }
    // A bad file must not keep log rotation from working.
    fs::rename(router.path("log.jsonl"), router.path("log.1")).unwrap();
    router.signal("HUP");
    router.wait_for_log("files opened anew");
    assert!(router.path("log.jsonl").exists());
    senders::tcp(router.address("tcp"), format!("{}\n", lines[1]).as_bytes());
    router.wait_until_delivered(2);
    let stopped = router.stop();
    assert!(stopped.log.contains("nothing has changed"), "{}", stopped.log);
    assert_eq!(receivers::lines(&stopped.path("log.jsonl")), lines[1..]);
    assert!(!stopped.path("b.jsonl").exists(), "a reload that is refused makes no file");
}

#[test]
fn inputs_come_and_go_and_a_closed_one_reads_what_it_was_sent() {
    let router = Router::start(&to_file("log", "log.jsonl"));
    let first = router.address("tcp");
    let both = to_file("log", "log.jsonl") + "[inputs.unix]\nkind = \"unix\"\npath = \"socket\"\n";
    let said = router.reload(&both);
    assert!(said.contains("inputs     kept 1, added unix\n"), "{said}");
    let lines = messages::numbered("come", 200, 0);
    senders::unix_stream(
        router.path("socket").to_str().unwrap(),
        messages::text_of(&lines[..100]).as_bytes(),
    );
    let mut stream = TcpStream::connect(first).unwrap();
    stream.write_all(messages::text_of(&lines[100..]).as_bytes()).unwrap();
    let only_unix = both.replace(TCP, "");
    let said = router.reload(&only_unix);
    assert!(said.contains("inputs     kept 1, removed tcp\n"), "{said}");
    let ledger = router.wait_until_delivered(200);
    assert_eq!(ledger.input("tcp")["removed"], true);
    wait::until("the old port is closed", || TcpStream::connect(first).is_err().then_some(()));
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the connection has ended in good order");
    router.reload(&both);
    senders::tcp(router.address_now("tcp"), format!("{}\n", lines[0]).as_bytes());
    router.wait_until_delivered(201);
    let stopped = router.stop();
    let mut arrived = messages::numbers(receivers::lines(&stopped.path("log.jsonl")));
    arrived.sort_unstable();
    assert_eq!(arrived.len(), 201);
    assert!(!stopped.path("socket").exists(), "the socket's path goes with it");
}

#[test]
fn an_input_with_other_settings_keeps_its_address_and_refuses_nobody() {
    let with = |buffer: &str| {
        format!(
            "{}[inputs.udp]\nkind = \"udp\"\nlisten = \"127.0.0.1:0\"\nreceive_buffer = \"{buffer}\"\nsockets = 2\n",
            to_file("log", "log.jsonl")
        )
    };
    let router = Router::start(&with("4MiB"));
    let address = router.address("udp");
    let socket = senders::udp_socket(address);
    let lines = messages::numbered("udp", 2000, 0);
    let mut sent = 0;
    for (round, part) in lines.chunks(200).enumerate() {
        for line in part {
            // Never so many at once that the kernel would have to drop one.
            socket.send(line.as_bytes()).expect("nobody refuses it");
            sent += 1;
            if sent % 50 == 0 {
                router.wait("they are received", |ledger| ledger.received("udp") >= sent);
            }
        }
        let said = router.reload(&with(if round % 2 == 0 { "5MiB" } else { "4MiB" }));
        assert!(said.contains("inputs     kept 1, changed udp\n"), "{said}");
        assert_eq!(router.address_now("udp"), address);
    }
    router.wait_until_delivered(2000);
    let stopped = router.stop();
    let arrived = messages::numbers(receivers::lines(&stopped.path("log.jsonl")));
    assert_eq!(arrived, (0..2000).collect::<Vec<_>>());
}

#[test]
fn two_hundred_reloads_under_load_leave_nothing_behind() {
    // Each reload changes an endpoint that is busy.
    let plain = format!(
        "{}[endpoints.tally]\nkind = \"counter\"\ninterval = \"1h\"\n[[routes]]\nto = [\"tally\"]\n",
        to_file("log", "log.jsonl")
    );
    let other = format!(
        "{}[inputs.unix]\nkind = \"unix\"\npath = \"socket\"\n[endpoints.more]\nkind = \"file\"\npath = \"more.jsonl\"\n\
         buffer = {{ memory = \"1MiB\" }}\n[[routes]]\nto = [\"more\"]\n",
        plain.replace("1h", "2h")
    );
    let router = Router::start(&plain);
    let address = router.address("tcp");
    let (sent, ()) = senders::under_load(address, || {
        router.wait("messages flow", |ledger| ledger.delivered("tally") > 0);
        // Before the first reload: later, threads of removed endpoints may be about to end.
        let (descriptors, threads) = router.descriptors_and_threads();
        let wait_until_settled = || {
            wait::until("nothing is left of the reloads", || {
                let now = router.descriptors_and_threads();
                (now.0 <= descriptors + 2 && now.1 <= threads).then_some(())
            });
        };
        let reload_often = |times| {
            for _ in 0..times {
                let said = router.reload(&other);
                assert!(said.contains("kept 1, changed tally, added more"), "{said}");
                router.reload(&plain);
            }
        };
        reload_often(20);
        wait_until_settled();
        let memory = router.resident_bytes();
        reload_often(80);
        wait_until_settled();
        let grown = router.resident_bytes().saturating_sub(memory);
        assert!(grown < 24 << 20, "{grown} bytes more");
    });
    router.wait("everything has come in", |ledger| ledger.received("tcp") >= sent as u64);
    router.wait_until_delivered(sent as u64);
    let stopped = router.stop();
    assert_eq!(stopped.ledger.delivered("tally"), sent as u64, "nor on what did");
    let arrived = messages::numbers(receivers::lines(&stopped.path("log.jsonl")));
    assert!(arrived.into_iter().eq(0..sent), "nothing is lost on what did not change");
}

#[test]
fn the_api_is_widened_and_narrowed_by_one_reload_each() {
    let configuration = TCP.to_owned()
        + "[endpoints.all]\nkind = \"file\"\npath = \"all.jsonl\"\n[[routes]]\nto = [\"all\"]\n";
    let router = Router::start(&configuration);
    let (port, file) = (router.api().port(), router.path("metlog.toml"));
    let token = "0123456789abcdef0123456789abcdef";
    let mut narrow = format!("listen = \"127.0.0.1:{port}\"");
    for address in ["127.0.0.1", "0.0.0.0", "127.0.0.1"] {
        // Anybody may come to the wide address, so that needs a token; the narrow one keeps it.
        let listen = format!("listen = \"{address}:{port}\"\ntoken = \"{token}\"");
        fs::write(&file, format!("{configuration}[api]\n{listen}\n")).unwrap();
        let mut command = Command::new(METLOG);
        command.args(["reload", "--api", &router.api().to_string()]).env("METLOG_API_TOKEN", token);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{narrow} to {listen}: {said}");
        narrow = listen;
        // From another address of this machine only the wide one is reached.
        let other = SocketAddr::from(([127, 0, 0, 2], port));
        wait::until("it listens there and nowhere else", || {
            (TcpStream::connect(other).is_ok() == (address == "0.0.0.0")
                && TcpStream::connect(router.api()).is_ok())
            .then_some(())
        });
    }
    router.stop();
}
