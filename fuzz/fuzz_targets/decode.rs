//! Any frame is judged as serde_json judges it, and its values are the same.
#![no_main]

#[path = "../../crates/message/tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let _ = oracle::check(frame);
});
