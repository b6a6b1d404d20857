//! A TCP server to look into, for protocols in which the other side speaks first: whatever it hears is kept in one place.
//!
//! As a second opinion on what the router delivered it knows nothing of the router, and is as simple as it can be: a thread
//! that accepts, and one for each connection.

use std::{
    fmt::Debug,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context;

/// How often it looks whether it shall stop, or somebody connects.
const LOOK: Duration = Duration::from_millis(20);

/// A connection on which nothing makes sense for so long is closed.
const LARGEST_BACKLOG_BYTES: usize = 4 * 1024 * 1024;

/// What a server understands, and keeps.
pub trait Listening: Clone + Debug + Default + Send + 'static {
    /// Takes what is whole from the beginning of `bytes`, and returns what to answer.
    fn hear(&mut self, bytes: &mut Vec<u8>) -> Vec<u8>;
}

/// A running server.
#[derive(Debug)]
pub struct TcpReceiver<L> {
    address: SocketAddr,
    heard: Arc<Mutex<L>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl<L: Listening> TcpReceiver<L> {
    /// Starts it on a port that the operating system chooses.
    pub fn start(name: &str) -> anyhow::Result<TcpReceiver<L>> {
        let listener =
            TcpListener::bind("127.0.0.1:0").with_context(|| format!("cannot open a port for {name}"))?;
        listener.set_nonblocking(true).with_context(|| format!("the {name} port"))?;
        let address = listener.local_addr().with_context(|| format!("the {name} port"))?;
        let heard = Arc::new(Mutex::new(L::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, told) = (heard.clone(), stop.clone());
        let thread = thread::Builder::new()
            .name(format!("demo-{name}"))
            .spawn(move || accept(&listener, &shared, &told))
            .context("cannot start a thread")?;
        Ok(TcpReceiver { address, heard, stop, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it heard so far.
    pub fn heard(&self) -> L {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what the kernel holds, and ends.
    pub fn stop(self) -> L {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has said so; what it kept shows that something is missing.
        let _ = self.thread.join();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn accept<L: Listening>(listener: &TcpListener, heard: &Mutex<L>, stop: &AtomicBool) {
    thread::scope(|scope| {
        loop {
            // Asked before accepting, so that the last look comes after the wish to stop.
            let stopping = stop.load(Ordering::Relaxed);
            match listener.accept() {
                Ok((stream, _)) => {
                    scope.spawn(move || {
                        if let Err(error) = converse(stream, heard, stop) {
                            tracing::debug!(%error, "a connection of the demo's ends");
                        }
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stopping {
                        return;
                    }
                    thread::sleep(LOOK);
                }
                // The connection was gone before it was accepted.
                Err(_) => thread::sleep(LOOK),
            }
        }
    });
}

fn converse<L: Listening>(mut stream: TcpStream, heard: &Mutex<L>, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let stopping = stop.load(Ordering::Relaxed);
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                bytes.extend_from_slice(&piece[..length]);
                let answer = heard.lock().unwrap_or_else(PoisonError::into_inner).hear(&mut bytes);
                stream.write_all(&answer)?;
                if bytes.len() > LARGEST_BACKLOG_BYTES {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "nothing in it makes sense"));
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if stopping {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes lines and answers each with its length.
    #[derive(Debug, Clone, Default)]
    struct Echo(Vec<String>);

    impl Listening for Echo {
        fn hear(&mut self, bytes: &mut Vec<u8>) -> Vec<u8> {
            let mut answer = Vec::new();
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = bytes.drain(..=end).collect();
                answer.push(line.len() as u8);
                self.0.push(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            answer
        }
    }

    #[test]
    fn what_was_sent_before_the_stop_is_heard_on_every_connection() {
        let server = TcpReceiver::<Echo>::start("echo").unwrap();
        let mut first = TcpStream::connect(server.address()).unwrap();
        first.write_all(b"on").unwrap();
        first.write_all(b"e\ntwo\nhal").unwrap();
        let mut answer = [0; 2];
        first.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [4, 4]);
        let mut second = TcpStream::connect(server.address()).unwrap();
        second.write_all(b"three\n").unwrap();
        drop((first, second));
        let mut heard = server.stop().0;
        heard.sort();
        assert_eq!(heard, ["one", "three", "two"]);
    }
}
