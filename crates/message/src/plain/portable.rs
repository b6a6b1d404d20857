//! Any processor, eight bytes at a time.

use super::CHUNK;

const ONES: u64 = 0x0101_0101_0101_0101;
const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// One bit per byte of `chunk` that is not plain, the first byte's lowest.
#[inline]
pub(super) fn not_plain(chunk: &[u8; CHUNK]) -> u32 {
    let eights = chunk.as_chunks::<8>().0.iter();
    eights.rev().fold(0, |bits, eight| {
        let word = u64::from_le_bytes(*eight);
        let quotes = zeros(word ^ (ONES * b'"' as u64));
        let backslashes = zeros(word ^ (ONES * b'\\' as u64));
        let controls = zeros(word & (ONES * 0xE0));
        bits << 8 | gather(quotes | backslashes | controls | word & HIGH)
    })
}

/// The high bit of each byte that is zero.
#[inline]
fn zeros(word: u64) -> u64 {
    !((word & LOW).wrapping_add(LOW) | word) & HIGH
}

/// The high bits of eight bytes as the low eight bits of the answer, the first byte's lowest.
#[inline]
fn gather(high_bits: u64) -> u32 {
    // Each bit is multiplied to its own place in the top byte.
    ((high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}
