//! A lone message each millisecond: how long until it can be read in the file.

//!
//! The same load on a thread that only copies from the socket to the file says what the machine itself adds, for
//! example when it is busy.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::context::{Context, median};
use crate::load::{self, Latencies};
use crate::mix::{Mix, Variation};
use crate::report::{Bound, Row};
use crate::router::{self, Router};

pub const ABOUT: &str = "one message a millisecond over TCP: time from send to readable in the file";

const INTERVAL: Duration = Duration::from_millis(1);

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let count = context.udp_seconds * 1000;
    let mix = context.mix(Variation::Plain, count)?;
    let config = router::config("one-file.toml");
    let (mut copied, mut routed) = (Vec::new(), Vec::new());
    for _ in 0..context.rounds {
        copied.push(copier(&context.fresh_folder("floor")?, &mix)?);
        if context.metlog.is_some() {
            let folder = context.fresh_folder("router")?;
            let router = Router::start(context, &config, &folder, "tcp")?;
            routed.push(load::probe(router.input, &mix, &folder.join("all.jsonl"), count, INTERVAL)?);
            router.stop()?;
        }
    }
    let p99 = (!routed.is_empty()).then(|| milliseconds(&routed, 0.99));
    let mut row = Row::value("lone message, p99", "ms", p99, Bound::Value { must: 5.0, aim: 1.0 });
    row.floor = Some(milliseconds(&copied, 0.99));
    if !routed.is_empty() {
        row = row.note(shown("router", &routed));
    }
    Ok(vec![row.note(shown("a bare copy", &copied))])
}

/// The median over the rounds of this quantile.
fn milliseconds(rounds: &[Latencies], share: f64) -> f64 {
    median(rounds.iter().map(|latencies| latencies.quantile(share).as_secs_f64() * 1e3))
}

fn shown(name: &str, rounds: &[Latencies]) -> String {
    format!("{name}: p50 {:.3} ms, max {:.2} ms", milliseconds(rounds, 0.5), milliseconds(rounds, 1.0))
}

/// The probe of a thread that writes what it reads, at once.
fn copier(folder: &Path, mix: &Mix) -> anyhow::Result<Latencies> {
    let path = folder.join("all.jsonl");
    let mut file = File::create(&path).context("create the copy")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let copying = scope.spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match stream.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => file.write_all(&buffer[..count])?,
                }
            }
        });
        let latencies = load::probe(address, mix, &path, mix.count(), INTERVAL)?;
        copying.join().map_err(|_| anyhow::anyhow!("the copier failed"))?.context("copy")?;
        Ok(latencies)
    })
}
