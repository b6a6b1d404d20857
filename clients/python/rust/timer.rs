//! A timer as it is used nearly always: made, entered once, left once, by one thread. What else there is to a timer
//! (decorating, being shared, further attributes) is done in Python: `metlog/_native_timer.py` gives this class the methods
//! for that, which ask it first. To make and free a timer of a class in Python that derives from this one takes half as long
//! again.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::path::NativePath;

/// No timer has more decimals than this: a nanosecond is the sixth of a millisecond.
const MOST_DECIMALS: usize = 6;

/// What a timer is called with; `timer_send` gets the same.
pub(crate) struct Call {
    pub(crate) path: Py<NativePath>,
    pub(crate) client: Py<PyAny>,
    pub(crate) name: Py<PyAny>,
    pub(crate) rate: Py<PyAny>,
    /// `None` for each of these stands for Python's, as nearly always.
    pub(crate) logger: Option<Py<PyAny>>,
    pub(crate) severity: Option<Py<PyAny>>,
    pub(crate) fields: Option<Py<PyAny>>,
    pub(crate) decimals: usize,
}

/// Measures a block.
///
/// Several threads may use one timer at the same time, and not every interpreter has a lock that lets only one of them in
/// here. So a timer belongs to the first thread that enters it, which it becomes in one step, and a span's end takes its
/// beginning away in one step; from its owner's first entry on, no other thread measures here.
#[pyclass(module = "metlog._native", name = "NativeTimer", frozen, weakref)]
pub(crate) struct Timer {
    call: Call,
    /// The thread whose attributes `start` and `result` are kept here, 0 before the first.
    thread: AtomicU64,
    /// When the span began that is measured here, 0 if there is none.
    begin: AtomicU64,
    /// When the last one began, for `start`; `ELSEWHERE` where Python has the attribute.
    last_begin: AtomicU64,
    /// How long the last one was, for `result`; `UNKNOWN` while it lasts, `ELSEWHERE` where Python has the attribute.
    elapsed: AtomicU64,
    /// How many spans are measured by the timer in Python.
    elsewhere: AtomicU64,
    /// The timer in Python.
    full: OnceLock<Py<PyAny>>,
}

const UNKNOWN: u64 = u64::MAX;
const ELSEWHERE: u64 = u64::MAX - 1;

impl Timer {
    /// A timer that nobody has entered. What is no number of decimals stands for 0.
    #[inline]
    pub(crate) fn new(mut call: Call, decimals: &Bound<'_, PyAny>) -> Timer {
        if let Ok(number) = decimals.cast::<PyInt>() {
            // One beyond 64 bits is of either sign, and nobody's meaning.
            call.decimals = number.extract::<i64>().map_or(0, |number| usize::try_from(number).unwrap_or(0));
        }
        Timer {
            call,
            thread: AtomicU64::new(0),
            begin: AtomicU64::new(0),
            last_begin: AtomicU64::new(ELSEWHERE),
            elapsed: AtomicU64::new(ELSEWHERE),
            elsewhere: AtomicU64::new(0),
            full: OnceLock::new(),
        }
    }

    /// Whether this thread's attributes are kept here.
    fn is_mine(&self) -> bool {
        self.thread.load(Ordering::Relaxed) == thread_number()
    }

    /// Leaves one of the attributes to Python, if this thread's is kept here; returns whether it was.
    fn hand_over(&self, attribute: &AtomicU64) -> bool {
        self.is_mine() && attribute.swap(ELSEWHERE, Ordering::Relaxed) != ELSEWHERE
    }

    /// Ends the span that is measured here, if there is one.
    fn end(&self, py: Python<'_>) -> Left {
        let now = now();
        let begin = self.begin.load(Ordering::Relaxed);
        // A span that was moved between threads may be ended by two of them at once.
        if begin == 0 || self.begin.swap(0, Ordering::Relaxed) == 0 {
            return Left::NotHere;
        }
        let elapsed = now.saturating_sub(begin);
        // What another thread has measured is not its owner's `result`.
        if self.is_mine() {
            self.elapsed.store(elapsed, Ordering::Relaxed);
            if self.call.path.get().send_time(py, &self.call, elapsed) {
                return Left::Sent;
            }
        }
        Left::Unsent(elapsed, self.call.decimals)
    }
}

/// What became of a span that was to end.
pub(crate) enum Left {
    /// Its time is sent: `None` in Python.
    Sent,
    /// Nanoseconds that Python has to send, with decimals of the milliseconds: a number in Python.
    Unsent(u64, usize),
    /// It is none that is measured here: `False` in Python.
    NotHere,
}

impl<'py> IntoPyObject<'py> for Left {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Left::Sent => Ok(py.None().into_bound(py)),
            Left::Unsent(nanoseconds, decimals) => milliseconds(py, nanoseconds, decimals),
            Left::NotHere => Ok(PyBool::new(py, false).to_owned().into_any()),
        }
    }
}

