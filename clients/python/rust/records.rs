//! Records of Python's `logging` on the native path: what `metlog/handler.py` makes of a record that nobody has added
//! anything to, which is nearly every one.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, intern};

use crate::path::NativePath;
use crate::values::exact;

/// Sends records.
#[pyclass(module = "metlog._native", frozen)]
pub(crate) struct Records {
    /// The names that every record has, and formatters add.
    names: Vec<Py<PyString>>,
    /// Where these are in memory, in order: the names of attributes are interned, so each is there once.
    places: Vec<usize>,
}

#[pymethods]
impl Records {
    /// Takes the names that every record has.
    #[new]
    fn new(py: Python<'_>, names: Vec<String>) -> Records {
        let names: Vec<_> = names.iter().map(|name| PyString::intern(py, name).unbind()).collect();
        let mut places: Vec<usize> = names.iter().map(|name| name.as_ptr() as usize).collect();
        places.sort_unstable();
        Records { names, places }
    }

    /// Sends a record with these attributes; other than `True` where it has to be sent the way by Python.
    #[pyo3(signature = (path, client, record, severity, payload, /))]
    fn send(
        &self,
        path: &Bound<'_, PyAny>,
        client: &Bound<'_, PyAny>,
        record: &Bound<'_, PyDict>,
        severity: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> Option<bool> {
        // Anything may be called a client.
        let Some(path) = exact::<NativePath>(path) else { return Some(false) };
        if record.len() > self.names.len() || !record.iter().all(|(name, _)| self.has(name.as_borrowed())) {
            return Some(false);
        }
        path.get().send_record(client, record, severity, payload)
    }
}

impl Records {
    fn has(&self, name: Borrowed<'_, '_, PyAny>) -> bool {
        self.places.binary_search(&(name.as_ptr() as usize)).is_ok()
    }
}

/// What the fields of a record are called, and where they are in it.
pub(crate) fn fields<'py>(py: Python<'py>) -> [(&'static str, &'py Bound<'py, PyString>); 6] {
    [
        ("template", intern!(py, "msg")),
        ("logger_name", intern!(py, "name")),
        ("thread", intern!(py, "threadName")),
        ("func", intern!(py, "funcName")),
        ("file", intern!(py, "pathname")),
        ("line", intern!(py, "lineno")),
    ]
}

/// What says more than these fields do, where it is there.
pub(crate) fn further<'py>(py: Python<'py>) -> [&'py Bound<'py, PyString>; 3] {
    [intern!(py, "exc_info"), intern!(py, "exc_text"), intern!(py, "stack_info")]
}
