//! Reloads of a large configuration, again and again, while a sender goes as fast as it can.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::cases::tcp_one_file::OUTPUTS;
use crate::context::{Context, median};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str = "reload with 1,000 routes under TCP load, from the request to the answer";

const NAME: &str = "reload with 1,000 routes under load";
const ROUTES: usize = 1000;

/// Runs a round: few reloads fit into one.
const RUNS: usize = 4;

/// Between two reloads, as somebody who is in a hurry would leave.
const PAUSE: Duration = Duration::from_millis(20);

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(NAME, Verdict::NoRouter)]);
    }
    let mix = context.mix(Variation::Types(ROUTES), context.messages)?;
    // The second has another condition in its middle. What no route takes goes to the same file: a message that went the
    // wrong way, or none, would be missing there.
    let configurations = [configuration("kind-0500")?, configuration("another-kind")?];
    let path = context.work.join("reloaded.toml");
    let mut took = Vec::new();
    for run in 0..=context.rounds * RUNS {
        write(&path, &configurations[0])?;
        let measured = Mutex::new(Ok(Vec::new()));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (stop, path, configurations, measured) = (&stop, &path, &configurations, &measured);
            let reload = |api: Option<SocketAddr>| {
                let api = api.context("the router has no API")?;
                scope.spawn(move || {
                    let outcome = reload_until(stop, api, path, configurations);
                    if let Ok(mut measured) = measured.lock() {
                        *measured = outcome;
                    }
                });
                Ok(Stop(stop))
            };
            // Compares every byte of the output, and the ledger, with what was sent.
            router::tcp_job_watched(context, path, &mix, &OUTPUTS, reload)
        })?;
        let measured =
            measured.into_inner().map_err(|_| anyhow::anyhow!("the reloading thread failed"))??;
        eprintln!("  run {run}: {} reloads, median {:.1} ms", measured.len(), median(measured.clone()));
        // In the first the program is read from disk.
        if run > 0 {
            took.extend(measured);
        }
    }
    ensure!(!took.is_empty(), "no reload fell into the load: give it more --messages");
    let longest = took.iter().copied().fold(0.0, f64::max);
    let row = Row::value(NAME, "ms", Some(longest), Bound::Value { must: 100.0, aim: 20.0 });
    Ok(vec![row.note(format!(
        "the longest of {}, median {:.1} ms; every message arrived",
        took.len(),
        median(took.iter().copied())
    ))])
}

/// Ends the reloads when all messages have arrived.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Milliseconds of each reload, in turn with the one and the other of the configurations.
fn reload_until(
    stop: &AtomicBool,
    api: SocketAddr,
    path: &Path,
    configurations: &[String; 2],
) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    for configuration in configurations.iter().cycle().skip(1) {
        thread::sleep(PAUSE);
        write(path, configuration)?;
        let begin = Instant::now();
        let report = router::post(api, "/api/v1/reload");
        let elapsed = begin.elapsed();
        // One that was under way when the last message arrived says little of a loaded router, which may have gone meanwhile.
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let report = report?;
        if !report.contains("\"routes_changed\":true") {
            bail!("the router says that no route changed: {report}");
        }
        took.push(elapsed.as_secs_f64() * 1e3);
    }
    Ok(took)
}

/// In one step: the router never reads half of it.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, text).with_context(|| format!("write {}", next.display()))?;
    fs::rename(&next, path).with_context(|| format!("write {}", path.display()))
}

fn configuration(middle: &str) -> anyhow::Result<String> {
    let beginning: PathBuf = router::config("many-routes.toml");
    let mut text = fs::read_to_string(beginning).context("read many-routes.toml")?;
    for number in 0..ROUTES {
        let kind = if number == ROUTES / 2 { middle.to_owned() } else { format!("kind-{number:04}") };
        write!(text, "\n[[routes]]\nmatch = {{ type = \"{kind}\" }}\nto = [\"all\"]\n")?;
    }
    text += "\n[[routes]]\nunrouted = true\nto = [\"all\"]\n";
    Ok(text)
}
