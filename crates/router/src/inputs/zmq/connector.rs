//! Connects to one publisher, and connects again when the connection is lost.
//!
//! Looking a name up and connecting take as long as they take, and a reader thread never waits; so each attempt has a thread of
//! its own, which ends with it. What it gives is a connection like one that was accepted.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs},
    sync::{
        Arc, Weak,
        mpsc::{self, Receiver, TryRecvError},
    },
    thread,
    time::Duration,
};

use mio::{Registry, Token};
use socket2::SockRef;

use super::{connection::Connection, zmtp::Role};
use crate::{
    config::Address,
    inputs::{
        Flow, InputContext, Progress, Source,
        connections::{ConnectionPlace, Turn},
        streams,
    },
    retry::Retry,
};

/// How long one attempt may take, behind the look-up of the name.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Between two attempts; a publisher that was restarted is not left alone for long.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Sees to it that there is a connection to one publisher.
#[derive(Debug)]
pub struct Connector {
    address: Address,
    role: Role,
    high_water_mark: usize,
    context: InputContext,
    /// It has a place before it connects: a connection that it could not keep would take messages with it.
    turn: Turn,
    state: State,
    retry: Retry,
    is_stopped: bool,
}

#[derive(Debug)]
enum State {
    /// Until this time.
    Waiting(Duration),
    Connecting(Receiver<io::Result<TcpStream>>, ConnectionPlace),
    /// As long as the connection holds the other end.
    Connected(Weak<()>),
}

impl Connector {
    /// It connects at its first read.
    pub fn new(address: Address, role: Role, high_water_mark: usize, context: &InputContext) -> Connector {
        let seed = context.clock.wall().nanoseconds.into();
        Connector {
            address,
            role,
            high_water_mark,
            turn: context.connections.turn(&context.counters),
            context: context.clone(),
            state: State::Waiting(Duration::ZERO),
            retry: Retry::new(seed),
            is_stopped: false,
        }
    }

    fn attempt(&self, place: ConnectionPlace) -> State {
        let (sender, receiver) = mpsc::channel();
        let address = self.address.clone();
        let work = move || {
            // Nobody may be there any more to take it.
            let _ = sender.send(connect(&address));
        };
        match thread::Builder::new().name("connector".to_owned()).spawn(work) {
            Ok(_) => State::Connecting(receiver, place),
            Err(_) => State::Waiting(self.context.clock.monotonic() + LONGEST_WAIT),
        }
    }

    fn connected(&mut self, stream: TcpStream, place: ConnectionPlace, flow: &mut Flow<'_>) -> State {
        self.retry.succeeded();
        tracing::info!(input = self.context.name, address = %self.address, "connected");
        let alive = Arc::new(());
        let state = State::Connected(Arc::downgrade(&alive));
        let stream = mio::net::TcpStream::from_std(stream);
        let role = self.role.clone();
        let place = place.taken(&self.context.counters);
        let connection =
            Connection::new(stream, role, self.high_water_mark, &self.context, place, Some(alive));
        flow.accepted.push(Box::new(connection));
        state
    }

    fn wait(&mut self) -> State {
        let wait = self.retry.failed(None).min(LONGEST_WAIT);
        State::Waiting(self.context.clock.monotonic() + wait)
    }
}

fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ATTEMPT) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                streams::keep_alive(SockRef::from(&stream))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Source for Connector {
    /// There is nothing to be told of: it is asked again and again.
    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        if self.is_stopped {
            return Progress::Ended;
        }
        self.state = match std::mem::replace(&mut self.state, State::Waiting(Duration::ZERO)) {
            State::Waiting(until) if self.context.clock.monotonic() < until => State::Waiting(until),
            State::Waiting(until) => match self.turn.take() {
                Some(place) => self.attempt(place),
                None => {
                    self.turn.wait(flow.waker);
                    State::Waiting(until)
                }
            },
            State::Connecting(attempt, place) => match attempt.try_recv() {
                Ok(Ok(stream)) => self.connected(stream, place, flow),
                Ok(Err(error)) => {
                    if self.retry.failures() == 0 {
                        let (input, address) = (&self.context.name, &self.address);
                        tracing::warn!(input, %address, %error, "cannot connect; trying again until it works");
                    }
                    self.wait()
                }
                Err(TryRecvError::Empty) => State::Connecting(attempt, place),
                Err(TryRecvError::Disconnected) => self.wait(),
            },
            State::Connected(alive) if alive.strong_count() > 0 => State::Connected(alive),
            State::Connected(_) => {
                tracing::info!(input = self.context.name, address = %self.address, "connection lost; connecting again");
                self.wait()
            }
        };
        Progress::Stalled
    }

    fn stop(&mut self) {
        self.is_stopped = true;
    }
}
