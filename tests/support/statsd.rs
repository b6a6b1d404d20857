//! The original statsd server (`tests/peers/statsd`), and what it made of the lines that it got.
//!
//! Needs `node` and the packages there (`make peers` installs them). Where they are missing a test fails if `CI` is set, and
//! otherwise says so and passes.

#![allow(dead_code, reason = "the endpoint's own tests use all of it, the end-to-end tests a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a test waits for what must come.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The server, until it is dropped.
pub struct Server {
    process: Child,
    says: Receiver<Value>,
    pub udp_port: u16,
    pub tcp_port: u16,
}

impl Server {
    /// Starts the server; `None` where it is not installed.
    pub fn start() -> Option<Server> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/statsd");
        if let Some(missing) = missing(&folder) {
            let message = format!("{missing}; `make peers` installs what this test needs");
            assert!(std::env::var_os("CI").is_none(), "{message}");
            // Not by `eprintln!`, which the test harness shows only for tests that fail.
            let line = format!("\n*** SKIPPED: the test against the real statsd server: {message}\n\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        let mut process = Command::new("node")
            .args(["server.js", "config.js"])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (said, says) = channel();
        thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                if said.send(serde_json::from_str(&line).expect("the server says JSON")).is_err() {
                    return;
                }
            }
        });
        let mut server = Server { process, says, udp_port: 0, tcp_port: 0 };
        let ports = server.says.recv_timeout(DEADLINE).expect("the server says where it listens");
        let port = |name: &str| u16::try_from(ports[name].as_u64().unwrap()).unwrap();
        (server.udp_port, server.tcp_port) = (port("udp"), port("tcp"));
        Some(server)
    }

    /// Adds up what the server flushes until it has received this many lines.
    pub fn totals(&self, lines: u64) -> Totals {
        let give_up = Instant::now() + DEADLINE;
        let mut totals = Totals::default();
        while totals.received() < lines {
            let rest = give_up.saturating_duration_since(Instant::now());
            let Ok(flush) = self.says.recv_timeout(rest) else {
                panic!("{} of {lines} lines came", totals.received());
            };
            totals.add(&flush);
        }
        totals
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is missing, if anything is.
fn missing(folder: &Path) -> Option<String> {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Some("there is no `node`".to_owned());
    }
    let package: PathBuf = folder.join("node_modules/statsd/stats.js");
    (!package.is_file()).then(|| "tests/peers/statsd/node_modules is not there".to_owned())
}

/// The server's numbers, over all of its flushes.
#[derive(Debug, Default)]
pub struct Totals {
    pub counters: BTreeMap<String, f64>,
    /// In ascending order.
    pub timers: BTreeMap<String, Vec<f64>>,
    pub timer_counts: BTreeMap<String, f64>,
    pub gauges: BTreeMap<String, f64>,
    pub sets: BTreeMap<String, BTreeSet<String>>,
}

impl Totals {
    fn add(&mut self, flush: &Value) {
        let entries = |group: &str| flush[group].as_object().unwrap().clone().into_iter();
        for (name, value) in entries("counters") {
            *self.counters.entry(name).or_default() += value.as_f64().unwrap();
        }
        for (name, values) in entries("timers") {
            let timer = self.timers.entry(name).or_default();
            timer.extend(values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()));
            timer.sort_by(f64::total_cmp);
        }
        for (name, count) in entries("timer_counters") {
            *self.timer_counts.entry(name).or_default() += count.as_f64().unwrap();
        }
        for (name, value) in entries("gauges") {
            self.gauges.insert(name, value.as_f64().unwrap());
        }
        for (name, members) in entries("sets") {
            let members =
                members.as_array().unwrap().iter().map(|member| member.as_str().unwrap().to_owned());
            self.sets.entry(name).or_default().extend(members);
        }
    }

    pub fn received(&self) -> u64 {
        self.own("metrics_received")
    }

    /// What the server counts about itself.
    pub fn own(&self, name: &str) -> u64 {
        self.counters.get(&format!("statsd.{name}")).copied().unwrap_or_default() as u64
    }

    /// Without what the server says of itself.
    pub fn of_others<T>(group: &BTreeMap<String, T>) -> BTreeMap<&str, &T> {
        group
            .iter()
            .filter(|(name, _)| !name.starts_with("statsd."))
            .map(|(name, t)| (name.as_str(), t))
            .collect()
    }
}
