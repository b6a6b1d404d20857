//! Says in the log what the ledger would tell whoever asked: messages that are dropped, refused or rejected, while it happens.
//!
//! It looks at the ledger every [`INTERVAL`], so a flood of losses is one line per component and reason, and the path of a
//! message knows nothing of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    ledger::Ledger,
    rejects,
    tap::{Tap, Tapped},
};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(10);

const REJECTED: &str = "frames were rejected";

/// What has grown, by component and reason.
type Losses = BTreeMap<(String, &'static str, String), u64>;

/// Looks until the runtime stops.
pub async fn watch(ledger: Arc<Ledger>, tap: Arc<Tap>, clock: Arc<dyn Clock>) {
    let mut before = losses(&ledger, clock.monotonic());
    loop {
        tokio::time::sleep(INTERVAL).await;
        let now = losses(&ledger, clock.monotonic());
        for ((component, what, reason), more, total) in growth(&before, &now) {
            let last_from = (*what == REJECTED).then(|| last_origin(&tap, component, reason)).flatten();
            tracing::warn!(component, reason, more, total, last_from, "{what}");
        }
        before = now;
    }
}

/// Where the last one came from that was rejected here for this reason, if it is remembered: in a flood not each is.
fn last_origin(tap: &Tap, input: &str, reason: &str) -> Option<String> {
    let is_it = |reject: &Tapped| reject.reject.is_some_and(|known| known.to_string() == reason);
    let last = tap.remembered(Some(input)).into_iter().rfind(is_it)?;
    rejects::origin(&last.message)
}

fn losses(ledger: &Ledger, now: Duration) -> Losses {
    let mut losses = Losses::new();
    // A name may be there twice: once running and once removed.
    let mut add = |name: &str, what, reason: &str, count| {
        *losses.entry((name.to_owned(), what, reason.to_owned())).or_default() += count;
    };
    for input in ledger.inputs() {
        for (reason, count) in input.ledger.rejected {
            add(&input.of.name, REJECTED, &reason, count);
        }
        let drops = input.ledger.kernel_drops;
        add(&input.of.name, "datagrams were dropped by the kernel", "receive-buffer-full", drops);
    }
    for endpoint in ledger.endpoints(now) {
        for (reason, count) in endpoint.ledger.dropped {
            add(&endpoint.of.name, "messages were dropped", reason, count);
        }
        for (reason, count) in endpoint.ledger.refused {
            add(&endpoint.of.name, "messages were refused", reason, count);
        }
    }
    losses
}

/// What is more than it was: the key, how much more, and how much in all.
fn growth<'a>(
    before: &'a Losses,
    now: &'a Losses,
) -> impl Iterator<Item = (&'a (String, &'static str, String), u64, u64)> {
    now.iter().filter_map(|(key, &total)| {
        let more = total.saturating_sub(before.get(key).copied().unwrap_or(0));
        (more > 0).then_some((key, more, total))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{DropReason, EndpointAccount, EndpointCounters};

    #[test]
    fn only_what_has_grown_is_said_and_by_how_much() {
        let counters = Arc::new(EndpointCounters::default());
        let ledger = Ledger::default();
        let account = EndpointAccount {
            name: "stats".to_owned(),
            kind: "statsd",
            has_lanes: false,
            counters: counters.clone(),
            buffer: crate::testing::buffer(1000),
        };
        ledger.set_endpoints(vec![account], Duration::ZERO);
        counters.drop_messages(DropReason::BufferFull, 5);
        let before = losses(&ledger, Duration::ZERO);
        assert_eq!(growth(&before, &before).count(), 0);
        counters.drop_messages(DropReason::BufferFull, 7);
        counters.refuse("statsd-name", 1);
        let now = losses(&ledger, Duration::ZERO);
        let said: Vec<_> =
            growth(&before, &now).map(|(key, more, total)| (key.2.as_str(), more, total)).collect();
        assert_eq!(said, [("buffer-full", 7, 12), ("statsd-name", 1, 1)]);
    }
}
