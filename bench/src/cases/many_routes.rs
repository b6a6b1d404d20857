//! Many routes against one, over the same messages and into the same file.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cases::tcp_one_file::OUTPUTS;
use crate::context::{Context, Side};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT_TYPES: &str = "1,000 routes on distinct types against one";
pub const ABOUT_LOGGERS: &str = "100 routes on logger, half equality and half prefix, against one";

const TYPES: usize = 1000;
const LOGGERS: usize = 100;

pub fn run_types(context: &Context) -> anyhow::Result<Vec<Row>> {
    let conditions = (0..TYPES).map(|number| format!("type = \"kind-{number:04}\"")).collect();
    let bound = Bound::Ratio { must: 1.15, aim: 1.05 };
    compare(context, "1 → 1,000 routes on type", Variation::Types(TYPES), conditions, bound)
}

pub fn run_loggers(context: &Context) -> anyhow::Result<Vec<Row>> {
    let conditions = (0..LOGGERS)
        .map(|number| match number % 2 {
            0 => format!("logger = \"application-{:02}\"", number / 2),
            _ => format!("logger = {{ prefix = \"service-{:02}.\" }}", number / 2),
        })
        .collect();
    let bound = Bound::Ratio { must: 1.5, aim: 1.1 };
    compare(context, "1 → 100 routes on logger", Variation::Loggers(LOGGERS), conditions, bound)
}

fn compare(
    context: &Context,
    name: &str,
    variation: Variation,
    conditions: Vec<String>,
    bound: Bound,
) -> anyhow::Result<Vec<Row>> {
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let mix = context.mix(variation, context.messages)?;
    let one = write_config(context, "one-route.toml", &conditions[..1])?;
    let many = write_config(context, "many-routes.toml", &conditions)?;
    let mut sides: Vec<Side<'_>> = vec![
        ("one route", Box::new(|| Ok(router::tcp_job(context, &one, &mix, &OUTPUTS)?.0))),
        ("many routes", Box::new(|| Ok(router::tcp_job(context, &many, &mix, &OUTPUTS)?.0))),
    ];
    let runs = context.interleave(&mut sides)?;
    let row = Row::compared(name, &runs[0], &runs[1], bound, None);
    Ok(vec![row.note("the floor's column is the same router with one route".to_owned())])
}

/// One route for each condition, and a catch-all, so that both sides write every message.
fn write_config(context: &Context, name: &str, conditions: &[String]) -> anyhow::Result<PathBuf> {
    let mut text = fs::read_to_string(router::config("many-routes.toml")).context("read many-routes.toml")?;
    for condition in conditions {
        write!(text, "\n[[routes]]\nmatch = {{ {condition} }}\nto = [\"all\"]\n")?;
    }
    text += "\n[[routes]]\nunrouted = true\nto = [\"all\"]\n";
    let path = context.work.join(name);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
