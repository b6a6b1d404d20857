//! One started process: what it prints, what it costs, how it ends.
//!
//! CPU time is the kernel's own account of the process (user + system), collected with `wait4` when it ends,
//! and read from `/proc/PID/stat` while it runs. Peak memory is `VmHWM`: the `ru_maxrss` of `wait4` would count
//! the parent's memory at the moment of the start. Only processes started here are ever signalled, by their id.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::os::{self, Ending, Signal, Usage};

/// How many printed lines are kept, for messages about a failure.
const KEPT_LINES: usize = 40;
/// After SIGTERM a process has this long before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// A running child.
pub struct Process {
    name: String,
    pid: u32,
    started: Instant,
    printed: Receiver<String>,
    kept: VecDeque<String>,
    collected: bool,
}

/// A child that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// What it cost.
    pub usage: Usage,
    /// The last lines that it printed.
    pub printed: Vec<String>,
}

impl Process {
    /// Starts the command with its output captured.
    pub fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("NO_COLOR", "1");
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        let (sender, printed) = channel();
        if let Some(stream) = child.stdout.take() {
            forward_lines(stream, sender.clone());
        }
        if let Some(stream) = child.stderr.take() {
            forward_lines(stream, sender);
        }
        Ok(Self {
            name: name.to_owned(),
            pid: child.id(),
            started,
            printed,
            kept: VecDeque::new(),
            collected: false,
        })
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Waits for a printed line in which `find` finds something.
    pub fn wait_for_line<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        find: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.printed.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = find(&line);
                    self.keep(line);
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                Err(_) => {
                    let transcript = self.transcript();
                    bail!("{} did not print {what}; it printed:\n{transcript}", self.name);
                }
            }
        }
    }

    fn keep(&mut self, line: String) {
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// The last lines that it printed.
    pub fn transcript(&mut self) -> String {
        while let Ok(line) = self.printed.try_recv() {
            self.keep(line);
        }
        self.kept.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// The largest resident size so far, in bytes.
    pub fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))
            .with_context(|| format!("read the memory of {}", self.name))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<u64>().ok())
            .map(|kilobytes| kilobytes * 1024)
            .with_context(|| format!("no VmHWM for {}", self.name))
    }

    /// CPU seconds (user + system) so far, in steps of one clock tick.
    pub fn cpu_seconds_so_far(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .with_context(|| format!("read the CPU time of {}", self.name))?;
        // The second field is the name in parentheses, which may hold spaces: count from after it.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: f64 = after_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        Ok(ticks / os::clock_ticks_per_second())
    }

    /// Whether it has not ended by itself. Collects it if it has, which is then an error to report.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        if let Some((ending, _)) = os::try_wait(self.pid).context("wait for the child")? {
            self.collected = true;
            let transcript = self.transcript();
            bail!("{} ended early ({ending:?}); it printed:\n{transcript}", self.name);
        }
        Ok(())
    }

    /// Asks it to finish, and waits.
    pub fn terminate(self) -> anyhow::Result<Finished> {
        os::signal(self.pid, Signal::Terminate).with_context(|| format!("terminate {}", self.name))?;
        self.wait()
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> anyhow::Result<Finished> {
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            if let Some((ending, usage)) = os::try_wait(self.pid).context("wait for the child")? {
                self.collected = true;
                // Its pipes are closed now, so this ends when the last line was read.
                while let Ok(line) = self.printed.recv_timeout(Duration::from_secs(5)) {
                    self.keep(line);
                }
                let printed = self.kept.iter().cloned().collect();
                return Ok(Finished { ending, usage, printed });
            }
            if Instant::now() > deadline {
                bail!("{} did not end within {END_TIMEOUT:?} and was killed", self.name);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.collected {
            return;
        }
        // Nothing sensible can be done about a failure here: the child was not collected, so the id is ours.
        let _ = os::signal(self.pid, Signal::Kill);
        for _ in 0..1000 {
            if !matches!(os::try_wait(self.pid), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Finished {
    /// An error unless it exited with status 0.
    pub fn require_success(&self, name: &str) -> anyhow::Result<()> {
        if self.ending == Ending::Exited(0) {
            return Ok(());
        }
        bail!("{name} ended with {:?}; it printed:\n    {}", self.ending, self.printed.join("\n    "))
    }

    /// The number that it printed after this word.
    pub fn number_after<T: FromStr>(&self, word: &str) -> Option<T> {
        self.printed.iter().rev().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
    }
}

fn forward_lines(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("sh", command).unwrap()
    }

    #[test]
    fn a_child_is_heard_measured_and_collected() {
        let mut process = shell("trap 'echo lines 7; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
        let found =
            process.wait_for_line("ready", Duration::from_secs(5), |line| (line == "ready").then_some(1));
        assert_eq!(found.unwrap(), 1);
        assert!(process.peak_memory_bytes().unwrap() > 100_000);
        assert!(process.cpu_seconds_so_far().unwrap() < 5.0);
        let finished = process.terminate().unwrap();
        finished.require_success("sh").unwrap();
        assert_eq!(finished.number_after("lines"), Some(7_usize));
        assert!(finished.usage.cpu_seconds() > 0.0);
    }

    #[test]
    fn a_failing_child_is_an_error_with_its_words() {
        let finished = shell("echo no such thing >&2; exit 3").wait().unwrap();
        let error = finished.require_success("sh").unwrap_err().to_string();
        assert!(error.contains("Exited(3)") && error.contains("no such thing"), "{error}");
    }
}
