//! What an event or a span says, as the members of `fields`.

use std::error::Error;
use std::fmt::Debug;

use ::tracing::field::{Field, Visit};

use crate::FieldValue;
use crate::exception::Description;
use crate::scratch::{Scratch, write_safely};

/// The field that is an event's text.
const MESSAGE: &str = "message";

/// Writes the fields of an event or a span.
pub(super) struct Visitor<'s> {
    scratch: &'s mut Scratch,
    /// The first error among them.
    pub(super) error: Option<Description>,
    /// Where an event that came over from the crate `log` was logged; `tracing-log` says that in fields of its own.
    pub(super) bridged_target: Option<String>,
}

impl<'s> Visitor<'s> {
    pub(super) fn new(scratch: &'s mut Scratch) -> Visitor<'s> {
        Visitor { scratch, error: None, bridged_target: None }
    }

    fn write(&mut self, field: &Field, value: FieldValue<'_>) {
        self.scratch.members.write(plain(field.name()), value);
    }
}

impl Visit for Visitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            MESSAGE => write_safely(&mut self.scratch.text, format_args!("{value:?}")),
            name => self.scratch.write_formatted(plain(name), format_args!("{value:?}")),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            MESSAGE => self.scratch.text.push_str(value),
            "log.target" => self.bridged_target = Some(value.to_owned()),
            "log.module_path" | "log.file" => {}
            _ => self.write(field, value.into()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() != "log.line" {
            self.write(field, value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value.into());
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.scratch.write_formatted(plain(field.name()), format_args!("{error}"));
        if self.error.is_none() {
            self.error = Some(Description::of(error));
        }
    }
}

/// `type` of `r#type`.
pub(super) fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}
