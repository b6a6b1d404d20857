//! A server that takes envelopes as Sentry does and checks each event with Sentry's own library
//! (`tests/peers/sentry/server.py`).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use super::{messages::tests_folder, skipped::skip, wait};

/// The server, until it is dropped.
pub struct Sentry {
    process: Child,
    port: u16,
    is_tls: bool,
}

impl Sentry {
    /// Starts it; `None` where it is not installed, which is an error in CI.
    pub fn start() -> Option<Sentry> {
        Sentry::start_with(&[])
    }

    /// Starts it with TLS: the files of its certificate and of the key.
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Option<Sentry> {
        let mut server = Sentry::start_with(&[certificate, key])?;
        server.is_tls = true;
        Some(server)
    }

    fn start_with(arguments: &[&Path]) -> Option<Sentry> {
        let python = python()?;
        let mut process = Command::new(python)
            .arg(folder().join("server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run the server");
        let mut port = String::new();
        BufReader::new(process.stdout.take().expect("its output")).read_line(&mut port).expect("its port");
        Some(Sentry { process, port: port.trim().parse().expect("a port"), is_tls: false })
    }

    /// Its host and port.
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// A DSN for one of its projects.
    pub fn dsn(&self, project: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://public:secret@{}/{project}", self.authority())
    }

    /// Plans the answers to the next requests of a project; after these it answers 200.
    pub fn answer(&self, project: &str, answers: &Value) {
        self.exchange("POST", &format!("/answers/{project}"), &answers.to_string());
    }

    /// Every request that it got, in order.
    pub fn requests(&self) -> Vec<Value> {
        serde_json::from_str(&self.exchange("GET", "/requests", "")).expect("a list of requests")
    }

    /// Waits until there were so many requests for a project, and returns those.
    #[track_caller]
    pub fn wait_for(&self, project: &str, count: usize) -> Vec<Value> {
        wait::until(&format!("{count} requests for project {project}"), || {
            let mut requests = self.requests();
            requests.retain(|request| request["project"] == project);
            (requests.len() >= count).then_some(requests)
        })
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> String {
        assert!(!self.is_tls, "the tests themselves speak no TLS");
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect");
        stream.set_read_timeout(Some(wait::PATIENCE)).expect("set an option");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("ask the server");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("its answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        body.to_owned()
    }
}

impl Drop for Sentry {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Messages with events of `raven` and of today's SDK, for this DSN; `None` where these are not installed.
pub fn events_of_real_clients(dsn: &str) -> Option<Vec<String>> {
    let output =
        Command::new(python()?).arg(folder().join("events.py")).arg(dsn).output().expect("run the clients");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    Some(text.lines().map(str::to_owned).collect())
}

fn folder() -> PathBuf {
    tests_folder().join("peers/sentry")
}

fn python() -> Option<PathBuf> {
    let python = folder().join(".venv/bin/python");
    if folder().join(".venv/installed").exists() {
        return Some(python);
    }
    let message = "Sentry's libraries are missing; `make peers` installs what this test needs";
    skip("the sentry endpoint", message);
    None
}
