//! What there is a native path for: the package's own classes and filters, as they were when it was imported.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyMapping, PyString, PyType};

use crate::conditions::Conditions;
use crate::path::NativePath;

/// Which attributes of the client decide what becomes of a call, in this order.
const OF_CLIENTS: [&str; 4] = ["send_message", "env_version", "metlog", "timer_send"];

/// Which attributes of a sender do.
const OF_SENDERS: [&str; 2] = ["send_message", "encode"];

/// Which methods of the client a call goes through.
#[derive(Clone, Copy)]
pub(crate) enum Through {
    /// `send_message` alone.
    SendMessage,
    /// `metlog`, and then `send_message`.
    Metlog,
    /// `timer_send`, and then as above.
    TimerSend,
}

impl Through {
    /// How many of [`OF_CLIENTS`] decide.
    pub(crate) fn attributes(self) -> usize {
        match self {
            Through::SendMessage => 2,
            Through::Metlog => 3,
            Through::TimerSend => 4,
        }
    }
}

/// An attribute that classes have and objects do not, and what it was when the package was imported.
struct Attribute {
    name: Py<PyString>,
    /// Each class that an object may have it from, and what that one has under the name.
    classes: Vec<(Py<PyMapping>, Option<Py<PyAny>>)>,
}

impl Attribute {
    fn new(name: &str, classes: &[Bound<'_, PyType>]) -> PyResult<Attribute> {
        let Some(first) = classes.first() else { return Err(PyValueError::new_err("there is no class")) };
        let attribute = |class: &Bound<'_, PyType>| {
            let attributes = class.getattr("__dict__")?.cast_into::<PyMapping>()?;
            let original = attributes.get_item(name).ok().map(Bound::unbind);
            Ok((attributes.unbind(), original))
        };
        Ok(Attribute {
            name: PyString::intern(first.py(), name).unbind(),
            classes: classes.iter().map(attribute).collect::<PyResult<_>>()?,
        })
    }

    #[inline]
    fn holds(&self, attributes: &Bound<'_, PyDict>) -> bool {
        let py = attributes.py();
        attributes.contains(&self.name).is_ok_and(|replaced| !replaced)
            && self.classes.iter().all(|(class, original)| match original {
                Some(original) => class.bind(py).get_item(&self.name).is_ok_and(|now| now.is(original)),
                None => class.bind(py).contains(&self.name).is_ok_and(|there| !there),
            })
    }
}

/// A class of the package, with the attributes on the way.
pub(crate) struct Class {
    class: Py<PyType>,
    attributes: Vec<Attribute>,
}

impl Class {
    /// Takes a class and those of its bases that have something to do with it.
    fn new(classes: &[Bound<'_, PyType>], names: &[&str]) -> PyResult<Class> {
        let Some(class) = classes.first() else { return Err(PyValueError::new_err("there is no class")) };
        let attributes = names.iter().map(|name| Attribute::new(name, classes)).collect::<PyResult<_>>()?;
        Ok(Class { class: class.clone().unbind(), attributes })
    }

    /// Whether an object is of this very class.
    #[inline]
    pub(crate) fn is_class_of(&self, object: &Bound<'_, PyAny>) -> bool {
        object.get_type_ptr().cast() == self.class.as_ptr()
    }

    /// Whether the first so many attributes are the original ones, in the classes and for an object with these
    /// attributes of its own.
    #[inline]
    pub(crate) fn holds(&self, own: &Bound<'_, PyDict>, first: usize) -> bool {
        self.attributes.iter().take(first).all(|attribute| attribute.holds(own))
    }
}

/// What there is a native path for.
#[pyclass(module = "metlog._native", frozen)]
pub(crate) struct Terms {
    pub(crate) client: Class,
    pub(crate) senders: Vec<Class>,
    /// The code of each filter's function, by the name of its kind.
    pub(crate) filters: Py<PyDict>,
}

#[pymethods]
impl Terms {
    /// Takes the class of the clients; those of the native senders, each with its bases behind it; and the code of the
    /// filters' functions by name.
    #[new]
    fn new(
        client: Bound<'_, PyType>,
        senders: Vec<Vec<Bound<'_, PyType>>>,
        filters: Bound<'_, PyDict>,
    ) -> PyResult<Terms> {
        Ok(Terms {
            client: Class::new(&[client], &OF_CLIENTS)?,
            senders: senders
                .iter()
                .map(|classes| Class::new(classes, &OF_SENDERS))
                .collect::<PyResult<_>>()?,
            filters: filters.unbind(),
        })
    }

    /// The native path of a client, or `None` where it has none now.
    #[pyo3(signature = (client, /))]
    fn path(slf: &Bound<'_, Terms>, client: &Bound<'_, PyAny>) -> Option<NativePath> {
        Conditions::of(slf, client).map(NativePath::new)
    }
}
