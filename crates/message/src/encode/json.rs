//! Writing JSON: values, strings with their escapes, numbers. Straight into a byte buffer, without a tree and without
//! `fmt`, which costs a generator more than everything else in a message.

use super::members::one_line_value;

const DIGIT_PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
    2021222324252627282930313233343536373839\
    4041424344454647484950515253545556575859\
    6061626364656667686970717273747576777879\
    8081828384858687888990919293949596979899";

/// A value for one key of `fields`.
///
/// ```
/// use metlog_message::encode::{FieldValue, write_value};
///
/// let mut out = Vec::new();
/// write_value(&mut out, FieldValue::from("a \"quoted\" word"));
/// assert_eq!(out, br#""a \"quoted\" word""#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number that may not fit an `i64`.
    Unsigned(u64),
    /// A number; NaN and the infinities have no JSON and become `null`.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// JSON text, written as it is, except that line breaks become spaces; as a string if it is no JSON.
    Json(&'a str),
}

macro_rules! field_value_from {
    ($($from:ty => $variant:ident as $target:ty),* $(,)?) => {$(
        impl From<$from> for FieldValue<'_> {
            fn from(value: $from) -> Self {
                FieldValue::$variant(<$target>::from(value))
            }
        }
    )*};
}

field_value_from! {
    bool => Bool as bool,
    i8 => Integer as i64, i16 => Integer as i64, i32 => Integer as i64, i64 => Integer as i64,
    u8 => Unsigned as u64, u16 => Unsigned as u64, u32 => Unsigned as u64, u64 => Unsigned as u64,
    f32 => Float as f64, f64 => Float as f64,
}

impl From<usize> for FieldValue<'_> {
    fn from(value: usize) -> Self {
        FieldValue::Unsigned(value as u64)
    }
}

impl From<isize> for FieldValue<'_> {
    fn from(value: isize) -> Self {
        FieldValue::Integer(value as i64)
    }
}

impl<'a> From<&'a str> for FieldValue<'a> {
    fn from(value: &'a str) -> Self {
        FieldValue::Text(value)
    }
}

impl<'a> From<&'a String> for FieldValue<'a> {
    fn from(value: &'a String) -> Self {
        FieldValue::Text(value)
    }
}

impl<'a, T: Into<FieldValue<'a>>> From<Option<T>> for FieldValue<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(FieldValue::Null, Into::into)
    }
}

/// Appends a value's JSON text.
pub fn write_value(out: &mut Vec<u8>, value: FieldValue<'_>) {
    match value {
        FieldValue::Null => out.extend_from_slice(b"null"),
        FieldValue::Bool(true) => out.extend_from_slice(b"true"),
        FieldValue::Bool(false) => out.extend_from_slice(b"false"),
        FieldValue::Integer(number) => write_integer(out, number),
        FieldValue::Unsigned(number) => write_unsigned(out, number),
        FieldValue::Float(number) => write_float(out, number),
        FieldValue::Text(text) => write_string(out, text),
        FieldValue::Json(json) => match one_line_value(json) {
            Some(json) => out.extend_from_slice(json.as_bytes()),
            None => write_string(out, json),
        },
    }
}

/// Appends a JSON string, quotes included.
#[inline]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
#[inline]
pub fn write_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let plain = first_special(bytes);
    out.extend_from_slice(&bytes[..plain]);
    if plain < bytes.len() {
        write_escaped_slowly(out, &bytes[plain..]);
    }
}

#[cold]
fn write_escaped_slowly(out: &mut Vec<u8>, mut bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    while let Some((&special, rest)) = bytes.split_first() {
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => {
                let high = HEX[usize::from(control >> 4)];
                let low = HEX[usize::from(control & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
        }
        let plain = first_special(rest);
        out.extend_from_slice(&rest[..plain]);
        bytes = &rest[plain..];
    }
}

/// How many bytes stand before the first one that JSON wants escaped; all of them where there is none.
#[inline]
pub(super) fn first_special(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The classic test for a zero byte in a word, eight bytes at a time. A borrow can mark a byte that is not
    // special, but only above one that is, and only the lowest mark is used.
    let zero_in = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let mut position = 0;
    let mut words = bytes.chunks_exact(8);
    for chunk in &mut words {
        let mut eight = [0; 8];
        eight.copy_from_slice(chunk);
        let word = u64::from_le_bytes(eight);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let marks = control | zero_in(word ^ (ONES * b'"' as u64)) | zero_in(word ^ (ONES * b'\\' as u64));
        if marks != 0 {
            return position + marks.trailing_zeros() as usize / 8;
        }
        position += 8;
    }
    let rest = words.remainder();
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    position + rest.iter().position(special).unwrap_or(rest.len())
}

/// Appends a whole number in decimal.
#[inline]
pub fn write_unsigned(out: &mut Vec<u8>, number: u64) {
    if number < 10 {
        out.push(b'0' + number as u8);
        return;
    }
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    let mut rest = number;
    while rest >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(rest % 100));
        rest /= 100;
    }
    if rest >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(pair(rest));
    } else {
        start -= 1;
        digits[start] = b'0' + rest as u8;
    }
    out.extend_from_slice(&digits[start..]);
}

/// Appends a whole number in decimal.
#[inline]
pub fn write_integer(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    write_unsigned(out, number.unsigned_abs());
}

/// Appends a number in the shortest form that reads back as the same value; NaN and the infinities as `null`.
pub fn write_float(out: &mut Vec<u8>, number: f64) {
    use std::io::Write as _;
    if !number.is_finite() {
        out.extend_from_slice(b"null");
    } else if is_small_whole(number) {
        write_integer(out, number as i64);
        out.extend_from_slice(b".0");
    } else {
        // Writing to a Vec cannot fail. `Debug` and not `Display`: it has exponents, so 1e300 stays short.
        let _ = write!(out, "{number:?}");
    }
}

/// Whether a number is whole, exact as an integer, and not the negative zero.
pub(super) fn is_small_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 1e15 && !(number == 0.0 && number.is_sign_negative())
}

/// The last two digits of a number.
#[inline]
pub(super) fn pair(number: u64) -> &'static [u8] {
    let position = number as usize % 100 * 2;
    &DIGIT_PAIRS[position..position + 2]
}
