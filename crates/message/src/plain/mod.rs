//! Finds where plain text in a string ends: at a quote, a backslash, a control character or a byte that is not
//! ASCII. 32 bytes are looked at together, which is the whole of most strings.

#[cfg_attr(target_arch = "x86_64", allow(dead_code, reason = "tests compare the two"))]
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(not(target_arch = "x86_64"))]
use portable::not_plain;
#[cfg(target_arch = "x86_64")]
use x86_64::not_plain;

use crate::grammar::bytes;

/// How many bytes are looked at together.
const CHUNK: usize = 16;

/// The offset of the first byte from `at` on that is not plain; the text's length where there is none.
#[inline(always)]
pub(crate) fn end(text: &[u8], at: u32) -> u32 {
    if let Some(chunk) = bytes(text, at) {
        let found = not_plain(chunk);
        if found != 0 {
            return at + found.trailing_zeros();
        }
        if let Some(chunk) = bytes(text, at + 16) {
            let found = not_plain(chunk);
            if found != 0 {
                return at + 16 + found.trailing_zeros();
            }
        }
    }
    end_of_long(text, at)
}

/// As [`end`], where more or less than one chunk has to be looked at.
#[inline(never)]
fn end_of_long(text: &[u8], mut at: u32) -> u32 {
    while let Some(chunk) = bytes(text, at) {
        let found = not_plain(chunk);
        if found != 0 {
            return at + found.trailing_zeros();
        }
        at += CHUNK as u32;
    }
    end_in_last_chunk(text, at)
}

/// As [`end`], where less than one chunk is left: of the text's last chunk, the bytes from `at` on count.
#[inline(always)]
fn end_in_last_chunk(text: &[u8], at: u32) -> u32 {
    let Some(last) = text.last_chunk::<CHUNK>() else { return end_of_short(text, at) };
    let before = at.saturating_sub((text.len() - CHUNK) as u32);
    match not_plain(last).checked_shr(before) {
        None | Some(0) => text.len() as u32,
        Some(found) => at + found.trailing_zeros(),
    }
}

/// As [`end`], in a text that is shorter than one chunk.
#[cold]
#[inline(never)]
fn end_of_short(text: &[u8], at: u32) -> u32 {
    let mut padded = [0; CHUNK];
    padded[..text.len()].copy_from_slice(text);
    end_in_last_chunk(&padded, at).min(text.len() as u32)
}
