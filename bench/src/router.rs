//! Running the router: the only place that knows what it prints and how its ledger looks.
//!
//! What is relied on: `metlog run --config FILE`; a line on stderr for each listener that contains
//! `listening input=NAME address=IP:PORT`, or `listening api address=IP:PORT`, with the port that the operating
//! system gave; SIGTERM ends it with status 0 after everything was written; `GET /api/v1/pipeline` answers
//! with the ledger. A ledger that is absent or looks different is tolerated, and shown as such.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::context::{Context, Run, source_folder};
use crate::floor::{kernel_drops, run_of};
use crate::load;
use crate::measure::{Finished, Process};
use crate::mix::Mix;
use crate::outputs::{self, Pair};

const START_TIMEOUT: Duration = Duration::from_secs(20);
const API_PATIENCE: Duration = Duration::from_millis(500);
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// A running router.
pub struct Router {
    process: Process,
    /// The address of the input that the case sends to.
    pub input: SocketAddr,
    /// The address of its API, if it printed one.
    pub api: Option<SocketAddr>,
}

/// Sums over all inputs and endpoints of the router's own counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Messages that came in.
    pub received: u64,
    /// Frames that could not be used.
    pub rejected: u64,
    /// Datagrams that the kernel dropped, as the router saw it.
    pub kernel_drops: u64,
    /// Messages delivered, by all endpoints.
    pub delivered: u64,
    /// Messages dropped, by all endpoints and for all reasons.
    pub dropped: u64,
}

impl Router {
    /// Starts it with its working directory in `folder`, and waits until `input` (a name) listens.
    pub fn start(context: &Context, config: &Path, folder: &Path, input: &str) -> anyhow::Result<Self> {
        Self::start_with_variables(context, config, folder, input, &[])
    }

    /// The same, with environment variables that the configuration names.
    fn start_with_variables(
        context: &Context,
        config: &Path,
        folder: &Path,
        input: &str,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut router = Self::spawn(context, config, folder, input, variables)?;
        // The API may be off, or come later: after a moment it is taken as absent.
        while router.api.is_none() {
            match router.process.wait_for_line("where it listens", API_PATIENCE, listener) {
                Ok((name, address)) if name == "api" => router.api = Some(address),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(router)
    }

    /// The same, without waiting for the API.
    pub fn start_input_only(
        context: &Context,
        config: &Path,
        folder: &Path,
        input: &str,
    ) -> anyhow::Result<Self> {
        Self::spawn(context, config, folder, input, &[])
    }

    fn spawn(
        context: &Context,
        config: &Path,
        folder: &Path,
        input: &str,
        variables: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let mut command = Self::command(context, config, folder)?;
        command.envs(variables.iter().cloned());
        let mut process = Process::start("metlog run", command)?;
        let mut api = None;
        loop {
            match process.wait_for_line("where it listens", START_TIMEOUT, listener)? {
                (name, address) if name == "api" => api = Some(address),
                (name, address) if name == input => return Ok(Self { process, input: address, api }),
                _ => {}
            }
        }
    }

    /// Starts one of which no input listens on an address.
    fn start_api_only(context: &Context, config: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut process = Process::start("metlog run", Self::command(context, config, folder)?)?;
        let (_, address) = process.wait_for_line("where its API listens", START_TIMEOUT, listener)?;
        Ok(Self { process, input: address, api: Some(address) })
    }

    fn command(context: &Context, config: &Path, folder: &Path) -> anyhow::Result<Command> {
        let program = context.metlog.as_ref().context("no router: give --metlog PATH")?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(config).current_dir(folder);
        Ok(command)
    }

    /// When the process was started.
    pub fn started(&self) -> Instant {
        self.process.started()
    }

    /// The largest resident size so far.
    pub fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        self.process.peak_memory_bytes()
    }

    /// Its counters, if it tells them in a way that is understood.
    pub fn ledger(&self) -> Option<Ledger> {
        let body = get(self.api?, "/api/v1/pipeline").ok()?;
        ledger_of(&serde_json::from_str(&body).ok()?)
    }

    /// SIGTERM; it must exit with status 0.
    pub fn stop(self) -> anyhow::Result<Finished> {
        let finished = self.process.terminate()?;
        finished.require_success("metlog run")?;
        Ok(finished)
    }
}

/// The name and address in a line such as `… listening input=tcp address=127.0.0.1:41234 …`.
fn listener(line: &str) -> Option<(String, SocketAddr)> {
    let (_, rest) = line.split_once("listening")?;
    let mut words = rest.split(|character: char| character.is_whitespace() || character == '"');
    let address = words.clone().find_map(|word| word.strip_prefix("address=")?.parse().ok())?;
    let name = words.find_map(|word| word.strip_prefix("input=")).unwrap_or("api");
    Some((name.to_owned(), address))
}

fn get(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    ask("GET", address, path)
}

/// What a router's API answers to a request without content that changes something.
pub fn post(address: SocketAddr, path: &str) -> anyhow::Result<String> {
    ask("POST", address, path)
}

fn ask(method: &str, address: SocketAddr, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, API_TIMEOUT)?;
    stream.set_read_timeout(Some(API_TIMEOUT))?;
    // Version 1.0, so that the answer is never chunked and ends with the connection.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok(body.to_owned()),
        _ => bail!("{path} did not answer 200"),
    }
}

