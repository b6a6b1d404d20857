//! What `incr` costs the application: CPU time of the calling thread, over UDP to a receiver that counts.
//!
//! ```sh
//! cargo run --release -p metlog --example incr_cost
//! ```
//!
//! Each thread sends bursts that together fit the queue, and waits until they have arrived. The run says how many
//! messages arrived; a number is worth something only if that is all of them.

#![allow(unsafe_code)]

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use metlog::Client;
use metlog::senders::{NoopSender, UdpSender};

const ROUNDS: u64 = 50;
const MESSAGES_PER_ROUND: u64 = 12_000;

/// CPU time that the calling thread has used, in nanoseconds.
fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for writing and lives through the call.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Counts messages, which are lines within datagrams.
fn count_messages(socket: &UdpSocket, received: &AtomicU64, stop: &AtomicBool) {
    let mut buffer = [0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = socket.recv(&mut buffer) {
            let lines = buffer[..length].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            received.fetch_add(lines, Ordering::Relaxed);
        }
    }
}

/// Sends bursts from some threads and returns the nanoseconds per call in each, best and mean.
fn measure(client: &Client, threads: u64, arrived: &(dyn Fn() -> u64 + Sync)) -> (f64, f64) {
    let burst = MESSAGES_PER_ROUND / threads;
    let start = Barrier::new(threads as usize);
    let base = arrived();
    let mut totals = vec![0; threads as usize];
    let mut best = vec![u64::MAX; threads as usize];
    std::thread::scope(|scope| {
        for (total, best) in totals.iter_mut().zip(&mut best) {
            let start = &start;
            scope.spawn(move || {
                for round in 0..=ROUNDS {
                    start.wait();
                    let before = thread_cpu_ns();
                    for _ in 0..burst {
                        client.incr("requests.served");
                    }
                    let cost = thread_cpu_ns() - before;
                    // The first round touches the queue's memory for the first time.
                    if round > 0 {
                        *total += cost;
                        *best = cost.min(*best);
                    }
                    let due = base + (round + 1) * burst * threads;
                    let deadline = Instant::now() + Duration::from_secs(5);
                    while arrived() < due && Instant::now() < deadline {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            });
        }
    });
    let calls = (burst * ROUNDS * threads) as f64;
    let best = best.into_iter().min().unwrap_or(0) as f64 / burst as f64;
    (totals.into_iter().sum::<u64>() as f64 / calls, best)
}

fn report(name: &str, client: &Client, threads: u64, arrived: &(dyn Fn() -> u64 + Sync)) {
    let (before, base) = (client.stats(), arrived());
    let (mean, best) = measure(client, threads, arrived);
    client.flush(Duration::from_secs(5));
    let stats = client.stats();
    println!(
        "{name:<6} {threads} thread(s): {mean:6.1} ns per call, best burst {best:6.1} ns; \
         accepted {}, dropped {}, received {}",
        stats.accepted - before.accepted,
        stats.dropped() - before.dropped(),
        arrived() - base,
    );
}

/// What single calls cost that come after some silence, on average.
fn lone_call(calls: u64, silence: Duration, call: impl Fn()) -> u64 {
    let mut total = 0;
    for _ in 0..calls {
        std::thread::sleep(silence);
        let before = thread_cpu_ns();
        call();
        total += thread_cpu_ns() - before;
    }
    total / calls
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // What the system allows; a refusal shows as messages that did not arrive.
    let _ = socket.set_recv_buffer_size(25 * 1024 * 1024);
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>()?.into())?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let socket: UdpSocket = socket.into();
    let address = socket.local_addr()?.to_string();

    let received = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let receiver = std::thread::spawn({
        let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
        move || count_messages(&socket, &received, &stop)
    });

    let udp = Client::builder().logger("shop").sender(UdpSender::new(&address)?).build()?;
    let noop = Client::builder().logger("shop").sender(NoopSender).build()?;
    let arrived = || received.load(Ordering::Relaxed);
    for threads in [1, 4] {
        report("udp", &udp, threads, &arrived);
        report("noop", &noop, threads, &|| noop.stats().sent);
    }

    let (short, long) = (Duration::from_millis(40), Duration::from_secs(3));
    println!(
        "udp    lone calls, caches cold: {} ns every 40 ms; {} ns after 3 s of silence, which wakes the sending \
         thread; measuring alone: {} ns",
        lone_call(50, short, || udp.incr("requests.served")),
        lone_call(3, long, || udp.incr("requests.served")),
        lone_call(50, short, || ()),
    );

    stop.store(true, Ordering::Relaxed);
    receiver.join().map_err(|_| "the receiver panicked")?;
    Ok(())
}
