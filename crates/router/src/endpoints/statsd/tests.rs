//! The endpoint against sockets of its own kind: what arrives, and what it answers.

use std::{
    io::Read,
    net::{SocketAddr, TcpListener, UdpSocket},
    ops::Range,
    os::unix::net::{UnixDatagram, UnixListener},
    sync::Arc,
    thread,
    time::Instant,
};

use socket2::{Domain, Socket, Type};

use super::*;
use crate::{
    batch::Handover,
    clock::SystemClock,
    endpoints::registry::KINDS,
    ledger::EndpointCounters,
    peer::{NOTICE_UNREACHABLE, liveness::NOTICE_LOST},
    testing::{batch_of, work_of},
};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(20);

struct Opened {
    endpoint: Box<dyn NetworkEndpoint>,
    counters: Arc<EndpointCounters>,
}

impl Opened {
    async fn deliver(&mut self, work: &Work) -> Answer {
        tokio::time::timeout(DEADLINE, self.endpoint.deliver(work)).await.expect("a delivery ends")
    }

    fn failure(&self) -> Option<String> {
        self.ledger().failure.map(|failure| failure.error)
    }

    fn noticed(&self) -> u64 {
        self.ledger().noticed.get(NOTICE_UNREACHABLE).copied().unwrap_or_default()
    }

    fn lost(&self) -> u64 {
        self.ledger().noticed.get(NOTICE_LOST).copied().unwrap_or_default()
    }

    fn ledger(&self) -> crate::ledger::EndpointLedger {
        self.counters.read(&metlog_buffer::Buffer::new(1, metlog_buffer::WhenFull::Block), Duration::ZERO)
    }
}

fn open(body: &str) -> Opened {
    let kind = KINDS.iter().find(|kind| kind.name == "statsd").unwrap();
    let counters = Arc::<EndpointCounters>::default();
    let context = EndpointContext {
        name: "stats".to_owned(),
        clock: Arc::new(SystemClock::new()),
        counters: counters.clone(),
        open_files: 1,
    };
    match kind.read_body(body).unwrap().open(context).unwrap() {
        super::Opened::Network(endpoint) => Opened { endpoint, counters },
        _ => panic!("a statsd endpoint is driven by a task"),
    }
}

/// With a time limit that a busy machine does not reach.
fn open_at(transport: &str, address: SocketAddr) -> Opened {
    open(&format!("transport = \"{transport}\"\naddress = \"{address}\"\ntimeout = \"20s\""))
}

/// With a time limit that a test waits for.
fn open_with_short_limit(address: SocketAddr) -> Opened {
    open(&format!("transport = \"tcp\"\naddress = \"{address}\"\ntimeout = \"300ms\""))
}

/// The messages of counters with these numbers.
fn counters(numbers: Range<usize>) -> Vec<String> {
    counters_named("n", numbers)
}

/// Their lines.
fn counter_lines(numbers: Range<usize>) -> Vec<String> {
    counter_lines_named("n", numbers)
}

fn counters_named(name: &str, numbers: Range<usize>) -> Vec<String> {
    let message = |number| {
        format!(
            r#"{{"type":"counter","timestamp":"2012-07-18T21:13:25Z","logger":"shop","payload":"{number}","fields":{{"name":"{name}"}}}}"#
        )
    };
    numbers.map(message).collect()
}

fn counter_lines_named(name: &str, numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("shop.{name}:{number}|c")).collect()
}

/// A name so long that [`MANY`] messages are more than any socket holds while nobody reads.
fn long_name() -> String {
    "long".repeat(250)
}

const MANY: usize = 10_000;

fn set_member(length: usize) -> String {
    let member = "m".repeat(length);
    format!(
        r#"{{"type":"set","timestamp":"2012-07-18T21:13:25Z","payload":"{member}","fields":{{"name":"s"}}}}"#
    )
}

fn log_line() -> String {
    r#"{"type":"oldstyle","timestamp":"2012-07-18T21:13:25Z","payload":"a log line"}"#.to_owned()
}

