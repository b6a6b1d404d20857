//! What the tests share: receivers on ports that the system chooses, and waiting for a condition.

// Each test binary uses its own part of this.
#![allow(dead_code)]
// A test that fails panics; clippy cannot see that these are tests.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read};
use std::net::{TcpListener, UdpSocket};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for the slowest machine; a test that works never waits so long.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
pub fn parse(text: impl AsRef<[u8]>) -> Value {
    let text = text.as_ref();
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}

/// A UDP receiver.
pub struct Udp {
    socket: UdpSocket,
    pub address: String,
}

impl Udp {
    pub fn bind() -> Udp {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_recv_buffer_size(4 << 20).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        let socket: UdpSocket = socket.into();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let address = socket.local_addr().unwrap().to_string();
        Udp { socket, address }
    }

    pub fn datagram(&self) -> Vec<u8> {
        let mut buffer = vec![0; 70_000];
        let length = self.socket.recv(&mut buffer).expect("a datagram");
        buffer.truncate(length);
        buffer
    }

    /// The next messages, however they are packed.
    pub fn messages(&self, count: usize) -> Vec<Value> {
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.extend(self.datagram().split(|byte| *byte == b'\n').map(parse));
        }
        messages
    }
}

/// The lines of one connection, and its end as a closed channel. A part of a line at the end is not a line.
pub fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 0 {
            if line.pop() != Some('\n') || lines.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    receiver
}

pub fn tcp_listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A port where nobody listens until the test does, and that nobody else is given in between.
pub fn silent_tcp_port(address: &str) -> (socket2::Socket, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    // Connections of before may still be on their way out.
    socket.set_reuse_address(true).unwrap();
    socket.bind(&address.parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap().to_string();
    (socket, address)
}

/// A listener whose connections take little into the kernel's memory.
pub fn narrow_tcp_listener() -> (TcpListener, String) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(8).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

pub fn payloads(messages: &[Value]) -> Vec<&str> {
    messages.iter().map(|message| message["payload"].as_str().unwrap()).collect()
}
