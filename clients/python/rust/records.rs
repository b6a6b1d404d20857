//! Records of Python's `logging` on the native path: what `metlog/handler.py` makes of a record that nobody has added
//! anything to, which is nearly every one.
//!
//! [`Records::handle`] is all of a handler for the usual record, [`Records::send`] the last step of one in Python.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::attributes::{attributes, get};
use crate::path::NativePath;
use crate::terms::{Class, Original};
use crate::values::exact;

/// Sends records.
#[pyclass(module = "metlog._native", frozen)]
pub(crate) struct Records {
    /// The names of a new record in their order, then those that formatters add. The names of attributes are interned, so
    /// each is in memory once, and where it is says which it is.
    names: Vec<(Py<PyString>, Option<Part>)>,
    /// Where they are in memory and their numbers, sorted.
    places: Vec<(usize, usize)>,
    /// What must be the original for a handler's own code, and a record's, to be left out.
    handler: Class,
    record: Class,
    /// `metlog._reentry.inside`: whether this thread is within Metlog already, and whether who sends is noted.
    inside: Py<PyAny>,
    /// The name of Metlog's own logger.
    own_logger: String,
    /// `sys.modules`, and the name of the module there that knows of spans.
    modules: Py<PyDict>,
    tracing: Py<PyString>,
}

/// The attributes of a record that say something; the others are the same said otherwise.
#[derive(Clone, Copy)]
enum Part {
    Template,
    Logger,
    Thread,
    Function,
    File,
    Line,
    Arguments,
    Level,
    Exception,
    ExceptionText,
    Stack,
}

impl Part {
    const COUNT: usize = Part::Stack as usize + 1;

    fn named(name: &str) -> Option<Part> {
        Some(match name {
            "msg" => Part::Template,
            "name" => Part::Logger,
            "threadName" => Part::Thread,
            "funcName" => Part::Function,
            "pathname" => Part::File,
            "lineno" => Part::Line,
            "args" => Part::Arguments,
            "levelno" => Part::Level,
            "exc_info" => Part::Exception,
            "exc_text" => Part::ExceptionText,
            "stack_info" => Part::Stack,
            _ => return None,
        })
    }
}

/// What the fields of a record are called.
const FIELDS: [(&str, Part); 6] = [
    ("template", Part::Template),
    ("logger_name", Part::Logger),
    ("thread", Part::Thread),
    ("func", Part::Function),
    ("file", Part::File),
    ("line", Part::Line),
];

/// A record that nobody has added anything to.
#[derive(Default)]
pub(crate) struct Usual<'py> {
    parts: [Option<Bound<'py, PyAny>>; Part::COUNT],
}

impl<'py> Usual<'py> {
    fn part(&self, part: Part) -> Option<&Bound<'py, PyAny>> {
        self.parts[part as usize].as_ref()
    }

    /// Whether there is more to it than its fields say.
    pub(crate) fn says_more(&self) -> bool {
        [Part::Exception, Part::ExceptionText, Part::Stack]
            .iter()
            .any(|part| self.part(*part).is_some_and(|value| !value.is_none()))
    }

    /// The fields, by name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'static str, Option<&Bound<'py, PyAny>>)> {
        FIELDS.iter().map(|(name, part)| (*name, self.part(*part)))
    }

    /// The message with its arguments, if these are values without code of their own.
    fn message(&self) -> Option<Bound<'py, PyAny>> {
        let template = exact::<PyString>(self.part(Part::Template)?)?;
        let arguments = self.part(Part::Arguments)?;
        if arguments.is_none() {
            return Some(template.as_any().clone());
        }
        let arguments = exact::<PyTuple>(arguments)?;
        if arguments.is_empty() {
            return Some(template.as_any().clone());
        }
        arguments.iter().all(|argument| is_plain(&argument)).then(|| template.rem(arguments).ok())?
    }
}

fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_none()
        || value.is_exact_instance_of::<PyBool>()
}

