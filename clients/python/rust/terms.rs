//! What there is a native path for: the package's own classes and filters, as they were when it was imported.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use crate::attributes::{is, lacks};
use crate::conditions::Conditions;
use crate::path::NativePath;

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
    /// How many of the client's attributes decide, which are in this order: `send_message`, `env_version`, `metlog`,
    /// `timer_send`.
    pub(crate) fn attributes(self) -> usize {
        match self {
            Through::SendMessage => 2,
            Through::Metlog => 3,
            Through::TimerSend => 4,
        }
    }
}

/// A class, and what it had under the names that matter.
pub(crate) type Original<'py> = (Bound<'py, PyType>, Bound<'py, PyDict>);

/// An attribute that classes have and objects do not, and what it was when the package was imported.
struct Attribute {
    name: Py<PyString>,
    /// Each class that an object may have it from, and what that one has under the name.
    classes: Vec<(Py<PyDict>, Option<Py<PyAny>>)>,
}

impl Attribute {
    fn new(name: &Bound<'_, PyString>, classes: &[Original<'_>]) -> PyResult<Attribute> {
        let py = name.py();
        let attribute = |(class, originals): &Original<'_>| {
            // What a class shows of its attributes is a read-only view of a dict, which is quicker without the view.
            let view = class.getattr("__dict__")?;
            let attributes = py.import("gc")?.call_method1("get_referents", (view,))?.get_item(0)?;
            let attributes = attributes.cast_into_exact::<PyDict>()?;
            Ok((attributes.unbind(), originals.get_item(name)?.map(Bound::unbind)))
        };
        let classes = classes.iter().map(attribute).collect::<PyResult<_>>()?;
        Ok(Attribute { name: name.clone().unbind(), classes })
    }

    #[inline]
    fn holds(&self, attributes: &Bound<'_, PyDict>) -> bool {
        let py = attributes.py();
        let name = self.name.bind(py);
        lacks(attributes, name)
            && self.classes.iter().all(|(class, original)| match original {
                Some(original) => is(class.bind(py), name, original.bind(py)),
                None => lacks(class.bind(py), name),
            })
    }
}

/// A class of the package, with the attributes on the way.
pub(crate) struct Class {
    class: Py<PyType>,
    attributes: Vec<Attribute>,
}

impl Class {
    /// Takes a class, and behind it those of its bases that have something to do with it.
    pub(crate) fn new(names: &[Bound<'_, PyString>], classes: &[Original<'_>]) -> PyResult<Class> {
        let Some((class, _)) = classes.first() else {
            return Err(PyValueError::new_err("there is no class"));
        };
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
    /// What is in the module `metlog._bound`.
    pub(crate) bound: Py<PyDict>,
}

#[pymethods]
impl Terms {
    /// Takes what decides of a client, and the class of the clients; what decides of a sender, and the classes of the
    /// native ones, each with its bases behind it; the code of the filters' functions by name; and what is
    /// in the module of bound fields.
    #[new]
    fn new(
        of_clients: Vec<Bound<'_, PyString>>,
        client: Original<'_>,
        of_senders: Vec<Bound<'_, PyString>>,
        senders: Vec<Vec<Original<'_>>>,
        filters: Py<PyDict>,
        bound: Py<PyDict>,
    ) -> PyResult<Terms> {
        let senders = senders.iter().map(|classes| Class::new(&of_senders, classes));
        Ok(Terms {
            client: Class::new(&of_clients, &[client])?,
            senders: senders.collect::<PyResult<_>>()?,
            filters,
            bound,
        })
    }

    /// The native path of a client, or `None` where it has none now.
    #[pyo3(signature = (client, /))]
    fn path(slf: &Bound<'_, Terms>, client: &Bound<'_, PyAny>) -> Option<NativePath> {
        Conditions::of(slf, client).map(NativePath::new)
    }
}
