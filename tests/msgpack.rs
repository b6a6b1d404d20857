//! msgpack beside JSON: named in each datagram, as an input's decoder, and from our own client.

use metlog::{
    Client, Severity,
    senders::{Encoder, UdpSender, UnixDatagramSender},
};
use metlog_message::msgpack;
use serde_json::{Value, json};

use crate::support::{Router, messages, receivers, senders, wait};

const ROUTER: &str = r#"
[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"

[inputs.packed]
kind = "udp"
listen = "127.0.0.1:0"
decoder = "msgpack"

[inputs.unix]
kind = "unix"
path = "metlog.sock"
mode = "datagram"

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#;

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(msgpack::from_json(json.as_bytes(), &mut out), "{json}");
    out
}

fn named(json: &str) -> Vec<u8> {
    [b"\0msgpack::".as_slice(), &packed(json)].concat()
}

fn parsed<S: AsRef<str>>(lines: &[S]) -> Vec<Value> {
    lines.iter().map(|line| serde_json::from_str(line.as_ref()).expect("JSON")).collect()
}

#[test]
fn real_messages_arrive_as_the_same_json_whichever_way_they_come() {
    let router = Router::start(ROUTER);
    let all = messages::real("aitc-2012-07-18.jsonl");
    let in_turn: Vec<Vec<u8>> = all
        .iter()
        .enumerate()
        .map(|(number, line)| if number % 2 == 0 { named(line) } else { line.clone().into_bytes() })
        .collect();
    senders::udp(&router, "udp", &in_turn);
    router.wait_until_delivered(all.len() as u64);
    assert_eq!(parsed(&receivers::lines(&router.path("all.jsonl"))), parsed(&all), "and in their order");

    // What is packed may hold any bytes, line breaks among them: 10 is one, as a number.
    let binary: Vec<Vec<u8>> = all.iter().map(|line| packed(line)).collect();
    senders::udp(&router, "packed", &binary);
    let over_unix: Vec<Vec<u8>> = all.iter().map(|line| named(line)).collect();
    senders::unix_datagrams(&router.socket_path("unix"), &over_unix);
    router.wait_until_delivered(3 * all.len() as u64);
    let lines = receivers::lines(&router.stop().path("all.jsonl"));
    let mut expected: Vec<String> = parsed(&all).iter().flat_map(|one| vec![one.to_string(); 3]).collect();
    let mut arrived: Vec<String> = parsed(&lines).iter().map(Value::to_string).collect();
    expected.sort();
    arrived.sort();
    assert_eq!(arrived, expected);
}

#[test]
fn what_is_no_message_is_rejected_by_reason_and_the_input_goes_on() {
    let router = Router::start(ROUTER);
    let mut deep = b"\x82\xa4type\xa1t\xa1a".to_vec();
    deep.extend_from_slice(&[0x91; 5_000]);
    let frames: Vec<Vec<u8>> = vec![
        b"\x82\xa4type\xa1t".to_vec(),
        b"\xc1".to_vec(),
        // Lengths of 4 GiB, of which nothing is there.
        b"\xdd\xff\xff\xff\xff".to_vec(),
        b"\xdf\xff\xff\xff\xff\xa4type".to_vec(),
        b"\xdb\xff\xff\xff\xffx".to_vec(),
        b"\x81\xa4type\xc6\xff\xff\xff\xff".to_vec(),
        packed(r#"{"type":"t"}"#).into_iter().chain(*b"\xc0").collect(),
        b"\x81\xa4type\xa1\xff".to_vec(),
        deep,
        packed("[1]"),
        packed("{}"),
        packed(r#"{"type":"t","severity":8}"#),
        packed(r#"{"type":7}"#),
        packed(r#"{"type":"good","n":10}"#),
    ];
    senders::udp(&router, "packed", &frames);
    let ledger = router.wait_until_delivered(frames.len() as u64);
    assert_eq!(
        ledger.input("packed")["rejected"],
        json!({
            "invalid-msgpack": 7, "invalid-utf8": 1, "too-deep": 1, "not-an-object": 1, "missing-type": 1,
            "out-of-range:severity": 1, "wrong-type:type": 1
        })
    );
    let lines = receivers::lines(&router.stop().path("all.jsonl"));
    assert!(lines.len() == 1 && lines[0].starts_with(r#"{"type":"good","n":10,"timestamp":"2"#), "{lines:?}");
}

#[test]
fn a_client_that_encodes_msgpack_is_understood_over_udp_and_unix_datagrams() {
    let router = Router::start(ROUTER);
    let udp = UdpSender::new(&router.address("udp").to_string()).expect("an address");
    let unix = UnixDatagramSender::new(router.socket_path("unix"));
    for sender in [
        Box::new(udp.encoder(Encoder::Msgpack)) as Box<dyn metlog::senders::Sender>,
        Box::new(unix.encoder(Encoder::Msgpack)),
    ] {
        let client = Client::builder().logger("shop").sender(sender).build().expect("a client");
        client.incr("hits");
        client.error("a line\nand \"another\" \u{1f600}");
        client
            .metlog("order")
            .severity(Severity::Notice)
            .field("euros", 12.5)
            .field("number", u64::MAX)
            .field("nothing", None::<bool>)
            .send();
        assert!(client.flush(wait::PATIENCE));
    }
    router.wait_until_delivered(6);
    let arrived = parsed(&receivers::lines(&router.stop().path("all.jsonl")));
    for kind in ["counter", "oldstyle", "order"] {
        assert_eq!(arrived.iter().filter(|message| message["type"] == kind).count(), 2, "{arrived:?}");
    }
    for message in &arrived {
        assert_eq!((&message["logger"], &message["env_version"]), (&json!("shop"), &json!("0.8")));
        let expected = match message["type"].as_str() {
            Some("counter") => json!(["1", { "name": "hits", "rate": 1.0 }]),
            Some("oldstyle") => json!(["a line\nand \"another\" \u{1f600}", {}]),
            _ => json!(["", { "euros": 12.5, "number": u64::MAX, "nothing": null }]),
        };
        assert_eq!(json!([message["payload"], message["fields"]]), expected);
        assert!(message["metlog_seq"].is_u64() && message["metlog_src"].is_string());
    }
}
