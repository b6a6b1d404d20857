//! Masks of 64 bytes with the vector instructions of x86-64: SSE2, which every such processor has, and AVX2 or
//! AVX-512 where they are found at run time.
//!
//! The only module of this crate with unsafe code.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
    _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
    _mm512_add_epi16, _mm512_castsi512_si256, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epi8_mask,
    _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64, _mm512_loadu_epi8, _mm512_mask_loadu_epi8,
    _mm512_maskz_compress_epi8, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_storeu_epi16,
};

use super::{BLOCK, Masks, Quotes, list_bits, masks_by_block};

/// Lists further quotes by the best means that this processor has.
#[inline(always)]
pub(super) fn fill(quotes: &mut Quotes<'_>) {
    if has_avx512() {
        // SAFETY: the processor has every feature that the function is compiled for.
        unsafe { fill_avx512(quotes) }
    } else if has_avx2() {
        // SAFETY: the processor has every feature that the function is compiled for.
        unsafe { fill_avx2(quotes) }
    } else {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe { fill_sse2(quotes) }
    }
}

/// Whether the processor has what the functions for AVX-512 need. The answer is cached.
#[inline(always)]
fn has_avx512() -> bool {
    // All processors with `avx512vbmi2` have the others too; they are asked for because that is cheap.
    is_x86_feature_detected!("avx512vbmi2")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("popcnt")
}

/// Whether the processor has what the functions for AVX2 need. The answer is cached.
#[inline]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("popcnt")
}

#[target_feature(enable = "avx512vbmi2,avx512bw,avx512f,popcnt")]
fn fill_avx512(quotes: &mut Quotes<'_>) {
    quotes.fill_with(
        #[inline(always)]
        |text, start| masks_avx512(text, start),
        #[inline(always)]
        |places, start, quotes| list_bits_avx512(places, start, quotes),
    );
}

#[allow(
    clippy::redundant_closure,
    reason = "a closure is compiled for the same features, `list_bits` alone is not"
)]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn fill_avx2(quotes: &mut Quotes<'_>) {
    quotes.fill_with(
        #[inline(always)]
        |text, start| {
            masks_by_block(
                text,
                start,
                #[inline(always)]
                |block| masks_avx2(block),
            )
        },
        #[inline(always)]
        |places, start, quotes| list_bits(places, start, quotes),
    );
}

#[allow(
    clippy::redundant_closure,
    reason = "a closure is compiled for the same features, `list_bits` alone is not"
)]
#[target_feature(enable = "sse2")]
fn fill_sse2(quotes: &mut Quotes<'_>) {
    quotes.fill_with(
        #[inline(always)]
        |text, start| {
            masks_by_block(
                text,
                start,
                #[inline(always)]
                |block| masks_sse2(block),
            )
        },
        #[inline(always)]
        |places, start, quotes| list_bits(places, start, quotes),
    );
}

#[inline]
#[target_feature(enable = "avx512vbmi2,avx512bw,avx512f")]
fn masks_avx512(text: &[u8], start: usize) -> Masks {
    let space = _mm512_set1_epi8(b' ' as i8);
    let rest = text.get(start..).unwrap_or_default();
    let bytes = if rest.len() >= BLOCK {
        // SAFETY: 64 bytes of `rest` are readable, and the instruction asks for no alignment.
        unsafe { _mm512_loadu_epi8(rest.as_ptr().cast::<i8>()) }
    } else {
        // SAFETY: only as many bytes as `rest` has are read; for the others, spaces are taken.
        unsafe { _mm512_mask_loadu_epi8(space, (1 << rest.len()) - 1, rest.as_ptr().cast::<i8>()) }
    };
    Masks {
        quotes: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'"' as i8)),
        backslashes: _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(b'\\' as i8)),
        // Signed bytes below a space are control characters and all that is not ASCII.
        unusual: _mm512_cmplt_epi8_mask(bytes, space),
    }
}

/// As [`list_bits`], all positions at once.
#[inline]
#[target_feature(enable = "avx512vbmi2,avx512bw,avx512f")]
fn list_bits_avx512(places: &mut [u16; BLOCK], start: u16, quotes: u64) {
    const POSITIONS: [i8; BLOCK] = {
        let mut positions = [0; BLOCK];
        let mut at = 0;
        while at < BLOCK {
            positions[at] = at as i8;
            at += 1;
        }
        positions
    };
    // SAFETY: `POSITIONS` is 64 readable bytes, and the instruction asks for no alignment.
    let positions = unsafe { _mm512_loadu_epi8(POSITIONS.as_ptr()) };
    let found = _mm512_maskz_compress_epi8(quotes, positions);
    let start = _mm512_set1_epi16(start as i16);
    let low = _mm512_add_epi16(start, _mm512_cvtepu8_epi16(_mm512_castsi512_si256(found)));
    let high = _mm512_add_epi16(start, _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(found)));
    let (first, second) = places.split_at_mut(BLOCK / 2);
    // SAFETY: `first` and `second` are 32 writable places of two bytes each, and the instruction asks for no
    // alignment.
    unsafe {
        _mm512_storeu_epi16(first.as_mut_ptr().cast::<i16>(), low);
        _mm512_storeu_epi16(second.as_mut_ptr().cast::<i16>(), high);
    }
}

#[inline]
#[target_feature(enable = "avx2,bmi1,popcnt")]
fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
    let (quote, backslash) = (_mm256_set1_epi8(b'"' as i8), _mm256_set1_epi8(b'\\' as i8));
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
    if has_avx512() {
        // SAFETY: the processor has every feature that the function is compiled for.
        all.push(unsafe { masks_avx512(block, 0) });
    }
    all
}

/// The same text's quotes listed by each means that this processor has.
#[cfg(test)]
pub(super) fn all_fillers() -> Vec<fn(&mut Quotes<'_>)> {
    // SAFETY: every x86-64 processor has SSE2.
    let mut all: Vec<fn(&mut Quotes<'_>)> = vec![|quotes| unsafe { fill_sse2(quotes) }];
    if has_avx2() {
        // SAFETY: the processor has every feature that the function is compiled for.
        all.push(|quotes| unsafe { fill_avx2(quotes) });
    }
    if has_avx512() {
        // SAFETY: the processor has every feature that the function is compiled for.
        all.push(|quotes| unsafe { fill_avx512(quotes) });
    }
    all
}
