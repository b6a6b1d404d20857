//! Messages to nowhere.

use super::{Answer, Batch, Sender};

/// Takes every message and does nothing with it: for an application that is run without telemetry, and for
/// measuring what the calls cost.
///
/// ```
/// let client = metlog::Client::noop();
/// client.incr("hits");
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopSender;

impl Sender for NoopSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        Answer::all(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        Box::new(NoopSender)
    }
}
