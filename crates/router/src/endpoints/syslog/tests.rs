//! What a message becomes, and the endpoint against sockets of its own kind.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
};

use socket2::{Domain, Socket, Type};

use super::*;
use crate::{
    batch::Handover,
    clock::SystemClock,
    endpoints::registry::KINDS,
    peer::liveness::NOTICE_LOST,
    testing::{batch_of, work_of},
};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(20);

const LINE: &str = r#"{"type":"oldstyle","timestamp":"2012-07-08T21:13:25.687518Z","logger":"shop","severity":3,"payload":"no stock","fields":{"user":{"id":7},"note":"a]\"b\\c"},"metlog_pid":4711,"metlog_hostname":"web1"}"#;

const CEF: &str = r#"{"type":"cef","timestamp":"2012-07-08T21:13:25.687518Z","logger":"shop","severity":6,"payload":"CEF:0|mozilla|weave|3|x\\|y|x|5|note=line\nbreak","fields":{"cef_meta":{"syslog_options":"NDELAY,PID","syslog_facility":"AUTH","syslog_ident":"aitc ident","syslog_priority":"ALERT"}},"metlog_pid":1,"metlog_hostname":"vm"}"#;

fn settings(body: &str) -> Box<dyn EndpointSettings> {
    KINDS.iter().find(|kind| kind.name == "syslog").unwrap().read_body(body).unwrap()
}

