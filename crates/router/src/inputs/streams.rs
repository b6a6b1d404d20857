//! What stream inputs share: a listener that accepts connections, and a connection that carries lines.

use std::{fmt::Debug, io};

use mio::{Interest, Registry, Token, event};

use super::{ConnectionPlace, Flow, InputContext, Progress, Source};
use crate::framing::{LineFramer, Read};

/// Connections accepted in one go, so that a flood of them does not starve those that are open.
const ACCEPT_AT_ONCE: usize = 64;

/// A socket that accepts connections.
pub trait Listener: event::Source + Debug + Send {
    /// What it accepts.
    type Connection: io::Read + event::Source + Debug + Send + 'static;

    /// Accepts one connection without waiting.
    fn accept(&self) -> io::Result<Self::Connection>;
}

/// Accepts connections up to the limit.
#[derive(Debug)]
pub struct ListenerSource<L> {
    listener: L,
    context: InputContext,
    /// The last connection could not be accepted, and that was said.
    is_stalled: bool,
}

impl<L: Listener> ListenerSource<L> {
    /// A source that accepts from `listener`, which must not block.
    pub fn new(listener: L, context: InputContext) -> Self {
        ListenerSource { listener, context, is_stalled: false }
    }
}

impl<L: Listener> Source for ListenerSource<L> {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        for _ in 0..ACCEPT_AT_ONCE {
            match self.listener.accept() {
                Ok(connection) => {
                    self.is_stalled = false;
                    let Some(place) = self.context.connections.take(&self.context.counters) else {
                        tracing::warn!(
                            input = self.context.name,
                            "connection refused: [limits] connections is reached"
                        );
                        continue;
                    };
                    let lines = LineReader::new(self.context.clone());
                    flow.accepted.push(Box::new(Connection { connection, lines, _place: place }));
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
    lines: LineReader,
    _place: ConnectionPlace,
}

impl<C: io::Read + event::Source + Debug + Send> Source for Connection<C> {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.connection, token, Interest::READABLE)
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        self.lines.read(flow, |space| self.connection.read(space))
    }

    fn finish(&mut self, flow: &mut Flow<'_>) {
        self.lines.finish(flow);
    }
}

/// Reads lines from anything that gives bytes, and hands them to the pipeline.
#[derive(Debug)]
pub struct LineReader {
    context: InputContext,
    /// Made at the first read: its lease needs the waker of the thread that reads.
    framer: Option<LineFramer>,
}

impl LineReader {
    /// A reader that has read nothing.
    pub fn new(context: InputContext) -> Self {
        LineReader { context, framer: None }
    }

    /// Reads once with `read`, which must not wait.
    pub fn read(
        &mut self,
        flow: &mut Flow<'_>,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Progress {
        let framer = self.framer.get_or_insert_with(|| {
            LineFramer::new(self.context.message_bytes, self.context.unfinished.lease(flow.waker.clone()))
        });
        let outcome = framer.read(flow.pipeline.pool(), read);
        flow.pipeline.given_up(framer.take_given_up());
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
                self.finish(flow);
                Progress::Ended
            }
        }
    }

    /// Nothing more will come: an unfinished line counts as a line. If it was cut off, it says so as a reject.
    pub fn finish(&mut self, flow: &mut Flow<'_>) {
        if let Some(framer) = &mut self.framer
            && let Ok(Read::End(Some(slab))) = framer.read(flow.pipeline.pool(), |_| Ok(0))
        {
            flow.pipeline.lines(slab, Some(flow.waker), flow.parked);
        }
    }
}
