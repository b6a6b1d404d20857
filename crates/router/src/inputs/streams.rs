//! What stream inputs share: a listener that accepts connections, and a connection that carries lines.

use std::{fmt::Debug, io, net::SocketAddr, os::fd::AsRawFd, task::Waker, time::Duration};

use mio::{Interest, Registry, Token, event, net::TcpListener, net::TcpStream};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::{
    Flow, InputContext, OpenError, Progress, Source,
    connections::{TakenPlace, Turn},
    parked::ParkedShare,
    sockets::BoundSocket,
};
use crate::{
    framing::{LineFramer, Read},
    pipeline::{Parked, Pipeline},
    slab_pool::Slab,
    sys,
};

/// Connections accepted in one go, so that a flood of them does not starve those that are open.
const ACCEPT_AT_ONCE: usize = 64;

/// A socket that accepts connections.
pub trait Listener: event::Source + AsRawFd + Debug + Send {
    /// What it accepts.
    type Connection: io::Read + event::Source + AsRawFd + Debug + Send + 'static;

    /// Accepts one connection without waiting, and says who is at the other end, where that has an address.
    fn accept(&self) -> io::Result<(Self::Connection, Option<SocketAddr>)>;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        TcpListener::accept(self).map(|(connection, peer)| (connection, Some(peer)))
    }
}

/// A peer that vanished without a word must not hold a place under the limit on connections for ever: it is asked after
/// this silence, and its connection ends when it has not answered so many questions.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// A TCP socket that listens at `address`, unless it can be inherited.
pub fn listen(context: &InputContext, address: SocketAddr) -> Result<(TcpListener, BoundSocket), OpenError> {
    let failed = |error: io::Error| context.cannot_listen(Type::STREAM, address, &error);
    let socket = match context.inherited.take_network(Type::STREAM, address, &context.name) {
        Some(socket) => socket,
        None => {
            let in_spite_of =
                |error| context.inherited.make_room(Type::STREAM, address, error, || bind(address, true));
            let socket = bind(address, false).or_else(in_spite_of).map_err(failed)?;
            // Only the router's own socket before it was to be let in.
            socket.set_reuse_port(false).map_err(failed)?;
            BoundSocket::new(socket, &context.name)
        }
    };
    Ok((TcpListener::from_std(socket.try_clone().map_err(failed)?.into()), socket))
}

/// `shared`: beside another socket that allows it.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    // Accepted connections inherit it, without a system call for each.
    keep_alive(SockRef::from(&socket))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Has the kernel find out whether the other end is still there.
pub fn keep_alive(socket: SockRef<'_>) -> io::Result<()> {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))
}

/// What becomes of an accepted connection.
pub trait Serve<C>: Debug + Send {
    /// The source that reads it. `peer` is at the other end.
    fn serve(
        &self,
        connection: C,
        peer: Option<SocketAddr>,
        place: TakenPlace,
        context: &InputContext,
    ) -> Box<dyn Source>;
}

/// Connections carry lines.
#[derive(Debug)]
pub struct ServeLines;

impl<C: io::Read + event::Source + AsRawFd + Debug + Send + 'static> Serve<C> for ServeLines {
    fn serve(
        &self,
        connection: C,
        peer: Option<SocketAddr>,
        place: TakenPlace,
        context: &InputContext,
    ) -> Box<dyn Source> {
        let lines = LineReader::new(context.clone());
        Box::new(Connection { connection, peer, lines, left_bytes: None, _place: place })
    }
}

/// Accepts connections up to the limit; those past it wait in the kernel's queue.
#[derive(Debug)]
pub struct ListenerSource<L, S = ServeLines> {
    listener: L,
    serve: S,
    /// The socket of which `listener` is a duplicate; it owns what goes with it.
    socket: BoundSocket,
    context: InputContext,
    turn: Turn,
    /// The last connection could not be accepted, and that was said.
    is_stalled: bool,
}

impl<L: Listener, S: Serve<L::Connection>> ListenerSource<L, S> {
    /// A source that accepts from `listener`, a duplicate of `socket`, which must not block.
    pub fn new(listener: L, serve: S, socket: BoundSocket, context: InputContext) -> Self {
        let turn = context.connections.turn(&context.counters);
        ListenerSource { listener, serve, socket, context, turn, is_stalled: false }
    }

