//! What a call of the Rust client costs the thread that makes it.
//!
//! A helper program beside this one makes the calls (`clients/incr.rs`), so that the client is measured in a process
//! of its own. This side receives and counts.

use std::net::UdpSocket;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::context::{Context, median};
use crate::measure::Process;
use crate::os::{self, ReceiveMany};
use crate::report::{Bound, Row, Verdict};

pub const ABOUT: &str = "incr of the Rust client over UDP, 1 and 4 threads: time of the calling thread";

const HELPER: &str = "bench-client-incr";
const BURSTS: usize = 200;
const BURST: usize = 500;
pub(super) const RECEIVE_BUFFER_BYTES: usize = 25 * 1024 * 1024;

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for threads in [1, 4] {
        let plural = if threads == 1 { "" } else { "s" };
        let name = format!("Rust client incr, {threads} thread{plural}");
        if !context.programs.join(HELPER).exists() {
            rows.push(Row::without_figure(
                &name,
                Verdict::Absent(format!("no {HELPER} beside this program")),
            ));
            continue;
        }
        let figures =
            (0..context.rounds).map(|_| one(context, threads)).collect::<anyhow::Result<Vec<f64>>>()?;
        rows.push(Row::value(&name, "ns", Some(median(figures)), Bound::Value { must: 250.0, aim: 100.0 }));
    }
    Ok(rows)
}

/// Nanoseconds a call; an error if anything was dropped or did not arrive.
fn one(context: &Context, threads: usize) -> anyhow::Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    os::set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES).context("set the receive buffer")?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).context("set the timeout")?;
    let mut command = Command::new(context.programs.join(HELPER));
    command.arg("--to").arg(socket.local_addr()?.to_string());
    for (flag, value) in [("--threads", threads), ("--bursts", BURSTS), ("--burst", BURST)] {
        command.arg(flag).arg(value.to_string());
    }
    let ended = AtomicBool::new(false);
    let (received, finished) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| count_messages(&socket, &ended));
        let finished = Process::start(HELPER, command).and_then(Process::wait);
        ended.store(true, Ordering::Relaxed);
        (receiver.join(), finished)
    });
    let finished = finished?;
    finished.require_success(HELPER)?;
    let received = received.map_err(|_| anyhow::anyhow!("the receiver failed"))?;
    let made = threads * BURSTS * BURST;
    let sent: Option<usize> = finished.number_after("sent ");
    let dropped: Option<usize> = finished.number_after("dropped ");
    if received != made || sent != Some(made) || dropped != Some(0) {
        bail!("{made} calls: sent {sent:?}, dropped {dropped:?}, received {received}");
    }
    finished.number_after("nanoseconds ").context("the helper printed no time")
}

/// Messages, not datagrams: one datagram may hold several, separated by line breaks.
pub(super) fn count_messages(socket: &UdpSocket, ended: &AtomicBool) -> usize {
    let mut room = ReceiveMany::new(64, 65_536);
    let mut messages = 0;
    loop {
        match room.receive(socket) {
            Ok(count) => {
                for place in 0..count {
                    let datagram = room.datagram(place);
                    let unfinished = usize::from(!datagram.ends_with(b"\n"));
                    messages += memchr::memchr_iter(b'\n', datagram).count() + unfinished;
                }
            }
            Err(_) if ended.load(Ordering::Relaxed) => return messages,
            Err(_) => {}
        }
    }
}
