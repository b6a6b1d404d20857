use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, ErrorKind, IoSlice, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    sync::Mutex,
};

use super::*;
use crate::{
    endpoints::Then,
    testing::{ManualClock, lines, work_of},
};

const SECOND: Duration = Duration::from_secs(1);

/// What a write does: take so many bytes, or fail.
type Script = VecDeque<Result<usize, ErrorKind>>;

/// What the other router has received, connection by connection, and what the next ones will do.
#[derive(Debug, Default)]
struct Network {
    received: Vec<Vec<u8>>,
    scripts: VecDeque<Script>,
    is_closed: bool,
    is_down: bool,
}

#[derive(Debug, Clone, Default)]
struct ScriptedPeer(Arc<Mutex<Network>>);

#[derive(Debug)]
struct ScriptedStream {
    network: Arc<Mutex<Network>>,
    number: usize,
    script: Script,
}

impl Connect for ScriptedPeer {
    type Stream = ScriptedStream;

    fn connect(&self) -> io::Result<ScriptedStream> {
        let mut network = self.0.lock().unwrap();
        if network.is_down {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        network.is_closed = false;
        network.received.push(Vec::new());
        Ok(ScriptedStream {
            network: self.0.clone(),
            number: network.received.len() - 1,
            script: network.scripts.pop_front().unwrap_or_default(),
        })
    }

    fn name(&self) -> String {
        "central:5565".to_owned()
    }
}

impl Write for ScriptedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Takes everything once its script has ended.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered = slices.iter().flat_map(|slice| slice.iter().copied()).collect::<Vec<u8>>();
        let count = self.script.pop_front().unwrap_or(Ok(offered.len()))?.min(offered.len());
        self.network.lock().unwrap().received[self.number].extend_from_slice(&offered[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for ScriptedStream {
    fn ending(&self) -> Option<Ending> {
        let is_closed = self.network.lock().unwrap().is_closed;
        is_closed.then(|| Ending { reason: "closed".to_owned(), is_orderly: true })
    }
}

struct Bench {
    endpoint: MetlogEndpoint<ScriptedPeer>,
    network: Arc<Mutex<Network>>,
    clock: Arc<ManualClock>,
    counters: Arc<EndpointCounters>,
}

fn context(clock: Arc<dyn Clock>, counters: Arc<EndpointCounters>) -> EndpointContext {
    EndpointContext { name: "test".to_owned(), clock, counters, open_files: 2 }
}

/// An endpoint whose connections do what the scripts say, one after the other.
fn bench(scripts: impl IntoIterator<Item = Script>) -> Bench {
    let peer = ScriptedPeer::default();
    let network = peer.0.clone();
    network.lock().unwrap().scripts.extend(scripts);
    let (clock, counters) = (Arc::new(ManualClock::default()), Arc::<EndpointCounters>::default());
    let endpoint = MetlogEndpoint::new(peer, SECOND * 5, context(clock.clone(), counters.clone()));
    Bench { endpoint, network, clock, counters }
}

impl Bench {
    fn received(&self, connection: usize) -> String {
        String::from_utf8(self.network.lock().unwrap().received[connection].clone()).unwrap()
    }

    fn lost(&self) -> u64 {
        let buffer = crate::testing::buffer(1);
        self.counters.read(&buffer, Duration::ZERO).noticed.get(NOTICE_LOST).copied().unwrap_or(0)
    }

    /// Lets so much time pass that the connection has proven itself.
    fn prove(&mut self) {
        self.endpoint.connection().unwrap();
        self.clock.set(self.clock.monotonic() + SECOND * 10);
        self.endpoint.connection().unwrap();
    }
}

fn error(answer: &Answer) -> &str {
    match &answer.then {
        Then::Retry { error, .. } => error,
        other => panic!("not a failure: {other:?}"),
    }
}

#[test]
fn short_writes_neither_tear_nor_repeat_a_line() {
    let lines = lines(100);
    let mut bench = bench([Script::from([Ok(1), Ok(200), Err(ErrorKind::Interrupted), Ok(7)])]);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines)), Answer::delivered(100));
    assert_eq!(bench.received(0), lines.concat());
}

#[test]
fn a_peer_that_takes_nothing_is_waited_for_and_its_half_line_goes_on_where_it_stopped() {
    let lines = lines(3);
    let first = lines[0].len();
    let stall = || Err(ErrorKind::WouldBlock);
    let mut bench = bench([Script::from([Ok(first + 10), stall(), stall(), stall(), Ok(5), stall()])]);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines)), Answer::delivered(1), "no failure yet");
    bench.clock.set(SECOND * 4);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(0));
    bench.clock.set(SECOND * 10);
    let answer = bench.endpoint.deliver(&work_of(&lines[1..]));
    assert!(error(&answer).starts_with("central:5565 is connected but takes nothing"), "{answer:?}");
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(0), "it took a little");
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(2));
    assert_eq!(bench.received(0), lines.concat(), "on the same connection");
    assert_eq!(bench.lost(), 0);
}

#[test]
fn a_message_that_was_half_sent_when_the_connection_broke_is_sent_again_as_a_whole() {
    let lines = lines(3);
    let first = lines[0].len();
    let mut bench = bench([Script::from([Ok(first + 10), Err(ErrorKind::ConnectionReset)])]);
    bench.prove();
    let answer = bench.endpoint.deliver(&work_of(&lines));
    assert_eq!(answer.settled, 1);
    assert!(error(&answer).starts_with("the connection to central:5565 broke: "), "{answer:?}");
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(2));
    assert_eq!(bench.received(0), lines.concat()[..first + 10]);
    assert_eq!(bench.received(1), lines[1..].concat());
    assert_eq!(bench.lost(), 1);
}

