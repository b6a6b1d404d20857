//! `metlog._native`: what the Python client does in Rust.

use pyo3::prelude::*;

/// The native half of metlog-py.
#[pymodule]
mod _native {
    use super::*;

    /// The version of the native half.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
