//! SIGHUP opens files anew: log rotation under load loses nothing, repeats nothing, and keeps the order.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    process::{Command, Output},
};

use crate::support::{
    Router, Setup, messages, receivers,
    router::METLOG,
    senders,
    two_files::{CONFIGURATION, FILES, rotate_under_load},
    wait,
};

const ROTATIONS: usize = 5;

#[test]
fn files_that_are_renamed_under_load_lose_nothing_and_keep_the_order() {
    let router = Router::start(CONFIGURATION);
    let sent = rotate_under_load(&router, ROTATIONS, |rotation| {
        for (_, path) in FILES {
            fs::rename(router.path(path), router.path(&format!("{path}.{rotation}"))).expect("rename");
        }
        router.signal("HUP");
        for (_, path) in FILES {
            wait::until("the file is there again", || router.path(path).exists().then_some(()));
        }
    });
    let stopped = router.stop();
    for (endpoint, path) in FILES {
        let parts = (0..ROTATIONS).map(|rotation| format!("{path}.{rotation}"));
        let arrived: Vec<usize> = parts
            .chain([path.to_owned()])
            .flat_map(|part| messages::numbers(receivers::lines(&stopped.path(&part))))
            .collect();
        assert!(arrived.iter().copied().eq(0..sent), "{endpoint}: each message once, in order");
        assert_eq!(stopped.ledger.delivered(endpoint), sent as u64);
    }
}

