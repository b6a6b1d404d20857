//! Messages to standard output, one per line: what a container platform collects.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use super::lines::{Connect, Ending, LineSender};
use super::{Answer, Batch, Sender};

/// Writes messages to standard output, one per line.
///
/// It goes around the standard library's own buffer and lock: a process that forks while this thread writes must not
/// find that lock taken in the child.
///
/// ```
/// let client = metlog::Client::stdout();
/// client.info("hello");
/// ```
#[derive(Debug)]
pub struct StdoutSender {
    lines: LineSender<StdoutConnect>,
}

#[derive(Debug, Clone)]
struct StdoutConnect;

impl StdoutSender {
    /// A sender to standard output.
    pub fn new() -> StdoutSender {
        StdoutSender { lines: LineSender::new(StdoutConnect, false) }
    }
}

impl Default for StdoutSender {
    fn default() -> StdoutSender {
        StdoutSender::new()
    }
}

impl Sender for StdoutSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        self.lines.send(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        self.lines.fresh()
    }
}

impl Connect for StdoutConnect {
    type Stream = File;

    fn connect(&self) -> io::Result<File> {
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    }

    fn ending(&self, _: &File) -> Option<Ending> {
        None
    }

    fn describe(&self) -> String {
        "standard output".to_owned()
    }

    fn survives_errors(&self) -> bool {
        true
    }
}
