//! One connection to a ZeroMQ socket: a publisher whose messages are taken, or somebody who asks whether anybody is there.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    ops::ControlFlow,
    sync::Arc,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::{
    NOTICE_PROTOCOL,
    zmtp::{Head, Peer, Role, SIGNATURE, Violation},
};
use crate::{
    framing::{Cause, GivenUp},
    inputs::{
        Flow, InputContext, Progress, Source, connections::TakenPlace, datagrams::pass_on,
        parked::ParkedShare,
    },
    pipeline::{DatagramGatherer, Parked},
    rejects::FRAME_BYTES,
    sys,
    unfinished::{Lease, Remainder},
};

/// What waits to be sent to a peer. It is a greeting, topics, and answers to what the peer says; a peer that asks and asks and
/// never reads is let go.
const MOST_OUTGOING_BYTES: usize = 64 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: Option<SocketAddr>,
    peer: Peer,
    outgoing: Vec<u8>,
    context: InputContext,
    high_water_mark: usize,
    parked: ParkedShare,
    /// What was read and is not used yet: a part of a frame, or whole frames while something is parked.
    remainder: Remainder,
    /// How long that is.
    remainder_bytes: usize,
    /// There are whole frames in it.
    is_backlogged: bool,
    /// Made at the first read, as `gatherer` is: its waker is that of the thread that reads.
    lease: Option<Lease>,
    gatherer: Option<DatagramGatherer>,
    /// Bytes of a frame of which nothing is wanted.
    skip_bytes: u64,
    /// Once the router stops: how much of what the kernel held then is still to be read.
    left_bytes: Option<usize>,
    /// It was closed for a reason of ours; nothing that it may still hold is read.
    has_failed: bool,
    _place: TakenPlace,
    /// By which whoever made the connection knows that it lives.
    _alive: Option<Arc<()>>,
}

impl Connection {
    /// A connection of which nothing is read. The socket must not block.
    pub fn new(
        stream: TcpStream,
        role: Role,
        high_water_mark: usize,
        context: &InputContext,
        place: TakenPlace,
        alive: Option<Arc<()>>,
    ) -> Connection {
        Connection {
            address: stream.peer_addr().ok(),
            stream,
            peer: Peer::new(role),
            outgoing: SIGNATURE.to_vec(),
            parked: context.parked.share(),
            context: context.clone(),
            high_water_mark,
            remainder: Remainder::default(),
            remainder_bytes: 0,
            is_backlogged: false,
            lease: None,
            gatherer: None,
            skip_bytes: 0,
            left_bytes: None,
            has_failed: false,
            _place: place,
            _alive: alive,
        }
    }

