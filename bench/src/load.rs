//! Load on loopback: a TCP replayer, a paced UDP sender, and a prober of lone messages.

use std::fs::File;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::mix::Mix;
use crate::os;

/// A receiver that takes nothing for this long has failed.
const STALL: Duration = Duration::from_secs(60);
/// How much is given to one write.
const WRITE_BYTES: usize = 1 << 20;

/// Sends everything over one connection, as fast as the receiver takes it, and ends the stream.
pub fn replay(address: SocketAddr, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_write_timeout(Some(STALL)).context("set the timeout")?;
    for piece in bytes.chunks(WRITE_BYTES) {
        stream.write_all(piece).with_context(|| format!("send to {address}"))?;
    }
    stream.shutdown(Shutdown::Write).context("end the stream")?;
    Ok(())
}

/// What a paced run really did.
#[derive(Debug, Clone, Copy)]
pub struct Paced {
    /// Datagrams sent.
    pub sent: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// The longest that a datagram left after its time: large when the machine is too busy to keep the rate.
    pub latest: Duration,
}

/// Sends every message of the mix as one datagram, at `rate` a second: each millisecond the share that is due,
/// so that a late tick is made up for by the next one.
pub fn send_paced(address: SocketAddr, mix: &Mix, rate: usize) -> anyhow::Result<Paced> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    socket.connect(address).with_context(|| format!("connect to {address}"))?;
    os::precise_sleeps();
    let begin = Instant::now();
    let mut sent = 0;
    let mut latest = Duration::ZERO;
    while sent < mix.count() {
        let elapsed = begin.elapsed();
        let due = ((elapsed.as_secs_f64() * rate as f64) as usize).min(mix.count());
        if due > sent {
            latest = latest.max(elapsed.saturating_sub(Duration::from_secs_f64(sent as f64 / rate as f64)));
            // One system call takes at most 1,024 datagrams.
            let until = due.min(sent + 1024);
            os::send_many(&socket, (sent..until).map(|place| mix.message(place)))
                .context("send datagrams")?;
            sent = until;
        }
        if sent == due {
            std::thread::sleep(Duration::from_millis(1).saturating_sub(begin.elapsed() - elapsed));
        }
    }
    Ok(Paced { sent, elapsed: begin.elapsed(), latest })
}

/// Times from just before a message is sent until it can be read in the file.
#[derive(Debug, Clone)]
pub struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    /// The time that this share of the messages stayed under (0.99: the 99th percentile).
    pub fn quantile(&self, share: f64) -> Duration {
        let place = ((self.sorted.len() as f64 * share).ceil() as usize).clamp(1, self.sorted.len());
        self.sorted[place - 1]
    }
}

/// Sends `count` lone messages over TCP, one every `interval`, while another thread reads `file` as it grows.
///
/// The reader looks every 20 µs, so that is the resolution. Each line in the file must be the one that was sent.
pub fn probe(
    address: SocketAddr,
    mix: &Mix,
    file: &Path,
    count: usize,
    interval: Duration,
) -> anyhow::Result<Latencies> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true).context("set no delay")?;
    stream.set_write_timeout(Some(STALL)).context("set the timeout")?;
    let sent_at = Mutex::new(Vec::with_capacity(count));
    let seen_at = std::thread::scope(|scope| -> anyhow::Result<Vec<Instant>> {
        let watcher = scope.spawn(|| watch(file, mix, count, interval * count as u32 + STALL));
        os::precise_sleeps();
        let begin = Instant::now();
        for place in 0..count {
            std::thread::sleep((interval * place as u32).saturating_sub(begin.elapsed()));
            let line = &mix.sent[mix.starts[place]..mix.starts[place + 1]];
            sent_at.lock().map_err(|_| anyhow::anyhow!("the watcher failed"))?.push(Instant::now());
            stream.write_all(line).context("send a message")?;
        }
        watcher.join().map_err(|_| anyhow::anyhow!("the watcher failed"))?
    })?;
    let sent_at = sent_at.into_inner().map_err(|_| anyhow::anyhow!("the watcher failed"))?;
    let mut sorted: Vec<Duration> =
        seen_at.iter().zip(&sent_at).map(|(seen, sent)| seen.saturating_duration_since(*sent)).collect();
    sorted.sort_unstable();
    Ok(Latencies { sorted })
}

/// Notes when each message is complete in the file.
fn watch(path: &Path, mix: &Mix, count: usize, timeout: Duration) -> anyhow::Result<Vec<Instant>> {
    os::precise_sleeps();
    let deadline = Instant::now() + timeout;
    let mut seen = Vec::with_capacity(count);
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    let mut file = None;
    while seen.len() < count {
        if Instant::now() > deadline {
            bail!("{} of {count} messages came into {}", seen.len(), path.display());
        }
        if file.is_none() {
            file = File::open(path).ok();
        }
        let read = match &file {
            Some(file) => file.read_at(&mut buffer, offset as u64).context("read the output")?,
            None => 0,
        };
        let now = Instant::now();
        if mix.sent.get(offset..offset + read) != Some(&buffer[..read]) {
            bail!("{} does not hold what was sent, near byte {offset}", path.display());
        }
        offset += read;
        while seen.len() < count && mix.starts[seen.len() + 1] <= offset {
            seen.push(now);
        }
        if read == 0 {
            std::thread::sleep(Duration::from_micros(20));
        }
    }
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Variation;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn quantiles_are_of_the_sorted_times() {
        let latencies = Latencies { sorted: (1..=100).map(Duration::from_micros).collect() };
        assert_eq!(latencies.quantile(0.5), Duration::from_micros(50));
        assert_eq!(latencies.quantile(0.99), Duration::from_micros(99));
        assert_eq!(latencies.quantile(1.0), Duration::from_micros(100));
    }

    #[test]
    fn a_paced_run_sends_everything_at_its_rate() {
        let folder = tempfile::tempdir().unwrap();
        let mix = Mix::write(folder.path(), Variation::Plain, 200).unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let paced = send_paced(receiver.local_addr().unwrap(), &mix, 2000).unwrap();
        assert_eq!(paced.sent, 200);
        assert!(paced.elapsed >= Duration::from_millis(95), "{paced:?}");
        let mut buffer = vec![0; 65_536];
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], mix.message(0));
    }

    #[test]
    fn the_prober_sees_each_message_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let mix = Mix::write(folder.path(), Variation::Plain, 20).unwrap();
        let output = folder.path().join("all.jsonl");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let path = output.clone();
        let copier = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            let mut file = File::create(path).unwrap();
            let mut buffer = vec![0; 65_536];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                file.write_all(&buffer[..count]).unwrap();
            }
        });
        let latencies = probe(address, &mix, &output, 20, Duration::from_millis(1)).unwrap();
        assert!(latencies.quantile(0.5) > Duration::ZERO);
        copier.join().unwrap();
    }
}
