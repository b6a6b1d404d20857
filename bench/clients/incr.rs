//! Measures `incr` of the Rust client on the thread that calls it, in a process of its own.
//!
//! Usage: `bench-client-incr --to IP:PORT --threads N --bursts B --burst C`. Every thread makes C calls in each of B
//! bursts; all threads begin a burst together, and between bursts the queue is emptied, outside the measured time.
//! Prints `nanoseconds N` (CPU time of the calling thread for one call: the median over all bursts), `sent N` and
//! `dropped N`.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use metlog::senders::UdpSender;
use metlog_bench::context::median;
use metlog_bench::os::thread_cpu_time;

const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    to: String,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    bursts: usize,
    #[arg(long)]
    burst: usize,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let sender = UdpSender::new(&arguments.to).context("the destination")?;
    let client =
        metlog::Client::builder().logger("bench").sender(sender).build().context("start the client")?;
    let barrier = Barrier::new(arguments.threads);
    let times: Vec<f64> = thread::scope(|scope| -> anyhow::Result<Vec<f64>> {
        let threads: Vec<_> =
            (0..arguments.threads).map(|_| scope.spawn(|| call(&client, &barrier, &arguments))).collect();
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| anyhow::anyhow!("a calling thread failed"))?);
        }
        Ok(times)
    })?;
    ensure!(client.flush(FLUSH_TIMEOUT), "the queue was not emptied");
    let stats = client.stats();
    println!("nanoseconds {:.1}", median(times));
    println!("sent {}", stats.sent);
    println!("dropped {}", stats.dropped());
    Ok(())
}

/// Nanoseconds a call, for each burst.
fn call(client: &metlog::Client, barrier: &Barrier, arguments: &Arguments) -> Vec<f64> {
    let mut times = Vec::with_capacity(arguments.bursts);
    for _ in 0..arguments.bursts {
        barrier.wait();
        let begin = thread_cpu_time();
        for _ in 0..arguments.burst {
            client.incr("bench.calls");
        }
        let time = thread_cpu_time().saturating_sub(begin);
        times.push(time.as_nanos() as f64 / arguments.burst as f64);
        if barrier.wait().is_leader() {
            client.flush(FLUSH_TIMEOUT);
            // The receiver shares the machine: without a moment for it, the kernel would drop what it has no room for.
            thread::sleep(PAUSE);
        }
    }
    times
}
