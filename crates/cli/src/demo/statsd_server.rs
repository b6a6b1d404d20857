//! A statsd server to look into: it takes lines on a loopback port and keeps what they add up to.
//!
//! It is a second opinion on what the router delivered, so it counts by itself and knows nothing of the router.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;
use socket2::SockRef;

/// How often it looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);

/// The socket's buffer, asked for; the system may give less.
const RECEIVE_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The latest times of a timer that its percentiles are taken of.
const KEPT_TIMES: usize = 1000;

/// What the lines added up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Received {
    /// All lines that make sense.
    pub lines: u64,
    /// Lines that do not.
    pub nonsense: u64,
    /// By name, with sample rates made up for.
    pub counters: BTreeMap<String, f64>,
    /// By name, the latest times in milliseconds.
    pub timers: BTreeMap<String, VecDeque<f64>>,
    /// By name, the last value.
    pub gauges: BTreeMap<String, f64>,
    /// The last line.
    pub last_line: Option<String>,
}

/// A running server.
#[derive(Debug)]
pub struct StatsdServer {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl StatsdServer {
    /// Starts it on a port that the operating system chooses.
    pub fn start() -> anyhow::Result<StatsdServer> {
        let socket = UdpSocket::bind("127.0.0.1:0").context("cannot open a port for statsd")?;
        socket.set_read_timeout(Some(LOOK)).context("the statsd port")?;
        // A wish, and plenty without it.
        let _ = SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        let address = socket.local_addr().context("the statsd port")?;
        let received = Arc::new(Mutex::new(Received::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, told) = (received.clone(), stop.clone());
        let thread = thread::Builder::new()
            .name("demo-statsd".to_owned())
            .spawn(move || serve(&socket, &shared, &told))
            .context("cannot start a thread")?;
        Ok(StatsdServer { address, received, stop, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came so far.
    pub fn received(&self) -> Received {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what the kernel holds, and ends.
    pub fn stop(self) -> Received {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has said so; what it counted shows that something is missing.
        let _ = self.thread.join();
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(socket: &UdpSocket, received: &Mutex<Received>, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    loop {
        // Asked before reading, so that the last read comes after the wish to stop.
        let stopping = stop.load(Ordering::Relaxed);
        match socket.recv(&mut buffer) {
            Ok(length) => received.lock().unwrap_or_else(PoisonError::into_inner).take(&buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if stopping {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::error!(%error, "the demo's statsd server ends");
                return;
            }
        }
    }
}

impl Received {
    fn take(&mut self, datagram: &[u8]) {
        for line in String::from_utf8_lossy(datagram).lines().filter(|line| !line.is_empty()) {
            match self.take_line(line) {
                Some(()) => self.lines += 1,
                None => self.nonsense += 1,
            }
            self.last_line = Some(line.to_owned());
        }
    }

    /// `name:value|type` and perhaps `|@rate`.
    fn take_line(&mut self, line: &str) -> Option<()> {
        let (name, rest) = line.split_once(':')?;
        let mut parts = rest.split('|');
        let value: f64 = parts.next()?.parse().ok()?;
        let kind = parts.next()?;
        let rate: f64 = match parts.next() {
            Some(rate) => rate.strip_prefix('@')?.parse().ok().filter(|rate| *rate > 0.0)?,
            None => 1.0,
        };
        match kind {
            "c" => *self.counters.entry(name.to_owned()).or_default() += value / rate,
            "g" => drop(self.gauges.insert(name.to_owned(), value)),
            "ms" => {
                let times = self.timers.entry(name.to_owned()).or_default();
                if times.len() == KEPT_TIMES {
                    times.pop_front();
                }
                times.push_back(value);
            }
            _ => return None,
        }
        Some(())
    }

    /// The time that this part of a timer's latest times stays below.
    pub fn percentile(&self, timer: &str, part: f64) -> Option<f64> {
        let mut times: Vec<f64> = self.timers.get(timer)?.iter().copied().collect();
        times.sort_by(f64::total_cmp);
        times.get(((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1))).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up() {
        let mut received = Received::default();
        received.take(b"hits:1|c\nhits:2|c|@0.5\nload:0.5|g\nload:0.7|g\ntime:10|ms\ntime:30|ms\n");
        received.take(b"nonsense\nhits:x|c\nhits:1|h\nhits:1|c|@0\n");
        assert_eq!((received.lines, received.nonsense), (6, 4));
        assert_eq!(received.counters["hits"], 5.0);
        assert_eq!(received.gauges["load"], 0.7);
        assert_eq!(received.percentile("time", 0.99), Some(30.0));
        assert_eq!(received.percentile("time", 0.0), Some(10.0));
        assert_eq!(received.percentile("nothing", 0.5), None);
    }

    #[test]
    fn what_was_sent_before_the_stop_is_counted() {
        let server = StatsdServer::start().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            socket.send_to(b"hits:1|c\n", server.address()).unwrap();
        }
        assert_eq!(server.stop().counters["hits"], 100.0);
    }
}
