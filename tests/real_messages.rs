//! Every message that the original clients and services wrote arrives where it belongs, byte for byte, over every
//! transport.

use std::{collections::BTreeMap, fs::File, path::Path, process::Command};

use serde_json::Value;

use crate::support::{Router, Setup, messages, receivers, router::METLOG, senders};

/// Who gets what: the file, and the types that go there; the last one takes the rest.
const DESTINATIONS: [(&str, &[&str]); 5] = [
    ("metrics", &["counter", "timer"]),
    ("logs", &["oldstyle"]),
    ("errors", &["sentry"]),
    ("requests", &["wsgi"]),
    ("rest", &[]),
];

fn configuration(input: &str) -> String {
    let mut text = format!("[inputs.in]\n{input}\n");
    for (name, types) in DESTINATIONS {
        text += &format!("[endpoints.{name}]\nkind = \"file\"\npath = \"out/{name}.jsonl\"\n");
        text += &match types {
            [] => format!("[[routes]]\nunrouted = true\nto = [\"{name}\"]\n"),
            _ => format!("[[routes]]\nmatch = {{ type = {types:?} }}\nto = [\"{name}\"]\n"),
        };
    }
    text
}

/// What the clients of the past wrote: 225 messages of the Python client, 290 of a service of 2012.
fn all_messages() -> Vec<String> {
    let mut all = messages::real("metlog-0.8.jsonl");
    all.extend(messages::real("aitc-2012-07-18.jsonl"));
    assert_eq!(all.len(), 515);
    all
}

fn destination(message: &str) -> &'static str {
    let message: Value = serde_json::from_str(message).expect("a real message");
    let kind = message["type"].as_str().expect("a type");
    let known = DESTINATIONS.iter().find(|(_, types)| types.contains(&kind));
    known.map_or("rest", |(name, _)| name)
}

/// Every file holds exactly its messages, in the order in which they were sent.
#[track_caller]
fn assert_arrived(folder: &Path, sent: &[String]) {
    let mut expected: BTreeMap<&str, Vec<String>> = DESTINATIONS.map(|(name, _)| (name, Vec::new())).into();
    for message in sent {
        expected.entry(destination(message)).or_default().push(message.clone());
    }
    for (name, lines) in expected {
        assert!(!lines.is_empty(), "nothing is meant for {name}: the test has lost its point");
        let arrived = receivers::lines(&folder.join(format!("out/{name}.jsonl")));
        assert_eq!(arrived.len(), lines.len(), "{name}");
        for (arrived, line) in arrived.iter().zip(&lines) {
            assert!(arrived == line, "{name}:\n got  {arrived:.500}\n sent {line:.500}");
        }
    }
}

/// Waits for everything, stops the router, and compares ledger and files with what was sent.
#[track_caller]
fn assert_all_delivered(router: Router, sent: &[String]) {
    let ledger = router.wait_until_delivered(sent.len() as u64);
    assert_eq!(ledger.input("in")["rejected"], serde_json::json!({}));
    assert_eq!(ledger.input("in")["kernel_drops"], 0);
    let stopped = router.stop();
    assert_arrived(stopped.folder(), sent);
    for (name, _) in DESTINATIONS {
        let meant = sent.iter().filter(|message| destination(message) == name).count() as u64;
        assert_eq!(stopped.ledger.delivered(name), meant, "{name}");
    }
}

#[test]
fn over_tcp() {
    let router = Router::start(&configuration("kind = \"tcp\"\nlisten = \"127.0.0.1:0\""));
    let all = all_messages();
    senders::tcp(router.address("in"), messages::text_of(&all).as_bytes());
    assert_all_delivered(router, &all);
}

#[test]
fn over_udp_up_to_the_largest_datagram() {
    let router = Router::start(&configuration("kind = \"udp\"\nlisten = \"127.0.0.1:0\""));
    let all = all_messages();
    assert_eq!(all.iter().map(String::len).max(), Some(senders::LARGEST_DATAGRAM));
    senders::udp(&router, "in", &all);
    assert_all_delivered(router, &all);
}

#[test]
fn over_a_unix_stream() {
    let router = Router::start(&configuration("kind = \"unix\"\npath = \"in.sock\""));
    let all = all_messages();
    senders::unix_stream(&router.socket_path("in"), messages::text_of(&all).as_bytes());
    assert_all_delivered(router, &all);
}

#[test]
fn over_unix_datagrams() {
    let router = Router::start(&configuration("kind = \"unix\"\npath = \"in.sock\"\nmode = \"datagram\""));
    let all = all_messages();
    senders::unix_datagrams(&router.socket_path("in"), &all);
    assert_all_delivered(router, &all);
}

#[test]
fn from_a_file_as_standard_input_and_then_the_router_ends() {
    let setup = Setup::new(&configuration("kind = \"stdin\""));
    let all = all_messages();
    std::fs::write(setup.path("messages.jsonl"), messages::text_of(&all)).expect("write the messages");
    let messages = File::open(setup.path("messages.jsonl")).expect("open the messages");
    let stopped = setup.stdin(messages).run_to_its_good_end();
    assert_arrived(stopped.folder(), &all);
    assert_eq!(stopped.ledger.received("in"), all.len() as u64);
}

#[test]
fn one_byte_at_a_time_is_as_good_as_all_at_once() {
    use std::{io::Write, net::TcpStream};
    let router = Router::start(&configuration("kind = \"tcp\"\nlisten = \"127.0.0.1:0\""));
    let all = all_messages();
    let text = messages::text_of(&all);
    let mut stream = TcpStream::connect(router.address("in")).expect("connect");
    stream.set_nodelay(true).expect("set an option");
    // Small odd sizes, so that lines are cut everywhere; the larger ones keep the test short.
    let (mut rest, mut size) = (text.as_bytes(), 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        stream.write_all(now).expect("send");
        (rest, size) = (later, size % 251 + 1);
    }
    drop(stream);
    assert_all_delivered(router, &all);
}

#[test]
fn with_metlog_send_over_every_transport() {
    let router = Router::start(&format!(
        "{}\n[inputs.udp]\nkind = \"udp\"\nlisten = \"127.0.0.1:0\"\n\
         [inputs.unix]\nkind = \"unix\"\npath = \"unix.sock\"\n\
         [inputs.datagrams]\nkind = \"unix\"\npath = \"datagrams.sock\"\nmode = \"datagram\"\n",
        configuration("kind = \"tcp\"\nlisten = \"127.0.0.1:0\"")
    ));
    let all = messages::real("aitc-2012-07-18.jsonl");
    std::fs::write(router.path("messages.jsonl"), messages::text_of(&all)).expect("write the messages");
    let targets = [
        format!("tcp://{}", router.address("in")),
        format!("udp://{}", router.address("udp")),
        format!("unix://{}", router.socket_path("unix")),
        format!("unix://{}", router.socket_path("datagrams")),
    ];
    for (number, target) in targets.iter().enumerate() {
        let messages = File::open(router.path("messages.jsonl")).expect("open the messages");
        let sent = Command::new(METLOG).args(["send", "--to", target]).stdin(messages).output().expect("run");
        assert!(sent.status.success(), "{target}: {}", String::from_utf8_lossy(&sent.stderr));
        router.wait_until_delivered((all.len() * (number + 1)) as u64);
    }
    let stopped = router.stop();
    let arrived = receivers::lines(&stopped.path("out/requests.jsonl"));
    assert_eq!(arrived, vec![all; targets.len()].concat());
}