/// A UDP server on a port of the system's choice.
fn udp_server() -> (UdpSocket, SocketAddr) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn receive(server: &UdpSocket) -> String {
    let mut buffer = vec![0; 70_000];
    let length = server.recv(&mut buffer).expect("a datagram comes");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Receives datagrams until they hold this many lines.
fn receive_lines(server: &UdpSocket, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < count {
        lines.extend(receive(server).lines().map(str::to_owned));
    }
    lines
}

/// Nothing more has come: what was sent over the loopback interface is there at once.
fn is_quiet(server: &UdpSocket) -> bool {
    server.set_nonblocking(true).unwrap();
    let outcome = server.recv(&mut [0; 10]);
    server.set_nonblocking(false).unwrap();
    outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// A UDP port that belongs to the test although nobody listens at it.
///
/// The socket that holds it takes datagrams from itself only, so the kernel answers everybody else that nobody is there;
/// and another socket of the test may be bound to it later, while no other program can.
struct SilentPort {
    _holder: Socket,
    address: SocketAddr,
}

impl SilentPort {
    fn new() -> SilentPort {
        let holder = SilentPort::bound_to(SocketAddr::from(([127, 0, 0, 1], 0)));
        let address = holder.local_addr().unwrap();
        holder.connect(&address).unwrap();
        SilentPort { _holder: holder, address: address.as_socket().unwrap() }
    }

    fn bound_to(address: SocketAddr) -> Socket {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket
    }

    /// From now on somebody listens.
    fn listen(&self) -> UdpSocket {
        let server = UdpSocket::from(SilentPort::bound_to(self.address));
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        server
    }
}

fn read_to_end(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn whole_lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
}

#[tokio::test]
async fn lines_share_datagrams_that_are_as_full_as_they_may_be() {
    let (server, address) = udp_server();
    let mut endpoint = open_at("udp", address);
    assert_eq!(endpoint.deliver(&work_of(&counters(0..500))).await, Answer::delivered(500));
    let mut datagrams: Vec<String> = Vec::new();
    while datagrams.iter().map(|datagram| datagram.lines().count()).sum::<usize>() < 500 {
        datagrams.push(receive(&server));
    }
    assert_eq!(datagrams.join("\n").lines().collect::<Vec<_>>(), counter_lines(0..500));
    assert!(datagrams.iter().all(|datagram| datagram.len() <= 1432 && !datagram.ends_with('\n')));
    for pair in datagrams.windows(2) {
        let next = pair[1].lines().next().unwrap();
        assert!(pair[0].len() + 1 + next.len() > 1432, "there was room for {next}");
    }
    assert!(is_quiet(&server));
    assert_eq!((endpoint.failure(), endpoint.noticed()), (None, 0));
}

#[tokio::test]
async fn a_datagram_may_be_filled_to_the_last_byte_and_no_further() {
    let (server, address) = udp_server();
    let lines = counter_lines(10..13);
    for (bytes, expected) in [(lines[0].len() * 2 + 1, 2), (lines[0].len() * 2, 1), (0, 1)] {
        let mut endpoint = open(&format!("address = \"{address}\"\ndatagram_bytes = {bytes}"));
        assert_eq!(endpoint.deliver(&work_of(&counters(10..13))).await, Answer::delivered(3));
        assert_eq!(receive(&server), lines[..expected].join("\n"));
        assert_eq!(receive_lines(&server, 3 - expected), lines[expected..]);
    }
}

#[tokio::test]
async fn a_long_line_travels_alone_and_one_that_never_can_is_refused() {
    let (server, address) = udp_server();
    let mut endpoint = open_at("udp", address);
    let longest = LARGEST_DATAGRAM_BYTES - "s:|s".len();
    let mut sent = counters(0..1);
    sent.extend([set_member(5000), set_member(longest), set_member(longest + 1)]);
    sent.extend(counters(1..3));
    let answer = endpoint.deliver(&work_of(&sent)).await;
    assert_eq!((answer.settled, answer.then), (6, Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [(REFUSED_LENGTH, 1)]);
    let lengths: Vec<usize> = (0..4).map(|_| receive(&server).len()).collect();
    assert_eq!(lengths, ["shop.n:0|c".len(), 5004, LARGEST_DATAGRAM_BYTES, "shop.n:1|c\nshop.n:2|c".len()]);
    assert!(is_quiet(&server));
}

#[tokio::test]
async fn refused_messages_are_counted_by_reason_and_hold_nothing_up() {
    let (server, address) = udp_server();
    let mut endpoint = open_at("udp", address);
    let nameless = counters(0..1)[0].replace("\"n\"", "\"\"");
    let worthless = counters(0..1)[0].replace("\"0\"", "\"zero\"");
    let sent =
        [vec![log_line(), nameless], counters(0..2), vec![worthless], counters(2..3), vec![log_line()]]
            .concat();
    let answer = endpoint.deliver(&work_of(&sent)).await;
    assert_eq!((answer.settled, &answer.then), (7, &Then::Done));
    assert_eq!(
        answer.refused.iter().collect::<Vec<_>>(),
        [("statsd-type", 2), ("statsd-name", 1), ("statsd-value", 1)]
    );
    assert_eq!(receive(&server), counter_lines(0..3).join("\n"));

    let answer = endpoint.deliver(&work_of(&[log_line(), log_line()])).await;
    assert_eq!((answer.settled, answer.refused.total()), (2, 2));
    assert!(is_quiet(&server), "no empty datagram");
}

#[tokio::test]
async fn a_delivery_begins_where_the_last_answer_ended() {
    let (server, address) = udp_server();
    let handover = Handover::all(&Arc::new(batch_of(&counters(0..5))));
    let work = Work::new(vec![handover], 3);
    assert_eq!(open_at("udp", address).deliver(&work).await, Answer::delivered(2));
    assert_eq!(receive(&server), counter_lines(3..5).join("\n"));
}

#[tokio::test]
async fn that_nobody_listens_is_shown_and_holds_nothing_up() {
    let port = SilentPort::new();
    let mut endpoint = open_at("udp", port.address);
    for number in 0..3 {
        let sent = counters(number..number + 1);
        assert_eq!(endpoint.deliver(&work_of(&sent)).await, Answer::delivered(1));
        assert_eq!(endpoint.noticed(), number as u64 + 1);
        assert_eq!(endpoint.failure(), Some(format!("nobody listens at {} over UDP", port.address)));
    }
    let many = counters(3..2000);
    assert_eq!(endpoint.deliver(&work_of(&many)).await, Answer::delivered(many.len()));

    let server = port.listen();
    endpoint.deliver(&work_of(&[log_line()])).await;
    assert!(endpoint.failure().is_some(), "nothing was sent, so nothing was learnt");
    assert_eq!(endpoint.deliver(&work_of(&counters(5000..5001))).await, Answer::delivered(1));
    assert_eq!(endpoint.failure(), None);
    assert_eq!(receive(&server), "shop.n:5000|c");
    assert!(is_quiet(&server));
}

#[tokio::test]
async fn the_report_about_an_earlier_datagram_does_not_cost_the_next_one() {
    let port = SilentPort::new();
    let address = Address::parse(&port.address.to_string()).unwrap();
    let clock = Arc::new(SystemClock::new());
    let mut connection = Connection::new(Server::Udp(address), clock, DEADLINE, DEADLINE);
    connection.prepare().await.unwrap();
    connection.send_datagram(b"lost:1|c\n").await.unwrap();
    let server = port.listen();
    connection.send_datagram(b"first:1|c\n").await.unwrap();
    connection.send_datagram(b"second:1|c\n").await.unwrap();
    assert_eq!(receive_lines(&server, 2), ["first:1|c", "second:1|c"]);
    assert!(is_quiet(&server));
    assert_eq!((connection.take_incidents().unreachable, connection.take_incidents().unreachable), (1, 0));
}

#[tokio::test]
async fn of_several_addresses_of_a_name_the_one_that_answers_is_found() {
    // Where `localhost` is also ::1, nobody is there.
    let (server, address) = udp_server();
    let mut endpoint = open(&format!("address = \"localhost:{}\"", address.port()));
    for _ in 0..3 {
        assert_eq!(endpoint.deliver(&work_of(&counters(0..1))).await, Answer::delivered(1));
    }
    assert_eq!(receive(&server), "shop.n:0|c");
    assert_eq!(endpoint.failure(), None);
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_tried_again() {
    // No resolver asks anybody about a name of this length.
    let mut endpoint = open(&format!("address = \"{}:8125\"", "x".repeat(300)));
    let answer = endpoint.deliver(&work_of(&counters(0..1))).await;
    assert_eq!(answer.settled, 0);
    assert!(matches!(answer.then, Then::Retry { error, .. } if error.contains("cannot reach xxx")));
}

#[tokio::test]
async fn a_stream_carries_every_line_in_order() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = open_at("tcp", listener.local_addr().unwrap());
    let received = thread::spawn(move || read_to_end(listener.accept().unwrap().0));
    let sent =
        [counters(0..20_000), vec![log_line(), set_member(300_000)], counters(20_000..20_001)].concat();
    let answer = endpoint.deliver(&work_of(&sent)).await;
    assert_eq!((answer.settled, answer.refused.total(), answer.then), (20_003, 1, Then::Done));
    drop(endpoint);
    let lines = whole_lines(&received.join().unwrap());
    assert_eq!(lines[..20_000], counter_lines(0..20_000));
    assert_eq!(lines[20_000].len(), 300_004, "only datagrams are bounded");
    assert_eq!(lines[20_001..], counter_lines(20_000..20_001));
}

#[tokio::test]
async fn a_server_that_hangs_swallows_no_more_than_one_connection_holds_and_goes_on_where_it_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = open_with_short_limit(listener.local_addr().unwrap());
    let sent = counters_named(&long_name(), 0..MANY);
    let handover = Handover::all(&Arc::new(batch_of(&sent)));

    let answer = endpoint.deliver(&Work::new(vec![handover.clone()], 0)).await;
    assert!(
        matches!(&answer.then, Then::Retry { error, .. } if error.contains("has taken nothing for 300ms")),
        "{answer:?}"
    );
    let mut settled = answer.settled;
    assert!(settled > 0 && settled < sent.len(), "{settled}");
    for _ in 0..3 {
        let answer = endpoint.deliver(&Work::new(vec![handover.clone()], settled)).await;
        assert!(matches!(answer, Answer { settled: 0, then: Then::Retry { .. }, .. }), "{answer:?}");
    }

    let first = listener.accept().unwrap().0;
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "there is no second connection");
    let received = thread::spawn(move || read_to_end(first));
    while settled < sent.len() {
        settled += endpoint.deliver(&Work::new(vec![handover.clone()], settled)).await.settled;
    }
    assert_eq!(endpoint.lost(), 0);
    drop(endpoint);
    assert_eq!(whole_lines(&received.join().unwrap()), counter_lines_named(&long_name(), 0..MANY));
}

#[tokio::test]
async fn a_line_that_was_begun_is_ended_even_if_the_buffer_has_given_its_message_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = open_with_short_limit(listener.local_addr().unwrap());
    let long: Vec<String> = (0..50).map(|_| set_member(1_000_000)).collect();
    let answer = endpoint.deliver(&work_of(&long)).await;
    assert!(answer.settled < long.len(), "the kernel took everything: the test has lost its point");
    let first = listener.accept().unwrap().0;
    let received = thread::spawn(move || read_to_end(first));
    let mut settled = 0;
    while settled == 0 {
        settled = endpoint.deliver(&work_of(&counters(0..2))).await.settled;
    }
    drop(endpoint);
    let lines = whole_lines(&received.join().unwrap());
    let (begun, behind) = lines.split_at(answer.settled + 1);
    assert!(begun.iter().all(|line| line.len() == 1_000_004), "none is torn");
    assert_eq!(behind, counter_lines(0..2));
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_gets_the_rest_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = open_at("tcp", listener.local_addr().unwrap());
    let sent = counters_named(&long_name(), 0..MANY);
    let handover = Handover::all(&Arc::new(batch_of(&sent)));

    let server = thread::spawn(move || {
        let mut beginning = vec![0; 100_000];
        listener.accept().unwrap().0.read_exact(&mut beginning).unwrap();
        (String::from_utf8(beginning).unwrap(), listener)
    });
    let answer = endpoint.deliver(&Work::new(vec![handover.clone()], 0)).await;
    let (beginning, listener) = server.join().unwrap();
    assert!(
        matches!(&answer.then, Then::Retry { error, .. } if error.contains("cannot send to")),
        "{answer:?}"
    );
    let seen = whole_lines(&beginning);
    assert!(answer.settled >= seen.len() && answer.settled < sent.len(), "{}", answer.settled);
    assert_eq!(seen, counter_lines_named(&long_name(), 0..seen.len()));

    let received = thread::spawn(move || read_to_end(listener.accept().unwrap().0));
    // The next connection has to prove itself first.
    let (mut settled, deadline) = (answer.settled, Instant::now() + DEADLINE);
    while settled < sent.len() {
        assert!(Instant::now() < deadline, "{settled}");
        settled += endpoint.deliver(&Work::new(vec![handover.clone()], settled)).await.settled;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(endpoint);
    assert_eq!(
        whole_lines(&received.join().unwrap()),
        counter_lines_named(&long_name(), answer.settled..sent.len())
    );
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = open_at("tcp", listener.local_addr().unwrap());
    assert_eq!(endpoint.deliver(&work_of(&counters(0..1))).await, Answer::delivered(1));
    let mut first = listener.accept().unwrap().0;
    first.read_exact(&mut [0; "shop.n:0|c\n".len()]).unwrap();
    // Nothing has been going on for more than a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    drop(first);
    assert_eq!(endpoint.deliver(&work_of(&counters(1..2))).await, Answer::delivered(1));
    let second = listener.accept().unwrap().0;
    assert_eq!(endpoint.lost(), 1, "nobody can tell whether anything was under way");
    drop(endpoint);
    assert_eq!(read_to_end(second), "shop.n:1|c\n");
}

#[tokio::test]
async fn messages_wait_for_a_stream_server_that_is_not_there() {
    // Bound, so that the port is the test's own, but not listening.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let mut endpoint = open_at("tcp", holder.local_addr().unwrap().as_socket().unwrap());
    let answer = endpoint.deliver(&work_of(&counters(0..1))).await;
    assert_eq!(answer.settled, 0);
    assert!(matches!(answer.then, Then::Retry { error, .. } if error.contains("cannot reach")));

    holder.listen(1).unwrap();
    assert_eq!(endpoint.deliver(&work_of(&counters(0..1))).await, Answer::delivered(1));
    drop(endpoint);
    assert_eq!(read_to_end(TcpListener::from(holder).accept().unwrap().0), "shop.n:0|c\n");
}

#[tokio::test]
async fn a_unix_socket_takes_datagrams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let mut endpoint = open(&format!("transport = \"unix\"\npath = \"{}\"", path.display()));
    let sent = work_of(&counters(0..2));
    assert!(matches!(endpoint.deliver(&sent).await, Answer { settled: 0, then: Then::Retry { .. }, .. }));

    let mut buffer = [0; 1432];
    // A server that starts anew is another socket at the same path.
    for _ in 0..2 {
        let server = UnixDatagram::bind(&path).unwrap();
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = endpoint.deliver(&sent).await;
        if answer.settled == 0 {
            answer = endpoint.deliver(&sent).await;
        }
        assert_eq!(answer, Answer::delivered(2));
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], counter_lines(0..2).join("\n").as_bytes());
        drop(server);
        std::fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn a_unix_server_that_reads_nothing_holds_up_for_the_time_limit_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let server = UnixDatagram::bind(&path).unwrap();
    let mut endpoint =
        open(&format!("transport = \"unix\"\npath = \"{}\"\ntimeout = \"100ms\"", path.display()));
    let answer = endpoint.deliver(&work_of(&counters_named(&long_name(), 0..MANY))).await;
    assert!(matches!(&answer.then, Then::Retry { error, .. } if error.contains("no answer within 100 ms")));
    let mut lines = 0;
    let mut buffer = [0; 5000];
    server.set_nonblocking(true).unwrap();
    while let Ok(length) = server.recv(&mut buffer) {
        lines += buffer[..length].split(|byte| *byte == b'\n').count();
    }
    assert_eq!(lines, answer.settled);
}

