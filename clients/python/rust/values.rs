//! Python values to JSON: the everyday ones, of exactly the built-in types. Everything else goes the way by
//! Python (`metlog/values.py`), where the rules for all of them are; so there is one place where they are made.

use std::borrow::Cow;

use metlog::{FieldValue, MemberBuffer, ObjectWriter, ValueWriter};
use pyo3::PyTypeInfo;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

/// Lists and objects within one another beyond this are looked at in Python, which finds cycles.
const DEEPEST: usize = 16;

/// This is not a value for the native path.
#[derive(Debug)]
pub(crate) struct NotPlain;

/// Adds the members of a dict, except those of some names.
pub(crate) fn write_members(
    members: &mut MemberBuffer,
    dict: &Bound<'_, PyDict>,
    except: &[&str],
) -> Result<(), NotPlain> {
    for (key, value) in dict.iter() {
        let key = text(&key)?;
        let key = as_str(key)?;
        if !except.contains(&key.as_ref()) {
            members.write_with(&key, |writer| write_value(writer, &value, 1))?;
        }
    }
    Ok(())
}

/// Adds one member.
pub(crate) fn write_member(
    members: &mut MemberBuffer,
    key: &str,
    value: &Bound<'_, PyAny>,
) -> Result<(), NotPlain> {
    members.write_with(key, |writer| write_value(writer, value, 1))
}

fn write_value(writer: ValueWriter<'_>, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), NotPlain> {
    if let Some(value) = exact::<PyString>(value) {
        writer.value(FieldValue::Text(&as_str(value)?));
    } else if let Some(value) = exact::<PyInt>(value) {
        writer.value(FieldValue::Integer(integer(value)?));
    } else if let Some(value) = exact::<PyFloat>(value) {
        let number = value.value();
        if !number.is_finite() {
            return Err(NotPlain);
        }
        writer.value(FieldValue::Float(number));
    } else if value.is_none() {
        writer.value(FieldValue::Null);
    } else if let Some(value) = exact::<PyBool>(value) {
        writer.value(FieldValue::Bool(value.is_true()));
    } else if depth > DEEPEST {
        return Err(NotPlain);
    } else if let Some(dict) = exact::<PyDict>(value) {
        return writer.object(|object| write_object(object, dict, depth));
    } else if let Some(list) = exact::<PyList>(value) {
        return writer.array(|array| {
            list.iter()
                .try_for_each(|element| array.push_with(|writer| write_value(writer, &element, depth + 1)))
        });
    } else if let Some(tuple) = exact::<PyTuple>(value) {
        return writer.array(|array| {
            tuple
                .iter()
                .try_for_each(|element| array.push_with(|writer| write_value(writer, &element, depth + 1)))
        });
    } else {
        return Err(NotPlain);
    }
    Ok(())
}

fn write_object(
    object: &mut ObjectWriter<'_>,
    dict: &Bound<'_, PyDict>,
    depth: usize,
) -> Result<(), NotPlain> {
    for (key, value) in dict.iter() {
        let key = text(&key)?;
        object.write_with(&as_str(key)?, |writer| write_value(writer, &value, depth + 1))?;
    }
    Ok(())
}

/// The value, if it is of exactly this built-in type. (A cast that fails costs more than a look before it.)
#[inline]
pub(crate) fn exact<'a, 'py, T: PyTypeInfo>(value: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, T>> {
    if value.is_exact_instance_of::<T>() { value.cast_exact().ok() } else { None }
}

/// A value that is exactly a `str`.
#[inline]
pub(crate) fn text<'a, 'py>(value: &'a Bound<'py, PyAny>) -> Result<&'a Bound<'py, PyString>, NotPlain> {
    exact(value).ok_or(NotPlain)
}

/// The text of a `str`; one with lone surrogates has none.
#[inline]
pub(crate) fn as_str<'a>(value: &'a Bound<'_, PyString>) -> Result<Cow<'a, str>, NotPlain> {
    value.to_cow().map_err(|_| NotPlain)
}

/// The number that is exactly an `int`, if it is not too large.
#[inline]
pub(crate) fn integer(value: &Bound<'_, PyInt>) -> Result<i64, NotPlain> {
    value.extract().map_err(|_| NotPlain)
}
