//! What flowed where, at one moment.

use std::collections::BTreeMap;

use super::{sentry_server, service::Report, shop::Sent, statsd_server, syslog_server};
use crate::api::pipeline::Pipeline;

/// The numbers of everybody who counts, and a sample of what each endpoint wrote.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What the shop sent.
    pub sent: Sent,
    /// What the service beside it says that it sent, if there is one.
    pub service: Option<Report>,
    /// What is wrong with its end, once it has ended.
    pub service_problem: Option<String>,
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
        self.sent.udp.sent + self.sent.tcp.sent + self.service.as_ref().map_or(0, |service| service.sent)
    }

    /// What each counter should add up to, by its name on the statsd side.
    pub fn counters(&self) -> BTreeMap<&str, i64> {
        both(&self.sent.counters, self.service.as_ref().map(|service| &service.counters))
    }

    /// Security events that were sent, by name.
    pub fn audited(&self) -> BTreeMap<&str, u64> {
        both(&self.sent.audited, self.service.as_ref().map(|service| &service.audited))
    }

    /// Exceptions that were sent for Sentry, by type.
    pub fn exceptions(&self) -> BTreeMap<&str, u64> {
        both(&self.sent.exceptions, self.service.as_ref().map(|service| &service.exceptions))
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

/// What two senders sent, added up.
fn both<'s, N: Copy + Default + std::ops::AddAssign>(
    one: &'s BTreeMap<String, N>,
    other: Option<&'s BTreeMap<String, N>>,
) -> BTreeMap<&'s str, N> {
    let mut sum = BTreeMap::new();
    for (name, number) in one.iter().chain(other.into_iter().flatten()) {
        *sum.entry(name.as_str()).or_default() += *number;
    }
    sum
}
