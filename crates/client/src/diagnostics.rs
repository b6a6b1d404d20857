//! What the client says about itself: a line on standard error, or to whoever listens.

use std::cell::RefCell;
use std::fmt::Arguments;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Takes what is said, on the thread that says it.
pub(crate) type Listener = Arc<dyn Fn(&str) + Send + Sync>;

thread_local! {
    /// Who listens to what this thread says.
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Has everything that this thread says from now on told to a listener; `None` is standard error.
pub(crate) fn listen(listener: Option<Listener>) {
    // While the thread ends nobody listens any more.
    let _ = LISTENER.try_with(|current| *current.borrow_mut() = listener);
}

/// Has what this thread says during a call told to a listener.
pub(crate) fn on_behalf_of(listener: Option<&Listener>, call: impl FnOnce()) {
    let swap = |listener| LISTENER.try_with(|current| current.replace(listener)).ok().flatten();
    let before = swap(listener.cloned());
    call();
    swap(before);
}

/// Says something on the client's own log. Callers see to it that a condition is said once, not once per message.
///
/// Standard error gets it in one write, and around the standard library's lock: a process that forks while this thread
/// says something must not find that lock taken in the child.
pub(crate) fn say(text: Arguments<'_>) {
    let listener = LISTENER.try_with(|current| current.borrow().clone()).ok().flatten();
    match listener {
        // It is somebody else's code, and a panic there none of ours.
        Some(listener) => drop(catch_unwind(AssertUnwindSafe(|| listener(&text.to_string())))),
        None => crate::system::write_to_standard_error(format!("metlog: {text}\n").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_log_does_not_need_the_standard_library_s_lock() {
        let held = std::io::stderr().lock();
        let (said, done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            say(format_args!("said while standard error is locked"));
            said.send(())
        });
        assert!(done.recv_timeout(Duration::from_secs(10)).is_ok());
        drop(held);
    }

    #[test]
    fn a_listener_hears_what_its_thread_says_and_its_panics_stay_its_own() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&heard);
        listen(Some(Arc::new(move |text| {
            notes.lock().unwrap().push(text.to_owned());
            assert_ne!(text, "bad");
        })));
        for text in ["one", "bad", "two"] {
            let told = std::panic::catch_unwind(|| say(format_args!("{text}")));
            assert!(told.is_ok(), "{text}");
            heard.clear_poison();
        }
        listen(None);
        say(format_args!("a test of the log says this on standard error"));
        assert_eq!(*heard.lock().unwrap(), ["one", "bad", "two"]);
    }
}
