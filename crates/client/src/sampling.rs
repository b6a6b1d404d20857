//! Sample rates: of a thousand calls with the rate 0.1, about a hundred are sent.

use std::cell::Cell;

use crate::{fork, system};

thread_local! {
    /// The state of this thread's generator, 0 until its first use, and the fork generation that it was made in: a
    /// child that went on with its parent's would choose what its siblings choose.
    static STATE: Cell<(u64, u32)> = const { Cell::new((0, 0)) };
}

/// Whether a call with this rate is sent: always from 1 up, never at 0, below it, or for NaN.
#[inline]
pub(crate) fn chosen(rate: f64) -> bool {
    rate >= 1.0 || next() < rate
}

/// The next number of a xorshift generator, 0 ≤ n < 1. Sampling wants speed, not secrecy.
fn next() -> f64 {
    STATE.with(|cell| {
        let (mut state, made_in) = cell.get();
        let generation = fork::generation();
        if state == 0 || made_in != generation {
            state = system::random_bits() | 1;
        }
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        cell.set((state, generation));
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