/// Sums the counters below `inputs` and `endpoints`, whether these are objects by name or arrays.
fn ledger_of(pipeline: &Value) -> Option<Ledger> {
    let inputs = pipeline.get("inputs")?;
    let endpoints = pipeline.get("endpoints")?;
    Some(Ledger {
        received: sum(inputs, "received"),
        rejected: sum(inputs, "rejected"),
        kernel_drops: sum(inputs, "kernel_drops"),
        delivered: sum(endpoints, "delivered"),
        dropped: sum(endpoints, "dropped"),
    })
}

/// Adds everything found under this key at any depth: a number, or an object of numbers by reason.
fn sum(value: &Value, key: &str) -> u64 {
    match value {
        Value::Object(map) => {
            map.iter().map(|(name, inner)| if name == key { total(inner) } else { sum(inner, key) }).sum()
        }
        Value::Array(list) => list.iter().map(|inner| sum(inner, key)).sum(),
        _ => 0,
    }
}

fn total(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::Object(map) => map.get("total").map_or_else(|| map.values().map(total).sum(), total),
        Value::Array(list) => list.iter().map(total).sum(),
        _ => 0,
    }
}

/// The configuration of this name in `bench/configs/`.
pub fn config(name: &str) -> PathBuf {
    source_folder("configs").join(name)
}

/// One run over TCP: start, send the mix, wait for the outputs, stop, compare every byte.
///
/// `outputs` are the router's file names and the files of the mix that say what must be in them.
pub fn tcp_job(
    context: &Context,
    config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
) -> anyhow::Result<(Run, Option<Ledger>)> {
    let (run, ledger) = tcp_job_with_loss(context, config, mix, outputs)?;
    match ledger {
        Some(ledger) if ledger.dropped != 0 => bail!("the router's ledger says that it dropped: {ledger:?}"),
        _ => Ok((run, ledger)),
    }
}

/// The same where an endpoint that is not among the outputs may drop.
pub fn tcp_job_with_loss(
    context: &Context,
    config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
) -> anyhow::Result<(Run, Option<Ledger>)> {
    tcp_job_watched(context, config, mix, outputs, |_| Ok(()))
}

/// The same while somebody watches: `watch` gets the address of the router's API, and what it gives is kept until all
/// messages have arrived.
pub fn tcp_job_watched<W>(
    context: &Context,
    config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
    watch: impl FnOnce(Option<SocketAddr>) -> anyhow::Result<W>,
) -> anyhow::Result<(Run, Option<Ledger>)> {
    let folder = context.fresh_folder("router")?;
    let router = Router::start(context, config, &folder, "tcp")?;
    let watcher = watch(router.api)?;
    let pairs = pairs(&folder, mix, outputs);
    let begin = Instant::now();
    load::replay(router.input, &mix.sent)?;
    let waited = outputs::wait_for_sizes(&pairs);
    let elapsed = begin.elapsed();
    let ledger = router.ledger();
    drop(watcher);
    let peak_bytes = router.peak_memory_bytes()?;
    let finished = router.stop()?;
    outputs::check(waited, &pairs)?;
    check_ledger(ledger, mix.count())?;
    Ok((Run { peak_bytes, ..run_of(&finished, mix.count(), elapsed) }, ledger))
}

/// One run over a file that is there when the router starts. The time is from its start to the last byte in the outputs.
pub fn follow_job(
    context: &Context,
    config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
) -> anyhow::Result<Run> {
    let folder = context.fresh_folder("router")?;
    std::fs::write(folder.join("sent.jsonl"), &mix.sent).context("write the file to follow")?;
    let pairs = pairs(&folder, mix, outputs);
    let begin = Instant::now();
    let router = Router::start_api_only(context, config, &folder)?;
    let waited = outputs::wait_for_sizes(&pairs);
    let elapsed = begin.elapsed();
    let ledger = router.ledger();
    let peak_bytes = router.peak_memory_bytes()?;
    let finished = router.stop()?;
    outputs::check(waited, &pairs)?;
    check_ledger(ledger, mix.count())?;
    Ok(Run { peak_bytes, ..run_of(&finished, mix.count(), elapsed) })
}

