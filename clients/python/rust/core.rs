//! A core: a bounded queue, its sending thread, and their account, which one sender of the Python package stands for.
//!
//! What each method promises is written down in `metlog/_core.py`; the plain core in Python keeps the same promises.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metlog::senders::{Encoder, Sender, TcpSender, UdpSender, UnixDatagramSender, UnixStreamSender};
use metlog::{AddressError, Client, DropReason};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::{diagnostics, retired};

/// Takes encoded messages from any thread and sends them from one of its own.
#[pyclass(module = "metlog._native", frozen, weakref)]
pub(crate) struct Core {
    started: Arc<Starter>,
}

/// A client that its first message starts: a process that only forks workers never has a thread of ours.
pub(crate) struct Starter {
    client: OnceLock<Client>,
    /// Never sends; the client has a copy.
    sender: Box<dyn Sender>,
    queue_bytes: usize,
    sequence: bool,
    hostname: String,
}

impl Starter {
    /// The client, started now if it was not. The interpreter's lock is held meanwhile, so the process does not fork.
    #[inline]
    pub(crate) fn client(&self) -> &Client {
        self.client.get_or_init(|| {
            Client::builder()
                .sender(self.sender.fresh())
                .hostname(&self.hostname)
                .queue_bytes(self.queue_bytes)
                .sequence(self.sequence)
                .diagnostics(diagnostics::note)
                .build_anyway()
        })
    }

    /// `metlog_hostname` of all messages.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }
}

impl Drop for Starter {
    /// Nobody can use the client any more: it sends what it has and ends, and nobody waits for that here.
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            retired::retire(client);
        }
    }
}

impl Core {
    /// What the native path sends with.
    pub(crate) fn starter(&self) -> Arc<Starter> {
        Arc::clone(&self.started)
    }
}

/// A core for a `metlog._core.Destination`. Nothing is opened or started yet.
#[pyfunction]
pub(crate) fn open_core(destination: &Bound<'_, PyAny>) -> PyResult<Core> {
    let hostname = destination.py().import("socket")?.call_method0("gethostname")?;
    let starter = Starter {
        client: OnceLock::new(),
        sender: sender(destination)?,
        queue_bytes: destination.getattr("queue_bytes")?.extract()?,
        sequence: destination.getattr("seq")?.extract()?,
        hostname: hostname.extract()?,
    };
    Ok(Core { started: Arc::new(starter) })
}

fn sender(destination: &Bound<'_, PyAny>) -> PyResult<Box<dyn Sender>> {
    let addresses = || -> PyResult<Vec<String>> {
        let pairs: Vec<(String, u16)> = destination.getattr("addresses")?.extract()?;
        let join = |(host, port): (String, u16)| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        Ok(pairs.into_iter().map(join).collect())
    };
    let path = || destination.getattr("path")?.extract::<String>();
    let encoder = || -> PyResult<Encoder> {
        match destination.getattr("encoder")?.extract::<String>()?.as_str() {
            "json" => Ok(Encoder::Json),
            "msgpack" => Ok(Encoder::Msgpack),
            other => Err(PyValueError::new_err(format!("unknown encoder: {other:?}"))),
        }
    };
    let wrong = |error: AddressError| PyValueError::new_err(error.to_string());
    let transport: String = destination.getattr("transport")?.extract()?;
    Ok(match transport.as_str() {
        "udp" => {
            let pack = destination.getattr("pack")?.extract()?;
            Box::new(UdpSender::to_all(&addresses()?).map_err(wrong)?.pack(pack).encoder(encoder()?))
        }
        "tcp" => Box::new(TcpSender::first_of(&addresses()?).map_err(wrong)?),
        "unix" => Box::new(UnixStreamSender::new(path()?)),
        "unix-datagram" => Box::new(UnixDatagramSender::new(path()?).encoder(encoder()?)),
        other => return Err(PyValueError::new_err(format!("unknown transport: {other:?}"))),
    })
}

#[pymethods]
impl Core {
    /// Queues one message, a JSON object as UTF-8; `False` if it was dropped.
    fn submit(&self, py: Python<'_>, encoded: &[u8]) -> bool {
        let queued =
            std::str::from_utf8(encoded).is_ok_and(|message| self.started.client().send_json(message));
        diagnostics::spread(py);
        queued
    }

    /// The ledger of this process: accepted = sent + the sum of dropped + queued. What the native path filtered is not
    /// part of that.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = self.started.client.get().map(Client::stats).unwrap_or_default();
        let dropped = PyDict::new(py);
        for reason in DropReason::ALL.iter().filter(|reason| stats.dropped_for(**reason) > 0) {
            dropped.set_item(reason.name(), stats.dropped_for(*reason))?;
        }
        let ledger = PyDict::new(py);
        ledger.set_item("accepted", stats.accepted)?;
        ledger.set_item("sent", stats.sent)?;
        ledger.set_item("queued", stats.queued)?;
        ledger.set_item("truncated", stats.truncated)?;
        ledger.set_item("filtered", stats.filtered)?;
        ledger.set_item("dropped", dropped)?;
        // Closing starts a client, too; one without a message has nothing to be known by.
        let source = stats.source.filter(|_| stats.accepted > 0);
        ledger.set_item("src", source.map(|source| format!("{source:016x}")))?;
        Ok(ledger)
    }

    /// Waits until everything is sent or dropped, for at most so many seconds; `False` if that was too short. A signal
    /// whose handler raises, as Ctrl-C does, ends it.
    fn flush(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let Some(client) = self.started.client.get() else { return Ok(true) };
        let flushed = interruptible(py, |go_on| client.flush_while(duration(timeout), go_on));
        diagnostics::spread(py);
        flushed
    }

    /// Sends what waits for at most so many seconds and ends; `False` if something was dropped. It can be interrupted as
    /// `flush` can; the core ends all the same.
    fn close(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let client = self.started.client();
        let closed = interruptible(py, |go_on| client.close_while(duration(timeout), go_on));
        diagnostics::spread(py);
        closed
    }
}

/// Waits without the interpreter's lock. `wait` is given what it has to ask now and then: whether no handler of a signal
/// has raised. What one has raised is returned.
pub(crate) fn interruptible(
    py: Python<'_>,
    wait: impl FnOnce(&mut dyn FnMut() -> bool) -> bool + Send,
) -> PyResult<bool> {
    let mut raised = None;
    let done = py.detach(|| {
        wait(&mut || {
            raised = Python::attach(|py| py.check_signals()).err();
            raised.is_none()
        })
    });
    raised.map_or(Ok(done), Err)
}

/// Seconds as a time to wait; what is no such time is none.
pub(crate) fn duration(seconds: f64) -> Duration {
    if seconds == f64::INFINITY {
        Duration::MAX
    } else {
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}
