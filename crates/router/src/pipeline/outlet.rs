//! Where batches go from a pipeline: into an endpoint's buffer, or beside their source until there is room in it.

use std::{sync::Arc, task::Waker, time::Duration};

use metlog_buffer::{Buffer, Charge, Pushed};

use crate::{
    acknowledgement::Ack,
    batch::Handover,
    ledger::{DropReason, EndpointCounters, Waiting},
    rejects::Rejects,
    routes::table::RouteTable,
    tap::Tap,
};

/// Where messages go from here: the route table and every endpoint's buffer, in the table's numbering.
#[derive(Debug)]
pub struct Outlets {
    /// Who gets what.
    pub table: RouteTable,
    /// By endpoint number.
    pub outlets: Vec<Outlet>,
    /// Where rejects go.
    pub rejects: Rejects,
    /// Who watches.
    pub tap: Arc<Tap>,
}

/// One endpoint as its producers see it.
#[derive(Debug, Clone)]
pub struct Outlet {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its buffer.
    pub buffer: Arc<Buffer<Handover>>,
    /// Its counters.
    pub counters: Arc<EndpointCounters>,
    /// When it acknowledges.
    pub ack: Ack,
}

/// A hand-over that waits for room in an endpoint's buffer. Its source reads no further until it has gone.
#[derive(Debug)]
pub struct Parked {
    outlet: Outlet,
    handover: Handover,
    _place: Waiting,
}

impl Parked {
    /// `is_first`: nothing older of the same source waits for this endpoint.
    fn new(outlet: &Outlet, handover: Handover, is_first: bool) -> Self {
        Parked { outlet: outlet.clone(), handover, _place: outlet.counters.wait(is_first) }
    }

    /// The name of the endpoint that it waits for.
    pub fn endpoint(&self) -> &Arc<str> {
        &self.outlet.name
    }

    /// The memory that it keeps alive.
    pub fn charged_bytes(&self) -> usize {
        self.handover.charged_bytes()
    }

    /// Tries again to hand it over; it is `parked` again if it still does not fit.
    pub(super) fn push_behind(self, parked: &mut Vec<Parked>, now: Duration, waiter: &Waker) {
        let Parked { outlet, handover, .. } = self;
        outlet.push_behind(parked, handover, now, Some(waiter));
    }

    /// Counts it as dropped.
    pub(super) fn abandon(self, reason: DropReason) {
        self.handover.withhold();
        self.outlet.count_dropped(reason, self.handover.len());
    }
}

impl Outlet {
    /// Hands over what nothing older of the same source waits before. A smaller hand-over might fit where an older one
    /// does not, and must not overtake it.
    pub(super) fn push_behind(
        &self,
        parked: &mut Vec<Parked>,
        handover: Handover,
        now: Duration,
        waiter: Option<&Waker>,
    ) {
        if parked.iter().any(|older| Arc::ptr_eq(&older.outlet.buffer, &self.buffer)) {
            parked.push(Parked::new(self, handover, false));
        } else {
            parked.extend(self.push(handover, now, waiter));
        }
    }

    fn push(&self, mut handover: Handover, now: Duration, waiter: Option<&Waker>) -> Option<Parked> {
        let messages = handover.len();
        // Given back if it is parked; otherwise it is complete when this returns.
        let early = match self.ack {
            Ack::Queued => handover.take_acknowledgement(),
            Ack::Durable => None,
        };
        match self.buffer.push(handover, now, waiter) {
            Pushed::Accepted => self.counters.enqueued.add(messages as u64),
            Pushed::Displaced { messages: displaced, .. } => {
                self.counters.enqueued.add(messages as u64);
                self.counters.overflow(now, DropReason::BufferFull, displaced);
            }
            Pushed::Waiting(handover) => {
                let handover = if early.is_some() { handover.acknowledged_by(early) } else { handover };
                return Some(Parked::new(self, handover, true));
            }
            Pushed::Full(_) => {
                self.counters.enqueued.add(messages as u64);
                self.counters.overflow(now, DropReason::BufferFull, messages);
            }
            Pushed::Closed(handover) => {
                let reason = self.counters.end();
                // Without the endpoint it is done with; without the router it has to come again.
                if reason == DropReason::Shutdown {
                    handover.withhold();
                    if let Some(early) = early {
                        early.withhold();
                    }
                }
                self.count_dropped(reason, messages);
            }
        }
        None
    }

    /// Counts messages that never got into the buffer: they were offered, and they are gone.
    fn count_dropped(&self, reason: DropReason, messages: usize) {
        self.counters.enqueued.add(messages as u64);
        self.counters.drop_messages(reason, messages);
    }
}
