//! TCP to another router: what passing messages on costs, against writing them to a file.

use crate::context::{Context, Side};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

use super::tcp_one_file::OUTPUTS;

pub const ABOUT: &str = "TCP, everything to a second router: CPU of the first, against TCP to one file";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "TCP → router → router, first";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let (to_file, to_router) = (router::config("one-file.toml"), router::config("to-router.toml"));
    let mut sides: Vec<Side<'_>> = vec![
        ("to a file", Box::new(|| Ok(router::tcp_job(context, &to_file, &mix, &OUTPUTS)?.0))),
        ("to a router", Box::new(|| router::tcp_chain_job(context, &to_router, &to_file, &mix, &OUTPUTS))),
    ];
    let runs = context.interleave(&mut sides)?;
    let row = Row::compared(name, &runs[0], &runs[1], Bound::Ratio { must: 1.3, aim: 1.1 }, None);
    Ok(vec![row.note("the floor's column is the same router with a file endpoint".to_owned())])
}