/// One run over TCP through two routers, the first of which is measured: `config` says `${NEXT_ROUTER}` where the second
/// listens, which runs with `next_config` and writes the outputs.
pub fn tcp_chain_job(
    context: &Context,
    config: &Path,
    next_config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
) -> anyhow::Result<Run> {
    let (folder, next_folder) = (context.fresh_folder("router")?, context.fresh_folder("next-router")?);
    let next = Router::start(context, next_config, &next_folder, "tcp")?;
    let variables = [("NEXT_ROUTER", next.input.to_string())];
    let router = Router::start_with_variables(context, config, &folder, "tcp", &variables)?;
    let pairs = pairs(&next_folder, mix, outputs);
    let begin = Instant::now();
    load::replay(router.input, &mix.sent)?;
    let waited = outputs::wait_for_sizes(&pairs);
    let elapsed = begin.elapsed();
    let ledgers = [router.ledger(), next.ledger()];
    let peak_bytes = router.peak_memory_bytes()?;
    let finished = router.stop()?;
    next.stop()?;
    outputs::check(waited, &pairs)?;
    for ledger in ledgers {
        check_ledger(ledger, mix.count())?;
    }
    Ok(Run { peak_bytes, ..run_of(&finished, mix.count(), elapsed) })
}

/// One run over UDP at this rate. Loss is not an error here but a figure of the answer; what did arrive is only
/// compared when nothing was lost.
pub fn udp_job(
    context: &Context,
    config: &Path,
    mix: &Mix,
    outputs: &[(&str, &str)],
    rate: usize,
) -> anyhow::Result<(Run, Option<Ledger>)> {
    let folder = context.fresh_folder("router")?;
    let router = Router::start(context, config, &folder, "udp")?;
    let pairs = pairs(&folder, mix, outputs);
    let begin = Instant::now();
    load::send_paced(router.input, mix, rate)?;
    let drops = kernel_drops(router.input.port())?;
    let waited = if drops == 0 { outputs::wait_for_sizes(&pairs) } else { Ok(()) };
    let elapsed = begin.elapsed();
    let ledger = router.ledger();
    let peak_bytes = router.peak_memory_bytes()?;
    let finished = router.stop()?;
    if drops == 0 {
        outputs::check(waited, &pairs)?;
        check_ledger(ledger, mix.count())?;
    }
    if let Some(ledger) = ledger
        && ledger.kernel_drops != drops
    {
        bail!("the kernel dropped {drops} datagrams, the router's ledger says {}", ledger.kernel_drops);
    }
    Ok((Run { peak_bytes, kernel_drops: drops, ..run_of(&finished, mix.count(), elapsed) }, ledger))
}

fn pairs(folder: &Path, mix: &Mix, outputs: &[(&str, &str)]) -> Vec<Pair> {
    outputs
        .iter()
        .map(|(output, expected)| Pair { output: folder.join(output), expected: mix.folder.join(expected) })
        .collect()
}

/// What the router says that it received must be what was sent.
fn check_ledger(ledger: Option<Ledger>, sent: usize) -> anyhow::Result<()> {
    match ledger {
        Some(ledger) if ledger.received != sent as u64 || ledger.rejected != 0 => {
            bail!("{sent} messages were sent, but the router's ledger says {ledger:?}")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn listeners_are_found_in_log_lines() {
        let address: SocketAddr = "127.0.0.1:41234".parse().unwrap();
        for (line, name) in [
            ("listening input=tcp address=127.0.0.1:41234", "tcp"),
            ("2026-11-22T09:05:24Z INFO metlog: listening input=udp address=127.0.0.1:41234 kind=udp", "udp"),
            ("INFO listening api address=127.0.0.1:41234", "api"),
        ] {
            assert_eq!(listener(line), Some((name.to_owned(), address)), "{line}");
        }
        assert_eq!(listener("stopped input=tcp"), None);
    }

    #[test]
    fn the_ledger_is_summed_in_either_shape() {
        let expected = Ledger { received: 12, rejected: 3, kernel_drops: 1, delivered: 9, dropped: 4 };
        let by_name = json!({
            "inputs": {"tcp": {"received": 10, "rejected": {"invalid-json": 2, "too-large": 1}},
                       "udp": {"received": 2, "kernel_drops": 1}},
            "endpoints": {"one": {"delivered": 9, "dropped": {"buffer-full": 4}}},
        });
        let by_list = json!({
            "inputs": [{"name": "tcp", "ledger": {"received": 12, "rejected": 3, "kernel_drops": 1}}],
            "endpoints": [{"name": "one", "ledger": {"delivered": 9, "dropped": {"total": 4, "buffer-full": 4}}}],
        });
        assert_eq!(ledger_of(&by_name), Some(expected));
        assert_eq!(ledger_of(&by_list), Some(expected));
        assert_eq!(ledger_of(&json!({"something": 1})), None);
    }
}
