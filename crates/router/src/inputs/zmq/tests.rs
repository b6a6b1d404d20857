//! A connection over a real socket, with a peer of which every byte is known.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream as StdTcpStream},
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use metlog_buffer::Buffer;
use metlog_message::Decoder;

use super::{
    connection::Connection,
    zmtp::{Role, tests::greeting},
    *,
};
use crate::{
    acknowledgement::Ack,
    batch::Handover,
    checkpoints::Checkpoints,
    config::Kind,
    decoders::FrameDecoder,
    inputs::{Flow, Progress, connections::ConnectionLimit, parked::ParkedMemory, registry::KINDS},
    ledger::{InputCounters, InputLedger},
    pipeline::{Outlet, Outlets, Parked, Pipeline},
    rejects::Rejects,
    routes::{
        condition::Condition,
        table::{RouteSpec, RouteTable},
    },
    slab_pool::SlabPool,
    testing::{self, ManualClock},
    unfinished::UnfinishedLines,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A connection, the other end of it, and an endpoint's buffer to which all messages go. Messages may have 1,000 bytes.
struct Fixture {
    connection: Connection,
    peer: StdTcpStream,
    pipeline: Pipeline,
    buffer: Arc<Buffer<Handover>>,
    parked: Vec<Parked>,
    unfinished: UnfinishedLines,
}

impl Fixture {
    fn subscriber(high_water_mark: usize, buffer_bytes: usize) -> Fixture {
        Fixture::new(Role::Subscriber(vec![Vec::new()]), high_water_mark, buffer_bytes)
    }

    fn new(role: Role, high_water_mark: usize, buffer_bytes: usize) -> Fixture {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = StdTcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let counters = Arc::new(InputCounters::default());
        let unfinished = UnfinishedLines::new(3_000);
        let context = InputContext {
            parked: ParkedMemory::new(1 << 20),
            name: "zmq".to_owned(),
            threads: 1,
            message_bytes: 1_000,
            unfinished: unfinished.clone(),
            connections: ConnectionLimit::new(1),
            counters: counters.clone(),
            inherited: Default::default(),
            clock: Arc::new(ManualClock::default()),
            checkpoints: Checkpoints::new("nothing".as_ref()),
        };
        let buffer = testing::buffer(buffer_bytes);
        let outlet =
            Outlet { name: "all".into(), buffer: buffer.clone(), counters: Arc::default(), ack: Ack::Queued };
        let everything = RouteSpec {
            condition: Condition::All(Vec::new()),
            to: vec![0],
            is_final: false,
            unrouted: false,
        };
        let outlets = Arc::new(Outlets {
            table: RouteTable::compile(vec![everything], 1).unwrap(),
            outlets: vec![outlet],
            rejects: Rejects::new(Vec::new(), 10),
            tap: Arc::default(),
        });
        let decoder = FrameDecoder::Json(Decoder::default());
        let clock = Arc::new(ManualClock::default());
        let pipeline = Pipeline::new("zmq", decoder, outlets, counters, clock, SlabPool::new(0));
        let place = context.connections.turn(&context.counters).take().unwrap().taken(&context.counters);
        let stream = TcpStream::from_std(stream);
        let connection = Connection::new(stream, role, high_water_mark, &context, place, None);
        Fixture { connection, peer, pipeline, buffer, parked: Vec::new(), unfinished }
    }

    fn read(&mut self) -> Progress {
        if !self.parked.is_empty() {
            self.pipeline.unpark(Waker::noop(), &mut self.parked);
            if !self.parked.is_empty() {
                return Progress::Stalled;
            }
        }
        let mut flow = Flow {
            pipeline: &mut self.pipeline,
            waker: Waker::noop(),
            parked: &mut self.parked,
            accepted: &mut Vec::new(),
        };
        self.connection.read(&mut flow)
    }

    /// Sends bytes, and reads until it is as wanted.
    #[track_caller]
    fn send(&mut self, bytes: &[u8], mut is_wanted: impl FnMut(&InputLedger, Progress) -> bool) {
        self.peer.write_all(bytes).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let progress = self.read();
            let ledger = self.pipeline.counters().read();
            if is_wanted(&ledger, progress) {
                return;
            }
            assert!(Instant::now() < deadline, "{progress:?} {ledger:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What arrived in the endpoint's buffer so far; takes it out.
    fn payloads(&self) -> Vec<String> {
        let mut handovers = Vec::new();
        self.buffer.begin(usize::MAX, &mut handovers, Waker::noop());
        let mut payloads = Vec::new();
        for handover in &handovers {
            for position in 0..handover.len() {
                let message = handover.message(position).unwrap();
                let tree: serde_json::Value = serde_json::from_slice(message.bytes).unwrap();
                payloads.push(tree["payload"].as_str().unwrap().to_owned());
            }
        }
        self.buffer.settle(payloads.len());
        payloads
    }
}

fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![flags];
    match u8::try_from(body.len()) {
        Ok(length) => frame.push(length),
        Err(_) => {
            frame[0] |= 2;
            frame.extend_from_slice(&(body.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(body);
    frame
}

fn message(payload: &str) -> Vec<u8> {
    format!(r#"{{"type":"t","timestamp":"2012-07-18T21:13:25Z","payload":"{payload}"}}"#).into_bytes()
}

#[test]
fn messages_arrive_without_their_topics_however_they_are_cut() {
    for piece in [1, 10, 100, 100_000] {
        let mut fixture = Fixture::subscriber(1000, 1 << 20);
        let two_lines = [&message("c")[..], b"\n", &message("d")].concat();
        let stream = [
            greeting("PUB"),
            frame(0, &message("a")),
            frame(1, b"topic"),
            frame(1, &[b'x'; 5_000]),
            frame(0, &message("b")),
            frame(4, b"\x04PING\0\0me"),
            frame(0, &two_lines),
            frame(0, b"\0msgpack::\x82\xa4type\xa1t\xa7payload\xa1e"),
            frame(0, b""),
        ]
        .concat();
        for part in stream.chunks(piece) {
            fixture.peer.write_all(part).unwrap();
            fixture.read();
        }
        fixture.send(b"", |ledger, _| ledger.blank == 1);
        assert_eq!(fixture.payloads(), ["a", "b", "c", "d", "e"], "{piece}");
        let ledger = fixture.pipeline.counters().read();
        assert_eq!((ledger.received, ledger.routed, ledger.rejected_total()), (6, 5, 0));
        let mut answer = [0; 103];
        fixture.peer.read_exact(&mut answer).unwrap();
        assert!(answer.ends_with(b"\0\x01\x01\x04\x07\x04PONGme"), "{answer:?}");
    }
}

#[test]
fn a_message_over_the_limit_is_rejected_and_those_behind_it_arrive() {
    let mut fixture = Fixture::subscriber(1000, 1 << 20);
    fixture.send(&greeting("PUB"), |_, progress| progress == Progress::Drained);
    let long = [frame(0, &[b'x'; 100_000]), frame(0, &message("behind"))].concat();
    fixture.send(&long, |ledger, _| ledger.routed == 1);
    let ledger = fixture.pipeline.counters().read();
    assert_eq!((ledger.received, ledger.rejected["too-large"]), (2, 1));
    assert_eq!(fixture.payloads(), ["behind"]);
    // A length that nobody will ever send takes no memory, and is rejected once.
    let endless = [&[2][..], &(1u64 << 60).to_be_bytes(), &[b'y'; 50_000]].concat();
    fixture.send(&endless, |ledger, progress| {
        ledger.rejected["too-large"] == 2 && progress == Progress::Drained
    });
}

#[test]
fn while_an_endpoint_is_full_no_more_than_the_high_water_mark_is_taken() {
    let mut fixture = Fixture::subscriber(10, 1);
    fixture.send(&greeting("PUB"), |_, progress| progress == Progress::Drained);
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let stream: Vec<u8> = names.iter().flat_map(|name| frame(0, &message(name))).collect();
    // The first ten are in the buffer, the next ten wait for it.
    fixture.send(&stream, |ledger, _| ledger.received == 20);
    for _ in 0..20 {
        assert_eq!(fixture.read(), Progress::Stalled);
    }
    assert_eq!(fixture.pipeline.counters().read().received, 20);
    let mut arrived = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while arrived.len() < names.len() && Instant::now() < deadline {
        let batch = fixture.payloads();
        assert!(batch.len() <= 10, "{batch:?}");
        arrived.extend(batch);
        fixture.read();
    }
    assert_eq!(arrived, names);
}

#[test]
fn a_frame_that_others_crowd_out_is_rejected_and_the_rest_of_it_skipped() {
    let mut fixture = Fixture::subscriber(1000, 1 << 20);
    fixture.send(&greeting("PUB"), |_, progress| progress == Progress::Drained);
    let whole = frame(0, &message(&"x".repeat(850)));
    fixture.send(&whole[..800], |_, progress| progress == Progress::Drained);
    // Others who hold less each, and together with it more than there is.
    let mut others: Vec<_> = (0..3).map(|_| fixture.unfinished.lease(Waker::noop().clone())).collect();
    assert!(others.iter_mut().all(|lease| lease.resize(790)));
    fixture.send(&whole[800..], |ledger, _| ledger.received == 1);
    let ledger = fixture.pipeline.counters().read();
    assert_eq!((ledger.rejected["too-large"], ledger.lines_given_up), (1, 1));
    fixture.send(&frame(0, &message("behind")), |ledger, _| ledger.routed == 1);
    assert_eq!(fixture.payloads(), ["behind"]);
}

#[test]
fn a_question_is_answered_and_is_no_message() {
    let mut fixture = Fixture::new(Role::Responder, 1000, 1 << 20);
    let question = [frame(1, b""), frame(0, b"")].concat();
    let stream = [greeting("REQ"), question.clone(), question].concat();
    fixture.send(&stream, |_, progress| progress == Progress::Drained);
    let mut answer = [0; 64 + 27 + 8];
    fixture.peer.read_exact(&mut answer).unwrap();
    assert_eq!(answer[64 + 24..], *b"REP\x01\0\0\0\x01\0\0\0");
    assert_eq!(fixture.pipeline.counters().read().received, 0);
}

#[test]
fn who_does_not_fit_is_let_go_and_counted_and_what_came_before_is_kept() {
    let mut fixture = Fixture::subscriber(1000, 1 << 20);
    fixture.send(&greeting("PUSH"), |_, progress| progress == Progress::Ended);
    assert_eq!(fixture.pipeline.counters().read().noticed[NOTICE_PROTOCOL], 1);
    assert_eq!(fixture.read(), Progress::Ended);

    let mut fixture = Fixture::subscriber(1000, 1 << 20);
    let stream = [greeting("PUB"), frame(0, &message("good")), vec![0x80]].concat();
    fixture.send(&stream, |_, progress| progress == Progress::Ended);
    assert_eq!(fixture.payloads(), ["good"]);
}

#[test]
fn the_end_of_a_publisher_in_the_middle_of_a_message_is_no_message() {
    let mut fixture = Fixture::subscriber(1000, 1 << 20);
    let whole = frame(0, &message("cut"));
    let stream = [greeting("PUB"), frame(0, &message("whole")), whole[..20].to_vec()].concat();
    fixture.send(&stream, |ledger, _| ledger.routed == 1);
    fixture.peer.shutdown(std::net::Shutdown::Both).unwrap();
    fixture.send(b"", |_, progress| progress == Progress::Ended);
    assert_eq!(fixture.pipeline.counters().read().received, 1);
}

#[test]
fn keys_that_do_not_fit_together_are_mistakes() {
    let kind: &Kind<dyn InputSettings> = KINDS.iter().find(|kind| kind.name == "zmq").unwrap();
    for (body, problem) in [
        ("listen = \"127.0.0.1:1\"\nconnect = [\"a:1\"]", "listens or connects, not both"),
        ("handshake = \"127.0.0.1:5565\"", "are the same address"),
        ("high_water_mark = 0", "must be more than 0"),
        ("connect = [\"tcp://a:1\"]", "without a scheme"),
    ] {
        let error = kind.read_body(body).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
    assert!(kind.read_body("connect = [\"a:1\", \"[::1]:2\"]\ntopics = [\"metlog\"]").is_ok());
}
