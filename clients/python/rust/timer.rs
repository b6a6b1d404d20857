//! A timer as it is used nearly always: made, entered once, left once, by one thread. What else there is to a timer
//! (`metlog/timers.py`: decorating, being shared, further attributes) is done by one in Python, made when it is needed.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::path::NativePath;

/// No timer has more decimals than this: a nanosecond is the sixth of a millisecond.
const MOST_DECIMALS: usize = 6;

/// What a timer is called with; `timer_send` gets the same.
pub(crate) struct Call {
    pub(crate) path: Py<NativePath>,
    pub(crate) client: Py<PyAny>,
    pub(crate) name: Py<PyAny>,
    pub(crate) logger: Py<PyAny>,
    pub(crate) severity: Py<PyAny>,
    pub(crate) fields: Py<PyAny>,
    pub(crate) rate: Py<PyAny>,
    pub(crate) decimals: usize,
}

/// Measures a block.
///
/// Several threads may use one timer at the same time, and not every interpreter has a lock that lets only one of them in
/// here. So a timer belongs to the first thread that enters it, which it becomes in one step, and a span's end takes its
/// beginning away in one step; from its owner's first entry on, no other thread measures here.
#[pyclass(module = "metlog._native", frozen, weakref)]
pub(crate) struct Timer {
    call: Call,
    /// The thread whose attributes `start` and `result` are kept here, 0 before the first.
    thread: AtomicU64,
    /// When the span began that is measured here, 0 if there is none.
    begin: AtomicU64,
    /// When the last one began, for `start`.
    last_begin: AtomicU64,
    /// How long the last one was, for `result`; `UNKNOWN` while there is none.
    elapsed: AtomicU64,
    /// How many spans are measured by the timer in Python.
    elsewhere: AtomicU64,
    full: PyOnceLock<Py<PyAny>>,
}

const UNKNOWN: u64 = u64::MAX;

impl Timer {
    pub(crate) fn new(call: Call) -> Timer {
        Timer {
            call,
            thread: AtomicU64::new(0),
            begin: AtomicU64::new(0),
            last_begin: AtomicU64::new(0),
            elapsed: AtomicU64::new(UNKNOWN),
            elsewhere: AtomicU64::new(0),
            full: PyOnceLock::new(),
        }
    }

    /// The timer in Python that does the rest.
    fn full<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let make = || -> PyResult<Py<PyAny>> {
            let call = &self.call;
            let further = PyDict::new(py);
            further.set_item("logger", &call.logger)?;
            further.set_item("severity", &call.severity)?;
            further.set_item("fields", &call.fields)?;
            further.set_item("rate", &call.rate)?;
            let class = call.path.get().timers(py).getattr("_TimerBeside")?;
            Ok(class.call1((&call.client, &call.name, further, call.decimals))?.unbind())
        };
        Ok(self.full.get_or_try_init(py, make)?.bind(py))
    }

    /// Whether this thread's attributes are kept here.
    fn is_mine(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == thread_number()
    }

    fn send(&self, py: Python<'_>, elapsed: u64) -> PyResult<()> {
        let call = &self.call;
        if call.path.get().send_time(py, call, elapsed) {
            return Ok(());
        }
        let further = PyDict::new(py);
        further.set_item(intern!(py, "logger"), &call.logger)?;
        further.set_item(intern!(py, "severity"), &call.severity)?;
        further.set_item(intern!(py, "fields"), &call.fields)?;
        further.set_item(intern!(py, "rate"), &call.rate)?;
        let time = milliseconds(py, elapsed, call.decimals)?;
        call.client.bind(py).call_method(intern!(py, "timer_send"), (&call.name, time), Some(&further))?;
        Ok(())
    }
}