#[tokio::test]
async fn of_a_datagram_that_the_system_finds_too_long_only_the_line_that_is_too_long_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(DEADLINE)).unwrap();
    let context = EndpointContext {
        name: "stats".to_owned(),
        clock: Arc::new(SystemClock::new()),
        counters: Arc::default(),
        open_files: 1,
    };
    let mut endpoint = StatsdEndpoint {
        lines: Lines::new("").unwrap(),
        connection: Connection::new(Server::UnixDatagram(path), context.clock, DEADLINE, DEADLINE),
        parcel: Parcel::default(),
        parcel_bytes: LARGEST_DATAGRAM_BYTES,
        health: Health::new(context.name, context.counters),
    };
    endpoint.connection.prepare().await.unwrap();
    endpoint.connection.shrink_send_buffer();

    let received = thread::spawn(move || {
        let mut buffer = vec![0; 70_000];
        let mut next =
            || server.recv(&mut buffer).map(|length| String::from_utf8(buffer[..length].to_vec()).unwrap());
        (0..401).map(|_| next().unwrap()).collect::<Vec<_>>()
    });
    let sent =
        [counters(0..300), vec![log_line(), set_member(20_000)], counters(300..400), vec![set_member(1)]]
            .concat();
    let answer = endpoint.deliver(&work_of(&sent)).await;
    assert_eq!((answer.settled, &answer.then), (403, &Then::Done));
    assert_eq!(answer.refused.iter().collect::<Vec<_>>(), [("statsd-type", 1), (REFUSED_LENGTH, 1)]);
    assert_eq!(received.join().unwrap(), [counter_lines(0..400), vec!["s:m|s".to_owned()]].concat());
}

