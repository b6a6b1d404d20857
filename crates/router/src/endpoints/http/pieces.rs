//! How large the next body is, after what the server said to those before.
//!
//! [`BodySize`] is what is remembered from one delivery to the next: less after a 413, slowly more again after successes,
//! because the server may have changed, or a proxy was in the way. [`Pieces`] is the search within one refused body for
//! the messages that are to blame.

/// Bodies are not made smaller than this for good. A server that takes less still gets less, body by body.
pub(super) const SMALLEST_BODY_BYTES: usize = 4096;

/// So many bodies in a row that were taken make the next ones larger.
pub(super) const SUCCESSES_TO_GROW: u32 = 16;

/// So many requests are spent on looking for bad messages in one body: enough for two among 10,000.
pub(super) const REQUESTS_TO_SEARCH: u32 = 64;

/// The largest body.
#[derive(Debug)]
pub(super) struct BodySize {
    /// What the configuration says.
    most: usize,
    now: usize,
    successes: u32,
}

impl BodySize {
    pub(super) fn new(most: usize) -> BodySize {
        BodySize { most, now: most, successes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.now
    }

    pub(super) fn succeeded(&mut self) {
        if self.now < self.most {
            self.successes += 1;
            if self.successes >= SUCCESSES_TO_GROW {
                self.now = self.now.saturating_mul(2).min(self.most);
                self.successes = 0;
            }
        }
    }

    /// A body of several messages and of this size was too large. Returns whether the next one will be smaller.
    pub(super) fn too_large(&mut self, size: usize) -> bool {
        self.successes = 0;
        let halved = (size / 2).max(SMALLEST_BODY_BYTES.min(self.most));
        let is_less = halved < size;
        if is_less {
            self.now = halved;
        }
        is_less
    }
}

/// The messages in front, divided: how many go into one body at most.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// From the last to the next.
    counts: Vec<usize>,
    /// Requests that the search may still cost.
    requests: u32,
}

impl Pieces {
    /// The most messages of the next body.
    pub(super) fn next(&self) -> usize {
        self.counts.last().copied().unwrap_or(usize::MAX)
    }

    /// So many messages in front are settled.
    pub(super) fn settled(&mut self, messages: usize) {
        if let Some(count) = self.counts.last_mut() {
            *count = count.saturating_sub(messages);
            if *count == 0 {
                self.counts.pop();
            }
        }
    }

    /// Divides the first `count` messages in two, whatever it costs.
    pub(super) fn halve(&mut self, count: usize) {
        self.begin();
        self.settled(count);
        self.counts.extend([count - count / 2, count / 2]);
    }

    /// Divides the first `count` messages in two, to find those that are to blame. Returns whether there was enough left
    /// to do so.
    pub(super) fn search(&mut self, count: usize) -> bool {
        self.begin();
        if count < 2 || self.requests < 2 {
            return false;
        }
        self.requests -= 2;
        self.halve(count);
        true
    }

    /// Each body that is divided has requests of its own.
    fn begin(&mut self) {
        if self.counts.is_empty() {
            self.requests = REQUESTS_TO_SEARCH;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_grows_again_up_to_what_was_configured() {
        let mut size = BodySize::new(100_000);
        assert!(size.too_large(90_000));
        assert_eq!(size.bytes(), 45_000);
        for expected in [45_000, 90_000, 100_000] {
            assert_eq!(size.bytes(), expected);
            (0..SUCCESSES_TO_GROW).for_each(|_| size.succeeded());
        }
        assert_eq!(size.bytes(), 100_000);
    }

    #[test]
    fn a_body_does_not_shrink_below_the_floor_for_good() {
        let mut size = BodySize::new(100_000);
        assert!(size.too_large(5000));
        assert_eq!(size.bytes(), SMALLEST_BODY_BYTES);
        assert!(!size.too_large(4000));
        assert_eq!(size.bytes(), SMALLEST_BODY_BYTES);
        let mut small = BodySize::new(100);
        assert!(!small.too_large(90));
        assert_eq!(small.bytes(), 100);
    }

    #[test]
    fn a_search_divides_and_ends() {
        let mut pieces = Pieces::default();
        assert_eq!(pieces.next(), usize::MAX);
        assert!(pieces.search(5));
        assert_eq!(pieces.next(), 2);
        pieces.settled(2);
        assert_eq!(pieces.next(), 3);
        pieces.settled(1);
        assert_eq!(pieces.next(), 2, "a body may have held less");
        pieces.settled(2);
        assert_eq!(pieces.next(), usize::MAX);

        let mut requests = 1;
        let mut left = 10_000;
        let mut pieces = Pieces::default();
        while left > 0 {
            requests += 1;
            let count = pieces.next().min(left);
            if !pieces.search(count) {
                pieces.settled(count);
                left -= count;
            }
            assert!(requests <= 1 + 2 * REQUESTS_TO_SEARCH, "everything is refused");
        }
    }
}
