//! A router that cannot start says why in one clear line and exits with status 1; it never harms what is not its own.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
    process::Stdio,
};

use serde_json::Value;

use crate::support::{Router, Setup, messages, receivers, senders};

fn configuration(input: &str) -> String {
    format!(
        "[inputs.in]\n{input}\n[endpoints.all]\nkind = \"file\"\npath = \"all.jsonl\"\n[[routes]]\nto = [\"all\"]\n"
    )
}

#[track_caller]
fn assert_refuses_to_start(setup: Setup, words: &[&str]) {
    let (status, said) = setup.run_to_its_end();
    assert_eq!(status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in:\n{said}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = tcp.local_addr().expect("an address").to_string();
    let setup = Setup::new(&configuration(&format!("kind = \"tcp\"\nlisten = \"{address}\"")));
    assert_refuses_to_start(setup, &["input `in`", &address, "in use"]);

    let udp = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let address = udp.local_addr().expect("an address").to_string();
    let setup = Setup::new(&configuration(&format!("kind = \"udp\"\nlisten = \"{address}\"")));
    assert_refuses_to_start(setup, &["input `in`", &address, "in use"]);
}

#[test]
fn a_second_router_does_not_take_the_first_ones_udp_port() {
    // Several sockets of one router share its port; those of another must not join them.
    let first = Router::start(&configuration("kind = \"udp\"\nlisten = \"127.0.0.1:0\"\nsockets = 2"));
    let address = first.listening("in");
    let second = Setup::new(&configuration(&format!("kind = \"udp\"\nlisten = \"{address}\"\nsockets = 2")));
    assert_refuses_to_start(second, &["input `in`", &address, "in use"]);
    senders::udp(&first, "in", &messages::numbered("udp", 10, 0));
    first.wait_until_delivered(10);
    assert_eq!(receivers::lines(&first.stop().path("all.jsonl")).len(), 10);
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    for mode in ["stream", "datagram"] {
        let setup =
            Setup::new(&configuration(&format!("kind = \"unix\"\npath = \"in.sock\"\nmode = \"{mode}\"")));
        // What a killed router leaves behind: a socket file that nobody listens on.
        match mode {
            "stream" => drop(UnixListener::bind(setup.path("in.sock")).expect("bind")),
            _ => drop(UnixDatagram::bind(setup.path("in.sock")).expect("bind")),
        }
        let router = setup.start();
        let lines = messages::numbered("unix", 10, 0);
        match mode {
            "stream" => senders::unix_stream(&router.socket_path("in"), messages::text_of(&lines).as_bytes()),
            _ => senders::unix_datagrams(&router.socket_path("in"), &lines),
        }
        router.wait_until_delivered(10);
        let stopped = router.stop();
        assert_eq!(receivers::lines(&stopped.path("all.jsonl")), lines);
        assert!(!stopped.path("in.sock").exists(), "it cleans up behind itself");
    }
}

#[test]
fn a_file_at_the_sockets_path_is_left_alone() {
    let setup = Setup::new(&configuration("kind = \"unix\"\npath = \"precious\""));
    fs::write(setup.path("precious"), "data").expect("write");
    let path = setup.path("precious");
    let copy = setup.path("metlog.toml");
    let (status, said) = {
        let mut command = setup.command();
        let output = command.output().expect("run metlog");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("input `in`") && said.contains("precious"), "{said}");
    assert_eq!(fs::read_to_string(path).expect("still there"), "data");
    assert!(copy.exists());
}

#[test]
fn a_socket_that_another_router_listens_on_is_left_alone() {
    for mode in ["stream", "datagram"] {
        let first =
            Router::start(&configuration(&format!("kind = \"unix\"\npath = \"in.sock\"\nmode = \"{mode}\"")));
        let path = first.socket_path("in");
        let second =
            Setup::new(&configuration(&format!("kind = \"unix\"\npath = \"{path}\"\nmode = \"{mode}\"")));
        assert_refuses_to_start(second, &["input `in`", "in use"]);
        let lines = messages::numbered("unix", 10, 0);
        match mode {
            "stream" => senders::unix_stream(&path, messages::text_of(&lines).as_bytes()),
            _ => senders::unix_datagrams(&path, &lines),
        }
        first.wait_until_delivered(10);
        first.stop();
    }
}

#[test]
fn a_configuration_with_errors_starts_nothing() {
    let setup = Setup::new(&configuration("kind = \"tcpp\"\nlisten = \"127.0.0.1:0\""));
    let all = setup.path("all.jsonl");
    let output = setup.command().output().expect("run metlog");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean \\\"tcp\\\"?"));
    assert!(!all.exists(), "no endpoint was opened");
}

/// Every line that the router writes with `--log-format json`; a second one that is something else fails.
fn json_log(setup: &Setup) -> Vec<Value> {
    let output = setup.command().stdin(Stdio::null()).output().expect("run metlog");
    let text = String::from_utf8(output.stderr).expect("text");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}\n\n{text}"));
    text.lines().map(parse).collect()
}

#[test]
fn what_is_wrong_with_a_configuration_is_json_where_the_log_is() {
    let unused = configuration("kind = \"stdin\"") + "[endpoints.nobody]\nkind = \"null\"\n";
    let log = json_log(&Setup::new(&unused));
    let warning = log.iter().find(|line| line["level"] == "WARN").expect("a warning");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains("nobody")), "{warning}");
    assert_eq!(warning["at"], "metlog.toml:8:1");
    assert!(log.iter().any(|line| line["message"] == "every input has ended"), "{log:?}");

    let broken = configuration("kind = \"tpc\"");
    let log = json_log(&Setup::new(&broken));
    assert_eq!(log[0]["level"], "ERROR");
    assert_eq!(log[0]["at"], "metlog.toml:2:8");
    assert_eq!(log[0]["label"], "did you mean \"tcp\"?");
    assert_eq!(log.last().expect("a line")["message"], "metlog.toml cannot be used: 1 error");

    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address");
    let log = json_log(&Setup::new(&configuration(&format!("kind = \"tcp\"\nlisten = \"{address}\""))));
    let last = log.last().expect("a line");
    assert!(last["message"].as_str().is_some_and(|text| text.contains("in use")), "{last}");
}