#[tokio::test]
async fn a_unix_socket_takes_a_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("statsd.sock");
    let mut endpoint = open(&format!("transport = \"unix_stream\"\npath = \"{}\"", path.display()));
    let listener = UnixListener::bind(&path).unwrap();
    let received = thread::spawn(move || read_to_end(listener.accept().unwrap().0));
    assert_eq!(endpoint.deliver(&work_of(&counters(0..5000))).await, Answer::delivered(5000));
    drop(endpoint);
    assert_eq!(whole_lines(&received.join().unwrap()), counter_lines(0..5000));
}

#[test]
fn the_transport_and_its_address_must_fit() {
    for (body, expected) in [
        ("transport = \"unix\"", "transport = \"unix\" needs the `path` of the server's socket"),
        ("transport = \"unix_stream\"", "needs the `path`"),
        ("path = \"/run/statsd\"", "`path` is for Unix sockets"),
        (
            "transport = \"tcp\"\npath = \"/run/statsd\"",
            "with transport = \"tcp\" the server is at `address`",
        ),
    ] {
        let kind = KINDS.iter().find(|kind| kind.name == "statsd").unwrap();
        let Err(said) = kind.read_body(body) else { panic!("{body} was accepted") };
        assert!(said.contains(expected), "{body}: {said}");
    }
}

#[test]
fn messages_wait_for_each_other_unless_they_are_told_not_to() {
    let kind = KINDS.iter().find(|kind| kind.name == "statsd").unwrap();
    assert_eq!(kind.read_body(SAMPLE).unwrap().linger(), Duration::from_millis(50));
    assert_eq!(kind.read_body("linger = \"0s\"").unwrap().linger(), Duration::ZERO);
}