/// Begins a span of a timer; `False` if it has to be measured in Python.
// Functions and not methods: of a method without arguments PyO3 copies the result in a way that has the processor wait for
// all that was written before, and a message is much.
#[pyfunction]
#[pyo3(signature = (timer, /))]
pub(crate) fn begin_span(timer: &Bound<'_, Timer>) -> bool {
    let timer = timer.get();
    let thread = thread_number();
    let owner = timer.thread.load(Ordering::Relaxed);
    let is_free = timer.begin.load(Ordering::Relaxed) == 0 && timer.elsewhere.load(Ordering::Relaxed) == 0;
    let takes_it = || timer.thread.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    let is_here = is_free && (owner == thread || owner == 0 && takes_it());
    if is_here {
        timer.elapsed.store(UNKNOWN, Ordering::Relaxed);
        let now = now();
        timer.last_begin.store(now, Ordering::Relaxed);
        timer.begin.store(now, Ordering::Relaxed);
    }
    is_here
}

/// Ends the span that this thread or task is in, unless Python has to say which one that is.
#[pyfunction]
#[pyo3(signature = (timer, /))]
pub(crate) fn end_span(timer: &Bound<'_, Timer>) -> Left {
    let (py, timer) = (timer.py(), timer.get());
    if timer.elsewhere.load(Ordering::Relaxed) == 0 { timer.end(py) } else { Left::NotHere }
}

#[pymethods]
impl Timer {
    /// Whether this thread's attributes are kept here.
    #[pyo3(name = "_is_mine")]
    fn is_mine_(&self) -> bool {
        self.is_mine()
    }

    /// Ends the span that is measured here, whatever other spans there are.
    fn _leave_first(&self, py: Python<'_>) -> Left {
        self.end(py)
    }

    /// Notes that the timer in Python was entered.
    fn _entered_elsewhere(&self) {
        self.elsewhere.fetch_add(1, Ordering::Relaxed);
        self.hand_over(&self.last_begin);
        self.hand_over(&self.elapsed);
    }

    /// Notes that the timer in Python was left.
    fn _left_elsewhere(&self) {
        // There is none where somebody leaves what nobody has entered.
        let one_less = |count: u64| count.checked_sub(1);
        let _ = self.elsewhere.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        self.hand_over(&self.elapsed);
    }

    /// Leaves an attribute of this thread's to Python; returns whether it was kept here until now.
    #[pyo3(signature = (name, /))]
    fn _hand_over(&self, name: &str) -> bool {
        match name {
            "start" => self.hand_over(&self.last_begin),
            "result" => self.hand_over(&self.elapsed),
            _ => false,
        }
    }

    /// The timer in Python; the first one that is offered is kept.
    #[pyo3(signature = (offered = None, /))]
    fn _full(&self, py: Python<'_>, offered: Option<Py<PyAny>>) -> Option<Py<PyAny>> {
        match offered {
            Some(offered) => Some(self.full.get_or_init(|| offered).clone_ref(py)),
            None => self.full.get().map(|full| full.clone_ref(py)),
        }
    }

    /// What the timer in Python is made with: the client, the name, further arguments of `timer_send`, and decimals.
    fn _call<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let call = &self.call;
        let further = PyDict::new(py);
        further.set_item("logger", &call.logger)?;
        further.set_item("severity", &call.severity)?;
        further.set_item("fields", &call.fields)?;
        further.set_item("rate", &call.rate)?;
        (&call.client, &call.name, further, call.decimals).into_pyobject(py)
    }

    /// When the last span of this thread began, in seconds as `time.perf_counter` counts them.
    #[getter]
    fn start(&self) -> PyResult<f64> {
        match self.last_begin.load(Ordering::Relaxed) {
            begin if begin != ELSEWHERE && self.is_mine() => Ok(on_pythons_clock(begin)),
            _ => Err(PyAttributeError::new_err("start")),
        }
    }

    /// The milliseconds of the last span of this thread, `None` while it lasts.
    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.elapsed.load(Ordering::Relaxed) {
            UNKNOWN if self.is_mine() => Ok(py.None().into_bound(py)),
            elapsed if elapsed != ELSEWHERE && self.is_mine() => {
                milliseconds(py, elapsed, self.call.decimals)
            }
            _ => Err(PyAttributeError::new_err("result")),
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let call = &self.call;
        for object in [&call.client, &call.name, &call.rate] {
            visit.call(object)?;
        }
        for object in [&call.logger, &call.severity, &call.fields].into_iter().flatten() {
            visit.call(object)?;
        }
        visit.call(&call.path)?;
        // Whatever cycle there is goes through an object in Python, which can let go of the others.
        self.full.get().map_or(Ok(()), |full| visit.call(full))
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
    let since = BASE.get_or_init(Instant::now).elapsed();
    // Never 0, which stands for no time. 584 years fit.
    since.as_nanos() as u64 + 1
}

static BASE: OnceLock<Instant> = OnceLock::new();

/// Python's clock less ours, which run at the same speed.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// How often the clocks are compared: the thread may have to wait between two looks at them.
const COMPARISONS: usize = 8;

/// Compares Python's clock with ours, before there is a timer.
pub(crate) fn compare_clocks(py: Python<'_>) -> PyResult<()> {
    let clock = py.import("time")?.getattr("perf_counter_ns")?;
    let mut narrowest = i64::MAX;
    for _ in 0..COMPARISONS {
        let before: i64 = clock.call0()?.extract()?;
        let ours = now() as i64;
        let after: i64 = clock.call0()?.extract()?;
        if after - before < narrowest {
            narrowest = after - before;
            AHEAD.store(before - ours, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// One of our times, in seconds on Python's clock.
fn on_pythons_clock(time: u64) -> f64 {
    (time as i64).saturating_add(AHEAD.load(Ordering::Relaxed)) as f64 / 1e9
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