#[pymethods]
impl Records {
    /// Takes the names of a new record, in their order, and those that formatters add; the handler's class with its
    /// bases and what decides of them, the same of records; and what a handler looks at.
    #[new]
    #[allow(clippy::too_many_arguments, reason = "it is called once")]
    fn new(
        names: Vec<Bound<'_, PyString>>,
        of_handlers: Vec<Bound<'_, PyString>>,
        handlers: Vec<Original<'_>>,
        of_records: Vec<Bound<'_, PyString>>,
        records: Vec<Original<'_>>,
        inside: Py<PyAny>,
        own_logger: String,
        modules: Py<PyDict>,
        tracing: Py<PyString>,
    ) -> PyResult<Records> {
        let named = |name: &Bound<'_, PyString>| -> PyResult<_> {
            let text = name.to_cow()?;
            Ok((PyString::intern(name.py(), &text).unbind(), Part::named(&text)))
        };
        let names: Vec<_> = names.iter().map(named).collect::<PyResult<_>>()?;
        let place = |(number, (name, _)): (usize, &(Py<PyString>, _))| (name.as_ptr() as usize, number);
        let mut places: Vec<_> = names.iter().enumerate().map(place).collect();
        places.sort_unstable();
        let handler = Class::new(&of_handlers, &handlers)?;
        let record = Class::new(&of_records, &records)?;
        Ok(Records { names, places, handler, record, inside, own_logger, modules, tracing })
    }

    /// Does what the handler does with a record; `False` where Python has to do it, because something on the way is
    /// replaced, or because the record is not a usual one.
    #[pyo3(signature = (handler, record, /))]
    fn handle(&self, handler: &Bound<'_, PyAny>, record: &Bound<'_, PyAny>) -> bool {
        // It must not panic; if it did, Python would do it.
        let handle = || self.try_to_handle(handler, record);
        catch_unwind(AssertUnwindSafe(handle)).is_ok_and(|done| done.is_some())
    }

    /// Sends a record with these attributes; other than `True` where Python has to do it.
    #[pyo3(signature = (path, client, record, severity, payload, /))]
    fn send(
        &self,
        path: &Bound<'_, PyAny>,
        client: &Bound<'_, PyAny>,
        record: &Bound<'_, PyDict>,
        severity: &Bound<'_, PyAny>,
        payload: &Bound<'_, PyAny>,
    ) -> Option<bool> {
        // Anything may be called a client.
        let Some(path) = exact::<NativePath>(path) else { return Some(false) };
        // Where there is no lock of the interpreter's, somebody may change the record meanwhile.
        let usual = catch_unwind(AssertUnwindSafe(|| self.read(record))).ok().flatten();
        usual.map_or(Some(false), |usual| path.get().send_record(client, &usual, severity, payload))
    }
}

impl Records {
    /// `None` where Python has to do it.
    fn try_to_handle(&self, handler: &Bound<'_, PyAny>, record: &Bound<'_, PyAny>) -> Option<()> {
        let py = handler.py();
        if !self.handler.is_class_of(handler) || !self.record.is_class_of(record) {
            return None;
        }
        let (of_handler, of_record) = (attributes(handler)?, attributes(record)?);
        let own = |name| get(&of_handler, name);
        let client = own(intern!(py, "client"))?;
        let usual = self.handler.holds(&of_handler, usize::MAX)
            && self.record.holds(&of_record, usize::MAX)
            && own(intern!(py, "formatter"))?.is_none()
            && exact::<PyList>(&own(intern!(py, "filters"))?)?.is_empty()
            && !self.modules.bind(py).contains(&self.tracing).ok()?;
        let record = if usual { self.read(&of_record)? } else { return None };
        let logger = exact::<PyString>(record.part(Part::Logger)?)?.to_cow().ok()?;
        let below = logger.strip_prefix(self.own_logger.as_str());
        let is_our_own = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let inside = |name| self.inside.bind(py).getattr(name).ok();
        if is_our_own || exact::<PyBool>(&inside(intern!(py, "active"))?)?.is_true() {
            // A handler takes nothing of that.
            return Some(());
        }
        let senders = inside(intern!(py, "senders"))?;
        let level = exact::<PyInt>(record.part(Part::Level)?)?.extract().ok()?;
        let severity = severity_of(level).into_pyobject(py).ok()?;
        let payload = record.message()?;
        let path = get(&attributes(&client)?, intern!(py, "_path"))?;
        let done = exact::<NativePath>(&path)?.get().send_record(&client, &record, &severity, &payload);
        if done != Some(true) {
            return None;
        }
        if let Some(senders) = exact::<PyList>(&senders) {
            // As `note_sender` does. There is no memory where this fails, and nothing that can be done about it.
            let _ = senders.append(&client);
        }
        Some(())
    }

    /// Reads a record that has the attributes which every one has, and no others.
    fn read<'py>(&self, record: &Bound<'py, PyDict>) -> Option<Usual<'py>> {
        let mut usual = Usual::default();
        for (place, (name, value)) in record.iter().enumerate() {
            let address = name.as_ptr() as usize;
            let (_, part) = match self.names.get(place) {
                // Nearly always they are in the order in which a new record has them.
                Some(known) if known.0.as_ptr() as usize == address => known,
                _ => {
                    let found = self.places.binary_search_by_key(&address, |(place, _)| *place).ok()?;
                    self.names.get(self.places[found].1)?
                }
            };
            if let Some(part) = part {
                usual.parts[*part as usize] = Some(value);
            }
        }
        Some(usual)
    }
}

/// The severity of a level of logging, as `severity_of` in `metlog/handler.py` has it.
fn severity_of(level: i64) -> u8 {
    match level {
        50.. => 2,
        40.. => 3,
        30.. => 4,
        25.. => 5,
        20.. => 6,
        _ => 7,
    }
}
