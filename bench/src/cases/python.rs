//! What calls of the Python client cost the thread that makes them.
//!
//! A Python program makes the calls (`clients/python/bench/calls.py`), all kinds of them in turn, with the package as
//! `scripts/python` has installed it. This side receives and counts.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::client_calls::{RECEIVE_BUFFER_BYTES, count_messages};
use crate::context::Context;
use crate::os;
use crate::report::{Bound, Row, Verdict};

pub const ABOUT: &str =
    "calls of the Python client over UDP, and logging through it: time of the calling thread";

const PYTHON: &str = "clients/python/.venv/bin/python";
const PROGRAM: &str = "clients/python/bench/calls.py";

/// Bursts of each kind of call, for each round of the session.
const BURSTS_PER_ROUND: usize = 20;

/// The calls that are held to something, in microseconds: what each must and should cost.
const CALLS: [(&str, f64, f64); 3] =
    [("incr", 1.2, 0.6), ("metlog, 5 fields", 2.5, 1.2), ("with timer", 1.5, 0.8)];

/// The other ways of the same calls, for information.
const WAYS: [&str; 2] = [", by Python", ", plain Python"];

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    if !Path::new(PYTHON).exists() {
        let reason = format!("no {PYTHON}: `scripts/python --build` makes it");
        return Ok(vec![Row::without_figure("Python client", Verdict::Absent(reason))]);
    }
    let figures = measure(context)?;
    let row = |name: &str| -> anyhow::Result<&Value> {
        let rows = figures["rows"].as_array().context("no rows")?;
        rows.iter().find(|row| row["name"] == name).with_context(|| format!("no row {name}"))
    };
    let microseconds = |row: &Value, key: &str| row[key].as_f64().map(|nanoseconds| nanoseconds / 1000.0);
    let mut rows = Vec::new();
    for (name, must, aim) in CALLS {
        for way in std::iter::once("").chain(WAYS) {
            let figures = row(&format!("{name}{way}"))?;
            let bound = if way.is_empty() { Bound::Value { must, aim } } else { Bound::None };
            let cost = microseconds(figures, "ns");
            let mut row = Row::value(&format!("Python client {name}{way}"), "µs", cost, bound);
            if let Some(sending) = microseconds(figures, "sending_ns") {
                let encoder = if way.is_empty() { "the encoder is part of the call; " } else { "" };
                row = row.note(format!("{encoder}{sending:.2} µs of the sending thread a message"));
            }
            rows.push(row);
        }
    }
    let cost = |name| row(name).map(|row| microseconds(row, "ns"));
    let (ours, file) = (cost("logging, LogHandler")?, cost("logging, FileHandler with JSON")?);
    let lean = cost("logging, FileHandler with lean JSON")?.unwrap_or(0.0);
    let empty = cost("logging, NullHandler")?.unwrap_or(0.0);
    let mut logging =
        Row::value("Python logging through it", "µs", ours, Bound::Ratio { must: 0.7, aim: 0.55 });
    logging.floor = file;
    logging.ratio = ours.zip(file).map(|(ours, file)| ours / file);
    logging.judge();
    rows.push(logging.note(format!(
        "the floor's column is the standard FileHandler with a JSON formatter that writes the same fields; {lean:.2} µs \
         with one that writes four of them, {empty:.2} µs with a handler that does nothing"
    )));
    let rate = |key: &str| figures["calls_per_second"][key].as_f64().context("no calls per second");
    let (one, many) = (rate("one")?, rate("many")?);
    let mut threads = Row::value(
        "Python client incr, 8 threads",
        "calls/s",
        Some(many),
        Bound::Ratio { must: 1.11, aim: 1.0 },
    );
    threads.floor = Some(one);
    threads.ratio = Some(one / many);
    threads.judge();
    let nothing = rate("nothing, one")? / rate("nothing, many")?;
    rows.push(threads.note(format!(
        "the floor's column is one thread, and the ratio its calls per second against theirs; {nothing:.2} × for calls of a \
         C function that does nothing, which is the interpreter's own part"
    )));
    Ok(rows)
}

/// The figures of the program; an error if anything was dropped or did not arrive.
fn measure(context: &Context) -> anyhow::Result<Value> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    os::set_receive_buffer(&socket, RECEIVE_BUFFER_BYTES).context("set the receive buffer")?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).context("set the timeout")?;
    let mut command = Command::new(PYTHON);
    command.arg(PROGRAM).arg("--to").arg(socket.local_addr()?.to_string());
    command.arg("--bursts").arg((BURSTS_PER_ROUND * context.rounds).to_string());
    let ended = AtomicBool::new(false);
    let (received, output) = std::thread::scope(|scope| {
        let receiver = scope.spawn(|| count_messages(&socket, &ended));
        let output = command.output();
        ended.store(true, Ordering::Relaxed);
        (receiver.join(), output)
    });
    let output = output.context("start Python")?;
    if !output.status.success() {
        bail!("{PROGRAM}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let received = received.map_err(|_| anyhow::anyhow!("the receiver failed"))?;
    let figures: Value = serde_json::from_slice(&output.stdout).context("read the figures")?;
    if figures["sent"] != received || figures["dropped"] != 0 {
        bail!("sent {}, dropped {}, received {received}", figures["sent"], figures["dropped"]);
    }
    Ok(figures)
}
