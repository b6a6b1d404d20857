//! What the Rust client says about itself, on its way to the logger `metlog.internal`.
//!
//! It is said on sending threads, which never wait for the interpreter. So it waits here, a few lines at most, until a
//! call of the application comes by; and as that call may be made under a lock for which a handler of the application's
//! waits, it only has a thread of Python's started, which logs what is here and ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Lines that wait at most; further ones are counted.
const MOST_LINES: usize = 32;

/// How often lines are taken from here at most, except for the last ones of the process.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether there are lines: all that a call looks at.
static IS_NEWS: AtomicBool = AtomicBool::new(false);

static WAITING: Mutex<Waiting> =
    Mutex::new(Waiting { process: 0, lines: Vec::new(), left_out: 0, taken_at: None });

struct Waiting {
    /// Whose lines they are: a forked child has nothing to do with those of its parent.
    process: u32,
    lines: Vec<String>,
    left_out: u64,
    taken_at: Option<Instant>,
}

/// The function of Python's that starts the thread.
static SPREAD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The lines, unless somebody else has them: in a forked child that may be for ever, by a thread of the parent's.
fn waiting() -> Option<MutexGuard<'static, Waiting>> {
    let mut waiting = WAITING.try_lock().ok()?;
    let process = std::process::id();
    if waiting.process != process {
        *waiting = Waiting { process, lines: Vec::new(), left_out: 0, taken_at: None };
    }
    Some(waiting)
}

/// Keeps a line.
pub(crate) fn note(text: &str) {
    let Some(mut waiting) = waiting() else { return };
    if waiting.lines.len() < MOST_LINES {
        waiting.lines.push(text.to_owned());
    } else {
        waiting.left_out += 1;
    }
    IS_NEWS.store(true, Ordering::Relaxed);
}

/// Has the lines logged, if there are some and it is time for that.
#[inline]
pub(crate) fn spread(py: Python<'_>) {
    if IS_NEWS.load(Ordering::Relaxed) {
        spread_news(py);
    }
}

#[cold]
fn spread_news(py: Python<'_>) {
    let is_due = waiting().is_some_and(|mut waiting| {
        let is_due = waiting.taken_at.is_none_or(|time| time.elapsed() >= INTERVAL);
        if is_due {
            waiting.taken_at = Some(Instant::now());
        }
        is_due
    });
    if is_due && let Some(spread) = SPREAD.get(py) {
        // Nothing that goes wrong there is the caller's business.
        let _ = spread.call0(py);
    }
}

/// Sets what is called, without arguments, when there are lines for `take_diagnostics`. It must not wait.
#[pyfunction]
pub(crate) fn spread_diagnostics(py: Python<'_>, spread: Py<PyAny>) {
    // There is one package, which says so once.
    let _ = SPREAD.set(py, spread);
}

/// Takes the lines, and how many there was no room for.
#[pyfunction]
pub(crate) fn take_diagnostics() -> (Vec<String>, u64) {
    let Some(mut waiting) = waiting() else { return Default::default() };
    IS_NEWS.store(false, Ordering::Relaxed);
    (std::mem::take(&mut waiting.lines), std::mem::take(&mut waiting.left_out))
}
