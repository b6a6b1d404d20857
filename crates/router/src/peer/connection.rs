//! The way to the server: looks its name up, connects, sends, and knows how far it got.
//!
//! A stream takes a part of what it is given before it fails, a datagram all or nothing; both are told as a number of
//! bytes. No call waits for longer than the time limit.
//!
//! **A stream that takes nothing** is kept, and goes on where it stopped ([`Begun`]). Another connection to a server that
//! hangs would only fill the kernel's buffers once more, and each filling would count as delivered.
//!
//! **Nobody listens** (UDP): the kernel takes a datagram, and an ICMP message that comes back later is reported by the
//! *next* call on the connected socket, which then sends nothing. So such an error is counted, and the datagram at hand is
//! sent again at once: nothing is lost by it, and nothing is sent twice.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream, lookup_host},
    time::timeout,
};

use super::{
    Parcel, Server,
    liveness::{self, Ending, LONGEST_SILENCE},
    parcel::Begun,
    probation::{End, Probation, Trust},
};
use crate::{clock::Clock, config::Address};

/// How often a datagram is offered to the kernel while it reports that earlier ones found nobody.
const OFFERS: u32 = 4;

/// How often a name is looked up at most, whatever happens.
const SHORTEST_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// What went wrong, and how many bytes had been taken before.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) taken: usize,
    pub(crate) problem: Problem,
}

/// Why nothing more is taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A stream took nothing for as long as it may. It is kept.
    #[error("it is connected but has taken nothing for {0:?}: it is busy, or hangs")]
    Stalled(Duration),
    /// The socket is of no more use, or the datagram at hand.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

impl Interrupted {
    fn at_once(error: io::Error) -> Interrupted {
        Interrupted { taken: 0, problem: error.into() }
    }

    /// The datagram is larger than the system ever sends.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(&self.problem, Problem::Failed(error) if is_too_long(error))
    }
}

/// What happened besides what was asked for, since it was last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Incidents {
    /// Datagrams that found nobody.
    pub(crate) unreachable: u64,
    /// Connections that ended.
    pub(crate) lost: Vec<Lost>,
}

/// A connection that ended, on which something may have been under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Why, in words.
    pub(crate) reason: String,
    /// The server closed it in good order while nothing was going on.
    pub(crate) was_idle: bool,
}

#[derive(Debug)]
enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
}

/// The socket, while there is one, and what the server's name led to.
#[derive(Debug)]
pub(crate) struct Connection {
    server: Server,
    clock: Arc<dyn Clock>,
    time_limit: Duration,
    lookup_interval: Duration,
    socket: Option<Socket>,
    /// Where the name led when it was last looked up; the one in use is the first.
    addresses: Vec<SocketAddr>,
    looked_up_at: Option<Duration>,
    /// What was found says that it is time for another look.
    suspicious: bool,
    /// The message of which the stream has taken a part.
    begun: Option<Begun>,
    probation: Probation,
    incidents: Incidents,
}

