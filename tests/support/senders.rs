//! Sending bytes to a router, as its generators do.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{Router, messages, wait};

/// The longest datagram that UDP carries over IPv4.
pub const LARGEST_DATAGRAM: usize = 65_507;

/// Datagrams that may be under way at once: fewer than the smallest receive buffer holds.
const BYTES_UNDER_WAY: usize = 128 * 1024;

/// Sends over a new TCP connection and closes it.
pub fn tcp(address: SocketAddr, bytes: &[u8]) {
    TcpStream::connect(address).expect("connect").write_all(bytes).expect("send");
}

/// Sends over a new connection to a Unix socket and closes it.
pub fn unix_stream(path: &str, bytes: &[u8]) {
    UnixStream::connect(path).expect("connect").write_all(bytes).expect("send");
}

/// What a load sends at most: also when a test fails and never tells it to stop, it ends, and the disk is not full.
const LARGEST_LOAD: usize = 3_000_000;

/// Sends numbered messages of one logger over one connection until it is told to stop; returns how many.
pub fn numbered_until(stop: &AtomicBool, address: SocketAddr, logger: &str) -> usize {
    let mut stream = TcpStream::connect(address).expect("connect");
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) && sent < LARGEST_LOAD {
        let lines: Vec<String> =
            (sent..sent + 50).map(|number| messages::numbered_one(logger, number, 150)).collect();
        stream.write_all(messages::text_of(&lines).as_bytes()).expect("send");
        sent += 50;
        // A load, but a bounded one: what a test writes must not outgrow the disk when the rest of it is slow.
        thread::sleep(Duration::from_millis(1));
    }
    sent
}

/// Sends numbered messages over one connection while `act` runs; returns how many.
pub fn under_load<T>(address: SocketAddr, act: impl FnOnce() -> T) -> (usize, T) {
    /// Also when something fails meanwhile: the sender must not go on for ever.
    struct Stop<'s>(&'s AtomicBool);

    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stopping = Stop(&stop);
        let sender = scope.spawn(|| numbered_until(&stop, address, "load"));
        let outcome = act();
        drop(stopping);
        (sender.join().expect("send"), outcome)
    })
}

/// A socket that sends datagrams to a router's UDP input.
pub fn udp_socket(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.connect(address).expect("connect");
    socket
}

/// Sends a datagram for each frame, and never more at once than the kernel holds. Each must be a single line.
pub fn udp<F: AsRef<[u8]>>(router: &Router, input: &str, frames: &[F]) {
    let socket = udp_socket(router.address(input));
    let before = router.ledger().received(input);
    let mut under_way = 0;
    for (number, frame) in frames.iter().enumerate() {
        let frame = frame.as_ref();
        if under_way + frame.len() > BYTES_UNDER_WAY {
            let sent = before + number as u64;
            wait::until("the datagrams sent so far were received", || {
                (router.ledger().received(input) >= sent).then_some(())
            });
            under_way = 0;
        }
        socket.send(frame).expect("send a datagram");
        under_way += frame.len() + 1024;
    }
}

/// Sends a datagram for each frame to a Unix socket. The kernel makes the sender wait while the socket is full.
pub fn unix_datagrams<F: AsRef<[u8]>>(path: &str, frames: &[F]) {
    let socket = UnixDatagram::unbound().expect("make a socket");
    for frame in frames {
        socket.send_to(frame.as_ref(), path).expect("send a datagram");
    }
}
