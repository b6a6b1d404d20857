//! Masks of 64 bytes with the vector instructions of x86-64: SSE2, which every such processor has, or AVX2
//! where it is found at run time.
//!
//! The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
};

use super::{BLOCK, Masks, Quotes};

/// Lists further quotes by the best means that this processor has.
#[inline]
pub(super) fn fill(quotes: &mut Quotes<'_>) {
    if has_avx2() {
        // SAFETY: the processor has every feature that the function is compiled for.
        unsafe { fill_avx2(quotes) }
    } else {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe { fill_sse2(quotes) }
    }
}

/// Whether the processor has what [`fill_avx2`] and [`masks_avx2`] need. The answer is cached.
#[inline]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt")
}

#[target_feature(enable = "avx2,bmi1,popcnt")]
fn fill_avx2(quotes: &mut Quotes<'_>) {
    quotes.fill(
        #[inline(always)]
        |block| masks_avx2(block),
    );
}

#[target_feature(enable = "sse2")]
fn fill_sse2(quotes: &mut Quotes<'_>) {
    quotes.fill(
        #[inline(always)]
        |block| masks_sse2(block),
    );
}

#[inline]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
    let (quote, backslash) = (_mm256_set1_epi8(b'"' as i8), _mm256_set1_epi8(b'\\' as i8));
    // Signed bytes below a space are control characters and all that is not ASCII.
    let space = _mm256_set1_epi8(b' ' as i8);
    let mut masks = Masks { quotes: 0, backslashes: 0, unusual: 0 };
    for (number, half) in block.as_chunks::<32>().0.iter().enumerate() {
        // SAFETY: `half` is 32 readable bytes, and the instruction asks for no alignment.
        let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
        let bits = |compared: __m256i| u64::from(_mm256_movemask_epi8(compared) as u32) << (number * 32);
        masks.quotes |= bits(_mm256_cmpeq_epi8(bytes, quote));
        masks.backslashes |= bits(_mm256_cmpeq_epi8(bytes, backslash));
        masks.unusual |= bits(_mm256_cmpgt_epi8(space, bytes));
    }
    masks
}

#[inline]
#[target_feature(enable = "sse2")]
fn masks_sse2(block: &[u8; BLOCK]) -> Masks {
    let (quote, backslash) = (_mm_set1_epi8(b'"' as i8), _mm_set1_epi8(b'\\' as i8));
    let space = _mm_set1_epi8(b' ' as i8);
    let mut masks = Masks { quotes: 0, backslashes: 0, unusual: 0 };
    for (number, quarter) in block.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: `quarter` is 16 readable bytes, and the instruction asks for no alignment.
        let bytes = unsafe { _mm_loadu_si128(quarter.as_ptr().cast::<__m128i>()) };
        let bits = |compared: __m128i| u64::from(_mm_movemask_epi8(compared) as u16) << (number * 16);
        masks.quotes |= bits(_mm_cmpeq_epi8(bytes, quote));
        masks.backslashes |= bits(_mm_cmpeq_epi8(bytes, backslash));
        masks.unusual |= bits(_mm_cmplt_epi8(bytes, space));
    }
    masks
}

/// The masks of one block by each means that this processor has.
#[cfg(test)]
pub(super) fn all_masks(block: &[u8; BLOCK]) -> Vec<Masks> {
    // SAFETY: every x86-64 processor has SSE2.
    let mut all = vec![unsafe { masks_sse2(block) }];
    if has_avx2() {
        // SAFETY: the processor has every feature that the function is compiled for.
        all.push(unsafe { masks_avx2(block) });
    }
    all
}
