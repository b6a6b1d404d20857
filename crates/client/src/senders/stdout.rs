//! Messages to standard output, one per line: what a container platform collects.

use std::io::Write as _;

use super::backoff::Backoff;
use super::lines::write_lines;
use super::{Answer, Batch, Sender};

/// Writes messages to standard output, one per line.
///
/// ```
/// let client = metlog::Client::stdout();
/// client.info("hello");
/// ```
#[derive(Debug, Default)]
pub struct StdoutSender {
    carried: usize,
    backoff: Backoff,
}

impl StdoutSender {
    /// A sender to standard output.
    pub fn new() -> StdoutSender {
        StdoutSender::default()
    }
}

impl Sender for StdoutSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        let mut stdout = std::io::stdout().lock();
        let (sent, failure) = write_lines(&mut stdout, batch, &mut self.carried);
        if failure.is_some() || stdout.flush().is_err() {
            return Answer::retry(sent, self.backoff.failed());
        }
        self.backoff.succeeded();
        Answer { sent, ..Answer::all(batch) }
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(StdoutSender::new())
    }
}
