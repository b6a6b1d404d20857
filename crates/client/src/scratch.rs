//! A thread's memory for a message that is put together from somebody else's parts, so that a log line does not
//! allocate.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{FieldValue, MemberBuffer};

/// Memory above this is not kept for a thread's next message.
const KEPT_BYTES: usize = 16 * 1024;

thread_local! {
    static MEMORY: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// A message in the making.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Its payload.
    pub(crate) text: String,
    /// Its `fields`.
    pub(crate) members: MemberBuffer,
    /// The names of the spans around it.
    #[cfg(feature = "tracing")]
    pub(crate) names: Vec<&'static str>,
    /// One value, as text.
    value: String,
}

impl Scratch {
    /// One more key of `fields`: the text of something that is formatted by code of the application.
    pub(crate) fn write_formatted(&mut self, key: &str, value: fmt::Arguments<'_>) {
        self.value.clear();
        write_safely(&mut self.value, value);
        self.members.write(key, FieldValue::Text(&self.value));
    }

    fn clear(&mut self) {
        self.text.clear();
        self.members.clear();
        #[cfg(feature = "tracing")]
        self.names.clear();
        self.value.clear();
    }

    fn kept_bytes(&self) -> usize {
        self.text.capacity() + self.value.capacity() + self.members.capacity()
    }
}

/// Appends what is formatted by code of the application, or what of it was written before that code failed or panicked:
/// no reason for the application to panic.
pub(crate) fn write_safely(out: &mut String, value: fmt::Arguments<'_>) {
    if let Some(text) = value.as_str() {
        out.push_str(text);
    } else {
        let _ = catch_unwind(AssertUnwindSafe(|| out.write_fmt(value)));
    }
}

/// Lends this thread's memory, empty. Whoever logs while it is lent (an application's `Debug` may) gets memory of its own.
pub(crate) fn with(work: impl FnOnce(&mut Scratch)) {
    let mut scratch = MEMORY.try_with(Cell::take).ok().flatten().unwrap_or_default();
    work(&mut scratch);
    if scratch.kept_bytes() <= KEPT_BYTES {
        scratch.clear();
        // Not at hand while the thread ends; then the memory is simply freed.
        let _ = MEMORY.try_with(|cell| cell.set(Some(scratch)));
    }
}