impl Connection {
    pub(crate) fn new(
        server: Server,
        clock: Arc<dyn Clock>,
        time_limit: Duration,
        lookup_interval: Duration,
    ) -> Connection {
        Connection {
            server,
            clock,
            time_limit: time_limit.max(Duration::from_millis(1)),
            lookup_interval: lookup_interval.max(SHORTEST_LOOKUP_INTERVAL),
            socket: None,
            addresses: Vec::new(),
            looked_up_at: None,
            suspicious: false,
            begun: None,
            probation: Probation::default(),
            incidents: Incidents::default(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Makes sure that there is a socket, and that it leads to where the server's name leads now. Says what may be sent.
    pub(crate) async fn prepare(&mut self) -> io::Result<Trust> {
        if let Some(ending) = self.socket.as_ref().and_then(Socket::ending) {
            let reason = ending.reason.clone();
            if self.lose(ending).is_early {
                return Err(io::Error::other(format!(
                    "it took a connection and ended it soon after ({reason}); what was sent on it may be lost"
                )));
            }
        }
        self.look_up_if_due().await?;
        if self.socket.is_none() {
            self.begun = None;
            self.socket = Some(self.open().await.inspect_err(|_| self.suspicious = true)?);
            self.probation.made(self.clock.monotonic());
        }
        if self.server.takes_datagrams() {
            return Ok(Trust::Everything);
        }
        Ok(self.probation.found_open(self.clock.monotonic()))
    }

    /// Sends one datagram, without a line break at its end.
    pub(crate) async fn send_datagram(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        let datagram = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let sent = match &self.socket {
            Some(Socket::Udp(_)) => self.send_over_udp(datagram).await,
            // The time limit needs a timer, and mostly there is room at once.
            Some(Socket::UnixDatagram(socket)) => match socket.try_send(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    within(self.time_limit, socket.send(datagram)).await.map(drop)
                }
                sent => sent.map(drop),
            },
            _ => Err(io::ErrorKind::NotConnected.into()),
        };
        if sent.as_ref().is_err_and(|error| !is_too_long(error)) {
            self.fail();
        }
        sent.map_err(Interrupted::at_once)
    }

    /// Adds the first `end` bytes of a parcel to the stream, where a message ends. If its first message is the one that was
    /// begun, that goes on where it stopped. Otherwise the buffer has given that one up, but it has to end before another
    /// begins.
    pub(crate) async fn send_parcel(&mut self, parcel: &Parcel, end: usize) -> Result<(), Interrupted> {
        let bytes = parcel.bytes.get(..end).unwrap_or_default();
        let mut from = 0;
        if let Some(mut begun) = self.begun.take() {
            if parcel.begins_with(&begun.message) {
                from = begun.written;
            } else {
                let rest = begun.message.get(begun.written..).unwrap_or_default();
                if let Err(Interrupted { taken, problem }) = self.add_to_stream(rest).await {
                    begun.written += taken;
                    self.begun = matches!(problem, Problem::Stalled(_)).then_some(begun);
                    return Err(Interrupted { taken: 0, problem });
                }
            }
        }
        let rest = bytes.get(from..).unwrap_or_default();
        self.add_to_stream(rest).await.map_err(|Interrupted { taken, problem }| {
            let taken = from + taken;
            if matches!(problem, Problem::Stalled(_)) {
                self.begun = parcel.begun_at(taken);
            }
            Interrupted { taken, problem }
        })
    }

    async fn add_to_stream(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        let limit = self.time_limit;
        let sent = match &mut self.socket {
            Some(Socket::Tcp(stream)) => write_to(stream, bytes, limit).await,
            Some(Socket::UnixStream(stream)) => write_to(stream, bytes, limit).await,
            _ => Err(Interrupted::at_once(io::ErrorKind::NotConnected.into())),
        };
        match &sent {
            Ok(()) => self.probation.wrote(self.clock.monotonic()),
            Err(Interrupted { problem: Problem::Failed(error), .. }) => {
                self.lose(Ending::broken(error));
            }
            Err(Interrupted { problem: Problem::Stalled(_), .. }) => {}
        }
        sent
    }

    /// Makes the system take no datagram that is larger than it must.
    #[cfg(test)]
    pub(crate) fn shrink_send_buffer(&self) {
        let Some(Socket::UnixDatagram(socket)) = &self.socket else { panic!("not a Unix datagram socket") };
        socket2::SockRef::from(socket).set_send_buffer_size(0).unwrap();
    }

    /// What has happened since the last call.
    pub(crate) fn take_incidents(&mut self) -> Incidents {
        if let Some(Socket::Udp(socket)) = &self.socket
            && let Ok(Some(error)) = socket.take_error()
            && is_about_an_earlier_datagram(&error)
        {
            self.found_nobody();
        }
        std::mem::take(&mut self.incidents)
    }

    async fn send_over_udp(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut offer = 1;
        loop {
            let Some(Socket::Udp(socket)) = &self.socket else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let sent = match socket.try_send(datagram) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    within(self.time_limit, socket.send(datagram)).await
                }
                sent => sent,
            };
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if offer == OFFERS => return Err(error),
                Err(error) if is_about_an_earlier_datagram(&error) => self.found_nobody(),
                // This one or an earlier one: a router on the way may have found it too long for its network, and
                // then the kernel sends it in smaller pieces from now on.
                Err(error) if is_too_long(&error) => {}
                Err(error) => return Err(error),
            }
            offer += 1;
            if self.socket.is_none() {
                self.socket = Some(self.open().await?);
            }
        }
    }

    /// A name may lead to several addresses, of which one answers (`localhost`, most of all): try the next one.
    fn found_nobody(&mut self) {
        self.incidents.unreachable += 1;
        self.suspicious = true;
        if self.addresses.len() > 1 {
            self.addresses.rotate_left(1);
            self.socket = None;
        }
    }

    fn fail(&mut self) {
        self.socket = None;
        self.suspicious = true;
    }

    fn lose(&mut self, ending: Ending) -> End {
        let end = self.probation.ended(self.clock.monotonic(), &ending);
        self.incidents.lost.push(Lost { reason: ending.reason, was_idle: end.was_idle });
        self.fail();
        end
    }

    /// Looks the name up when its time has come, or sooner after a failure. While there is a socket that works, a
    /// name server that does not is no failure.
    async fn look_up_if_due(&mut self) -> io::Result<()> {
        let Some(Address { host, port }) = self.server.address() else {
            return Ok(());
        };
        let now = self.clock.monotonic();
        let interval = if self.suspicious { SHORTEST_LOOKUP_INTERVAL } else { self.lookup_interval };
        if self.looked_up_at.is_some_and(|then| now < then + interval) && !self.addresses.is_empty() {
            return Ok(());
        }
        let found = within(self.time_limit, lookup_host((host.as_str(), *port))).await;
        self.looked_up_at = Some(now);
        self.suspicious = false;
        match found.map(Iterator::collect::<Vec<SocketAddr>>) {
            Ok(found) => self.lead_to(found),
            Err(_) if self.socket.is_some() => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Keeps to the address in use as long as the name leads to it, among others.
    fn lead_to(&mut self, mut found: Vec<SocketAddr>) {
        let in_use = self.addresses.first();
        match found.iter().position(|address| Some(address) == in_use) {
            Some(position) => found.rotate_left(position),
            None => self.socket = None,
        }
        self.addresses = found;
    }

    async fn open(&mut self) -> io::Result<Socket> {
        let limit = self.time_limit;
        match &self.server {
            Server::UnixStream(path) => {
                within(limit, UnixStream::connect(path)).await.map(Socket::UnixStream)
            }
            Server::UnixDatagram(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Socket::UnixDatagram(socket))
            }
            Server::Udp(_) | Server::Tcp(_) => {
                let mut problem = io::Error::new(io::ErrorKind::NotFound, "the name leads to no address");
                for _ in 0..self.addresses.len() {
                    let address = self.addresses[0];
                    let opened = match &self.server {
                        Server::Tcp(_) => within(limit, open_tcp(address)).await,
                        _ => open_udp(address).await,
                    };
                    match opened {
                        Ok(socket) => return Ok(socket),
                        Err(error) => problem = error,
                    }
                    self.addresses.rotate_left(1);
                }
                Err(problem)
            }
        }
    }
}

