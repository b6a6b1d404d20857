//! UDP, one message a datagram, at two rates: loss in the kernel, and the CPU of what was not lost.
//!
//! The reference is what counting the datagrams costs at this rate, and the three-file floor on top, which stands
//! for finding the type and writing.

use crate::cases::{ledger_note, tcp_three_files};
use crate::context::{Context, Side, median, median_cpu};
use crate::floor::{self, TcpFloor, UDP_VOID_ABOVE};
use crate::mix::Variation;
use crate::report::{Bound, CPU, Row, Verdict};
use crate::router;

pub const ABOUT: &str = "UDP at 50,000/s and 100,000/s: kernel drops, and CPU against the counting floor";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let write_cost = three_file_floor(context)?;
    let mut rows = Vec::new();
    for rate in [50_000, 100_000] {
        rows.extend(at_rate(context, rate, write_cost)?);
    }
    Ok(rows)
}

fn three_file_floor(context: &Context) -> anyhow::Result<f64> {
    if let Some(known) = context.three_file_floor.get() {
        return Ok(known);
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let mut sides: Vec<Side<'_>> =
        vec![("three-file floor", Box::new(|| floor::tcp(context, TcpFloor::ThreeFiles, &mix)))];
    let cost = median_cpu(&context.interleave(&mut sides)?[0]);
    drop(sides);
    context.three_file_floor.set(Some(cost));
    Ok(cost)
}

fn at_rate(context: &Context, rate: usize, write_cost: f64) -> anyhow::Result<Vec<Row>> {
    let mix = context.mix(Variation::Plain, rate * context.udp_seconds)?;
    let config = router::config("udp.toml");
    let ledger = std::cell::Cell::new(None);
    let mut sides: Vec<Side<'_>> = vec![("floor", Box::new(|| floor::udp(context, &mix, rate)))];
    if context.metlog.is_some() {
        sides.push((
            "router",
            Box::new(|| {
                let outputs = &tcp_three_files::OUTPUTS;
                let (run, seen) = router::udp_job(context, &config, &mix, outputs, rate)?;
                ledger.set(seen);
                Ok(run)
            }),
        ));
    }
    let runs = context.interleave(&mut sides)?;
    drop(sides);
    let counting = median_cpu(&runs[0]);
    let mut reference = runs[0].clone();
    for run in &mut reference {
        run.cpu_per_million += write_cost;
    }
    let routed = runs.get(1).map_or(&[][..], Vec::as_slice);
    let mut cpu = Row::compared(
        &format!("UDP {rate}/s → three files"),
        &reference,
        routed,
        Bound::Ratio { must: 1.5, aim: 1.2 },
        None,
    )
    .note(format!("floor: {counting:.2} {CPU} to count, {write_cost:.2} for the three files"));
    if counting > UDP_VOID_ABOVE || write_cost > TcpFloor::ThreeFiles.void_above() {
        cpu.verdict = Verdict::Void;
    }
    let dropped = |side: &[crate::context::Run]| side.iter().map(|run| run.kernel_drops).max();
    let mut drops = Row::value(
        &format!("UDP {rate}/s, kernel drops"),
        "",
        dropped(routed).map(|count| count as f64),
        Bound::Value { must: 0.0, aim: 0.0 },
    );
    drops.floor = dropped(&runs[0]).map(|count| count as f64);
    if !routed.is_empty() {
        let achieved = median(routed.iter().map(|run| run.rate));
        drops =
            drops.note(format!("most of all runs; {achieved:.0} messages/s")).note(ledger_note(ledger.get()));
    }
    Ok(vec![cpu, drops])
}
