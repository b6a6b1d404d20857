//! Sample rates: of a thousand calls with the rate 0.1, about a hundred are sent.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    /// The state of this thread's generator; 0 until its first use.
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Whether a call with this rate is sent: always from 1 up, never at 0, below it, or for NaN.
#[inline]
pub(crate) fn chosen(rate: f64) -> bool {
    rate >= 1.0 || next() < rate
}

/// The next number of a xorshift generator, 0 ≤ n < 1. Sampling wants speed, not secrecy.
fn next() -> f64 {
    STATE.with(|cell| {
        let mut state = cell.get();
        if state == 0 {
            state = RandomState::new().hash_one(0) | 1;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        cell.set(state);
        // The upper 53 bits: as many as an f64 can tell apart.
        (state >> 11) as f64 / (1_u64 << 53) as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_about_a_tenth() {
        let chosen = (0..100_000).filter(|_| chosen(0.1)).count();
        assert!((9_000..11_000).contains(&chosen), "{chosen}");
    }

    #[test]
    fn the_ends_are_certain() {
        assert!((0..1000).all(|_| chosen(1.0)));
        assert!((0..1000).all(|_| !chosen(0.0)));
        assert!((0..1000).all(|_| !chosen(-1.0)));
        assert!((0..1000).all(|_| !chosen(f64::NAN)));
    }
}