    fn read_once(&mut self, flow: &mut Flow<'_>) -> Result<Progress, Failure> {
        let lease = self.lease.get_or_insert_with(|| self.context.unfinished.lease(flow.waker.clone()));
        let is_revoked = lease.is_revoked();
        let pool = flow.pipeline.pool().clone();
        let mut slab = self.remainder.take(&pool);
        let mut progress = Progress::More;
        if !self.is_backlogged {
            let space = slab.spare();
            let room = self.left_bytes.unwrap_or(usize::MAX).min(space.len());
            match self.stream.read(&mut space[..room]) {
                // Nothing was asked for where nothing is left.
                Ok(0) if room > 0 => progress = Progress::Ended,
                Ok(count) => {
                    slab.advance(count);
                    self.left_bytes = self.left_bytes.map(|left| left.saturating_sub(count));
                    if count < room {
                        progress = Progress::Drained;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => progress = Progress::Drained,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let taken = self.take_frames(&slab, flow)?;
        self.send()?;
        if taken > 0 {
            let mut rest = pool.take(slab.len() - taken);
            rest.extend(&slab[taken..]);
            slab = rest;
        }
        self.is_backlogged = !flow.parked.is_empty() && !slab.is_empty();
        let Some(lease) = &mut self.lease else { return Ok(progress) };
        if self.is_backlogged {
            // Whole frames are not given up: they are paid for with what is parked.
            lease.release();
            progress = Progress::More;
        } else if is_revoked || !lease.resize(slab.len()) {
            lease.release();
            self.give_up(&slab, flow);
            slab.truncate(0);
        }
        self.remainder_bytes = slab.len();
        self.remainder.keep(slab);
        Ok(progress)
    }

    /// Takes the frames at the beginning of `bytes`, and says how many bytes they are.
    fn take_frames(&mut self, bytes: &[u8], flow: &mut Flow<'_>) -> Result<usize, Violation> {
        let mut at = 0;
        loop {
            let mut messages = Vec::new();
            let outcome = self.gather(bytes, &mut at, &mut messages, flow);
            let is_full = messages.len() >= self.high_water_mark;
            self.hand_over(messages, flow);
            outcome?;
            if !is_full || !flow.parked.is_empty() {
                return Ok(at);
            }
        }
    }

    /// Gathers messages until the high-water mark is reached or no whole frame is left.
    fn gather<'b>(
        &mut self,
        bytes: &'b [u8],
        at: &mut usize,
        messages: &mut Vec<&'b [u8]>,
        flow: &mut Flow<'_>,
    ) -> Result<(), Violation> {
        while messages.len() < self.high_water_mark {
            let rest = bytes.get(*at..).unwrap_or_default();
            if self.skip_bytes > 0 {
                let skipped = usize::try_from(self.skip_bytes).unwrap_or(usize::MAX).min(rest.len());
                self.skip_bytes -= skipped as u64;
                *at += skipped;
                if skipped == rest.len() {
                    return Ok(());
                }
                continue;
            }
            if !self.peer.is_greeted() {
                match self.peer.greet(rest, &mut self.outgoing)? {
                    Some(taken) => *at += taken,
                    None => return Ok(()),
                }
                continue;
            }
            let Some(head) = self.peer.head(rest)? else { return Ok(()) };
            let body = rest.get(head.bytes..).unwrap_or_default();
            match self.frame(head, body, messages, flow)? {
                ControlFlow::Continue(taken) => *at += head.bytes + taken,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Takes a frame; says how much of its body, or that more of it is needed.
    fn frame<'b>(
        &mut self,
        head: Head,
        body: &'b [u8],
        messages: &mut Vec<&'b [u8]>,
        flow: &mut Flow<'_>,
    ) -> Result<ControlFlow<(), usize>, Violation> {
        let whole = usize::try_from(head.body_bytes).ok().and_then(|length| body.get(..length));
        if head.is_command {
            let Some(body) = whole else { return Ok(ControlFlow::Break(())) };
            self.peer.command(body, &mut self.outgoing)?;
            return Ok(ControlFlow::Continue(body.len()));
        }
        let is_question = *self.peer.role() == Role::Responder;
        if head.has_more || is_question {
            // A topic in front of the message, or a question of which only its end matters.
            if is_question && !head.has_more {
                self.peer.answer(&mut self.outgoing);
            }
            self.skip_bytes = head.body_bytes;
            return Ok(ControlFlow::Continue(0));
        }
        if head.body_bytes > self.context.message_bytes as u64 {
            let wanted = FRAME_BYTES.min(usize::try_from(head.body_bytes).unwrap_or(FRAME_BYTES));
            let Some(begin) = body.get(..wanted) else { return Ok(ControlFlow::Break(())) };
            let declared = usize::try_from(head.body_bytes).unwrap_or(usize::MAX);
            flow.pipeline.too_large(begin, declared, Some(flow.waker), flow.parked);
            self.skip_bytes = head.body_bytes;
            return Ok(ControlFlow::Continue(0));
        }
        let Some(message) = whole else { return Ok(ControlFlow::Break(())) };
        messages.push(message);
        Ok(ControlFlow::Continue(message.len()))
    }

    /// Hands messages over, each of which is what a datagram would be: one message, or several on lines.
    fn hand_over(&mut self, messages: Vec<&[u8]>, flow: &mut Flow<'_>) {
        if messages.is_empty() {
            return;
        }
        let gatherer = self.gatherer.get_or_insert_with(|| DatagramGatherer::new(flow.pipeline.pool()));
        let waker = flow.waker;
        pass_on(messages.into_iter().map(|message| (message, None)), gatherer, flow, Some(waker));
        flow.pipeline.gathered(gatherer, Some(waker), flow.parked);
    }

    /// Gives up the part of a frame that is all that was read, in favour of others. The rest of the frame is skipped.
    fn give_up(&mut self, bytes: &[u8], flow: &mut Flow<'_>) {
        let Ok(Some(head)) = self.peer.head(bytes) else { return };
        let body = bytes.get(head.bytes..).unwrap_or_default();
        self.skip_bytes = head.body_bytes.saturating_sub(body.len() as u64);
        let begin = body[..body.len().min(FRAME_BYTES)].to_vec();
        let given_up = GivenUp { cause: Cause::Memory, begin, bytes: body.len() };
        flow.pipeline.given_up(&[given_up], Some(flow.waker), flow.parked);
    }

    /// Sends what the peer is to be told, as far as it takes it.
    fn send(&mut self) -> Result<(), Failure> {
        while !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing) {
                Ok(count) => drop(self.outgoing.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.outgoing.len() > MOST_OUTGOING_BYTES {
            return Err(Failure::Deaf);
        }
        Ok(())
    }

    fn lost(&self, failure: &Failure) {
        let input = &self.context.name;
        let peer = self.stream.peer_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        match failure {
            Failure::Broken(error) => tracing::debug!(input, peer, %error, "connection lost"),
            Failure::Violation(problem) => {
                self.context.counters.notice(NOTICE_PROTOCOL, 1);
                tracing::warn!(input, peer, %problem, "a ZeroMQ connection is closed");
            }
            Failure::Deaf => {
                self.context.counters.notice(NOTICE_PROTOCOL, 1);
                tracing::warn!(
                    input,
                    peer,
                    "a ZeroMQ connection is closed: it asks and does not read the answers"
                );
            }
        }
    }
}

impl Source for Connection {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        // Nearly always there is room for the few bytes that are sent, so being told of it costs nothing.
        registry.register(&mut self.stream, token, Interest::READABLE | Interest::WRITABLE)
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.address
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        if self.has_failed {
            return Progress::Ended;
        }
        if self.left_bytes == Some(0) && !self.is_backlogged {
            return Progress::Drained;
        }
        // A source is read only when nothing of it is parked any more.
        self.parked.set(if self.is_backlogged { self.remainder_bytes } else { 0 });
        if self.context.parked.is_used_up() {
            return Progress::Stalled;
        }
        let progress = self.read_once(flow).unwrap_or_else(|failure| {
            self.has_failed = true;
            self.lost(&failure);
            Progress::Ended
        });
        let backlog = if self.is_backlogged { self.remainder_bytes } else { 0 };
        self.parked.set(backlog + flow.parked.iter().map(Parked::charged_bytes).sum::<usize>());
        progress
    }

    fn stop(&mut self) {
        self.left_bytes = Some(sys::readable_bytes(&self.stream));
    }
}

/// Why a connection ends.
#[derive(Debug)]
enum Failure {
    Broken(io::Error),
    Violation(Violation),
    /// It lets what it is sent pile up.
    Deaf,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Broken(error)
    }
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Failure {
        Failure::Violation(violation)
    }
}
