//! SSE2, which every x86-64 processor has.
//!
//! The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    _mm_xor_si128,
};

use super::CHUNK;

/// One bit per byte of `chunk` that is not plain, the first byte's lowest.
#[inline(always)]
pub(super) fn not_plain(chunk: &[u8; CHUNK]) -> u32 {
    let [first, second] = chunk.as_chunks::<8>().0 else { return 0 };
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { sse2(first, second) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn sse2(first: &[u8; 8], second: &[u8; 8]) -> u32 {
    // The compiler makes one load of sixteen bytes of it.
    let bytes: __m128i = _mm_set_epi64x(i64::from_le_bytes(*second), i64::from_le_bytes(*first));
    // Signed bytes below a space are control characters and all that is not ASCII. With one bit turned, a quote
    // takes the place of the space, and no other byte crosses the border.
    let turned = _mm_xor_si128(bytes, _mm_set1_epi8(2));
    let quotes_and_unusual = _mm_cmplt_epi8(turned, _mm_set1_epi8(b'!' as i8));
    let backslashes = _mm_cmpeq_epi8(turned, _mm_set1_epi8(b'\\' as i8 ^ 2));
    _mm_movemask_epi8(_mm_or_si128(quotes_and_unusual, backslashes)) as u32
}
