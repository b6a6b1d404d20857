//! What a span has to say, kept with it until an event in it, or its end, is sent.

use std::fmt::Debug;
use std::time::Instant;

use ::tracing::field::{Field, Visit};
use metlog_message::encode::ObjectWriter;

use super::visitor::Visitor;
use crate::{MemberBuffer, Members, scratch};

/// What a span says of itself is not longer than this; later fields are left out.
const LONGEST_BYTES: usize = 16 * 1024;

/// The fields of one span, encoded, and when it began.
#[derive(Default)]
pub(super) struct SpanFields {
    /// Those that it was made with.
    members: MemberBuffer,
    /// Those that were recorded afterwards, one by one: each may be recorded again, any number of times.
    later: Later,
    /// Only if it is timed.
    pub(super) started: Option<Instant>,
}

impl SpanFields {
    /// Takes what the span is made with.
    pub(super) fn begin(&mut self, members: Members<'_>) {
        if members.encoded_len() <= LONGEST_BYTES {
            self.members.append(members);
        }
    }

    /// Takes what is recorded later; a field that was recorded before has the new value.
    pub(super) fn add(&mut self, later: Later) {
        for (name, member) in later.fields {
            let fields = &mut self.later.fields;
            fields.retain(|(present, _)| *present != name);
            let used: usize = fields.iter().map(|(_, member)| member.members().encoded_len()).sum();
            if used + member.members().encoded_len() <= LONGEST_BYTES {
                fields.push((name, member));
            }
        }
    }

    /// Writes all of them.
    pub(super) fn write_to(&self, out: &mut ObjectWriter<'_>) {
        out.append(self.members.members());
        for (_, member) in &self.later.fields {
            out.append(member.members());
        }
    }
}

/// Fields that are recorded after a span's making, each encoded by itself.
#[derive(Default)]
pub(super) struct Later {
    fields: Vec<(&'static str, MemberBuffer)>,
}

impl Later {
    fn take(&mut self, field: &Field, record: impl FnOnce(&mut Visitor<'_>)) {
        scratch::with(|scratch| {
            record(&mut Visitor::new(scratch));
            let mut member = MemberBuffer::new();
            member.append(scratch.members.members());
            self.fields.push((field.name(), member));
        });
    }
}

impl Visit for Later {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, |visitor| visitor.record_debug(field, value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, |visitor| visitor.record_str(field, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, |visitor| visitor.record_u64(field, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, |visitor| visitor.record_i64(field, value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, |visitor| visitor.record_f64(field, value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, |visitor| visitor.record_bool(field, value));
    }
}
