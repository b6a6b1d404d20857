//! Which of the interpreters in this process is the calling one.

#![allow(unsafe_code)]

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The main interpreter has this number, always.
const MAIN: i64 = 0;

/// Refuses all interpreters but the main one: classes, interned names and what else is kept here belong to that one, and
/// another one may end while they are in use.
pub(crate) fn must_be_main(_: Python<'_>) -> PyResult<()> {
    // SAFETY: both calls need a thread that is attached to an interpreter, which the argument proves, and nothing else.
    let number = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if number == MAIN {
        return Ok(());
    }
    Err(PyImportError::new_err("it serves the main interpreter of a process alone"))
}
