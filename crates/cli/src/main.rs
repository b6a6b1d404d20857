//! The `metlog` binary.
fn main() {}
