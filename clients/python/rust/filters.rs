//! The package's own filters, ruled by their settings instead of called.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::values::{NotPlain, exact};

/// What a filter of ours keeps.
pub(crate) struct Rule {
    /// `metlog.filters.Rule`, as the filter had it, and the filter's code; either may be replaced.
    original: Py<PyAny>,
    code: Py<PyAny>,
    /// Where the filter's function has its settings from; what it holds may be replaced as well.
    cell: Py<PyAny>,
    kind: Kind,
    /// The settings: the very objects that the filter's function looks at.
    argument: Py<PyAny>,
}

#[derive(Clone, Copy)]
enum Kind {
    SeverityMax,
    TypeBlacklist,
    TypeWhitelist,
    TypeSeverityMax,
}

impl Rule {
    /// The rule of a filter, if it is one of ours: `codes` has the code of each kind's function.
    pub(crate) fn of(filter: &Bound<'_, PyAny>, codes: &Bound<'_, PyDict>) -> Option<Rule> {
        let py = filter.py();
        let original = filter.getattr(intern!(py, "metlog_rule")).ok()?;
        let code = filter.getattr(intern!(py, "__code__")).ok()?;
        // The one variable that the function has from its provider. Which cells there are cannot be changed.
        let closure = filter.getattr(intern!(py, "__closure__")).ok()?;
        let cell = closure.cast::<PyTuple>().ok()?.get_item(0).ok()?;
        let rule = original.cast::<PyTuple>().ok()?;
        let (kind, argument) = (rule.get_item(0).ok()?, rule.get_item(1).ok()?);
        if !codes.get_item(&kind).ok()??.is(&code) {
            return None;
        }
        let kind = match exact::<PyString>(&kind)?.to_cow().ok()?.as_ref() {
            "severity_max" => Kind::SeverityMax,
            "type_blacklist" => Kind::TypeBlacklist,
            "type_whitelist" => Kind::TypeWhitelist,
            "type_severity_max" => Kind::TypeSeverityMax,
            _ => return None,
        };
        let (original, code, cell) = (original.unbind(), code.unbind(), cell.unbind());
        let rule = Rule { original, code, cell, kind, argument: argument.unbind() };
        rule.holds(filter).then_some(rule)
    }

    /// Whether the filter is what it was.
    pub(crate) fn holds(&self, filter: &Bound<'_, PyAny>) -> bool {
        let py = filter.py();
        let same = |name, expected: &Py<PyAny>| filter.getattr(name).is_ok_and(|value| value.is(expected));
        let held = self.cell.bind(py).getattr(intern!(py, "cell_contents"));
        same(intern!(py, "__code__"), &self.code)
            && same(intern!(py, "metlog_rule"), &self.original)
            && held.is_ok_and(|held| held.is(&self.argument))
    }

    /// Whether a message is kept. What cannot be decided is left to the filter itself.
    pub(crate) fn keeps(
        &self,
        kind: &Bound<'_, PyString>,
        severity: &Bound<'_, PyAny>,
    ) -> Result<bool, NotPlain> {
        let argument = self.argument.bind(kind.py());
        // Only what compares and looks up without code of Python's.
        let is_at_most = |limit: &Bound<'_, PyAny>| {
            severity.le(exact::<PyInt>(limit).ok_or(NotPlain)?).map_err(|_| NotPlain)
        };
        let is_listed = || {
            let is_plain = exact::<PySet>(argument).is_some()
                || exact::<PyFrozenSet>(argument).is_some()
                || exact::<PyList>(argument).is_some()
                || exact::<PyTuple>(argument).is_some()
                || exact::<PyDict>(argument).is_some();
            if is_plain { argument.contains(kind).map_err(|_| NotPlain) } else { Err(NotPlain) }
        };
        match self.kind {
            Kind::SeverityMax => is_at_most(argument),
            Kind::TypeBlacklist => is_listed().map(|listed| !listed),
            Kind::TypeWhitelist => is_listed(),
            Kind::TypeSeverityMax => {
                let limits = exact::<PyDict>(argument).ok_or(NotPlain)?;
                match limits.get_item(kind).map_err(|_| NotPlain)? {
                    Some(limit) if !limit.is_none() => is_at_most(&limit),
                    _ => Ok(true),
                }
            }
        }
    }

    /// Shows Python's collector of cycles what is held.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.original)?;
        visit.call(&self.code)?;
        visit.call(&self.cell)?;
        visit.call(&self.argument)
    }
}
