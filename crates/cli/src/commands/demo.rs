//! `metlog demo`: the whole system at work, and a check that nothing was lost on the way.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

use crate::{
    demo::{
        folder::Folder,
        rates::Rates,
        screen::{self, Facts},
        snapshot::Snapshot,
        stage::Stage,
        summary,
        terminal::Terminal,
        verdict,
    },
    logging,
};

/// How often the terminal is drawn, and how long a key waits for its effect at most.
const FRAME: Duration = Duration::from_millis(250);

/// How often a line is printed where there is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// How often to look whether it is over.
const LOOK: Duration = Duration::from_millis(20);

/// Show the whole system at work: a made-up web shop, a router, and the servers that it delivers to
///
/// Everything runs in this process, on loopback ports that the operating system chooses, and in a temporary folder;
/// nothing is installed, and a router that already runs is not disturbed. The terminal shows what flows where; where
/// standard output is no terminal, a line a second is printed. At the end the numbers of the clients, the router's
/// ledger, the statsd server, the syslog server, Sentry and the lines in the files are compared.
///
/// Exit status 0: everything that was sent arrived. 1: something is missing; it says what, and the files stay.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// End after this many seconds; without it, Ctrl-C or `q` ends it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Work in this folder, which must be new or empty, and leave it as it is at the end
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// Run a service of another language beside the shop (clients/python/examples/mailer.py is one)
    ///
    /// It sends to METLOG_URL, says on standard output what it sent, each line the whole account as JSON, and ends when its standard input does. Its
    /// working directory is the demo's folder.
    #[arg(last = true, value_name = "PROGRAM")]
    service: Vec<OsString>,
}

/// Runs the demo and says whether everything arrived.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let over = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, over.clone()).context("cannot watch signals")?;
    }
    let mut folder = Folder::create(arguments.keep.as_deref())?;
    logging::start_in_file(&folder.router_log())?;
    let stage = Stage::set_up(&folder, &arguments.service)?;
    let facts = Facts {
        messages: stage.udp.to_string(),
        api: format!("http://{}", stage.api),
        folder: folder.path().display().to_string(),
        color: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let end = arguments.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    // A dumb terminal cannot place its cursor.
    let can_draw = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|name| name != "dumb");
    let watched = if can_draw {
        watch(&stage, &folder, &facts, end, &over)
    } else {
        print_lines(&stage, &folder, &facts, end, &over)
    };
    let last = stage.take_down(&folder);
    let findings = verdict::findings(&last, &folder);
    if !findings.is_empty() {
        folder.keep();
    }
    // Whoever read the output may be gone; the exit status still tells.
    let _ = conclude(&last, &folder, &findings);
    match watched {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the terminal")
        }
        _ if findings.is_empty() => Ok(ExitCode::SUCCESS),
        _ => Ok(ExitCode::FAILURE),
    }
}

/// Draws until it is over.
fn watch(
    stage: &Stage,
    folder: &Folder,
    facts: &Facts,
    end: Option<Instant>,
    over: &Arc<AtomicBool>,
) -> io::Result<()> {
    let terminal = Terminal::take(over.clone())?;
    let mut rates = Rates::default();
    loop {
        rates.add(stage.look(folder));
        terminal.show(&screen::frame(facts, &rates, terminal.size()))?;
        if !wait(FRAME, end, over) {
            return Ok(());
        }
    }
}

/// Prints a line a second until it is over.
fn print_lines(
    stage: &Stage,
    folder: &Folder,
    facts: &Facts,
    end: Option<Instant>,
    over: &AtomicBool,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "metlog demo: a made-up web shop, sent through a real router")?;
    writeln!(out, "the two lines for an application of yours:")?;
    writeln!(out, "  let metlog = metlog::Client::udp(\"{}\")?;", facts.messages)?;
    writeln!(out, "  metlog.incr(\"hits\");")?;
    writeln!(out, "ledger: {}/api/v1/pipeline", facts.api)?;
    writeln!(out, "files: {}", facts.folder)?;
    while wait(LINE, end, over) {
        writeln!(out, "{}", line(&stage.look(folder)))?;
        out.flush()?;
    }
    Ok(())
}

fn line(now: &Snapshot) -> String {
    let delivered: Vec<String> = now
        .pipeline
        .endpoints
        .iter()
        .map(|endpoint| format!("{}={}", endpoint.name, endpoint.delivered))
        .collect();
    let service =
        now.service.as_ref().map(|said| format!(" ({} {})", said.name, said.sent)).unwrap_or_default();
    format!(
        "{:.0}s sent={}{service} received={} {} queued={}",
        now.seconds,
        now.total_sent(),
        now.total_received(),
        delivered.join(" "),
        now.total_queued()
    )
}

/// Waits; `false` once it is over.
fn wait(time: Duration, end: Option<Instant>, over: &AtomicBool) -> bool {
    let until = Instant::now() + time;
    loop {
        let now = Instant::now();
        if over.load(Ordering::Relaxed) || end.is_some_and(|end| now >= end) {
            return false;
        }
        if now >= until {
            return true;
        }
        thread::sleep(LOOK.min(until - now));
    }
}

fn conclude(last: &Snapshot, folder: &Folder, findings: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\n{}", summary::text(last, folder))?;
    if findings.is_empty() {
        writeln!(out, "\neverything that was sent arrived, and the ledger balances")?;
    } else {
        writeln!(out, "\nsomething is missing:")?;
        for finding in findings {
            writeln!(out, "  {finding}")?;
        }
    }
    if folder.is_temporary() {
        writeln!(out, "the files are removed now; --keep FOLDER keeps them")?;
    } else {
        writeln!(out, "the files stay in {}", folder.path().display())?;
        writeln!(out, "metlog.toml in it is a configuration to start from")?;
    }
    out.flush()
}
