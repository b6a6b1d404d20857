//! The native path: the arguments of a call, encoded straight into the queue, for as long as nothing on the way is
//! replaced.
//!
//! The classes of the package are ordinary Python classes. Whoever likes may derive from them, patch them, and assign to
//! their attributes; then a call has to go the way that they see. So each call looks whether all is as it was when the
//! path was made ([`crate::conditions`]), and says where it is not.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use metlog::{Fields, MemberBuffer, Members, Message, Payload, Severity};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFloat, PyInt, PyNone, PyString};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::attributes::get;
use crate::conditions::{Conditions, Through};
use crate::diagnostics;
use crate::records::Usual;
use crate::timer::{self, Call, Rounded, Timer};
use crate::values::{NotPlain, as_str, exact, integer, text, write_member, write_members};

/// Memory above this is not kept for a thread's next message.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    /// This thread's memory for fields, so that a message with fields does not allocate.
    static MEMORY: Cell<MemberBuffer> = const { Cell::new(MemberBuffer::new()) };
}

/// What became of a call, as Python sees it: `True`, it is done; `False`, its arguments are not for this path; `None`,
/// something on the way is not what it was, and the path is of no more use.
type Done = Option<bool>;

/// Why a call does not go this way.
enum Off {
    Arguments,
    Replaced,
}

impl From<NotPlain> for Off {
    fn from(_: NotPlain) -> Off {
        Off::Arguments
    }
}

/// Sends the messages of one client, as it was when the path was made.
#[pyclass(module = "metlog._native", frozen)]
pub(crate) struct NativePath {
    conditions: Conditions,
}

impl NativePath {
    pub(crate) fn new(conditions: Conditions) -> NativePath {
        NativePath { conditions }
    }

    /// Runs a call. It must not panic; if it did, the call would go the other way.
    #[inline]
    fn run(&self, call: impl FnOnce() -> Result<(), Off>) -> Done {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(Ok(())) => Some(true),
            Ok(Err(Off::Arguments)) | Err(_) => Some(false),
            Ok(Err(Off::Replaced)) => None,
        }
    }

    /// Sends what a timer has measured; `false` if that has to go the other way.
    pub(crate) fn send_time(&self, py: Python<'_>, call: &Call, nanoseconds: u64) -> bool {
        let done = self.run(|| {
            if self.conditions.has_bound_fields(py) {
                return Err(Off::Arguments);
            }
            let attributes =
                self.conditions.hold(call.client.bind(py), Through::TimerSend).ok_or(Off::Replaced)?;
            let text;
            let payload = match timer::rounded(nanoseconds, call.decimals) {
                Rounded::Whole(number) => Payload::Integer(number),
                Rounded::Decimal(number) => {
                    text = decimal_text(number)?;
                    Payload::Text(&text)
                }
            };
            let kind = intern!(py, "timer");
            let none = PyNone::get(py);
            let metric = Metric {
                name: call.name.bind(py),
                logger: given(&call.logger, &none),
                severity: given(&call.severity, &none),
                fields: given(&call.fields, &none),
                rate: call.rate.bind(py),
            };
            self.send_metric(&attributes, kind, payload, &metric)
        });
        done == Some(true)
    }

    /// Sends a log record; other than `Some(true)` if that has to go the other way.
    pub(crate) fn send_record(
        &self,
        client: &Bound<'_, PyAny>,
        record: &Usual<'_>,
        severity: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> Done {
        let py = client.py();
        self.run(|| {
            if record.says_more() || self.conditions.has_bound_fields(py) {
                return Err(Off::Arguments);
            }
            let attributes = self.conditions.hold(client, Through::Metlog).ok_or(Off::Replaced)?;
            let payload = as_str(text(payload)?)?;
            with_members(|members| {
                for (name, value) in record.fields() {
                    let value = value.ok_or(Off::Arguments)?;
                    if name == "template" {
                        text(value)?;
                    }
                    write_member(members, name, value)?;
                }
                let (kind, none) = (intern!(py, "oldstyle"), py.None().into_bound(py));
                let fields = Fields::Members(members.members());
                self.send(&attributes, kind, &none, severity, Payload::Text(&payload), fields)
            })
        })
    }

    /// Filters and sends a message, whose logger and severity may be the client's.
    fn send(
        &self,
        attributes: &Bound<'_, PyDict>,
        kind: &Bound<'_, PyString>,
        logger: &Bound<'_, PyAny>,
        severity: &Bound<'_, PyAny>,
        payload: Payload<'_>,
        fields: Fields<'_>,
    ) -> Result<(), Off> {
        let py = kind.py();
        let own = |name| get(attributes, name).ok_or(Off::Replaced);
        let own_logger;
        let logger = match logger.is_none() {
            true => {
                own_logger = own(intern!(py, "logger"))?;
                &own_logger
            }
            false => logger,
        };
        let own_severity;
        let severity = match severity.is_none() {
            true => {
                own_severity = own(intern!(py, "severity"))?;
                &own_severity
            }
            false => severity,
        };
        let logger = as_str(text(logger)?)?;
        let number = integer(exact::<PyInt>(severity).ok_or(Off::Arguments)?)?;
        let number = Severity::from_number(number).ok_or(Off::Arguments)?;
        if !self.conditions.keep(kind, severity)? {
            return Ok(());
        }
        let kind = as_str(kind)?;
        let message = Message {
            kind: &kind,
            logger: Some(&logger),
            severity: number,
            payload,
            fields,
            timestamp: None,
        };
        self.conditions.client().send(&message);
        diagnostics::spread(py);
        Ok(())
    }

    /// Sends a counter, a gauge or a timer.
    fn send_metric(
        &self,
        attributes: &Bound<'_, PyDict>,
        kind: &Bound<'_, PyString>,
        payload: Payload<'_>,
        metric: &Metric<'_, '_>,
    ) -> Result<(), Off> {
        let Metric { name, logger, severity, fields, rate } = metric;
        let name = as_str(text(name)?)?;
        if fields.is_none()
            && let Some(rate) =
                exact::<PyFloat>(rate).map(|rate| rate.value()).filter(|rate| rate.is_finite())
        {
            let fields = Fields::Metric { name: &name, rate, members: Members::NONE };
            return self.send(attributes, kind, logger, severity, payload, fields);
        }
        with_members(|members| {
            if !fields.is_none() {
                write_members(members, exact(fields).ok_or(Off::Arguments)?, &["name", "rate"])?;
            }
            members.write("name", name.as_ref().into());
            write_member(members, "rate", rate)?;
            self.send(attributes, kind, logger, severity, payload, Fields::Members(members.members()))
        })
    }
}

