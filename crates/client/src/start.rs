//! The start of a sending thread, which may take several tries: a system that is out of threads has some again later.
//!
//! Until then messages wait in the queue, which is bounded. Calls that queue one try again, now and then and without
//! waiting for each other; whoever flushes or closes tries for as long as there is time.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::diagnostics::{self, Listener, say};
use crate::queue::lock;
use crate::task::Task;
use crate::worker::{ASLEEP, AWAKE, Shared};

/// How often calls that queue a message try at most.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// The sending thread, or what it will be started with.
pub(crate) struct Start {
    shared: Arc<Shared>,
    thread: OnceLock<JoinHandle<()>>,
    attempts: Mutex<Attempts>,
    diagnostics: Option<Listener>,
}

/// Whoever tries has this locked.
struct Attempts {
    /// Taken by the thread itself, so that it is still here where there is no thread.
    task: Arc<Mutex<Option<Task>>>,
    tried_at: Option<Instant>,
    /// Whether nobody is to try any more.
    over: bool,
}

impl Start {
    /// Nothing is started yet; without a task nothing ever is.
    pub(crate) fn new(shared: Arc<Shared>, task: Option<Task>, diagnostics: Option<Listener>) -> Start {
        let attempts = Attempts { over: task.is_none(), task: Arc::new(Mutex::new(task)), tried_at: None };
        Start { shared, thread: OnceLock::new(), attempts: Mutex::new(attempts), diagnostics }
    }

    /// The thread, if there is one.
    #[inline]
    pub(crate) fn thread(&self) -> Option<&Thread> {
        self.thread.get().map(JoinHandle::thread)
    }

    /// The thread, to wait for its end.
    pub(crate) fn take(&mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }

    /// Tries to start the thread.
    pub(crate) fn attempt(&self) -> io::Result<()> {
        self.spawn(&mut lock(&self.attempts))
    }

    /// Tries again, unless somebody has tried lately or is at it.
    #[cold]
    pub(crate) fn attempt_now_and_then(&self) {
        if let Ok(mut attempts) = self.attempts.try_lock()
            && attempts.tried_at.is_none_or(|time| time.elapsed() >= TRY_EVERY)
        {
            // It was said when it failed for the first time.
            let _ = self.spawn(&mut attempts);
        }
    }

    /// Says why there is no thread.
    pub(crate) fn say_why_not(&self, error: &io::Error) {
        let what_now = match lock(&self.attempts).over {
            true => "messages are dropped",
            false => "messages wait until it can be started",
        };
        diagnostics::on_behalf_of(self.diagnostics.as_ref(), || {
            say(format_args!("cannot start the sending thread: {error}; {what_now}"));
        });
    }

    /// Ends it where there is no thread: what waits is dropped. `false` if there is a thread.
    pub(crate) fn give_up(&self) -> bool {
        let mut attempts = lock(&self.attempts);
        if self.thread.get().is_some() {
            return false;
        }
        attempts.over = true;
        // Calls have nothing to try any more.
        self.shared.rest.store(AWAKE, Ordering::SeqCst);
        let task = lock(&attempts.task).take();
        drop(attempts);
        if let Some(task) = task {
            diagnostics::on_behalf_of(self.diagnostics.as_ref(), || task.give_up());
        }
        true
    }

    fn spawn(&self, attempts: &mut Attempts) -> io::Result<()> {
        if self.thread.get().is_some() {
            return Ok(());
        }
        if attempts.over {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        attempts.tried_at = Some(Instant::now());
        let (task, diagnostics) = (Arc::clone(&attempts.task), self.diagnostics.clone());
        let run = move || {
            diagnostics::listen(diagnostics);
            let task = lock(&task).take();
            if let Some(task) = task {
                task.run();
            }
        };
        // From here on the thread says how it rests.
        self.shared.rest.store(AWAKE, Ordering::SeqCst);
        match Builder::new().name("metlog".to_owned()).spawn(run) {
            Ok(thread) => {
                // Whoever has found it asleep meanwhile did not know whom to wake.
                self.thread.get_or_init(|| thread).thread().unpark();
                Ok(())
            }
            Err(error) => {
                // As if it slept: the next message looks after it.
                self.shared.rest.store(ASLEEP, Ordering::SeqCst);
                Err(error)
            }
        }
    }
}