/// What is sent for a message, as `metlog explain` shows it.
fn sent(body: &str, message: &str) -> String {
    let handover = Handover::all(&Arc::new(batch_of(&[message])));
    match settings(body).preview(&handover.message(0).unwrap()) {
        Preview::Sends { bytes, .. } => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn with_payload(payload: &str) -> String {
    format!(r#"{{"type":"oldstyle","timestamp":"2012-07-08T21:13:25.687518Z","payload":"{payload}"}}"#)
}

#[test]
fn each_format_has_the_messages_own_time_host_program_and_process() {
    assert_eq!(sent("", LINE), "<163>1 2012-07-08T21:13:25.687518Z web1 shop 4711 oldstyle - no stock");
    let legacy = "timezone = \"utc\"\nformat = ";
    assert_eq!(
        sent(&format!("{legacy} \"rfc3164\""), LINE),
        "<163>Jul  8 21:13:25 web1 shop[4711]: no stock"
    );
    assert_eq!(sent(&format!("{legacy} \"local\""), LINE), "<163>Jul  8 21:13:25 shop[4711]: no stock");
}

#[test]
fn what_a_message_does_not_say_is_a_dash() {
    let bare = r#"{"type":"t","timestamp":"2012-07-08T21:13:25Z"}"#;
    assert_eq!(sent("", bare), "<166>1 2012-07-08T21:13:25.000000Z - - - t -");
    // Except for the host in RFC 3164, which has to be one.
    let host = crate::sys::host_name();
    assert_eq!(
        sent("format = \"rfc3164\"\ntimezone = \"utc\"", bare),
        format!("<166>Jul  8 21:13:25 {host} -:")
    );
    let unreadable = r#"{"type":"t","timestamp":"not a date, but as long: Z Z"}"#;
    assert_eq!(sent("", unreadable), "<166>1 2012-07-18T21:13:25.687518Z - - - t -");
    let as_long = r#"{"type":"t","timestamp":"2012-13-18T21:13:25.687518Z"}"#;
    assert_eq!(sent("", as_long), "<166>1 2012-07-18T21:13:25.687518Z - - - t -");
}

#[test]
fn a_host_of_rfc_3164_ends_with_a_letter_or_digit() {
    let from = |host: &str| sent("format = \"rfc3164\"\ntimezone = \"utc\"", &LINE.replace("web1", host));
    assert_eq!(from("[2001:db8::1]"), "<163>Jul  8 21:13:25 _2001_db8__1 shop[4711]: no stock");
    let own = crate::sys::host_name();
    assert_eq!(from("--"), format!("<163>Jul  8 21:13:25 {own} shop[4711]: no stock"));
}

#[test]
fn the_settings_say_what_the_message_does_not() {
    let body = "facility = \"daemon\"\nseverity = \"debug\"\nident = \"metlog/{type}\"\ntemplate = \"{logger}: {payload}\"";
    assert_eq!(
        sent(body, LINE),
        "<31>1 2012-07-08T21:13:25.687518Z web1 metlog/oldstyle 4711 oldstyle - shop: no stock"
    );
}

#[test]
fn a_cef_event_names_its_own_facility_priority_and_ident_and_is_sent_as_it_is() {
    let event = r"CEF:0|mozilla|weave|3|x\|y|x|5|note=line\nbreak";
    assert_eq!(
        sent("template = \"{logger}: {payload}\"\nfacility = \"user\"\nseverity = \"debug\"", CEF),
        format!("<33>1 2012-07-08T21:13:25.687518Z vm aitc_ident 1 cef - {event}")
    );
}

#[test]
fn structured_data_carries_what_the_message_has_of_it() {
    let body =
        "structured_data = { fields = [\"logger\", \"fields.user.id\", \"fields.none\", \"fields.note\"] }";
    assert_eq!(
        sent(body, LINE),
        r#"<163>1 2012-07-08T21:13:25.687518Z web1 shop 4711 oldstyle [metlog@32473 logger="shop" user.id="7" note="a\]\"b\\c"] no stock"#
    );
    assert!(sent(body, &with_payload("x")).ends_with(r#" oldstyle [metlog@32473 logger=""] x"#));
    let none = "structured_data = { id = \"a b\", fields = [\"fields.none\"] }";
    assert!(sent(none, LINE).ends_with(" oldstyle - no stock"));
}

#[test]
fn structured_data_that_does_not_fit_is_left_out_whole() {
    let body = "max_bytes = 1024\nstructured_data = { fields = [\"fields.long\", \"fields.short\"] }";
    let message = format!(
        r#"{{"type":"t","timestamp":"2012-07-08T21:13:25Z","payload":"text","fields":{{"long":"{}","short":"s"}}}}"#,
        r#"]\""#.repeat(500)
    );
    assert!(sent(body, &message).ends_with(r#" t [metlog@32473 short="s"] text"#));
}

#[test]
fn a_frame_says_how_long_its_message_is() {
    let tcp = "transport = \"tcp\"";
    for length in [0, 1, 30, 60, 100, 900, 1000, 5000] {
        let message = with_payload(&"x".repeat(length));
        let bare = sent("", &message);
        assert_eq!(sent(tcp, &message), format!("{} {bare}", bare.len()));
        assert_eq!(sent(&format!("{tcp}\nframing = \"newline\""), &message), format!("{bare}\n"));
    }
    let short =
        sent("transport = \"tcp\"\nformat = \"local\"\nframing = \"octet_counting\"", &with_payload("x"));
    assert_eq!(short.split_once(' ').unwrap().0, "25", "{short}");
}

#[test]
fn a_message_is_one_line_that_is_never_longer_than_it_may_be() {
    let nothing_breaks = sent("", &with_payload("a\\nb\\r\\u0000\\u001b[2J \\ud800 \u{85}"));
    assert!(nothing_breaks.ends_with(" a\\nb\\r\\u0000\\u001B[2J \u{fffd} \\u0085"), "{nothing_breaks}");
    for payload in ["ダ".repeat(3000), "\\n".repeat(5000), "x".repeat(100_000)] {
        for max_bytes in [1024, 1025, 1026, 8192] {
            let text = sent(&format!("max_bytes = {max_bytes}"), &with_payload(&payload));
            assert!((max_bytes - 3..=max_bytes).contains(&text.len()), "{}", text.len());
        }
    }
}

#[test]
fn the_real_messages_are_lines_whatever_the_format() {
    for line in include_str!("../../../../../tests/data/metlog-0.8.jsonl").lines() {
        for body in ["", "format = \"rfc3164\"", "format = \"local\""] {
            let text = sent(body, line);
            assert!(!text.bytes().any(|byte| byte < b' ' && byte != b'\t'), "{text}");
            assert!(text.len() <= 8000);
        }
    }
}

struct Open {
    endpoint: Box<dyn NetworkEndpoint>,
    counters: Arc<EndpointCounters>,
}

impl Open {
    fn new(body: &str) -> Open {
        let counters = Arc::<EndpointCounters>::default();
        let context = EndpointContext {
            name: "security".to_owned(),
            clock: Arc::new(SystemClock::new()),
            counters: counters.clone(),
            open_files: 1,
        };
        match settings(body).open(context).unwrap() {
            Opened::Network(endpoint) => Open { endpoint, counters },
            _ => panic!("a syslog endpoint is driven by a task"),
        }
    }

    async fn deliver(&mut self, work: &Work) -> Answer {
        tokio::time::timeout(DEADLINE, self.endpoint.deliver(work)).await.expect("a delivery ends")
    }

    /// Delivers what there is from this message on, as often as it takes: after an early end the next connection has to prove itself.
    async fn deliver_from(&mut self, mut settled: usize, handover: &Handover) {
        let deadline = std::time::Instant::now() + DEADLINE;
        while settled < handover.len() {
            assert!(std::time::Instant::now() < deadline, "{settled} of {}", handover.len());
            settled += self.deliver(&Work::new(vec![handover.clone()], settled)).await.settled;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn noticed(&self, what: &str) -> u64 {
        let buffer = metlog_buffer::Buffer::new(1, metlog_buffer::WhenFull::Block);
        self.counters.read(&buffer, Duration::ZERO).noticed.get(what).copied().unwrap_or_default()
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| with_payload(&format!("message {number}"))).collect()
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn over(transport: &str, address: SocketAddr) -> Open {
    Open::new(&format!("transport = \"{transport}\"\naddress = \"{address}\"\ntimeout = \"300ms\""))
}

#[tokio::test]
async fn over_udp_and_unix_datagrams_every_message_travels_alone() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let answer = over("udp", server.local_addr().unwrap()).deliver(&work_of(&numbered(50))).await;
    assert_eq!(answer, Answer::delivered(50));
    let mut buffer = [0; 9000];
    for message in numbered(50) {
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), sent("", &message));
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let body = format!("transport = \"unix\"\npath = {path:?}\ntimezone = \"utc\"");
    assert_eq!(Open::new(&body).deliver(&work_of(&numbered(3))).await, Answer::delivered(3));
    for message in numbered(3) {
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), sent(&body, &message));
        assert!(buffer.starts_with(b"<166>Jul  8 21:13:25 -: message"));
    }
}

#[tokio::test]
async fn over_a_stream_messages_follow_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixListener::bind(&path).unwrap();
    let body = format!("transport = \"unix_stream\"\npath = {path:?}\ntimezone = \"utc\"");
    let mut opened = Open::new(&body);
    assert_eq!(opened.deliver(&work_of(&numbered(500))).await, Answer::delivered(500));
    drop(opened);
    let mut received = String::new();
    server.accept().unwrap().0.read_to_string(&mut received).unwrap();
    assert_eq!(received, numbered(500).iter().map(|message| sent(&body, message)).collect::<String>());
}

#[tokio::test]
async fn after_a_broken_connection_the_next_one_begins_with_a_whole_message() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut opened = over("tcp", listener.local_addr().unwrap());
    // More than any socket holds while nobody reads: the time limit ends the first delivery inside a message.
    let long: Vec<String> =
        (0..4000).map(|number| with_payload(&format!("{number} {}", "x".repeat(5000)))).collect();
    let first = opened.deliver(&work_of(&long)).await;
    assert!(first.settled < long.len() && matches!(first.then, Then::Retry { .. }), "{first:?}");
    assert_eq!(opened.noticed(NOTICE_LOST), 0, "a server that hangs keeps its connection");
    drop(accept(&listener));

    let expected: String =
        long[first.settled..].iter().map(|message| sent("transport = \"tcp\"", message)).collect();
    let received = std::thread::spawn(move || {
        let mut bytes = vec![0; expected.len()];
        accept(&listener).read_exact(&mut bytes).unwrap();
        assert!(bytes == expected.as_bytes(), "the second connection carries the rest, whole");
    });
    opened.deliver_from(first.settled, &Handover::all(&Arc::new(batch_of(&long)))).await;
    received.join().unwrap();
    assert_eq!(opened.noticed(NOTICE_LOST), 1);
}

#[tokio::test]
async fn a_server_that_hangs_takes_one_connections_worth_and_then_goes_on_in_the_middle_of_a_message() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut opened = over("tcp", listener.local_addr().unwrap());
    let long: Vec<String> =
        (0..4000).map(|number| with_payload(&format!("{number} {}", "x".repeat(5000)))).collect();
    let handover = Handover::all(&Arc::new(batch_of(&long)));
    let mut settled = opened.deliver(&Work::new(vec![handover.clone()], 0)).await.settled;
    for _ in 0..3 {
        let answer = opened.deliver(&Work::new(vec![handover.clone()], settled)).await;
        assert!(matches!(answer, Answer { settled: 0, then: Then::Retry { .. }, .. }), "{answer:?}");
    }
    let expected: String = long.iter().map(|message| sent("transport = \"tcp\"", message)).collect();
    let mut first = accept(&listener);
    let received = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        first.read_to_end(&mut bytes).unwrap();
        bytes
    });
    while settled < long.len() {
        settled += opened.deliver(&Work::new(vec![handover.clone()], settled)).await.settled;
    }
    drop(opened);
    assert!(received.join().unwrap() == expected.as_bytes(), "every message, whole and once");
}

#[tokio::test]
async fn what_was_cut_off_and_names_that_do_not_exist_are_counted_once_they_are_out() {
    // Bound, so that the port is the test's own, but not listening.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let mut opened = over("tcp", holder.local_addr().unwrap().as_socket().unwrap());
    let unknown = CEF.replace("AUTH", "LOCAL9");
    let work = work_of(&[LINE.to_owned(), with_payload(&"x".repeat(9000)), unknown]);
    assert_eq!(opened.deliver(&work).await.settled, 0);
    assert_eq!((opened.noticed(NOTICE_TRUNCATED), opened.noticed(NOTICE_UNKNOWN_NAME)), (0, 0));
    holder.listen(1).unwrap();
    assert_eq!(opened.deliver(&work).await, Answer::delivered(3));
    assert_eq!((opened.noticed(NOTICE_TRUNCATED), opened.noticed(NOTICE_UNKNOWN_NAME)), (1, 1));
}

#[tokio::test]
async fn a_datagram_that_the_system_never_takes_is_refused_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    let body = format!("transport = \"unix\"\npath = {path:?}\nmax_bytes = \"1MiB\"");
    let work = work_of(&[with_payload("first"), with_payload(&"x".repeat(900_000)), with_payload("last")]);
    let answer = Open::new(&body).deliver(&work).await;
    assert_eq!((answer.settled, answer.then), (3, Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [(REFUSED_LENGTH, 1)]);
    let mut buffer = [0; 1000];
    for end in ["first", "last"] {
        let length = server.recv(&mut buffer).unwrap();
        assert!(String::from_utf8_lossy(&buffer[..length]).ends_with(end));
    }
}