#[test]
fn when_the_router_says_that_files_are_open_anew_the_old_ones_are_complete() {
    let router = Router::start(CONFIGURATION);
    let lines = messages::numbered("quiet", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait_until_delivered(100);
    fs::rename(router.path("fixed.jsonl"), router.path("fixed.1")).expect("rename");
    router.signal("HUP");
    router.wait_for_log("files opened anew");
    assert_eq!(receivers::lines(&router.path("fixed.1")), lines);
    assert_eq!(fs::read(router.path("fixed.jsonl")).expect("the new file"), b"");
    router.stop();
}

fn reopen(router: &Router, arguments: &[&str]) -> Output {
    let api = router.api().to_string();
    Command::new(METLOG)
        .args(["reopen", "--api", &api])
        .args(arguments)
        .env_remove("METLOG_API_TOKEN")
        .output()
        .expect("run metlog reopen")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_command_returns_when_the_old_files_are_complete_and_the_new_ones_are_there() {
    let router = Router::start(CONFIGURATION);
    let lines = messages::numbered("command", 100, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait_until_delivered(100);
    fs::rename(router.path("fixed.jsonl"), router.path("fixed.1")).expect("rename");
    let output = reopen(&router, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(receivers::lines(&router.path("fixed.1")), lines);
    assert_eq!(fs::read(router.path("fixed.jsonl")).expect("the new file"), b"");
    router.stop();
}

#[test]
fn the_command_names_the_endpoints_whose_files_are_not_open_anew() {
    let text =
        CONFIGURATION.replace("by-logger/{logger}.jsonl", "pipe").replace("fixed.jsonl", "logs/fixed.jsonl");
    let router = Router::start(&text);
    let lines = messages::numbered("late", 1, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait_until_delivered(1);
    // One file gives way to a pipe that nobody reads, the other one's folder to a file.
    fs::remove_file(router.path("pipe")).expect("remove");
    receivers::make_pipe(&router.path("pipe"));
    fs::remove_dir_all(router.path("logs")).expect("remove");
    fs::write(router.path("logs"), "").expect("write");
    let output = reopen(&router, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.contains("endpoint `by-logger`: cannot open pipe: nobody reads this named pipe; "),
        "{said}"
    );
    assert!(said.contains("endpoint `fixed`: cannot open logs/fixed.jsonl: Not a directory"), "{said}");
    // Held open, so that the reader sees no end when the router closes the pipe to open it anew.
    let pipe = router.path("pipe");
    let held = fs::File::options().read(true).write(true).open(&pipe).expect("open the pipe");
    let reader = receivers::drain_pipe(&pipe);
    fs::remove_file(router.path("logs")).expect("remove");
    wait::until("all is open anew", || reopen(&router, &[]).status.success().then_some(()));
    router.stop();
    drop(held);
    assert_eq!(reader.join().expect("the pipe's reader"), [""; 0]);
}

#[test]
fn an_endpoint_that_leaves_and_still_has_its_file_is_asked_too() {
    let log = "shutdown_timeout = \"60s\"\n[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\
               [endpoints.log]\nkind = \"file\"\npath = \"log.jsonl\"\n[[routes]]\nto = [\"log\"]\n";
    let leaver = "[endpoints.leaver]\nkind = \"file\"\npath = \"pipe\"\n[[routes]]\nto = [\"leaver\"]\n";
    let setup = Setup::new(&format!("{log}{leaver}"));
    receivers::make_pipe(&setup.path("pipe"));
    let router = setup.start();
    let lines = messages::numbered("leaver", 10, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&lines).as_bytes());
    router.wait("it holds them", |ledger| ledger.endpoint("leaver")["queued"] == 10);
    router.reload(log);
    let output = reopen(&router, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("endpoint `leaver`: cannot open pipe: nobody reads this named pipe; "),
        "{}",
        said(&output)
    );
    let read = receivers::drain_pipe(&router.path("pipe"));
    assert_eq!(messages::numbers(read.join().expect("the pipe's reader")), (0..10).collect::<Vec<_>>());
    router.wait("they are delivered", |ledger| ledger.delivered("leaver") == 10);
    wait::until("all is open anew", || reopen(&router, &[]).status.success().then_some(()));
    router.stop();
}

#[test]
fn who_does_not_know_the_token_opens_no_files_anew() {
    let setup = Setup::new(CONFIGURATION).api("token = \"open sesame\"");
    let router = setup.start();
    let output = reopen(&router, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("wants its token"), "{}", said(&output));
    let output = reopen(&router, &["--token", "guess"]);
    assert!(said(&output).contains("has another token"), "{}", said(&output));
    let config = router.path("metlog.toml");
    let output = reopen(&router, &["--config", config.to_str().expect("a text")]);
    assert!(output.status.success(), "{}", said(&output));
    router.signal("TERM");
    router.wait_until_stopped_by_itself();
}

#[test]
fn an_application_closes_the_files_and_opens_them_again_where_its_input_allows_that() {
    let text = CONFIGURATION.replace("kind = \"tcp\"", "kind = \"tcp\"\nallow_meta = true")
        + "[inputs.others]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n";
    let router = Router::start(&text);
    let order = |word: &str| {
        format!(
            "{{\"type\":\"meta\",\"logger\":\"load\",\"fields\":{{\"meta\":\"metlog::file::{word}\"}}}}\n"
        )
    };
    let lines = messages::numbered("load", 300, 150);
    // From an input that may not, it is a message like any other: it is written.
    senders::tcp(router.address("others"), order("close").as_bytes());
    router.wait_until_delivered(1);
    let mut stream = TcpStream::connect(router.address("tcp")).expect("connect");
    let mut send = |text: &str| stream.write_all(text.as_bytes()).expect("send");
    send(&(messages::text_of(&lines[..100]) + &order("close") + &messages::text_of(&lines[100..200])));
    router.wait("both wait with what came behind", |ledger| {
        ["fixed", "by-logger"].iter().all(|endpoint| {
            let waits = ledger.endpoint(endpoint)["failure"]["error"].as_str().unwrap_or_default();
            waits.contains("a message has closed the files") && ledger.delivered(endpoint) == 102
        })
    });
    for (_, name) in FILES {
        fs::rename(router.path(name), router.path(&format!("{name}.old"))).expect("rename");
    }
    send(&(messages::text_of(&lines[200..]) + &order("open")));
    router.wait_until_delivered(303);
    router.wait("nothing is in the way any more", |ledger| ledger.endpoint("fixed")["failure"].is_null());
    let stopped = router.stop();
    for (_, name) in FILES {
        let old = receivers::lines(&stopped.path(&format!("{name}.old")));
        assert!(old[0].contains("metlog::file::close"), "{}", old[0]);
        assert_eq!(old[1..], lines[..100]);
        assert_eq!(receivers::lines(&stopped.path(name)), lines[100..]);
    }
    assert_eq!(stopped.ledger.delivered("fixed"), 303);
}
