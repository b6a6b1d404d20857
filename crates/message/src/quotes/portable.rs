//! Masks of 64 bytes on any processor, eight bytes at a time.

use super::{BLOCK, Masks};

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// One bit per byte of `block` for each question of [`Masks`].
#[cfg_attr(
    target_arch = "x86_64",
    allow(dead_code, reason = "the processor has better means; tests compare")
)]
#[inline]
pub(super) fn masks(block: &[u8; BLOCK]) -> Masks {
    let mut masks = Masks { quotes: 0, backslashes: 0, unusual: 0 };
    for (number, eight) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*eight);
        let shift = number * 8;
        masks.quotes |= gather(zeros(word ^ (ONES * b'"' as u64))) << shift;
        masks.backslashes |= gather(zeros(word ^ (ONES * b'\\' as u64))) << shift;
        masks.unusual |= gather(zeros(word & (ONES * 0xE0)) | word & HIGH) << shift;
    }
    masks
}

/// The high bit of each byte that is zero.
#[inline]
fn zeros(word: u64) -> u64 {
    !((word & LOW).wrapping_add(LOW) | word) & HIGH
}

/// The high bits of eight bytes as the low eight bits of the answer, the first byte's lowest.
#[inline]
fn gather(high_bits: u64) -> u64 {
    // Each bit is multiplied to its own place in the top byte.
    (high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
