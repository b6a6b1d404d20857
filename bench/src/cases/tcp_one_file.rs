//! TCP to one file, no condition.

use crate::context::{Context, Side};
use crate::floor::{self, TcpFloor};
use crate::mix::Variation;
use crate::report::{Bound, Row};
use crate::router;

pub const ABOUT: &str = "TCP, everything to one file, against the one-file floor";

/// The router's one file must be what was sent.
pub const OUTPUTS: [(&str, &str); 1] = [("all.jsonl", "sent.jsonl")];

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let mix = context.mix(Variation::Plain, context.messages)?;
    let config = router::config("one-file.toml");
    let mut sides: Vec<Side<'_>> = vec![("floor", Box::new(|| floor::tcp(context, TcpFloor::OneFile, &mix)))];
    if context.metlog.is_some() {
        sides.push(("router", Box::new(|| Ok(router::tcp_job(context, &config, &mix, &OUTPUTS)?.0))));
    }
    let runs = context.interleave(&mut sides)?;
    Ok(vec![Row::compared(
        "TCP → one file",
        &runs[0],
        runs.get(1).map_or(&[][..], Vec::as_slice),
        Bound::Ratio { must: 2.5, aim: 1.5 },
        Some(TcpFloor::OneFile.void_above()),
    )])
}
