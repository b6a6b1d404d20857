//! Benchmarks: floors, load generator and the comparison table.
fn main() {}