    /// There is no place for another connection. Whether one waits for it is asked, because no event comes for what is there
    /// already.
    fn is_full(&mut self, flow: &Flow<'_>) -> Progress {
        if !sys::is_readable(&self.listener).unwrap_or(true) {
            self.turn.leave();
            return Progress::Drained;
        }
        self.turn.wait(flow.waker);
        if !std::mem::replace(&mut self.is_stalled, true) {
            tracing::warn!(
                input = self.context.name,
                "as many connections are open as [limits] connections allows; more wait until one of them ends"
            );
        }
        Progress::Stalled
    }
}

impl<L: Listener, S: Serve<L::Connection>> Source for ListenerSource<L, S> {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.listener)
    }

    fn bound_socket(&self) -> Option<&BoundSocket> {
        Some(&self.socket)
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        for _ in 0..ACCEPT_AT_ONCE {
            let Some(place) = self.turn.take() else { return self.is_full(flow) };
            match self.listener.accept() {
                Ok((connection, peer)) => {
                    self.is_stalled = false;
                    let place = place.taken(&self.context.counters);
                    flow.accepted.push(self.serve.serve(connection, peer, place, &self.context));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Drained,
                Err(error) if is_passing(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: the connection stays in the kernel's queue.
                    if !std::mem::replace(&mut self.is_stalled, true) {
                        tracing::warn!(input = self.context.name, %error, "cannot accept a connection; trying again");
                    }
                    return Progress::Stalled;
                }
            }
        }
        Progress::More
    }
}

/// Errors of the connection that was to be accepted, not of the listener; see accept(2).
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// One connection that carries lines.
#[derive(Debug)]
struct Connection<C> {
    connection: C,
    peer: Option<SocketAddr>,
    lines: LineReader,
    /// Once the router stops: how much of what the kernel held then is still to be read. A sender that goes on sending
    /// must not keep the router from stopping.
    left_bytes: Option<usize>,
    _place: TakenPlace,
}

impl<C: io::Read + event::Source + AsRawFd + Debug + Send> Source for Connection<C> {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.connection, token, Interest::READABLE)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        if self.left_bytes == Some(0) {
            return Progress::Drained;
        }
        self.lines.read(flow, |space| {
            let room = self.left_bytes.unwrap_or(usize::MAX).min(space.len());
            let count = self.connection.read(&mut space[..room])?;
            self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(count));
            Ok(count)
        })
    }

    fn stop(&mut self) {
        self.left_bytes = Some(sys::readable_bytes(&self.connection));
    }

    fn finish(&mut self, flow: &mut Flow<'_>) {
        self.lines.finish(flow);
    }
}

/// Reads lines from anything that gives bytes, and hands them to the pipeline.
#[derive(Debug)]
pub struct LineReader {
    context: InputContext,
    parked: ParkedShare,
    /// Made at the first read: its lease needs the waker of the thread that reads.
    framer: Option<LineFramer>,
}

impl LineReader {
    /// A reader that has read nothing.
    pub fn new(context: InputContext) -> Self {
        LineReader { parked: context.parked.share(), context, framer: None }
    }

    /// Reads once with `read`, which must not wait.
    pub fn read(
        &mut self,
        flow: &mut Flow<'_>,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Progress {
        // A source is read only when nothing of it is parked any more.
        self.parked.set(0);
        if self.context.parked.is_used_up() {
            return Progress::Stalled;
        }
        let progress = self.read_lines(flow, read);
        self.parked.set(flow.parked.iter().map(Parked::charged_bytes).sum());
        progress
    }

