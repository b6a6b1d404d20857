//! What became of the messages: the numbers that [`Client::stats`](crate::Client::stats) returns.

/// Why a message that was accepted never left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The queue was full: messages came faster than the destination took them.
    QueueFull,
    /// Too large for the transport, even without its payload, or for the whole queue.
    TooLarge,
    /// The destination refused it for good, or the sender panicked over it.
    Refused,
    /// It came after the client was closed.
    Closed,
    /// It still waited when the time for closing was over.
    Shutdown,
    /// It was handed over, and then word came that nobody was there to take it. Not every such loss is heard of.
    Unreachable,
}

impl DropReason {
    pub(crate) const COUNT: usize = DropReason::ALL.len();

    /// Every reason.
    pub const ALL: &'static [DropReason] = &[
        DropReason::QueueFull,
        DropReason::TooLarge,
        DropReason::Refused,
        DropReason::Closed,
        DropReason::Shutdown,
        DropReason::Unreachable,
    ];

    /// The name that `metlog.dropped` messages carry in `fields.reason`.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::QueueFull => "queue-full",
            DropReason::TooLarge => "too-large",
            DropReason::Refused => "refused",
            DropReason::Closed => "closed",
            DropReason::Shutdown => "shutdown",
            DropReason::Unreachable => "unreachable",
        }
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A client's ledger. At every moment `accepted == sent + dropped() + queued`.
///
/// ```
/// let client = metlog::Client::noop();
/// client.incr("hits");
/// assert!(client.flush(std::time::Duration::from_secs(5)));
/// let stats = client.stats();
/// assert_eq!((stats.accepted, stats.sent, stats.dropped(), stats.queued), (1, 1, 0, 0));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages that passed sampling and filters, and the client's own reports.
    pub accepted: u64,
    /// Messages that the sender handed over: to the kernel, a file, or memory.
    pub sent: u64,
    /// Messages that wait for the sender.
    pub queued: u64,
    /// Calls that a filter, or the list of disabled timers, turned away. Not part of `accepted`.
    pub filtered: u64,
    /// Calls that their sample rate left out. Not part of `accepted`.
    pub sampled_out: u64,
    /// Messages whose payload was cut to fit the transport.
    pub truncated: u64,
    /// What the messages of this process carry as `metlog_src`, there in 16 hexadecimal digits: by it a receiver's gaps
    /// are this client's. `None` where messages carry none.
    pub source: Option<u64>,
    pub(crate) dropped: [u64; DropReason::COUNT],
}

impl Stats {
    /// Messages that were dropped, whatever the reason.
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Messages that were dropped for one reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_place_and_name() {
        let names: std::collections::HashSet<&str> =
            DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
        }
    }
}