/// What was given, or Python's `None`.
fn given<'a, 'py>(argument: &'a Option<Py<PyAny>>, none: &'a Bound<'py, PyNone>) -> &'a Bound<'py, PyAny> {
    argument.as_ref().map_or(none.as_any(), |argument| argument.bind(none.py()))
}

/// What counters, gauges and timers are called with beside their value.
struct Metric<'a, 'py> {
    name: &'a Bound<'py, PyAny>,
    logger: &'a Bound<'py, PyAny>,
    severity: &'a Bound<'py, PyAny>,
    fields: &'a Bound<'py, PyAny>,
    rate: &'a Bound<'py, PyAny>,
}

#[pymethods]
impl NativePath {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.conditions.visit(&visit)
    }

    /// `MetlogClient.metlog`
    #[pyo3(signature = (client, kind, logger, severity, payload, fields, /))]
    fn metlog(
        &self,
        client: &Bound<'_, PyAny>,
        kind: &Bound<'_, PyAny>,
        logger: &Bound<'_, PyAny>,
        severity: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
        fields: &Bound<'_, PyAny>,
    ) -> Done {
        self.run(|| {
            let attributes = self.conditions.hold(client, Through::SendMessage).ok_or(Off::Replaced)?;
            let (kind, payload) = (text(kind)?, as_str(text(payload)?)?);
            let payload = Payload::Text(&payload);
            if fields.is_none() {
                let fields = Fields::Members(Members::NONE);
                return self.send(&attributes, kind, logger, severity, payload, fields);
            }
            with_members(|members| {
                write_members(members, exact(fields).ok_or(Off::Arguments)?, &[])?;
                self.send(&attributes, kind, logger, severity, payload, Fields::Members(members.members()))
            })
        })
    }

    /// `MetlogClient.timer`, with the decimals of its milliseconds.
    #[pyo3(signature = (client, name, logger, severity, fields, rate, decimals, /))]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of the call")]
    fn timer(
        slf: Py<NativePath>,
        client: Py<PyAny>,
        name: Py<PyAny>,
        logger: Option<Py<PyAny>>,
        severity: Option<Py<PyAny>>,
        fields: Option<Py<PyAny>>,
        rate: Py<PyAny>,
        decimals: &Bound<'_, PyAny>,
    ) -> Timer {
        Timer::new(Call { path: slf, client, name, rate, logger, severity, fields, decimals: 0 }, decimals)
    }

    /// `MetlogClient.incr`, `gauge` and `timer_send`.
    #[pyo3(signature = (client, kind, name, value, logger, severity, fields, rate, /))]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of the call")]
    fn metric(
        &self,
        client: &Bound<'_, PyAny>,
        kind: &Bound<'_, PyAny>,
        name: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        logger: &Bound<'_, PyAny>,
        severity: &Bound<'_, PyAny>,
        fields: &Bound<'_, PyAny>,
        rate: &Bound<'_, PyAny>,
    ) -> Done {
        self.run(|| {
            if self.conditions.has_bound_fields(client.py()) {
                return Err(Off::Arguments);
            }
            let attributes = self.conditions.hold(client, Through::Metlog).ok_or(Off::Replaced)?;
            let (kind, metric) = (text(kind)?, Metric { name, logger, severity, fields, rate });
            if let Some(whole) = exact::<PyInt>(value) {
                return self.send_metric(&attributes, kind, Payload::Integer(integer(whole)?), &metric);
            }
            let decimal = decimal_text(exact::<PyFloat>(value).ok_or(Off::Arguments)?.value())?;
            self.send_metric(&attributes, kind, Payload::Text(&decimal), &metric)
        })
    }
}

/// `str` of a `float`, where Rust writes it as Python does.
fn decimal_text(number: f64) -> Result<String, Off> {
    if number != 0.0 && !(1e-4..1e16).contains(&number.abs()) {
        return Err(Off::Arguments);
    }
    Ok(format!("{number:?}"))
}

/// Calls with this thread's memory for fields.
fn with_members(call: impl FnOnce(&mut MemberBuffer) -> Result<(), Off>) -> Result<(), Off> {
    let mut members = MEMORY.try_with(Cell::take).unwrap_or_default();
    let result = call(&mut members);
    if members.capacity() <= KEPT_BYTES {
        members.clear();
        // Not at hand while the thread ends; then the memory is simply freed.
        let _ = MEMORY.try_with(|cell| cell.set(members));
    }
    result
}
