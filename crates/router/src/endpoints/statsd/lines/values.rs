//! Values and rates on the wire: numbers as servers read them, members of sets that stay different.

use std::io::Write;

use metlog_message::{Number, Value};

use super::REFUSED_VALUE;

/// Whatever is written in so many digits fits into a double, whose largest value has one more.
const SURELY_FINITE_DIGITS: usize = f64::MAX_10_EXP as usize;

/// Appends a JSON number without an exponent.
pub(super) fn push_number(text: &[u8], lines: &mut Vec<u8>) -> Result<(), &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| REFUSED_VALUE)?;
    let number = Number::parse(text).ok_or(REFUSED_VALUE)?.as_str();
    let has_exponent = memchr::memchr2(b'e', b'E', number.as_bytes()).is_some();
    if !has_exponent && number.len() <= SURELY_FINITE_DIGITS {
        lines.extend_from_slice(number.as_bytes());
        return Ok(());
    }
    // Servers count in doubles. One that is infinite would spoil a counter for good.
    let value = number.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or(REFUSED_VALUE)?;
    if !has_exponent {
        lines.extend_from_slice(number.as_bytes());
        return Ok(());
    }
    push_display(format_args!("{value}"), lines);
    Ok(())
}

/// Whether a JSON number is. A clock that was set back while a timer ran makes such numbers.
pub(super) fn is_below_zero(text: &[u8]) -> bool {
    let value = || std::str::from_utf8(text).ok()?.parse::<f64>().ok();
    text.first() == Some(&b'-') && value().is_some_and(|value| value < 0.0)
}

/// Appends a set's member. Servers only count how many differ, so what matters is that different ones still do.
pub(super) fn push_member(text: &[u8], lines: &mut Vec<u8>) -> Result<(), &'static str> {
    for &byte in text {
        if byte.is_ascii_graphic() && !matches!(byte, b':' | b'|' | b'%') {
            lines.push(byte);
        } else {
            push_display(format_args!("%{byte:02X}"), lines);
        }
    }
    if text.is_empty() { Err(REFUSED_VALUE) } else { Ok(()) }
}

/// The rate, where it says anything: a number between 0 and 1, which old clients may send as text.
pub(super) fn sample_rate(rate: Value<'_>) -> Option<f64> {
    if matches!(rate.raw(), b"1" | b"1.0") {
        return None;
    }
    rate.text().parse().ok().filter(|&rate: &f64| rate > 0.0 && rate < 1.0)
}

/// Rust writes a double with the fewest digits that name it, and never with an exponent.
pub(super) fn push_display(text: std::fmt::Arguments<'_>, lines: &mut Vec<u8>) {
    // Writing to a Vec never fails.
    let _ = lines.write_fmt(text);
}
