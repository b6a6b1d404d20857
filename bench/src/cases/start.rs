//! From starting the process to the first connection that it takes.

use std::net::TcpStream;

use anyhow::Context as _;

use crate::context::{Context, median};
use crate::report::{Bound, Row, Verdict};
use crate::router::{self, Router};

pub const ABOUT: &str = "from starting the process to the first connection";

/// Starts a round: one takes milliseconds.
const STARTS: usize = 4;

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "start to listening";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let config = router::config("three-files.toml");
    let mut found = Vec::new();
    for _ in 0..=context.rounds * STARTS {
        let folder = context.fresh_folder("router")?;
        let router = Router::start_input_only(context, &config, &folder, "tcp")?;
        TcpStream::connect(router.input).context("connect to the started router")?;
        found.push(router.started().elapsed().as_secs_f64() * 1e3);
        router.stop()?;
    }
    // The first start reads the program from disk: it does not count.
    let measured = &found[1..];
    let row = Row::value(
        name,
        "ms",
        Some(median(measured.iter().copied())),
        Bound::Value { must: 50.0, aim: 15.0 },
    );
    let longest = measured.iter().copied().fold(0.0, f64::max);
    Ok(vec![row.note(format!(
        "{} starts, longest {longest:.1} ms; until it printed its address and took a connection",
        measured.len()
    ))])
}
