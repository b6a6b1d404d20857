//! Floor: the least that a program does which only counts datagrams, many a system call.
//!
//! Usage: `floor-udp-count`. Prints `listening ADDRESS` and `receive-buffer BYTES`; at SIGTERM it takes what the
//! kernel still holds and prints `lines N`.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use anyhow::Context;
use metlog_bench::os::{self, ReceiveMany};

const RECEIVE_BUFFER_BYTES: usize = 25 * 1024 * 1024;
const DATAGRAMS: usize = 64;
const DATAGRAM_BYTES: usize = 65_536;

fn main() -> anyhow::Result<()> {
    os::stop_when_told();
    let socket = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    let granted = os::set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES).context("set the receive buffer")?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).context("set the timeout")?;
    println!("listening {}", socket.local_addr()?);
    println!("receive-buffer {granted}");

    let mut room = ReceiveMany::new(DATAGRAMS, DATAGRAM_BYTES);
    let mut datagrams = 0;
    loop {
        match room.receive(&socket) {
            Ok(count) => datagrams += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                // Nothing came for a while: the end, if somebody asked for it.
                if os::told_to_stop() {
                    break;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("receive"),
        }
    }
    println!("lines {datagrams}");
    Ok(())
}
