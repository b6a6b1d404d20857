//! What stream inputs share: a listener that accepts connections, and a connection that carries lines.

use std::{fmt::Debug, io, os::fd::AsRawFd};

use mio::{Interest, Registry, Token, event};

use super::{ConnectionPlace, Flow, InputContext, Progress, Source, parked::ParkedShare};
use crate::{
    framing::{LineFramer, Read},
    pipeline::Parked,
    sys,
};

/// Connections accepted in one go, so that a flood of them does not starve those that are open.
const ACCEPT_AT_ONCE: usize = 64;

/// A socket that accepts connections.
pub trait Listener: event::Source + Debug + Send {
    /// What it accepts.
    type Connection: io::Read + event::Source + AsRawFd + Debug + Send + 'static;

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
                    flow.accepted.push(Box::new(Connection {
                        connection,
                        lines,
                        left_bytes: None,
                        _place: place,
                    }));
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
    /// Once the router stops: how much of what the kernel held then is still to be read. A sender that goes on sending
    /// must not keep the router from stopping.
    left_bytes: Option<usize>,
    _place: ConnectionPlace,
}

impl<C: io::Read + event::Source + AsRawFd + Debug + Send> Source for Connection<C> {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.connection, token, Interest::READABLE)
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
