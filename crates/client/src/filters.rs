//! Filters: what the client drops before it is encoded, so that it costs next to nothing.
//!
//! A message is sent if every filter keeps it. Any closure over a [`Message`] is a filter:
//!
//! ```
//! use metlog::{Client, Message, Severity};
//! use metlog::filters::{SeverityMax, TypeDeny};
//!
//! let client = Client::builder()
//!     .filter(SeverityMax(Severity::Warning))
//!     .filter(TypeDeny::new(["timer", "gauge"]))
//!     .filter(|message: &Message<'_>| message.name() != Some("noise"))
//!     .build()?;
//! client.debug("not sent");
//! assert_eq!(client.stats().filtered, 1);
//! # Ok::<(), metlog::BuildError>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::{Message, Severity};

/// Says which messages are sent. It runs on the application's thread with every call, so it should be quick.
pub trait Filter: Send + Sync + 'static {
    /// Whether the message is sent.
    fn keep(&self, message: &Message<'_>) -> bool;
}

impl<F: Fn(&Message<'_>) -> bool + Send + Sync + 'static> Filter for F {
    fn keep(&self, message: &Message<'_>) -> bool {
        self(message)
    }
}

impl Filter for Box<dyn Filter> {
    fn keep(&self, message: &Message<'_>) -> bool {
        (**self).keep(message)
    }
}

/// Keeps messages of at most this severity number: `SeverityMax(Severity::Warning)` drops notices, information and
/// debugging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeverityMax(pub Severity);

impl Filter for SeverityMax {
    fn keep(&self, message: &Message<'_>) -> bool {
        message.severity <= self.0
    }
}

/// Keeps only messages of these types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeAllow {
    types: BTreeSet<String>,
}

impl TypeAllow {
    /// The types to keep.
    pub fn new<T: Into<String>>(types: impl IntoIterator<Item = T>) -> TypeAllow {
        TypeAllow { types: types.into_iter().map(Into::into).collect() }
    }
}

impl Filter for TypeAllow {
    fn keep(&self, message: &Message<'_>) -> bool {
        self.types.contains(message.kind)
    }
}

/// Drops messages of these types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeDeny {
    types: BTreeSet<String>,
}

impl TypeDeny {
    /// The types to drop.
    pub fn new<T: Into<String>>(types: impl IntoIterator<Item = T>) -> TypeDeny {
        TypeDeny { types: types.into_iter().map(Into::into).collect() }
    }
}

impl Filter for TypeDeny {
    fn keep(&self, message: &Message<'_>) -> bool {
        !self.types.contains(message.kind)
    }
}

/// Keeps messages of a type up to that type's severity number, and all messages of other types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeSeverityMax {
    types: BTreeMap<String, Severity>,
}

impl TypeSeverityMax {
    /// The types and the highest severity number to keep for each.
    pub fn new<T: Into<String>>(types: impl IntoIterator<Item = (T, Severity)>) -> TypeSeverityMax {
        TypeSeverityMax { types: types.into_iter().map(|(kind, severity)| (kind.into(), severity)).collect() }
    }
}

impl Filter for TypeSeverityMax {
    fn keep(&self, message: &Message<'_>) -> bool {
        self.types.get(message.kind).is_none_or(|most| message.severity <= *most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fields, Members, Payload};

    fn message(kind: &str, severity: Severity) -> Message<'_> {
        Message {
            kind,
            logger: Some("test"),
            severity,
            payload: Payload::Text(""),
            fields: Fields::Members(Members::NONE),
            timestamp: None,
        }
    }

    #[track_caller]
    fn check(filter: impl Filter, kept: &[(&str, Severity)], dropped: &[(&str, Severity)]) {
        for (kind, severity) in kept {
            assert!(filter.keep(&message(kind, *severity)), "{kind} {severity}");
        }
        for (kind, severity) in dropped {
            assert!(!filter.keep(&message(kind, *severity)), "{kind} {severity}");
        }
    }

    #[test]
    fn a_severity_max_keeps_what_is_as_bad_or_worse() {
        let warning = SeverityMax(Severity::Warning);
        check(warning, &[("x", Severity::Emergency), ("x", Severity::Warning)], &[("x", Severity::Notice)]);
    }

    #[test]
    fn lists_of_types_allow_and_deny() {
        let severity = Severity::Informational;
        check(
            TypeAllow::new(["a", "b"]),
            &[("a", severity), ("b", severity)],
            &[("c", severity), ("", severity)],
        );
        check(
            TypeDeny::new(["a", "b"]),
            &[("c", severity), ("", severity)],
            &[("a", severity), ("b", severity)],
        );
    }

    #[test]
    fn a_type_has_its_own_severity_max_and_others_have_none() {
        let filter = TypeSeverityMax::new([("a", Severity::Error)]);
        check(filter, &[("a", Severity::Error), ("b", Severity::Debug)], &[("a", Severity::Warning)]);
    }
}
