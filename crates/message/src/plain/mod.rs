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
const CHUNK: usize = 32;

/// The offset of the first byte from `at` on that is not plain; the text's length where there is none.
#[inline(always)]
pub(crate) fn end(text: &[u8], at: u32) -> u32 {
    if let Some(chunk) = bytes(text, at) {
        let found = not_plain(chunk);
        if found != 0 {
            return at + found.trailing_zeros();
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
    let length = text.len() as u32;
    // The text's last chunk, of which only the bytes from `at` on count.
    let mut chunk = [0; CHUNK];
    let first = length.saturating_sub(CHUNK as u32);
    match text.last_chunk() {
        Some(last) => chunk = *last,
        None => chunk[..text.len()].copy_from_slice(text),
    }
    match not_plain(&chunk).checked_shr(at.saturating_sub(first)) {
        None | Some(0) => length,
        Some(found) => length.min(at + found.trailing_zeros()),
    }
}
