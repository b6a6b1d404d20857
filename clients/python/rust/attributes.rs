//! Attributes of objects, classes and modules, as the dicts that they are in.
//!
//! A call looks at some twenty of them to see whether they are what they were. That takes no reference to any: the two
//! calls into the interpreter for each were an eighth of what a counter cost.

#![allow(unsafe_code)]

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{ffi, intern};

/// The attributes of an object itself.
#[inline]
pub(crate) fn attributes<'py>(object: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDict>> {
    object.getattr(intern!(object.py(), "__dict__")).ok()?.cast_into_exact().ok()
}

/// One of an object's attributes.
#[inline]
pub(crate) fn get<'py>(
    attributes: &Bound<'py, PyDict>,
    name: &Bound<'py, PyString>,
) -> Option<Bound<'py, PyAny>> {
    attributes.get_item(name).ok().flatten()
}

/// Whether an attribute is this very object.
#[inline]
pub(crate) fn is(
    attributes: &Bound<'_, PyDict>,
    name: &Bound<'_, PyString>,
    expected: &Bound<'_, PyAny>,
) -> bool {
    // What is alive shares its address with nothing else.
    address(attributes, name) == Some(expected.as_ptr() as usize)
}

/// Whether there is no such attribute.
#[inline]
pub(crate) fn lacks(attributes: &Bound<'_, PyDict>, name: &Bound<'_, PyString>) -> bool {
    address(attributes, name) == Some(0)
}

/// Where the object is, 0 if there is none; `None` if it cannot be said.
#[inline]
fn address(attributes: &Bound<'_, PyDict>, name: &Bound<'_, PyString>) -> Option<usize> {
    // SAFETY: both arguments are alive and of the types that the call asks for, and the thread is attached to the
    // interpreter, which `Bound` proves of each. The result is borrowed, and another thread may let go of the object at
    // any moment; so it is only a number here, and never used as an object.
    let value = unsafe { ffi::PyDict_GetItemWithError(attributes.as_ptr(), name.as_ptr()) };
    if value.is_null() && PyErr::occurred(attributes.py()) {
        // A key with code of its own has raised something.
        drop(PyErr::take(attributes.py()));
        return None;
    }
    Some(value as usize)
}