impl Socket {
    /// Why it is of no more use, which a write would only notice after it had lost something.
    fn ending(&self) -> Option<Ending> {
        let socket = match self {
            Socket::Udp(_) | Socket::UnixDatagram(_) => return None,
            Socket::Tcp(stream) => SockRef::from(stream),
            Socket::UnixStream(stream) => SockRef::from(stream),
        };
        liveness::ending(&socket, LONGEST_SILENCE)
    }
}

async fn open_udp(address: SocketAddr) -> io::Result<Socket> {
    let any_port: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any_port).await?;
    socket.connect(address).await?;
    Ok(Socket::Udp(socket))
}

async fn open_tcp(address: SocketAddr) -> io::Result<Socket> {
    let stream = TcpStream::connect(address).await?;
    liveness::prepare_tcp(&SockRef::from(&stream))?;
    Ok(Socket::Tcp(stream))
}

/// Ways in which ICMP says that a datagram, not the one at hand, did not arrive.
fn is_about_an_earlier_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Writes everything; the time limit is for each step, so that a slow server may take longer than a dead one.
async fn write_to(
    stream: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    limit: Duration,
) -> Result<(), Interrupted> {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        let problem = match timeout(limit, stream.write(rest)).await {
            Ok(Ok(0)) => io::Error::from(io::ErrorKind::WriteZero).into(),
            Ok(Ok(count)) => {
                taken += count;
                continue;
            }
            Ok(Err(error)) => error.into(),
            Err(_) => Problem::Stalled(limit),
        };
        return Err(Interrupted { taken, problem });
    }
    Ok(())
}