#[test]
fn a_begun_line_is_ended_even_if_the_buffer_has_given_its_message_up() {
    let lines = lines(3);
    let stall = || Err(ErrorKind::WouldBlock);
    let mut bench = bench([Script::from([Ok(10), stall(), Ok(1), stall()])]);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[..1])), Answer::delivered(0));
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(0));
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[2..])), Answer::delivered(1));
    assert_eq!(bench.received(0), [lines[0].as_str(), &lines[2]].concat());
}

#[test]
fn a_connection_that_the_other_router_has_closed_is_replaced_before_anything_is_written_to_it() {
    let lines = lines(4);
    let mut bench = bench([]);
    bench.prove();
    bench.endpoint.deliver(&work_of(&lines[..2]));
    bench.network.lock().unwrap().is_closed = true;
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[2..])), Answer::delivered(2));
    assert_eq!(bench.received(0), lines[..2].concat());
    assert_eq!(bench.received(1), lines[2..].concat());
    assert_eq!(bench.lost(), 1);
}

#[test]
fn after_a_connection_that_ended_at_once_the_next_one_gets_one_message_until_it_has_stayed_open() {
    let lines = lines(100);
    let mut bench = bench([]);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[..40])), Answer::delivered(40));
    bench.network.lock().unwrap().is_closed = true;
    let answer = bench.endpoint.deliver(&work_of(&lines[40..]));
    assert_eq!(answer.settled, 0);
    assert!(error(&answer).contains("it took a connection and ended it soon after (closed)"), "{answer:?}");
    let answer = bench.endpoint.deliver(&work_of(&lines[40..]));
    assert!(answer.settled == 1 && matches!(answer.then, Then::Wait { .. }), "{answer:?}");
    let answer = bench.endpoint.deliver(&work_of(&lines[41..]));
    assert!(answer.settled == 0 && matches!(answer.then, Then::Wait { .. }), "{answer:?}");
    bench.clock.set(SECOND * 10);
    assert_eq!(bench.endpoint.deliver(&work_of(&lines[41..])), Answer::delivered(59));
    assert_eq!((bench.received(1), bench.lost()), (lines[40..].concat(), 1));
}

#[test]
fn a_router_that_is_not_there_is_named_and_nothing_is_settled() {
    let mut bench = bench([]);
    bench.network.lock().unwrap().is_down = true;
    let answer = bench.endpoint.deliver(&work_of(&lines(2)));
    assert_eq!((answer.settled, error(&answer)), (0, "cannot reach central:5565: connection refused"));
}

#[test]
fn many_small_batches_leave_with_few_writes() {
    let lines = lines(200);
    let handovers =
        lines.chunks(2).map(|chunk| crate::batch::Handover::all(&Arc::new(crate::testing::batch_of(chunk))));
    let work = Work::new(handovers.collect(), 1);
    let mut bench = bench([]);
    assert_eq!(bench.endpoint.deliver(&work), Answer::delivered(199));
    assert_eq!(bench.received(0), lines[1..].concat());
}

fn opened(body: &str) -> Box<dyn Endpoint> {
    let kind = crate::endpoints::registry::KINDS.iter().find(|kind| kind.name == "metlog").unwrap();
    let context = context(Arc::new(crate::clock::SystemClock::new()), Arc::default());
    match kind.read_body(body).unwrap().open(context).unwrap() {
        Opened::Blocking(endpoint) => endpoint,
        _ => panic!("it blocks"),
    }
}

#[test]
fn over_a_real_connection_a_closed_peer_is_noticed_before_the_next_write() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut endpoint = opened(&format!("address = \"{}\"", listener.local_addr().unwrap()));
    let lines = lines(4);
    assert_eq!(endpoint.deliver(&work_of(&lines[..2])), Answer::delivered(2));
    let (first, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(first);
    let mut line = String::new();
    for expected in &lines[..2] {
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(&line, expected);
    }
    drop(reader);
    // The end of the connection is there as soon as the peer has closed it: loopback does not wait. It has ended soon after it
    // was made, so the next one begins with one message.
    let answer = endpoint.deliver(&work_of(&lines[2..]));
    assert!(error(&answer).contains("ended it soon after (the other side has closed it)"), "{answer:?}");
    let answer = endpoint.deliver(&work_of(&lines[2..]));
    assert!(answer.settled == 1 && matches!(answer.then, Then::Wait { .. }), "{answer:?}");
    let (mut second, _) = listener.accept().unwrap();
    drop(endpoint);
    let mut text = String::new();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, lines[2]);
}

#[test]
fn a_unix_socket_that_is_not_read_stalls_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut endpoint = opened(&format!("path = \"{}\"\ntimeout = \"20ms\"", path.display()));
    let lines = lines(20_000);
    let mut answer = endpoint.deliver(&work_of(&lines));
    assert!(answer.settled < lines.len(), "the kernel took everything: the test has lost its point");
    let (mut peer, _) = listener.accept().unwrap();
    let mut settled = answer.settled;
    while answer.then == Then::Done {
        answer = endpoint.deliver(&work_of(&lines[settled..]));
        settled += answer.settled;
    }
    assert!(error(&answer).contains("takes nothing"), "{answer:?}");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        peer.read_to_string(&mut text).unwrap();
        text
    });
    while settled < lines.len() {
        settled += endpoint.deliver(&work_of(&lines[settled..])).settled;
    }
    drop(endpoint);
    assert_eq!(reader.join().unwrap(), lines.concat());
}
