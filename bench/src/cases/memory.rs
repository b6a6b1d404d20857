//! Peak memory under the main job while one endpoint is down.

use crate::cases::{ledger_note, peak_mebibytes, tcp_three_files};
use crate::context::Context;
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str = "peak memory under the main job, a dead endpoint included";

/// Four endpoints with the default buffer of 8 MiB each: what `configs/dead-endpoint.toml` may keep.
const BUFFERS_MEBIBYTES: f64 = 4.0 * 8.0;

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "peak memory, one endpoint dead";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let config = router::config("dead-endpoint.toml");
    let (run, ledger) = router::tcp_job_with_loss(context, &config, &mix, &tcp_three_files::OUTPUTS)?;
    let bound = Bound::Value { must: 64.0 + BUFFERS_MEBIBYTES, aim: 32.0 };
    let row = Row::value(name, "MiB", Some(peak_mebibytes(&[run])), bound);
    Ok(vec![row.note(ledger_note(ledger)).note(format!("must: 64 MiB + {BUFFERS_MEBIBYTES} MiB of buffers"))])
}
