//! Keeps the client from being fed with what it logs itself.
//!
//! A filter or a sender may be somebody else's code, and use a library that logs. A line that a filter logs would run
//! the filters again; a line that a sender logs would be one more message to send, for ever. Neither becomes a message.

use std::cell::Cell;

thread_local! {
    /// Whether this thread is inside a client now.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Says that this thread sends for a client: whatever it logs, it is inside for the rest of its life.
pub(crate) fn never_from_this_thread() {
    INSIDE.set(true);
}

/// Whether a line that is logged now comes from inside a client.
#[inline]
pub(crate) fn is_inside() -> bool {
    INSIDE.get()
}

/// Calls into a client. A panic does not come out of a client, but if it did, the thread would not be inside for ever.
#[inline]
pub(crate) fn enter(call: impl FnOnce()) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    if !INSIDE.replace(true) {
        let _leave = Leave;
        call();
    }
}
