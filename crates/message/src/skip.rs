//! Passes over values of a validated message without looking into them.
//!
//! Nothing here checks the grammar again; on bytes that were never validated the answers make no sense, but
//! nothing panics and everything ends.

use crate::grammar::is_white_space;

/// The first offset from `at` on that is no white space.
#[inline]
pub(crate) fn white_space(text: &[u8], mut at: usize) -> usize {
    while text.get(at).is_some_and(|&byte| is_white_space(byte)) {
        at += 1;
    }
    at
}

/// The offset behind the closing quote of the string whose opening quote is at `at`, and whether there is a
/// backslash in it.
#[inline]
pub(crate) fn string(text: &[u8], at: usize) -> (usize, bool) {
    let mut escaped = false;
    let mut at = at + 1;
    loop {
        at = quote_or_backslash(text, at);
        match text.get(at) {
            Some(b'\\') => {
                escaped = true;
                at += 2;
            }
            Some(_) => return (at + 1, escaped),
            None => return (text.len(), escaped),
        }
    }
}

/// The offset of the next quote or backslash from `at` on, eight bytes at a time: most strings are short.
#[inline]
fn quote_or_backslash(text: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    for _ in 0..4 {
        let Some((eight, _)) = text.get(at..).and_then(|rest| rest.split_first_chunk::<8>()) else { break };
        let word = u64::from_le_bytes(*eight);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        // A byte that became zero gets its high bit; the lowest such bit is always right.
        let found = (quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash) & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    match text.get(at..) {
        Some(rest) => at + memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len()),
        None => text.len(),
    }
}

/// The offset behind the value that begins at `at`.
#[inline]
pub(crate) fn value(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(b'"') => string(text, at).0,
        Some(b'{' | b'[') => brackets(text, at),
        _ => scalar(text, at),
    }
}

fn scalar(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        if matches!(byte, b',' | b'}' | b']') || is_white_space(byte) {
            break;
        }
        at += 1;
    }
    at
}

fn brackets(text: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at = string(text, at).0;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_it_ends() {
        for text in ["\"\"", "\"a\\\"b\\\\\"", "12.5e3", "null", "{}", "[]", r#"{"a":["]}",{"b":"\\"}]}"#] {
            for behind in ["", ",1", "}", "]", " ", "\t\"x\""] {
                let whole = format!("{text}{behind}");
                assert_eq!(value(whole.as_bytes(), 0), text.len(), "{whole}");
            }
        }
        let long = format!("\"{}\\\"{}\" tail", "x".repeat(100), "y".repeat(50));
        assert_eq!(string(long.as_bytes(), 0), (long.len() - 5, true));
    }

    #[test]
    fn text_that_was_never_validated_does_no_harm() {
        for text in ["", "\"", "\"\\", "{", "[[", "{\"", "[\"\\\""] {
            assert!(value(text.as_bytes(), 0) <= text.len());
        }
    }
}
