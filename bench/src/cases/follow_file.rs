//! Following a file to another file, against the same messages over TCP.

use std::fs;

use anyhow::Context as _;

use crate::cases::tcp_one_file::OUTPUTS;
use crate::context::{Context, Run, Side, median};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str =
    "following a file that is there already, against TCP: the time that the same messages take";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "following a file, time against TCP";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let (over_tcp, following) = (router::config("one-file.toml"), router::config("follow-file.toml"));
    let mut sides: Vec<Side<'_>> = vec![
        ("TCP", Box::new(|| Ok(router::tcp_job(context, &over_tcp, &mix, &OUTPUTS)?.0))),
        ("file", Box::new(|| router::follow_job(context, &following, &mix, &OUTPUTS))),
    ];
    let runs = context.interleave(&mut sides)?;
    let rate = |runs: &[Run]| median(runs.iter().map(|run| run.rate));
    let (tcp, file) = (rate(&runs[0]), rate(&runs[1]));
    let bytes = fs::metadata(mix.folder.join("sent.jsonl")).context("look at the file")?.len();
    // Half of TCP's rate is twice its time.
    let row = Row::value(name, "×", Some(tcp / file), Bound::Value { must: 2.0, aim: 1.11 });
    Ok(vec![row.note(format!(
        "{file:.0} messages/s from a file of {} MiB, its start included; {tcp:.0} over TCP",
        bytes >> 20
    ))])
}
