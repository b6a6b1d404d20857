//! Following a file to another file, against the same messages over TCP.

use crate::cases::tcp_one_file::OUTPUTS;
use crate::context::{Context, Run, Side, median};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str =
    "following a file of 1 GiB that is there already, against TCP: the time that the same messages take";

/// Of each line, with its break.
const LINE_BYTES: usize = 200;
/// The file's length in a run with as many messages as the other cases have by default; shorter with fewer.
const FILE_BYTES: usize = 1 << 30;
const DEFAULT_MESSAGES: usize = 1_000_000;

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let name = "following a file, time against TCP";
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(name, Verdict::NoRouter)]);
    }
    let share = context.messages.min(DEFAULT_MESSAGES) as f64 / DEFAULT_MESSAGES as f64;
    let lines = (share * (FILE_BYTES / LINE_BYTES) as f64) as usize;
    let mix = context.mix(Variation::Lines(LINE_BYTES), lines)?;
    let (over_tcp, following) = (router::config("one-file.toml"), router::config("follow-file.toml"));
    let mut sides: Vec<Side<'_>> = vec![
        ("TCP", Box::new(|| Ok(router::tcp_job(context, &over_tcp, &mix, &OUTPUTS)?.0))),
        ("file", Box::new(|| router::follow_job(context, &following, &mix, &OUTPUTS))),
    ];
    let runs = context.interleave(&mut sides)?;
    let rate = |runs: &[Run]| median(runs.iter().map(|run| run.rate));
    let (tcp, file) = (rate(&runs[0]), rate(&runs[1]));
    // Half of TCP's rate is twice its time.
    let row = Row::value(name, "×", Some(tcp / file), Bound::Value { must: 2.0, aim: 1.11 });
    Ok(vec![row.note(format!(
        "{file:.0} messages/s from a file of {} MiB in lines of {LINE_BYTES} bytes, its start included; {tcp:.0} over TCP",
        mix.sent.len() >> 20
    ))])
}
