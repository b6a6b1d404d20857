//! The size of the release binary as it is shipped.

use std::fs;

use anyhow::Context as _;

use crate::context::Context;
use crate::report::{Bound, Row, Verdict};

pub const ABOUT: &str = "the size of the release binary";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "release binary";
    let Some(path) = &context.metlog else {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    };
    let bytes = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.len();
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    Ok(vec![Row::value(name, "MiB", Some(mebibytes), Bound::Value { must: 20.0, aim: 10.0 })])
}
