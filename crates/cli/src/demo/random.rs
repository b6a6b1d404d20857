//! Chance for a play: small, quick, and the same again for the same seed. Nothing here is a secret.

/// A sequence of random numbers.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits: a counter that grows by an odd constant, and whose bits are then mixed.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }

    /// From 0 up to 1, without 1 itself.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something that happens this often happens now.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// From 0 up to `end`, without `end` itself.
    pub fn below(&mut self, end: u64) -> u64 {
        (self.unit() * end as f64) as u64
    }

    /// One of these.
    pub fn one_of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A time that is mostly near `median` and sometimes far above it, as the times of servers are.
    pub fn latency_ms(&mut self, median: f64, spread: f64) -> f64 {
        // The sum of uniform numbers is nearly normal; its power is nearly log-normal, which has the tail.
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        median * (normal * spread).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_their_median_and_a_tail() {
        let mut random = Random::new(1);
        let mut latencies: Vec<f64> = (0..10_000).map(|_| random.latency_ms(20.0, 0.8)).collect();
        latencies.sort_by(f64::total_cmp);
        assert!((18.0..22.0).contains(&latencies[5_000]), "{}", latencies[5_000]);
        assert!(latencies[9_900] > 5.0 * latencies[5_000], "{}", latencies[9_900]);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.unit())));
        assert_eq!(Random::new(7).next(), Random::new(7).next());
    }
}
