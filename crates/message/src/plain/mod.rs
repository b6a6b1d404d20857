//! Finds where plain text in a string ends: at a quote, a backslash, a control character or a byte that is not
//! ASCII. 16 bytes are looked at together.

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
    // Most strings end within two chunks. A third would be a loop, which ends at an unforeseeable moment.
    match within_chunk(text, at) {
        Some(end) => end,
        None => match within_chunk(text, at + CHUNK as u32) {
            Some(end) => end,
            None => end_of_long(text, at),
        },
    }
}

/// The offset of the first byte that is not plain, if it is one of a whole chunk at `at`.
#[inline(always)]
fn within_chunk(text: &[u8], at: u32) -> Option<u32> {
    let found = not_plain(bytes(text, at)?);
    if found == 0 { None } else { Some(at + found.trailing_zeros()) }
}

/// As [`end`], where more than two chunks have to be looked at or less than one.
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
    let Some(last) = text.last_chunk() else { return end_of_short(text, at) };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn is_plain(byte: u8) -> bool {
        (0x20..0x80).contains(&byte) && byte != b'"' && byte != b'\\'
    }

    #[test]
    fn the_end_is_found_in_texts_of_every_length_from_every_offset() {
        for length in 0..100 {
            for end_at in 0..=length {
                // An allocation of exactly this length, so that a memory checker sees a read behind its end.
                let mut text: Box<[u8]> = vec![b'n'; length].into();
                if let Some(byte) = text.get_mut(end_at) {
                    *byte = b'"';
                }
                for at in 0..=length {
                    let expected = if at <= end_at { end_at } else { length };
                    assert_eq!(end(&text, at as u32), expected as u32, "{end_at} from {at} of {length}");
                }
                assert_eq!(end(&text, length as u32 + 40), length as u32);
            }
        }
    }

    #[test]
    fn what_is_plain_is_told_from_what_is_not_at_every_place_of_a_chunk() {
        for byte in 0..=255 {
            for place in 0..CHUNK {
                let mut chunk = [b'n'; CHUNK];
                chunk[place] = byte;
                let expected = if is_plain(byte) { 0 } else { 1 << place };
                assert_eq!(not_plain(&chunk), expected, "{byte:#x} at {place}");
                assert_eq!(portable::not_plain(&chunk), expected, "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn every_way_to_look_at_a_chunk_agrees() {
        let mut state = 1u64;
        for _ in 0..20_000 {
            let mut chunk = [0; CHUNK];
            for byte in &mut chunk {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = (state >> 56) as u8;
            }
            let bit = |(place, &byte): (usize, &u8)| u32::from(!is_plain(byte)) << place;
            let expected: u32 = chunk.iter().enumerate().map(bit).sum();
            assert_eq!(not_plain(&chunk), expected);
            assert_eq!(portable::not_plain(&chunk), expected);
        }
    }
}
