//! A router that writes each message to two files, one of a fixed name and one by its logger, and the rotation of these files
//! while messages flow.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::{Router, senders};

/// A configuration with one input, `tcp`.
pub const CONFIGURATION: &str = r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.fixed]
kind = "file"
path = "fixed.jsonl"

[endpoints.by-logger]
kind = "file"
path = "by-logger/{logger}.jsonl"

[[routes]]
to = ["fixed", "by-logger"]
"#;

/// Each endpoint with its file for the logger `load`.
pub const FILES: [(&str, &str); 2] = [("fixed", "fixed.jsonl"), ("by-logger", "by-logger/load.jsonl")];

/// Sends numbered messages of the logger `load`, and rotates so often while both files grow; `rotate` is told how often it was
/// called before. Returns how many were sent, when all are delivered.
pub fn rotate_under_load(router: &Router, rotations: usize, mut rotate: impl FnMut(usize)) -> usize {
    let address = router.address("tcp");
    let stop = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| senders::numbered_until(&stop, address, "load"));
        let messages_flow = || {
            let before = router.ledger();
            router.wait("messages flow", |ledger| {
                FILES
                    .iter()
                    .all(|(endpoint, _)| ledger.delivered(endpoint) > before.delivered(endpoint) + 500)
            });
        };
        for rotation in 0..rotations {
            messages_flow();
            rotate(rotation);
        }
        // The last messages must come after the last rotation: logrotate's `copytruncate` loses what is written amid it.
        messages_flow();
        stop.store(true, Ordering::Relaxed);
        sender.join().expect("send")
    });
    router.wait_until_delivered(sent as u64);
    sent
}
