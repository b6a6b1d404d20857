//! What flowed where, at one moment.

use super::{sentry_server, shop::Sent, statsd_server, syslog_server};
use crate::api::pipeline::Pipeline;

/// The numbers of everybody who counts, and a sample of what each endpoint wrote.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the shop sent.
    pub sent: Sent,
    /// What the router says.
    pub pipeline: Pipeline,
    /// What the statsd server received.
    pub statsd: statsd_server::Received,
    /// What the syslog server received.
    pub syslog: syslog_server::Received,
    /// What Sentry received.
    pub sentry: sentry_server::Received,
    /// The last line of each endpoint, in the order of the pipeline's.
    pub samples: Vec<Option<String>>,
    /// Seconds since the demo began.
    pub seconds: f64,
}

impl Snapshot {
    /// Messages that the clients handed to the kernel.
    pub fn total_sent(&self) -> u64 {
        self.sent.udp.sent + self.sent.tcp.sent
    }

    /// Messages that the router took from its inputs.
    pub fn total_received(&self) -> u64 {
        self.pipeline.inputs.iter().map(|input| input.received).sum()
    }

    /// Messages that wait in buffers.
    pub fn total_queued(&self) -> u64 {
        self.pipeline.endpoints.iter().map(|endpoint| endpoint.queued).sum()
    }
}
