//! What has to be as it was for a call to go the native path, looked at on each call, so cheaply.
//!
//! It is the truth that is looked at, the attributes of classes and objects by their names, and nothing that would have
//! to be told of a change: not every change can be noticed when it is made.

use std::sync::Arc;

use metlog::Client;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyList, PyNone, PyString};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::attributes::{attributes, get, is, lacks};
use crate::core::{Core, Starter};
use crate::filters::Rule;
use crate::terms::Terms;
use crate::values::{NotPlain, exact};

pub(crate) use crate::terms::Through;

/// What a client was like when its path was made.
pub(crate) struct Conditions {
    terms: Py<Terms>,
    sender: Py<PyAny>,
    sender_attributes: Py<PyDict>,
    /// Which of the terms' classes the sender is of.
    sender_class: usize,
    core: Py<PyAny>,
    starter: Arc<Starter>,
    hostname: Py<PyAny>,
    process: Py<PyAny>,
    filters: Vec<(Py<PyAny>, Rule)>,
}

impl Conditions {
    /// What a client is like now, if there is a native path for that.
    pub(crate) fn of(terms: &Bound<'_, Terms>, client: &Bound<'_, PyAny>) -> Option<Conditions> {
        let py = client.py();
        if !terms.get().client.is_class_of(client) {
            // Its attributes may be code of Python's.
            return None;
        }
        let attributes = attributes(client)?;
        let attribute = |name| get(&attributes, name);
        let sender = attribute(intern!(py, "sender"))?;
        let sender_class = terms.get().senders.iter().position(|class| class.is_class_of(&sender))?;
        let sender_attributes = self::attributes(&sender)?;
        let core = get(&sender_attributes, intern!(py, "core"))?;
        let starter = exact::<Core>(&core)?.get().starter();
        let hostname = attribute(intern!(py, "hostname"))?;
        let process = attribute(intern!(py, "pid"))?;
        if exact::<PyString>(&hostname)?.to_cow().ok()? != starter.hostname()
            || exact::<PyInt>(&process)?.extract::<u32>().ok()? != std::process::id()
            || attribute(intern!(py, "_closed"))?.is_truthy().ok()?
        {
            return None;
        }
        let list = attribute(intern!(py, "filters"))?;
        let rule = |filter: Bound<'_, PyAny>| {
            let rule = Rule::of(&filter, terms.get().filters.bind(py))?;
            Some((filter.unbind(), rule))
        };
        let conditions = Conditions {
            terms: terms.clone().unbind(),
            sender: sender.unbind(),
            sender_attributes: sender_attributes.unbind(),
            sender_class,
            core: core.unbind(),
            starter,
            hostname: hostname.unbind(),
            process: process.unbind(),
            filters: exact::<PyList>(&list)?.iter().map(rule).collect::<Option<_>>()?,
        };
        conditions.hold(client, Through::TimerSend).map(|_| conditions)
    }

    /// The client's attributes, if everything is as it was.
    #[inline]
    pub(crate) fn hold<'py>(
        &self,
        client: &Bound<'py, PyAny>,
        through: Through,
    ) -> Option<Bound<'py, PyDict>> {
        let py = client.py();
        let terms = self.terms.get();
        if !terms.client.is_class_of(client) {
            return None;
        }
        let attributes = attributes(client)?;
        let holds = terms.client.holds(&attributes, through.attributes())
            && is(&attributes, intern!(py, "sender"), self.sender.bind(py))
            && is(&attributes, intern!(py, "hostname"), self.hostname.bind(py))
            // A child after a fork sends its own, although the attribute is still its parent's.
            && is(&attributes, intern!(py, "pid"), self.process.bind(py))
            && self.sender_holds(py)
            && self.filters_hold(&attributes);
        holds.then_some(attributes)
    }

    #[inline]
    fn sender_holds(&self, py: Python<'_>) -> bool {
        let attributes = self.sender_attributes.bind(py);
        let class = self.terms.get().senders.get(self.sender_class);
        class.is_some_and(|class| class.holds(attributes, usize::MAX))
            && is(attributes, intern!(py, "core"), self.core.bind(py))
            // Whoever takes a UDP sender's socket has it used.
            && (is(attributes, intern!(py, "_socket"), &PyNone::get(py)) || lacks(attributes, intern!(py, "_socket")))
    }

    #[inline]
    fn filters_hold(&self, attributes: &Bound<'_, PyDict>) -> bool {
        let Some(list) = get(attributes, intern!(attributes.py(), "filters")) else { return false };
        let Some(list) = exact::<PyList>(&list) else { return false };
        list.len() == self.filters.len()
            && self.filters.iter().enumerate().all(|(place, (filter, rule))| {
                list.get_item(place).is_ok_and(|item| item.is(filter) && rule.holds(&item))
            })
    }

    /// Whether the filters keep a message; if not, it is counted.
    #[inline]
    pub(crate) fn keep(
        &self,
        kind: &Bound<'_, PyString>,
        severity: &Bound<'_, PyAny>,
    ) -> Result<bool, NotPlain> {
        for (_, rule) in &self.filters {
            if !rule.keeps(kind, severity)? {
                self.client().count_filtered();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether fields are bound here, to any client.
    #[inline]
    pub(crate) fn has_bound_fields(&self, py: Python<'_>) -> bool {
        let module = self.terms.get().bound.bind(py);
        !is(module, intern!(py, "ever"), &PyBool::new(py, false))
            && get(module, intern!(py, "is_any"))
                .is_some_and(|is_any| is_any.call0().is_ok_and(|bound| bound.is_truthy().unwrap_or(true)))
    }

    /// What sends.
    #[inline]
    pub(crate) fn client(&self) -> &Client {
        self.starter.client()
    }

    /// Shows Python's collector of cycles what is held.
    pub(crate) fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sender)?;
        visit.call(&self.sender_attributes)?;
        visit.call(&self.core)?;
        self.filters.iter().try_for_each(|(filter, rule)| {
            visit.call(filter)?;
            rule.visit(visit)
        })
    }
}
