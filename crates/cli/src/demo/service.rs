//! A service beside the shop: a program of any language, which sends to the demo's router through a client library of its own.
//!
//! It finds in `METLOG_URL` where to send to, says on its standard output what it has sent, each line the whole account as
//! JSON ([`Report`]), and ends when its standard input does.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

#[cfg(unix)]
use std::os::unix::process::CommandExt;

use anyhow::Context;
use serde::Deserialize;

/// Where a client library looks for its target.
const TARGET_VARIABLE: &str = "METLOG_URL";

/// How long it may take to send the rest, and to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A line is no report if it is longer.
const LONGEST_LINE_BYTES: u64 = 64 * 1024;

/// What a service says that it has sent so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// What it is called.
    pub name: String,
    /// Messages that its client took.
    pub accepted: u64,
    /// Messages that its client handed to the kernel.
    pub sent: u64,
    /// Messages by type.
    pub by_type: BTreeMap<String, u64>,
    /// What each counter should add up to, by its name on the statsd side.
    pub counters: BTreeMap<String, i64>,
    /// Security events by name.
    pub audited: BTreeMap<String, u64>,
    /// Exceptions for Sentry by type.
    pub exceptions: BTreeMap<String, u64>,
}

/// A service that runs.
#[derive(Debug)]
pub struct Service {
    child: Child,
    /// Closed to have it end.
    input: Option<ChildStdin>,
    said: Arc<Mutex<Report>>,
    reader: JoinHandle<()>,
}

impl Service {
    /// Starts it: a program and its arguments. What it writes to standard error goes to the file `log`.
    pub fn start(command: &[OsString], url: &str, log: &Path) -> anyhow::Result<Service> {
        let (program, arguments) = command.split_first().context("there is no program to run")?;
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command.args(arguments).env(TARGET_VARIABLE, url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        // Ctrl-C is for the demo, which then has it end.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let said = Arc::new(Mutex::new(Report::default()));
        let heard = said.clone();
        let reader = thread::Builder::new()
            .name("demo-service".to_owned())
            .spawn(move || output.into_iter().for_each(|output| listen(output, &heard)))
            .context("cannot start a thread")?;
        Ok(Service { child, input, said, reader })
    }

    /// What it said last.
    pub fn said(&self) -> Report {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it send the rest and end. Returns what it said last, and what is wrong with its end, if anything is.
    pub fn stop(mut self) -> (Report, Option<String>) {
        drop(self.input.take());
        let ended = self.wait();
        if ended.is_none() {
            // It may have ended this very moment.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Its output has ended with it. A thread that panicked has said so.
        let _ = self.reader.join();
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = match ended {
            None => Some(format!("did not end within {} s", END_TIMEOUT.as_secs())),
            Some(status) if !status.success() => Some(format!("ended with {status}")),
            Some(_) if said == Report::default() => Some("never said what it sent".to_owned()),
            Some(_) => None,
        };
        (
            said,
            problem
                .map(|problem| format!("the service beside the shop {problem}; service.log has its output")),
        )
    }

    fn wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

/// Keeps the newest report until the output ends.
fn listen(output: ChildStdout, said: &Mutex<Report>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            // What is no report is the service's own affair.
            Ok(_) => {
                if let Ok(report) = serde_json::from_slice(&line) {
                    *said.lock().unwrap_or_else(PoisonError::into_inner) = report;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> (Report, Option<String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("service.log");
        let service = Service::start(&["sh", "-c", script].map(OsString::from), "tcp://a:1", &log).unwrap();
        let (said, problem) = service.stop();
        (said, problem, std::fs::read_to_string(log).unwrap())
    }

    fn report(sent: u64) -> String {
        format!(
            "{{\"name\":\"x\",\"accepted\":9,\"sent\":{sent},\"by_type\":{{}},\"counters\":{{\"a.b\":2}},\
             \"audited\":{{}},\"exceptions\":{{}}}}"
        )
    }

    #[test]
    fn the_last_account_of_a_service_counts_and_it_ends_with_its_input() {
        let script = format!(
            "echo '{}'; echo nonsense; cat; echo \"$METLOG_URL\" >&2; echo '{}'",
            report(1),
            report(9)
        );
        let (said, problem, log) = run(&script);
        assert_eq!((said.sent, said.counters["a.b"], problem), (9, 2, None));
        assert_eq!(log, "tcp://a:1\n");
    }

    #[test]
    fn a_service_that_fails_or_says_nothing_is_named() {
        let (_, problem, _) = run(&format!("echo '{}'; exit 3", report(1)));
        assert!(problem.unwrap().contains("ended with exit status: 3"));
        let (_, problem, _) = run("cat");
        assert!(problem.unwrap().contains("never said what it sent"));
    }
}
