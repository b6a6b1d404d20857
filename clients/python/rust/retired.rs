//! Clients whose senders are gone, while they still send what they have.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metlog::Client;
use pyo3::prelude::*;

use crate::core::{duration, interruptible};

/// How long such a client may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often, and after what time, a lock is asked for that is only ever held for an instant: in a forked child it may
/// be held for ever, by a thread of the parent's.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

struct Retired {
    number: u64,
    /// A forked child has nothing to do with those of its parent.
    process: u32,
    client: Client,
}

static RETIRED: Mutex<Vec<Retired>> = Mutex::new(Vec::new());

/// Has a client send what it has and end, without waiting for it.
pub(crate) fn retire(client: Client) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    if client.stats().accepted == 0 {
        // It was not used in this process. If it has a thread, that is idle and ends at once.
        return;
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let retired = Retired { number, process: std::process::id(), client: client.clone() };
    with_retired(|clients| clients.push(retired));
    let close = move || {
        client.close(TIMEOUT);
        with_retired(|clients| clients.retain(|other| other.number != number));
    };
    // If there is no thread to be had, the client stays, and sends what it has all the same.
    let _ = std::thread::Builder::new().name("metlog-retired".to_owned()).spawn(close);
}

/// Waits until they are done, but not longer than so many seconds, and no longer than until a signal's handler raises.
#[pyfunction]
pub(crate) fn flush_retired(py: Python<'_>, timeout: f64) -> PyResult<()> {
    let deadline = Instant::now() + duration(timeout).min(TIMEOUT);
    let mut clients = Vec::new();
    with_retired(|retired| {
        let here = retired.iter().filter(|retired| retired.process == std::process::id());
        clients.extend(here.map(|retired| retired.client.clone()));
    });
    let flush = |go_on: &mut dyn FnMut() -> bool| {
        let left = || deadline.saturating_duration_since(Instant::now());
        clients.iter().all(|client| client.flush_while(left(), &mut *go_on))
    };
    interruptible(py, flush).map(drop)
}

/// Does something with the list, unless somebody else never lets go of it.
fn with_retired(call: impl FnOnce(&mut Vec<Retired>)) {
    for _ in 0..TRIES {
        if let Ok(mut retired) = RETIRED.try_lock() {
            return call(&mut retired);
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}
