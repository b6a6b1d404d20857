//! Decodes the escapes of JSON strings.

use std::borrow::Cow;

/// The text of a string that is given without its quotes, from a validated message. A lone surrogate, which
/// no text can hold, becomes U+FFFD.
pub(crate) fn decode(inside: &[u8]) -> Cow<'_, str> {
    let Some(mut backslash) = memchr::memchr(b'\\', inside) else {
        return String::from_utf8_lossy(inside);
    };
    let mut decoded = Vec::with_capacity(inside.len());
    let mut rest = inside;
    loop {
        decoded.extend_from_slice(&rest[..backslash]);
        rest = escape(&rest[backslash + 1..], &mut decoded);
        match memchr::memchr(b'\\', rest) {
            Some(next) => backslash = next,
            None => break,
        }
    }
    decoded.extend_from_slice(rest);
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Decodes one escape, whose backslash is gone already; answers what is behind it.
fn escape<'t>(rest: &'t [u8], decoded: &mut Vec<u8>) -> &'t [u8] {
    let Some((&letter, behind)) = rest.split_first() else { return rest };
    decoded.push(match letter {
        b'b' => 0x08,
        b'f' => 0x0C,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unicode(behind, decoded),
        other => other,
    });
    behind
}

/// Decodes the four digits behind `\u`, together with the escape behind them where the two are a pair.
fn unicode<'t>(rest: &'t [u8], decoded: &mut Vec<u8>) -> &'t [u8] {
    let Some((unit, behind)) = four_digits(rest) else { return rest };
    let (character, behind) = match unit {
        0xD800..0xDC00 => {
            let low = behind.strip_prefix(br"\u").and_then(four_digits);
            match low {
                Some((low @ 0xDC00..0xE000, behind)) => {
                    (char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00)), behind)
                }
                _ => (None, behind),
            }
        }
        _ => (char::from_u32(unit), behind),
    };
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    behind
}

fn four_digits(text: &[u8]) -> Option<(u32, &[u8])> {
    let (four, behind) = text.split_first_chunk::<4>()?;
    let mut value = 0;
    for &digit in four {
        value = value << 4 | char::from(digit).to_digit(16)?;
    }
    Some((value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_without_escapes_is_borrowed() {
        assert!(matches!(decode("plain, é".as_bytes()), Cow::Borrowed("plain, é")));
    }

    #[test]
    fn every_escape_is_decoded() {
        assert_eq!(decode(br#"\"\\\/\b\f\n\r\t"#), "\"\\/\u{8}\u{c}\n\r\t");
        assert_eq!(decode(br"a\u0041b\u00e9\u30c0c"), "aAbéダc");
        assert_eq!(decode(br"\ud83d\ude00!"), "😀!");
        assert_eq!(decode(br"\\u0041"), r"\u0041");
    }

    #[test]
    fn a_lone_surrogate_becomes_the_replacement_character() {
        assert_eq!(decode(br"\ud800"), "\u{FFFD}");
        assert_eq!(decode(br"\udc00abc"), "\u{FFFD}abc");
        assert_eq!(decode(br"\ud800\ud83d\ude00"), "\u{FFFD}😀");
        assert_eq!(decode(br"\ud800\u0041"), "\u{FFFD}A");
    }

    #[test]
    fn broken_escapes_do_no_harm() {
        for broken in [&br"\"[..], br"\u", br"\u12", br"\uzzzz", br"\ud800\u"] {
            let _ = decode(broken);
        }
    }
}