async fn within<T>(limit: Duration, action: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, action).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} ms", limit.as_millis());
        Err(io::Error::new(io::ErrorKind::TimedOut, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    const MINUTE: Duration = Duration::from_secs(60);

    fn connection(server: Server) -> (Connection, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::default());
        (Connection::new(server, clock.clone(), MINUTE, MINUTE), clock)
    }

    fn to_localhost() -> Server {
        Server::Udp(Address { host: "localhost".to_owned(), port: 8125 })
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn a_name_is_looked_up_anew_when_its_time_has_come() {
        let (mut connection, clock) = connection(to_localhost());
        let mut looked_up_at = Vec::new();
        for seconds in [0, 1, 59, 60, 61, 119, 120] {
            clock.set(Duration::from_secs(seconds));
            connection.prepare().await.unwrap();
            looked_up_at.push(connection.looked_up_at.unwrap().as_secs());
        }
        assert_eq!(looked_up_at, [0, 0, 0, 60, 60, 60, 120]);
    }

    #[tokio::test]
    async fn after_a_failure_a_name_is_looked_up_sooner_but_not_all_the_time() {
        let (mut connection, clock) = connection(to_localhost());
        let mut looked_up_at = Vec::new();
        for tenths in [0, 5, 9, 10, 15, 20] {
            clock.set(Duration::from_millis(tenths * 100));
            connection.prepare().await.unwrap();
            looked_up_at.push(connection.looked_up_at.unwrap().as_millis());
            connection.found_nobody();
        }
        assert_eq!(looked_up_at, [0, 0, 0, 1000, 1000, 2000]);
        clock.set(Duration::from_secs(30));
        connection.prepare().await.unwrap();
        clock.set(Duration::from_secs(40));
        connection.prepare().await.unwrap();
        assert_eq!(connection.looked_up_at, Some(Duration::from_secs(30)), "all is well again");
    }

    #[tokio::test]
    async fn a_socket_is_kept_while_the_name_still_leads_to_it() {
        let (mut connection, _) = connection(to_localhost());
        connection.lead_to(vec![address("127.0.0.1:8125"), address("127.0.0.2:8125")]);
        connection.socket = Some(connection.open().await.unwrap());

        connection.lead_to(vec![address("127.0.0.3:8125"), address("127.0.0.1:8125")]);
        assert!(connection.socket.is_some());
        assert_eq!(connection.addresses[0], address("127.0.0.1:8125"));

        connection.lead_to(vec![address("127.0.0.3:8125")]);
        assert!(connection.socket.is_none(), "the server has moved");
        let Socket::Udp(socket) = connection.open().await.unwrap() else { panic!("not a UDP socket") };
        assert_eq!(socket.peer_addr().unwrap(), address("127.0.0.3:8125"));
    }

    #[tokio::test]
    async fn a_name_server_that_fails_does_not_cost_a_socket_that_works() {
        let (mut connection, clock) = connection(to_localhost());
        connection.prepare().await.unwrap();
        // No resolver asks anybody about a name of this length.
        connection.server = Server::Udp(Address { host: "x".repeat(300), port: 8125 });
        clock.set(MINUTE);
        connection.prepare().await.unwrap();
        assert_eq!(connection.looked_up_at, Some(MINUTE));
        connection.socket = None;
        clock.set(MINUTE * 2);
        assert!(connection.prepare().await.is_err());
    }

    #[tokio::test]
    async fn of_several_addresses_the_next_one_is_tried_after_nobody_was_found() {
        let (mut connection, _) = connection(to_localhost());
        let both = [address("127.0.0.1:8125"), address("127.0.0.2:8125")];
        connection.lead_to(both.to_vec());
        connection.socket = Some(connection.open().await.unwrap());
        connection.found_nobody();
        assert!(connection.socket.is_none());
        connection.lead_to(both.to_vec());
        assert_eq!(connection.addresses, [both[1], both[0]], "looking up does not lead back");
    }
}
