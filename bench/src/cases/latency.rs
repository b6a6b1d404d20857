//! A lone message each millisecond: how long until it can be read in the file.

use std::time::Duration;

use crate::context::{Context, median};
use crate::load;
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router::{self, Router};

pub const ABOUT: &str = "one message a millisecond over TCP: time from send to readable in the file";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "lone message, p99";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let count = context.udp_seconds * 1000;
    let mix = context.mix(Variation::Plain, count)?;
    let config = router::config("one-file.toml");
    let mut found = Vec::new();
    for _ in 0..context.rounds {
        let folder = context.fresh_folder("router")?;
        let router = Router::start(context, &config, &folder, "tcp")?;
        let latencies =
            load::probe(router.input, &mix, &folder.join("all.jsonl"), count, Duration::from_millis(1))?;
        router.stop()?;
        found.push(latencies);
    }
    let milliseconds =
        |share: f64| median(found.iter().map(|latencies| latencies.quantile(share).as_secs_f64() * 1e3));
    let row = Row::value(name, "ms", Some(milliseconds(0.99)), Bound::Value { must: 5.0, aim: 1.0 });
    Ok(vec![row.note(format!("p50 {:.3} ms, max {:.2} ms", milliseconds(0.5), milliseconds(1.0)))])
}
