//! `metlog-bench`: measures the router against floors and peers, and writes the table.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use metlog_bench::cases::{CASES, peers};
use metlog_bench::context::{Context, source_folder};
use metlog_bench::report::{self, Row, Verdict};

/// Measures the router against floors (the least that any program must spend) in one interleaved run.
///
/// Every output is compared with what was sent. CPU is user + system time of the measured process alone, as the
/// operating system accounts it; figures are medians. The table is printed and written to bench/results/.
#[derive(Parser)]
#[command(name = "metlog-bench", version)]
struct Arguments {
    /// The router to measure [default: metlog beside this program]
    #[arg(long, value_name = "PATH")]
    metlog: Option<PathBuf>,
    /// Measure only the floors (or peers), even if there is a router
    #[arg(long, conflicts_with = "metlog")]
    without_router: bool,
    /// Measure only this case; may be given several times
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Print the cases and what they measure
    #[arg(long)]
    list: bool,
    /// Only the main job against every peer on the PATH: rsyslogd, fluent-bit, syslog-ng, vector
    #[arg(long)]
    peers: bool,
    /// Fewer rounds and messages: for a look, not for a record
    #[arg(long)]
    quick: bool,
    /// How often each measurement is repeated [default: 5, quick: 3]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Messages in the TCP cases [default: 1000000, quick: 200000]
    #[arg(long, value_name = "COUNT")]
    messages: Option<usize>,
    /// Where inputs and outputs are kept while it runs; about 2 GiB [default: the system's folder for temporary
    /// files]
    #[arg(long, value_name = "FOLDER")]
    work: Option<PathBuf>,
    /// Keep that folder at the end, to look at the outputs of the last runs
    #[arg(long)]
    keep: bool,
    /// Where the table is written [default: bench/results]
    #[arg(long, value_name = "FOLDER")]
    results: Option<PathBuf>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        for case in &CASES {
            println!("{:<16} {}", case.name, case.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = arguments.cases.iter().find(|name| CASES.iter().all(|case| case.name != **name)) {
        bail!("there is no case {unknown:?}: --list shows them");
    }
    if cfg!(debug_assertions) {
        eprintln!(
            "warning: this is a debug build, the floors too: build with --release for figures that count"
        );
    }
    let context = context(&arguments)?;
    let machine = report::machine();
    let rows = measure(&arguments, &context);
    let settings = format!(
        "{} rounds after one that does not count, {} messages over TCP, {} s over UDP.{}",
        context.rounds,
        if arguments.peers { context.peer_messages } else { context.messages },
        context.udp_seconds,
        if arguments.quick { " A quick look, not a record." } else { "" }
    );
    print!("{}", report::table(&rows));
    let results = arguments.results.unwrap_or_else(|| source_folder("results"));
    let path = report::write(&results, &rows, &machine, &settings)?;
    println!("\nwritten to {}", path.display());
    if arguments.keep {
        println!("inputs and outputs kept in {}", context.work.display());
    } else {
        fs::remove_dir_all(&context.work).with_context(|| format!("remove {}", context.work.display()))?;
    }
    let failed = rows.iter().any(|row| row.verdict.is_failure());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn context(arguments: &Arguments) -> anyhow::Result<Context> {
    let programs = std::env::current_exe()
        .context("find this program")?
        .parent()
        .context("this program is in no folder")?
        .to_path_buf();
    let metlog = match &arguments.metlog {
        Some(path) => Some(path.canonicalize().with_context(|| format!("no router at {}", path.display()))?),
        None if arguments.without_router => None,
        None => Some(programs.join("metlog")).filter(|path| path.is_file()),
    };
    if metlog.is_none() {
        eprintln!("no router is measured: floors and peers only");
    }
    let parent = arguments.work.clone().unwrap_or_else(std::env::temp_dir);
    // A folder of its own, removed at the end: never somebody's files.
    let work = parent.join(format!("metlog-bench-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("create {}", work.display()))?;
    let work = work.canonicalize().with_context(|| format!("find {}", work.display()))?;
    let quick = arguments.quick;
    Ok(Context {
        rounds: arguments.rounds.unwrap_or(if quick { 3 } else { 5 }).max(1),
        messages: arguments.messages.unwrap_or(if quick { 200_000 } else { 1_000_000 }).max(1000),
        peer_messages: arguments.messages.unwrap_or(if quick { 100_000 } else { 300_000 }).max(1000),
        udp_seconds: if quick { 2 } else { 10 },
        metlog,
        work,
        programs,
        three_file_floor: Cell::new(None),
        plain_mixes: RefCell::new(HashMap::new()),
    })
}

/// A case that fails gives a row that says so; the others go on.
fn measure(arguments: &Arguments, context: &Context) -> Vec<Row> {
    if arguments.peers {
        return peers::run(context).unwrap_or_else(|error| {
            vec![Row::without_figure("peers", Verdict::Failed(format!("{error:#}")))]
        });
    }
    let mut rows = Vec::new();
    for case in &CASES {
        if !arguments.cases.is_empty() && !arguments.cases.iter().any(|name| name == case.name) {
            continue;
        }
        eprintln!("{}: {}", case.name, case.about);
        match (case.run)(context) {
            Ok(found) => rows.extend(found),
            Err(error) => rows.push(Row::without_figure(case.name, Verdict::Failed(format!("{error:#}")))),
        }
    }
    rows
}
