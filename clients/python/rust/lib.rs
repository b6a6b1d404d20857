//! `metlog._native`: the native path of metlog-py, from the arguments of a call straight into the queue of the Rust client.
//!
//! * [`core`]: a queue, its sending thread and their account, for one sender of the Python package.
//! * [`path`]: the calls, encoded without a dict in between, for as long as nothing on the way is replaced.

mod attributes;
mod conditions;
mod core;
mod diagnostics;
mod filters;
mod interpreter;
mod path;
mod records;
mod retired;
mod terms;
mod timer;
mod values;

use pyo3::prelude::*;

/// The native half of metlog-py.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::core::{Core, open_core};
    #[pymodule_export]
    use super::diagnostics::{spread_diagnostics, take_diagnostics};
    #[pymodule_export]
    use super::path::NativePath;
    #[pymodule_export]
    use super::records::Records;
    #[pymodule_export]
    use super::retired::flush_retired;
    #[pymodule_export]
    use super::terms::Terms;
    #[pymodule_export]
    use super::timer::{Timer, begin_span, end_span};
    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::interpreter::must_be_main(module.py())?;
        super::timer::compare_clocks(module.py())
    }

    /// The version of the native half.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}
