//! A process that publishes with ZeroMQ's own library (`tests/peers/zeromq/publisher.py`).

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::{Router, messages::tests_folder, skipped::skip, wait};

/// The process, until it is dropped.
pub struct Publisher {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Publisher {
    /// Starts it; `None` where the library is not installed, which is an error in CI.
    pub fn start() -> Option<Publisher> {
        let folder = tests_folder().join("peers/zeromq");
        if !folder.join(".venv/installed").exists() {
            let message = "pyzmq is missing; `make peers` installs what this test needs";
            skip("the zmq input", message);
            return None;
        }
        let mut process = Command::new(folder.join(".venv/bin/python"))
            .arg(folder.join("publisher.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run the publisher");
        let orders = process.stdin.take().expect("its input");
        let answers = BufReader::new(process.stdout.take().expect("its output"));
        Some(Publisher { process, orders, answers })
    }

    /// Starts one that is connected to an input, and whose messages arrive from now on.
    pub fn connected(router: &Router, input: &str) -> Option<Publisher> {
        let mut publisher = Publisher::start()?;
        publisher.connect(router, input);
        Some(publisher)
    }

    /// Connects, and publishes until the router has received something: before the subscription is there, what a publisher
    /// sends goes to nobody. What it sends are empty frames, which the router counts as `blank`.
    #[track_caller]
    pub fn connect(&mut self, router: &Router, input: &str) {
        let address = router.address(input);
        self.order(json!({ "connect": format!("tcp://{address}") }));
        self.wait_until_heard(router, input);
    }

    /// Publishes empty frames until one more has arrived.
    #[track_caller]
    pub fn wait_until_heard(&mut self, router: &Router, input: &str) {
        let blank = |router: &Router| super::ledger::number(&router.ledger().input(input)["blank"]);
        let before = blank(router);
        wait::until("the publisher is heard", || {
            self.send(&[""]);
            (blank(router) > before).then_some(())
        });
    }

    /// Publishes one message of these frames.
    pub fn send(&mut self, frames: &[&str]) {
        self.order(json!({ "send": frames }));
    }

    /// Publishes messages numbered from `first` up to `end`, without `end` itself.
    pub fn numbers(&mut self, logger: &str, first: usize, end: usize, bytes: usize) {
        self.order(json!({ "numbers": [first, end], "logger": logger, "bytes": bytes, "pause": 0 }));
    }

    /// Has it do something, and returns what it says when that is done.
    #[track_caller]
    pub fn order(&mut self, order: Value) -> Value {
        writeln!(self.orders, "{order}").expect("tell the publisher");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("its answer");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer} to {order}"))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // Errors mean that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