#[pymethods]
impl Timer {
    fn __enter__<'py>(slf: Bound<'py, Timer>) -> PyResult<Bound<'py, Timer>> {
        let timer = slf.get();
        let thread = thread_number();
        let owner = timer.thread.load(Ordering::Relaxed);
        let is_free =
            timer.begin.load(Ordering::Relaxed) == 0 && timer.elsewhere.load(Ordering::Relaxed) == 0;
        let takes_it =
            || timer.thread.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if is_free && (owner == thread || owner == 0 && takes_it()) {
            timer.elapsed.store(UNKNOWN, Ordering::Relaxed);
            let now = now();
            timer.last_begin.store(now, Ordering::Relaxed);
            timer.begin.store(now, Ordering::Relaxed);
        } else {
            timer.full(slf.py())?.call_method0("__enter__")?;
            timer.elsewhere.fetch_add(1, Ordering::Relaxed);
        }
        Ok(slf)
    }

    #[pyo3(signature = (kind, error, traceback, /))]
    fn __exit__(
        &self,
        kind: &Bound<'_, PyAny>,
        error: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let now = now();
        let py = kind.py();
        let begin = self.begin.load(Ordering::Relaxed);
        let is_here = begin != 0
            && (self.elsewhere.load(Ordering::Relaxed) == 0
                || !self
                    .call
                    .path
                    .get()
                    .timers(py)
                    .call_method1("is_open", (self.full(py)?,))?
                    .is_truthy()?);
        // A span that was moved between threads may be ended by two of them at once.
        if !is_here || self.begin.swap(0, Ordering::Relaxed) == 0 {
            let one_less = |count: u64| count.checked_sub(1);
            // There is none where somebody leaves what nobody has entered.
            let _ = self.elsewhere.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
            self.full(py)?.call_method1("__exit__", (kind, error, traceback))?;
            return Ok(());
        }
        let elapsed = now.saturating_sub(begin);
        self.elapsed.store(elapsed, Ordering::Relaxed);
        self.send(py, elapsed)
    }

    /// Measures each call of a function.
    #[pyo3(signature = (fn_, /))]
    fn __call__<'py>(&self, fn_: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.full(fn_.py())?.call1((fn_,))
    }

    fn __getattr__<'py>(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        let py = name.py();
        if self.is_mine() {
            match name.to_cow()?.as_ref() {
                "result" => {
                    return match self.elapsed.load(Ordering::Relaxed) {
                        UNKNOWN => Ok(py.None().into_bound(py)),
                        elapsed => milliseconds(py, elapsed, self.call.decimals),
                    };
                }
                "start" => {
                    let ago = (now() - self.last_begin.load(Ordering::Relaxed)) as f64 / 1e9;
                    let clock: f64 = py.import("time")?.call_method0("perf_counter")?.extract()?;
                    return (clock - ago).into_pyobject(py).map(Bound::into_any).map_err(Into::into);
                }
                _ => {}
            }
        }
        self.full(py)?.getattr(name).map_err(|_| PyAttributeError::new_err(name.clone().unbind()))
    }

    fn __setattr__(&self, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.full(name.py())?.setattr(name, value)
    }

    fn __delattr__(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        self.full(name.py())?.delattr(name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let call = &self.call;
        for object in [&call.client, &call.name, &call.logger, &call.severity, &call.fields, &call.rate] {
            visit.call(object)?;
        }
        visit.call(&call.path)
    }
}

/// A time as Python has it: whole milliseconds as an `int`, with decimals as a `float`.
fn milliseconds(py: Python<'_>, nanoseconds: u64, decimals: usize) -> PyResult<Bound<'_, PyAny>> {
    Ok(match rounded(nanoseconds, decimals) {
        Rounded::Whole(number) => number.into_pyobject(py)?.into_any(),
        Rounded::Decimal(number) => number.into_pyobject(py)?.into_any(),
    })
}

/// A rounded time.
pub(crate) enum Rounded {
    /// Milliseconds.
    Whole(i64),
    /// Milliseconds with decimals.
    Decimal(f64),
}

/// Milliseconds, rounded as Python's `round` does.
pub(crate) fn rounded(nanoseconds: u64, decimals: usize) -> Rounded {
    let milliseconds = nanoseconds as f64 / 1e6;
    if decimals == 0 {
        return Rounded::Whole(milliseconds.round_ties_even() as i64);
    }
    let decimals = decimals.min(MOST_DECIMALS);
    // The shortest way to a correctly rounded decimal, and not on anybody's hot path.
    Rounded::Decimal(format!("{milliseconds:.decimals$}").parse().unwrap_or(milliseconds))
}

/// Nanoseconds since some time before the first timer.
#[inline]
fn now() -> u64 {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let since = BASE.get_or_init(Instant::now).elapsed();
    // Never 0, which stands for no time. 584 years fit.
    since.as_nanos() as u64 + 1
}

/// A number for the calling thread that no other thread has had, counted from 1.
fn thread_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        number.get()
    })
}
