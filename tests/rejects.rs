//! Rejects as messages: each says why, and whose it was.

use std::{
    fs,
    io::Write,
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixStream,
};

use serde_json::Value;

use crate::support::{Setup, receivers};

const CONFIGURATION: &str = r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[inputs.unix]
kind = "unix"
path = "in.sock"

[inputs.logs]
kind = "file"
path = "app.log"

[endpoints.rejects]
kind = "file"
path = "rejects.jsonl"

[[routes]]
to = ["rejects"]

[rejects]
to = ["rejects"]
max_per_second = 1000
"#;

/// Small enough together for any receive buffer, so that the system drops none.
const DATAGRAMS: usize = 20;

#[test]
fn a_reject_names_the_peer_or_the_file_that_it_came_from() {
    let setup = Setup::new(CONFIGURATION);
    fs::write(setup.path("app.log"), "{from the file\n").expect("write");
    let router = setup.start();
    let mut tcp = TcpStream::connect(router.address("tcp")).expect("connect");
    tcp.write_all(b"{from tcp\n").expect("send");
    let mut unix = UnixStream::connect(router.path(&router.socket_path("unix"))).expect("connect");
    unix.write_all(b"{from unix\n").expect("send");
    let senders = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("bind"));
    let udp = router.address("udp");
    for _ in 0..DATAGRAMS {
        for (number, sender) in senders.iter().enumerate() {
            // What is good among the bad takes its part of the slab, and what names its decoder goes its own way.
            let lines = format!("{{\"type\":\"good\"}}\n{{from udp {number}\n{{from udp {number}");
            sender.send_to(lines.as_bytes(), udp).expect("send");
            sender.send_to(format!("\0json::{{from udp {number}").as_bytes(), udp).expect("send");
        }
    }
    let in_all = DATAGRAMS as u64 * 2 * 3;
    router.wait("every reject has become a message", |ledger| {
        ledger.delivered("rejects") == in_all + DATAGRAMS as u64 * 2 + 3
    });
    let stopped = router.stop();
    let peer = |frame: &str| match frame {
        "{from tcp" => (Some(tcp.local_addr().expect("an address").to_string()), None),
        "{from the file" => (None, Some("app.log".to_owned())),
        "{from unix" => (None, None),
        "{from udp 0" => (Some(senders[0].local_addr().expect("an address").to_string()), None),
        "{from udp 1" => (Some(senders[1].local_addr().expect("an address").to_string()), None),
        other => panic!("nobody sent {other}"),
    };
    let mut rejects = 0;
    for line in receivers::lines(&stopped.path("rejects.jsonl")) {
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if message["type"] != "metlog.reject" {
            continue;
        }
        rejects += 1;
        let text = |key: &str| message["fields"][key].as_str().map(str::to_owned);
        let frame = metlog_router::rejects::frame(&text("frame").expect("a frame")).expect("base64");
        let frame = String::from_utf8(frame).expect("text");
        assert_eq!((text("peer"), text("file")), peer(&frame), "{line}");
    }
    assert_eq!(rejects, in_all + 3);
}
