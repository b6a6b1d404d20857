//! The small pieces of JSON's grammar that every scanner shares: white space, numbers, literals, escapes.
//!
//! Each function looks at `text` from the offset `at` and answers the offset behind what it read, or `None`
//! where the grammar is broken.

/// Whether JSON allows this byte between tokens.
#[inline(always)]
pub(crate) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// The `N` bytes from `at` on, if there are as many.
#[inline(always)]
pub(crate) fn bytes<const N: usize>(text: &[u8], at: u32) -> Option<&[u8; N]> {
    let at = at as usize;
    text.get(at..at + N)?.first_chunk()
}

/// The offset behind the run of digits at `at`, which may be empty.
#[inline(always)]
pub(crate) fn digits(text: &[u8], mut at: usize) -> usize {
    while let Some((eight, _)) = text.get(at..).and_then(|rest| rest.split_first_chunk::<8>()) {
        let others = not_digits(u64::from_le_bytes(*eight));
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// Some bits of each byte of `word` that is no digit. The lowest such byte is always right: a digit has 3 in its
/// upper half, also after 6 is added to it, and a carry can only leave a byte that is no digit itself.
#[inline(always)]
fn not_digits(word: u64) -> u64 {
    const HIGH: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const THREES: u64 = 0x3030_3030_3030_3030;
    const SIXES: u64 = 0x0606_0606_0606_0606;
    ((word & HIGH) ^ THREES) | ((word.wrapping_add(SIXES) & HIGH) ^ THREES)
}

/// Reads a number without sign and exponent that ends within eight bytes, as nearly all do; answers the offset
/// behind it, and whether it is an integer. `None` says nothing.
#[inline(always)]
pub(crate) fn short_number(text: &[u8], at: u32) -> Option<(u32, bool)> {
    let word = match bytes(text, at) {
        Some(eight) => u64::from_le_bytes(*eight),
        // What is left of the last eight bytes; zeros follow it.
        None => u64::from_le_bytes(*text.last_chunk()?) >> (8 * (at as usize + 8 - text.len())).min(63),
    };
    let others = not_digits(word);
    let integer = others.trailing_zeros() & !7;
    let superfluous_zero = word as u8 == b'0' && integer > 8;
    if integer == 0 || integer > 56 || superfluous_zero {
        return None;
    }
    let mut end = integer;
    if (word >> integer) as u8 == b'.' {
        end = (others >> integer & !0xFF).trailing_zeros().wrapping_add(integer) & !7;
        if end == integer + 8 || end > 56 {
            return None;
        }
    }
    if (word >> end) as u8 | 0x20 == b'e' { None } else { Some((at + end / 8, end == integer)) }
}

/// Reads a number: an optional minus, an integer without leading zeros, a fraction, an exponent.
#[inline(always)]
pub(crate) fn number(text: &[u8], at: usize) -> Option<usize> {
    let first = if text.get(at) == Some(&b'-') { at + 1 } else { at };
    let mut end = match text.get(first)? {
        b'0' => first + 1,
        b'1'..=b'9' => digits(text, first + 1),
        _ => return None,
    };
    if text.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = digits(text, fraction);
        if end == fraction {
            return None;
        }
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = end + 1;
        let exponent = if let Some(b'+' | b'-') = text.get(sign) { sign + 1 } else { sign };
        end = digits(text, exponent);
        if end == exponent {
            return None;
        }
    }
    Some(end)
}

/// Reads exactly `word`.
#[inline(always)]
pub(crate) fn literal(text: &[u8], at: usize, word: &[u8]) -> Option<usize> {
    let end = at + word.len();
    (text.get(at..end)? == word).then_some(end)
}

/// Reads a number, `true`, `false` or `null`.
#[inline(always)]
pub(crate) fn scalar(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b't' => literal(text, at, b"true"),
        b'f' => literal(text, at, b"false"),
        b'n' => literal(text, at, b"null"),
        _ => number(text, at),
    }
}

/// Reads what follows a backslash in a string. Any four hexadecimal digits do: a lone surrogate is kept.
#[inline(always)]
pub(crate) fn escape(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => text.get(at + 1..at + 5)?.iter().all(u8::is_ascii_hexdigit).then_some(at + 5),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_number_is_read_to_its_end() {
        for good in [
            "0",
            "-0",
            "7",
            "10",
            "1.5",
            "0.25",
            "1e5",
            "1E+05",
            "-12.50e-3",
            "12345678901234567890.123456789",
        ] {
            assert_eq!(number(good.as_bytes(), 0), Some(good.len()), "{good}");
            let followed = format!("{good}, more text behind it");
            assert_eq!(number(followed.as_bytes(), 0), Some(good.len()), "{followed}");
        }
        for bad in ["", "-", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-a", "Infinity", "e5"] {
            assert_eq!(number(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(number(b"007", 0), Some(1), "the caller meets the second zero");
    }

    #[test]
    fn a_short_number_is_read_as_any_number_or_not_at_all() {
        let pieces =
            ["", "0", "7", "42", "007", ".", "-", "e", "E5", ",", "}", " ", "x", "\u{fa}", "12345678"];
        let texts = pieces.iter().flat_map(|a| pieces.iter().map(move |b| format!("{a}{b}")));
        let texts = texts.flat_map(|text| pieces.iter().map(move |c| format!("{text}{c}")));
        let mut read = 0;
        for text in texts.flat_map(|text| pieces.iter().map(move |d| format!("{text}{d}"))) {
            for (before, behind) in [("", ""), ("\"a\":", ","), ("\"key\":", "}, more")] {
                let whole = format!("{before}{text}{behind}");
                let Some((end, integer)) = short_number(whole.as_bytes(), before.len() as u32) else {
                    continue;
                };
                assert_eq!(number(whole.as_bytes(), before.len()), Some(end as usize), "{whole}");
                let number = &whole.as_bytes()[before.len()..end as usize];
                assert_eq!(integer, number.iter().all(u8::is_ascii_digit), "{whole}");
                read += 1;
            }
        }
        assert!(read > 10_000, "{read}");
        for usual in ["6", "26482", "1.0", "0.25", "0"] {
            let text = format!("\"rate\":{usual}}}");
            assert!(short_number(text.as_bytes(), 7).is_some(), "{usual}");
        }
    }

    #[test]
    fn a_run_of_digits_ends_at_the_first_other_byte() {
        for other in (0..=255u8).filter(|byte| !byte.is_ascii_digit()) {
            for length in 0..20 {
                let mut text = vec![b'9'; length];
                text.push(other);
                text.extend_from_slice(b"0000000000");
                assert_eq!(digits(&text, 0), length, "{other:#x} after {length}");
            }
        }
    }

    #[test]
    fn an_escape_is_one_letter_or_four_hexadecimal_digits() {
        assert_eq!(escape(b"n", 0), Some(1));
        assert_eq!(escape(b"uD800", 0), Some(5));
        for bad in [&b""[..], b"x", b"u12", b"u12g4", b"U0041"] {
            assert_eq!(escape(bad, 0), None);
        }
    }
}
