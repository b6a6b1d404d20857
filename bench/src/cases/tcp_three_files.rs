//! The main job: TCP, validate, match by type, three files.

use std::cell::Cell;

use crate::cases::{ledger_note, peak_mebibytes};
use crate::context::{Context, Side, median_cpu};
use crate::floor::{self, TcpFloor};
use crate::mix::Variation;
use crate::report::{Bound, Row};
use crate::router;

pub const ABOUT: &str = "TCP, match by type, three files (JSON, text, JSON), against the three-file floor";

/// The router's files, and the files of the mix that say what must be in them.
pub const OUTPUTS: [(&str, &str); 3] =
    [("metrics.jsonl", "metrics.jsonl"), ("app.log", "app.log"), ("other.jsonl", "other.jsonl")];

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let mix = context.mix(Variation::Plain, context.messages)?;
    let config = router::config("three-files.toml");
    let ledger = Cell::new(None);
    let mut sides: Vec<Side<'_>> =
        vec![("floor", Box::new(|| floor::tcp(context, TcpFloor::ThreeFiles, &mix)))];
    if context.metlog.is_some() {
        sides.push((
            "router",
            Box::new(|| {
                let (run, seen) = router::tcp_job(context, &config, &mix, &OUTPUTS)?;
                ledger.set(seen);
                Ok(run)
            }),
        ));
    }
    let runs = context.interleave(&mut sides)?;
    drop(sides);
    context.three_file_floor.set(Some(median_cpu(&runs[0])));
    let routed = runs.get(1).map_or(&[][..], Vec::as_slice);
    let mut row = Row::compared(
        "TCP → three files",
        &runs[0],
        routed,
        Bound::Ratio { must: 2.0, aim: 1.3 },
        Some(TcpFloor::ThreeFiles.void_above()),
    );
    if !routed.is_empty() {
        row = row.note(format!("peak {:.1} MiB", peak_mebibytes(routed))).note(ledger_note(ledger.get()));
    }
    Ok(vec![row])
}