    fn read_lines(
        &mut self,
        flow: &mut Flow<'_>,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Progress {
        let framer = self.framer.get_or_insert_with(|| {
            LineFramer::new(self.context.message_bytes, self.context.unfinished.lease(flow.waker.clone()))
        });
        let outcome = framer.read(flow.pipeline.pool(), read);
        flow.pipeline.given_up(&framer.take_given_up(), Some(flow.waker), flow.parked);
        match outcome {
            Ok(Read::Lines { slab, drained }) => {
                flow.pipeline.lines(slab, Some(flow.waker), flow.parked);
                if drained { Progress::Drained } else { Progress::More }
            }
            Ok(Read::Unfinished { drained: true }) => Progress::Drained,
            Ok(Read::Unfinished { drained: false }) => Progress::More,
            Ok(Read::End(last)) => {
                if let Some(slab) = last {
                    flow.pipeline.lines(slab, Some(flow.waker), flow.parked);
                }
                Progress::Ended
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Drained,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Progress::More,
            Err(error) => {
                tracing::debug!(input = self.context.name, %error, "connection lost");
                self.end(flow, Pipeline::lines);
                Progress::Ended
            }
        }
    }

    /// Nothing more is read, whatever may still come: an unfinished line counts as a line if it is whole.
    pub fn finish(&mut self, flow: &mut Flow<'_>) {
        self.end(flow, Pipeline::line_so_far);
    }

    /// Has `take` take an unfinished line.
    fn end(&mut self, flow: &mut Flow<'_>, take: fn(&mut Pipeline, Slab, Option<&Waker>, &mut Vec<Parked>)) {
        let Some(framer) = &mut self.framer else { return };
        let outcome = framer.read(flow.pipeline.pool(), |_| Ok(0));
        // It may have been given up just now, in favour of others.
        flow.pipeline.given_up(&framer.take_given_up(), Some(flow.waker), flow.parked);
        if let Ok(Read::End(Some(slab))) = outcome {
            take(flow.pipeline, slab, Some(flow.waker), flow.parked);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, task::Waker};

    use base64::{Engine, prelude::BASE64_STANDARD};
    use metlog_buffer::Buffer;

    use super::*;
    use crate::{
        acknowledgement::Ack,
        batch::Handover,
        checkpoints::Checkpoints,
        decoders::FrameDecoder,
        inputs::{connections::ConnectionLimit, parked::ParkedMemory},
        ledger::InputCounters,
        pipeline::{Outlet, Outlets, Pipeline},
        rejects::Rejects,
        routes::table::RouteTable,
        slab_pool::SlabPool,
        testing::{self, ManualClock},
        unfinished::{Lease, UnfinishedLines},
    };

    /// A reader of lines of up to 8,000 bytes, with memory for 10,000 bytes of unfinished lines, and a pipeline whose
    /// rejects go to a buffer.
    struct Fixture {
        reader: LineReader,
        pipeline: Pipeline,
        unfinished: UnfinishedLines,
        rejects: Arc<Buffer<Handover>>,
    }

    impl Fixture {
        fn new() -> Fixture {
            let counters = Arc::new(InputCounters::default());
            let unfinished = UnfinishedLines::new(10_000);
            let context = InputContext {
                parked: ParkedMemory::new(1 << 20),
                name: "tcp".to_owned(),
                threads: 1,
                message_bytes: 8_000,
                unfinished: unfinished.clone(),
                connections: ConnectionLimit::new(1),
                counters: counters.clone(),
                inherited: Default::default(),
                clock: Arc::new(ManualClock::default()),
                checkpoints: Checkpoints::new("nothing".as_ref()),
            };
            let rejects = testing::buffer(1 << 20);
            let outlet = Outlet {
                name: "rejects".into(),
                buffer: rejects.clone(),
                counters: Arc::default(),
                ack: Ack::Queued,
            };
            let outlets = Arc::new(Outlets {
                table: RouteTable::compile(Vec::new(), 0).unwrap(),
                outlets: Vec::new(),
                rejects: Rejects::new(vec![outlet], 10),
                tap: Arc::default(),
            });
            let decoder = FrameDecoder::Json(Default::default());
            let clock = Arc::new(ManualClock::default());
            let pipeline = Pipeline::new("tcp", decoder, outlets, counters, clock, SlabPool::new(0));
            Fixture { reader: LineReader::new(context), pipeline, unfinished, rejects }
        }

        fn with_flow(&mut self, act: impl FnOnce(&mut LineReader, &mut Flow<'_>)) {
            let mut flow = Flow {
                pipeline: &mut self.pipeline,
                waker: Waker::noop(),
                parked: &mut Vec::new(),
                accepted: &mut Vec::new(),
            };
            act(&mut self.reader, &mut flow);
        }

        fn feed(&mut self, bytes: &[u8]) {
            self.with_flow(|reader, flow| {
                reader.read(flow, |space| {
                    space[..bytes.len()].copy_from_slice(bytes);
                    Ok(bytes.len())
                });
            });
        }

        /// Somebody else's line that takes so much memory that the reader's own is the one to go.
        fn crowd_out(&self) -> Lease {
            let mut other = self.unfinished.lease(Waker::noop().clone());
            assert!(other.resize(6_000));
            other
        }

        fn reject_messages(&self) -> Vec<serde_json::Value> {
            let mut handovers = Vec::new();
            self.rejects.begin(usize::MAX, &mut handovers, Waker::noop());
            let messages = handovers
                .iter()
                .flat_map(|handover| (0..handover.len()).filter_map(|position| handover.message(position)));
            messages.map(|message| serde_json::from_slice(message.bytes).unwrap()).collect()
        }

        #[track_caller]
        fn assert_one_reject(&self, bytes: usize, lines_given_up: u64) {
            let ledger = self.pipeline.counters().read();
            assert_eq!(
                (ledger.received, ledger.rejected_total(), ledger.lines_given_up),
                (1, 1, lines_given_up)
            );
            let messages = self.reject_messages();
            assert_eq!(messages.len(), 1);
            let fields = &messages[0]["fields"];
            assert_eq!((&fields["reason"], &fields["bytes"]), (&"too-large".into(), &bytes.into()));
            let begin = BASE64_STANDARD.decode(fields["frame"].as_str().unwrap()).unwrap();
            assert_eq!(begin, vec![b'x'; 4096]);
        }
    }

    #[test]
    fn an_accepted_connection_is_kept_alive_or_ended() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
        let listener = TcpListener::from_std(listener.into());
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (connection, _) = Listener::accept(&listener).unwrap();
        let socket = SockRef::from(&connection);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
    }

    #[test]
    fn a_line_that_is_too_long_becomes_a_reject_message_but_did_not_use_up_the_memory() {
        let mut fixture = Fixture::new();
        fixture.feed(&[b'x'; 5_000]);
        fixture.feed(&[b'x'; 5_000]);
        fixture.with_flow(|reader, flow| reader.finish(flow));
        fixture.assert_one_reject(10_000, 0);
    }

    #[test]
    fn a_line_that_the_routers_end_cuts_off_is_no_reject_and_one_that_its_sender_cut_off_is() {
        for (line, is_whole) in [
            (b"{\"type\":\"a\",\"payl".as_slice(), false),
            (b"{\"type\":\"\xc3", false),
            (b"{\"type\":\"a\"}", true),
        ] {
            let mut fixture = Fixture::new();
            fixture.feed(line);
            fixture.with_flow(|reader, flow| reader.finish(flow));
            let ledger = fixture.pipeline.counters().read();
            assert_eq!((ledger.received, ledger.rejected_total()), (u64::from(is_whole), 0), "{line:?}");
            let expected = (!is_whole).then_some(1);
            assert_eq!(ledger.noticed.get("line-cut-off").copied(), expected, "{line:?}");
            assert!(ledger.balances() && fixture.reject_messages().is_empty());
        }
        let mut fixture = Fixture::new();
        fixture.feed(b"{\"type\":");
        fixture.with_flow(|reader, flow| {
            reader.read(flow, |_| Err(io::ErrorKind::ConnectionReset.into()));
        });
        assert_eq!(fixture.pipeline.counters().read().rejected["invalid-json"], 1);
    }

    #[test]
    fn a_line_that_others_crowd_out_becomes_a_reject_message() {
        let mut fixture = Fixture::new();
        fixture.feed(&[b'x'; 7_000]);
        let _other = fixture.crowd_out();
        fixture.feed(b"x");
        fixture.assert_one_reject(7_000, 1);
    }

    #[test]
    fn a_line_that_is_given_up_at_the_very_end_is_counted() {
        let mut fixture = Fixture::new();
        fixture.feed(&[b'x'; 7_000]);
        let _other = fixture.crowd_out();
        fixture.with_flow(|reader, flow| reader.finish(flow));
        fixture.assert_one_reject(7_000, 1);
    }
}
