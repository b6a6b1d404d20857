//! A test that cannot be run on this machine.

use std::io::{self, Write};

/// Says that a test of `what` is not run, and why. Where `CI` is set that is a failure.
#[track_caller]
pub fn skip(what: &str, why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    // Not by `eprintln!`, which the test harness shows only for tests that fail.
    let line = format!("\n*** SKIPPED: a test of {what}: {why}\n\n");
    io::stderr().write_all(line.as_bytes()).expect("write to standard error");
}
