//! The one runtime that network endpoints and the API server share: a thread that runs tasks.
//!
//! What is measured in microseconds per message happens on reader threads and endpoint threads; a task here handles
//! hundreds of messages per wake-up, so one thread is enough and keeps the idle router small.

use std::{
    io,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// A running runtime.
#[derive(Debug)]
pub struct NetworkRuntime {
    handle: Handle,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl NetworkRuntime {
    /// Starts the runtime's thread.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("network".to_owned()).spawn(move || {
            // Either way it is time to stop: told to, or the owner is gone.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(NetworkRuntime { handle, stop, thread })
    }

    /// Where to spawn tasks.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the tasks that are left, wherever they are, and the thread.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the network thread has panicked");
        }
    }
}
