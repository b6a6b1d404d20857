//! What an operator is told of a server: that nobody listens, as far as datagrams can tell, and that a connection ended.

use std::{sync::Arc, time::Duration};

use super::{
    Connection,
    connection::{Incidents, Lost},
    liveness::NOTICE_LOST,
};
use crate::{
    endpoints::Answer,
    ledger::{EndpointCounters, Failure},
};

/// What the ledger calls a datagram that found nobody.
pub(crate) const NOTICE_UNREACHABLE: &str = "peer-unreachable";

/// Shows an operator that nobody listens, which over UDP is no reason to stop.
///
/// The runner shows its own failures in the same place, and clears only those.
pub(crate) struct Health {
    name: String,
    counters: Arc<EndpointCounters>,
    /// Deliveries in a row that met such a report.
    failures: u32,
    /// When the first of these was.
    since: Option<Duration>,
}

impl Health {
    pub(crate) fn new(name: String, counters: Arc<EndpointCounters>) -> Health {
        Health { name, counters, failures: 0, since: None }
    }

    /// After a delivery with this answer.
    pub(crate) fn update(&mut self, connection: &mut Connection, answer: &Answer) {
        let Incidents { unreachable, lost } = connection.take_incidents();
        let server = connection.server();
        for Lost { reason, was_idle } in lost {
            if was_idle {
                self.counters.notice(NOTICE_LOST, 1);
            } else {
                self.counters.notice_loss(connection.now(), NOTICE_LOST);
            }
            tracing::warn!(
                endpoint = self.name,
                %server,
                reason,
                "connection lost; what was under way on it may be lost"
            );
        }
        if unreachable > 0 {
            self.counters.notice(NOTICE_UNREACHABLE, unreachable);
            self.failures = self.failures.saturating_add(1);
            let (now, error) = (connection.now(), format!("nobody listens at {server}"));
            let since = *self.since.get_or_insert(now);
            let failure = Failure::now(now, Some(since), error, self.failures);
            if self.counters.set_failure(Some(failure)) {
                tracing::warn!(endpoint = self.name, "nobody listens at {server}");
            }
        } else if self.failures > 0 && answer.settled > answer.refused.total() {
            (self.failures, self.since) = (0, None);
            self.counters.set_failure(None);
            tracing::info!(endpoint = self.name, "no more complaints from {server}");
        }
    }
}
