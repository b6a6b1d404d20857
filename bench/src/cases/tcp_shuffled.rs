//! The main job with keys in any order and `type` last, against the same router with `type` first.

use crate::cases::tcp_three_files::OUTPUTS;
use crate::context::{Context, Side};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str = "the main job with shuffled keys and type last, against keys in the usual order";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "shuffled keys, type last";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let usual = context.mix(Variation::Plain, context.messages)?;
    let shuffled = context.mix(Variation::Shuffled, context.messages)?;
    let config = router::config("three-files.toml");
    let mut sides: Vec<Side<'_>> = vec![
        ("usual order", Box::new(|| Ok(router::tcp_job(context, &config, &usual, &OUTPUTS)?.0))),
        ("shuffled", Box::new(|| Ok(router::tcp_job(context, &config, &shuffled, &OUTPUTS)?.0))),
    ];
    let runs = context.interleave(&mut sides)?;
    let row = Row::compared(name, &runs[0], &runs[1], Bound::Ratio { must: 1.3, aim: 1.1 }, None);
    Ok(vec![row.note("the floor's column is the same router with the usual order".to_owned())])
}
