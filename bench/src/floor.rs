//! Running the floors: the least that any program must spend on a job.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::context::{Context, Run};
use crate::load;
use crate::measure::{Finished, Process};
use crate::mix::Mix;
use crate::outputs::{self, Pair};

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// What a TCP floor does with the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpFloor {
    /// Counts them and writes them to one file.
    OneFile,
    /// Finds `type` and writes them to three files.
    ThreeFiles,
}

impl TcpFloor {
    /// The CPU per million above which the machine is too busy, or the floor too bad, for its row to count: as
    /// far above what a quiet machine needed (0.36 and 0.18) as 0.6 is above 0.36.
    pub fn void_above(self) -> f64 {
        match self {
            Self::OneFile => 0.3,
            Self::ThreeFiles => 0.6,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::OneFile => "floor-tcp-one-file",
            Self::ThreeFiles => "floor-tcp-three-files",
        }
    }

    /// Output names, and the files of the mix that say what must be in them.
    fn outputs(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::OneFile => &[("all.jsonl", "sent.jsonl")],
            Self::ThreeFiles => &[
                ("metrics.jsonl", "metrics.jsonl"),
                ("app.jsonl", "app.jsonl"),
                ("other.jsonl", "other.jsonl"),
            ],
        }
    }
}

/// The CPU per million above which the counting UDP floor voids its row: 3.1 was measured on a quiet machine, at
/// 50,000 datagrams a second.
pub const UDP_VOID_ABOVE: f64 = 5.2;

/// One run of a TCP floor over the mix, outputs checked.
pub fn tcp(context: &Context, floor: TcpFloor, mix: &Mix) -> anyhow::Result<Run> {
    let folder = context.fresh_folder("floor")?;
    let mut command = Command::new(context.programs.join(floor.program()));
    command.arg(&folder);
    let mut process = Process::start(floor.program(), command)?;
    let address = listening_address(&mut process)?;
    let begin = Instant::now();
    load::replay(address, &mix.sent)?;
    let finished = process.wait()?;
    let elapsed = begin.elapsed();
    check_lines(&finished, floor.program(), mix.count())?;
    let pairs: Vec<Pair> = floor
        .outputs()
        .iter()
        .map(|(output, expected)| Pair { output: folder.join(output), expected: mix.folder.join(expected) })
        .collect();
    outputs::compare(&pairs)?;
    Ok(run_of(&finished, mix.count(), elapsed))
}

/// One run of the counting UDP floor at this rate.
pub fn udp(context: &Context, mix: &Mix, rate: usize) -> anyhow::Result<Run> {
    let name = "floor-udp-count";
    let mut process = Process::start(name, Command::new(context.programs.join(name)))?;
    let address = listening_address(&mut process)?;
    let paced = load::send_paced(address, mix, rate)?;
    let drops = kernel_drops(address.port())?;
    let finished = process.terminate()?;
    finished.require_success(name)?;
    let counted: u64 = finished.number_after("lines").context("the floor printed no count")?;
    if counted + drops != paced.sent as u64 {
        bail!("{name} counted {counted} of {} datagrams, {drops} dropped by the kernel", paced.sent);
    }
    Ok(Run { kernel_drops: drops, ..run_of(&finished, mix.count(), paced.elapsed) })
}

/// A run from what the operating system said at the end.
pub fn run_of(finished: &Finished, messages: usize, elapsed: Duration) -> Run {
    let count = messages.max(1) as f64;
    let usage = &finished.usage;
    Run {
        cpu_per_million: usage.cpu_seconds() * 1e6 / count,
        rate: count / elapsed.as_secs_f64(),
        switches_per_message: (usage.voluntary_switches + usage.involuntary_switches) as f64 / count,
        ..Run::default()
    }
}

/// What the kernel dropped at the sockets bound to this port, from the last column of `/proc/net/udp`. To be
/// read while they are open.
pub fn kernel_drops(port: u16) -> anyhow::Result<u64> {
    let table = fs::read_to_string("/proc/net/udp").context("read /proc/net/udp")?;
    Ok(drops_in(&table, port))
}

fn drops_in(table: &str, port: u16) -> u64 {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(1)?.ends_with(&suffix) { fields.last()?.parse::<u64>().ok() } else { None }
        })
        .sum()
}

fn check_lines(finished: &Finished, name: &str, expected: usize) -> anyhow::Result<()> {
    finished.require_success(name)?;
    match finished.number_after::<usize>("lines") {
        Some(count) if count == expected => Ok(()),
        other => bail!("{name} counted {other:?} lines, {expected} were sent"),
    }
}

fn listening_address(process: &mut Process) -> anyhow::Result<SocketAddr> {
    process.wait_for_line("its address", START_TIMEOUT, |line| line.strip_prefix("listening ")?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::drops_in;

    #[test]
    fn drops_of_all_sockets_of_a_port_are_added() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
             1: 0100007F:15BD 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 11 2 0 7\n\
             2: 0100007F:15BD 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 12 2 0 5\n\
             3: 0100007F:15BE 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 13 2 0 90\n";
        assert_eq!(drops_in(table, 0x15BD), 12);
    }
}
