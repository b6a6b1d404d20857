//! Writing envelope 0.8: from Rust values to one line of compact JSON.
//!
//! A generator writes a message on the application's own thread, so this is a hot path: nothing here allocates
//! once the output buffer has grown to its working size, what is the same for every message of one process
//! ([`Template`]) is escaped once, and the date is formatted once a second ([`SecondCache`]).

use crate::Timestamp;

/// The envelope version that every message carries.
pub const ENV_VERSION: &str = "0.8";

/// The last second of the year 9999: RFC 3339 has four digits for a year.
const LAST_SECOND: i64 = 253_402_300_799;

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
    /// JSON text, written as it is, except that line breaks become spaces. The caller vouches for it.
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

/// The content of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Payload<'a> {
    /// Any text.
    Text(&'a str),
    /// A whole number, sent as text.
    Integer(i64),
    /// A number, sent as text; NaN and the infinities are sent as an empty payload.
    Float(f64),
    /// A length of time in microseconds, sent as text in milliseconds: 12345 is `12.345`.
    Microseconds(u64),
}

/// The `fields` of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fields<'a> {
    /// A whole JSON object, already encoded, without line breaks. The caller vouches for it.
    Object(&'a str),
    /// Members written by [`write_member`], each with its leading comma; empty for `{}`.
    Members(&'a [u8]),
    /// A counter's, gauge's or timer's: its name and sample rate, then further members.
    Metric {
        /// `fields.name`
        name: &'a str,
        /// `fields.rate`
        rate: f64,
        /// As in [`Fields::Members`].
        members: &'a [u8],
    },
}

/// When a message says that it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When<'a> {
    /// A point in time, written to the microsecond.
    At(Timestamp),
    /// RFC 3339 text from the caller.
    Text(&'a str),
}

/// What differs from one message of a process to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    /// `type`
    pub kind: &'a str,
    /// `timestamp`
    pub when: When<'a>,
    /// `logger`; `None` for the template's.
    pub logger: Option<&'a str>,
    /// `severity`, 0 to 7.
    pub severity: u8,
    /// `payload`
    pub payload: Payload<'a>,
    /// `fields`
    pub fields: Fields<'a>,
    /// `metlog_seq`; written only by a template that has a source.
    pub sequence: u64,
}

/// What is the same for every message of one process, escaped once.
///
/// ```
/// use metlog_message::Timestamp;
/// use metlog_message::encode::{Fields, Payload, Record, SecondCache, Template, When};
///
/// let template = Template::new("shop", 77, "web1", None);
/// let mut line = Vec::new();
/// let record = Record {
///     kind: "counter",
///     when: When::At(Timestamp { seconds: 1_795_338_324, nanoseconds: 990_410_000 }),
///     logger: None,
///     severity: 6,
///     payload: Payload::Integer(1),
///     fields: Fields::Metric { name: "hits", rate: 1.0, members: b"" },
///     sequence: 0,
/// };
/// template.write(&mut line, &record, &mut SecondCache::default());
/// assert_eq!(
///     String::from_utf8(line)?,
///     concat!(
///         r#"{"type":"counter","timestamp":"2026-11-22T09:05:24.990410Z","logger":"shop","severity":6,"#,
///         r#""payload":"1","fields":{"name":"hits","rate":1.0},"env_version":"0.8","metlog_pid":77,"#,
///         r#""metlog_hostname":"web1"}"#,
///     ),
/// );
/// # Ok::<(), std::string::FromUtf8Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Template {
    /// `","logger":"shop","severity":`
    after_timestamp: Vec<u8>,
    /// `,"env_version":…,"metlog_hostname":"web1"`, and up to the sequence number where there is one.
    after_fields: Vec<u8>,
    /// What follows the sequence number: `,"metlog_src":"…"}`. `None` without a source.
    after_sequence: Option<Vec<u8>>,
}

impl Template {
    /// The parts of an envelope that one process never changes. With a `source` each message carries
    /// `metlog_seq` and `metlog_src`, so that a receiver can count what was lost on the way.
    pub fn new(logger: &str, process: u32, hostname: &str, source: Option<u64>) -> Template {
        let mut after_timestamp = Vec::new();
        after_timestamp.extend_from_slice(b"\",\"logger\":");
        write_string(&mut after_timestamp, logger);
        after_timestamp.extend_from_slice(b",\"severity\":");

        let mut after_fields =
            format!(",\"env_version\":\"{ENV_VERSION}\",\"metlog_pid\":{process}").into_bytes();
        after_fields.extend_from_slice(b",\"metlog_hostname\":");
        write_string(&mut after_fields, hostname);
        if source.is_some() {
            after_fields.extend_from_slice(b",\"metlog_seq\":");
        } else {
            after_fields.push(b'}');
        }
        let after_sequence = source.map(|source| format!(",\"metlog_src\":\"{source:016x}\"}}").into_bytes());
        Template { after_timestamp, after_fields, after_sequence }
    }

    /// Whether messages carry `metlog_seq` and `metlog_src`.
    pub fn has_source(&self) -> bool {
        self.after_sequence.is_some()
    }

    /// A bound on what [`Template::write`] appends, cheap and generous: every byte of text is taken for one
    /// that is escaped as `\u00xx`.
    pub fn longest(&self, record: &Record<'_>) -> usize {
        // Braces, keys, the timestamp, and three numbers of at most 25 bytes.
        const FIXED: usize = 224;
        let payload = match record.payload {
            Payload::Text(text) => text.len(),
            _ => 0,
        };
        let fields = match record.fields {
            Fields::Object(object) => object.len(),
            Fields::Members(members) => members.len(),
            Fields::Metric { name, members, .. } => name.len() * 6 + members.len(),
        };
        let when = match record.when {
            When::At(_) => 0,
            When::Text(text) => text.len(),
        };
        let escaped = record.kind.len() + record.logger.map_or(0, str::len) + payload + when;
        FIXED
            + escaped * 6
            + fields
            + self.after_timestamp.len()
            + self.after_fields.len()
            + self.after_sequence.as_ref().map_or(0, Vec::len)
    }

    /// Appends one message to `out`, without a line break at its end.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, record: &Record<'_>, clock: &mut SecondCache) {
        out.extend_from_slice(b"{\"type\":\"");
        write_escaped(out, record.kind);
        out.extend_from_slice(b"\",\"timestamp\":\"");
        match record.when {
            When::At(timestamp) => clock.write(out, timestamp),
            When::Text(text) => write_escaped(out, text),
        }
        match record.logger {
            None => out.extend_from_slice(&self.after_timestamp),
            Some(logger) => {
                out.extend_from_slice(b"\",\"logger\":\"");
                write_escaped(out, logger);
                out.extend_from_slice(b"\",\"severity\":");
            }
        }
        out.push(b'0' + record.severity.min(7));
        out.extend_from_slice(b",\"payload\":\"");
        write_payload(out, record.payload);
        out.extend_from_slice(b"\",\"fields\":");
        write_fields(out, record.fields);
        out.extend_from_slice(&self.after_fields);
        if let Some(after_sequence) = &self.after_sequence {
            write_unsigned(out, record.sequence);
            out.extend_from_slice(after_sequence);
        }
    }
}

fn write_payload(out: &mut Vec<u8>, payload: Payload<'_>) {
    match payload {
        Payload::Text(text) => write_escaped(out, text),
        Payload::Integer(number) => write_integer(out, number),
        Payload::Float(number) if !number.is_finite() => {}
        // Without the ".0" that marks a float in JSON: 17.0 is sent as the text "17".
        Payload::Float(number) if is_small_whole(number) => write_integer(out, number as i64),
        Payload::Float(number) => write_float(out, number),
        Payload::Microseconds(microseconds) => {
            write_unsigned(out, microseconds / 1000);
            let thousandths = microseconds % 1000;
            if thousandths != 0 {
                let digits = [b'0' + (thousandths / 100) as u8, pair(thousandths)[0], pair(thousandths)[1]];
                let used = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
                out.push(b'.');
                out.extend_from_slice(&digits[..used]);
            }
        }
    }
}

fn write_fields(out: &mut Vec<u8>, fields: Fields<'_>) {
    match fields {
        Fields::Object(object) => out.extend_from_slice(object.as_bytes()),
        Fields::Members(members) => {
            out.push(b'{');
            out.extend_from_slice(members.get(1..).unwrap_or_default());
            out.push(b'}');
        }
        Fields::Metric { name, rate, members } => {
            out.extend_from_slice(b"{\"name\":\"");
            write_escaped(out, name);
            out.extend_from_slice(b"\",\"rate\":");
            write_float(out, rate);
            out.extend_from_slice(members);
            out.push(b'}');
        }
    }
}

/// Appends `,"key":value`: one member for [`Fields::Members`].
pub fn write_member(out: &mut Vec<u8>, key: &str, value: FieldValue<'_>) {
    out.push(b',');
    write_string(out, key);
    out.push(b':');
    write_value(out, value);
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
        FieldValue::Json(json) => write_one_line(out, json),
    }
}

/// Appends JSON text, its line breaks as spaces: inside a string JSON forbids them, between tokens they are
/// white space, and a line break would end the message for a receiver that reads lines.
pub fn write_one_line(out: &mut Vec<u8>, json: &str) {
    let start = out.len();
    out.extend_from_slice(json.as_bytes());
    if memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some() {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
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
fn first_special(bytes: &[u8]) -> usize {
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
fn is_small_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 1e15 && !(number == 0.0 && number.is_sign_negative())
}

/// The last two digits of a number.
#[inline]
fn pair(number: u64) -> &'static [u8] {
    let position = number as usize % 100 * 2;
    &DIGIT_PAIRS[position..position + 2]
}

/// Timestamps to the microsecond, the part down to the second kept from the last one.
#[derive(Debug, Clone)]
pub struct SecondCache {
    second: i64,
    /// `2026-11-22T09:05:24.`
    text: [u8; 20],
}

impl Default for SecondCache {
    fn default() -> Self {
        SecondCache { second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl SecondCache {
    /// Appends `2026-11-22T09:05:24.990410Z`. A time before 1970 or after 9999 becomes the nearest one inside.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, timestamp: Timestamp) {
        if timestamp.seconds != self.second {
            self.second = timestamp.seconds;
            self.text = second_text(timestamp.seconds.clamp(0, LAST_SECOND) as u64);
        }
        let microseconds = u64::from(timestamp.nanoseconds / 1000).min(999_999);
        let mut text = [0; 27];
        text[..20].copy_from_slice(&self.text);
        text[20..22].copy_from_slice(pair(microseconds / 10_000));
        text[22..24].copy_from_slice(pair(microseconds / 100 % 100));
        text[24..26].copy_from_slice(pair(microseconds % 100));
        text[26] = b'Z';
        out.extend_from_slice(&text);
    }
}

fn second_text(second: u64) -> [u8; 20] {
    let (year, month, day) = date(second / 86_400);
    let of_day = second % 86_400;
    let mut text = *b"0000-00-00T00:00:00.";
    text[0..2].copy_from_slice(pair(year / 100));
    text[2..4].copy_from_slice(pair(year % 100));
    text[5..7].copy_from_slice(pair(month));
    text[8..10].copy_from_slice(pair(day));
    text[11..13].copy_from_slice(pair(of_day / 3600));
    text[14..16].copy_from_slice(pair(of_day / 60 % 60));
    text[17..19].copy_from_slice(pair(of_day % 60));
    text
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year, and from the year 0, so that
/// the 400-year cycle of 146,097 days starts with the count.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const FROM_MARCH_0_TO_1970: u64 = 719_468;
    let days = days_since_1970 + FROM_MARCH_0_TO_1970;
    let cycle = days / 146_097;
    let of_cycle = days % 146_097;
    let year_of_cycle = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // Five months from March take 153 days, whichever five: 31 + 30 + 31 + 30 + 31.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record<'_>, template: &Template) -> serde_json::Value {
        let mut out = Vec::new();
        template.write(&mut out, record, &mut SecondCache::default());
        assert!(
            out.len() <= template.longest(record),
            "{} bytes, bound {}",
            out.len(),
            template.longest(record)
        );
        serde_json::from_slice(&out)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    fn record<'a>(kind: &'a str, payload: Payload<'a>, fields: Fields<'a>) -> Record<'a> {
        let when = When::At(Timestamp { seconds: 1_795_338_324, nanoseconds: 990_410_999 });
        Record { kind, when, logger: None, severity: 6, payload, fields, sequence: 3 }
    }

    fn payload_text(payload: Payload<'_>) -> String {
        let mut out = Vec::new();
        write_payload(&mut out, payload);
        String::from_utf8(out).unwrap()
    }

    fn timestamp_text(seconds: i64, nanoseconds: u32) -> String {
        let mut out = Vec::new();
        SecondCache::default().write(&mut out, Timestamp { seconds, nanoseconds });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_stand_in_the_order_of_the_original_envelope() {
        let mut out = Vec::new();
        let template = Template::new("shop", 77, "web1", Some(0xabc));
        let fields = Fields::Metric { name: "hits", rate: 0.1, members: b",\"k\":1" };
        template.write(
            &mut out,
            &record("counter", Payload::Integer(-3), fields),
            &mut SecondCache::default(),
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"type":"counter","timestamp":"2026-11-22T09:05:24.990410Z","logger":"shop","severity":6,"#,
                r#""payload":"-3","fields":{"name":"hits","rate":0.1,"k":1},"env_version":"0.8","#,
                r#""metlog_pid":77,"metlog_hostname":"web1","metlog_seq":3,"metlog_src":"0000000000000abc"}"#,
            )
        );
    }

    #[test]
    fn numbers_in_payloads_are_plain_text() {
        assert_eq!(payload_text(Payload::Float(17.0)), "17");
        assert_eq!(payload_text(Payload::Float(17.25)), "17.25");
        assert_eq!(payload_text(Payload::Float(f64::NAN)), "");
        assert_eq!(payload_text(Payload::Integer(i64::MIN)), "-9223372036854775808");
        assert_eq!(payload_text(Payload::Microseconds(12_345)), "12.345");
        assert_eq!(payload_text(Payload::Microseconds(12_300)), "12.3");
        assert_eq!(payload_text(Payload::Microseconds(12_050)), "12.05");
        assert_eq!(payload_text(Payload::Microseconds(7)), "0.007");
        assert_eq!(payload_text(Payload::Microseconds(9_000)), "9");
    }

    #[test]
    fn timestamps_are_right_on_leap_days_and_at_the_ends_of_the_calendar() {
        assert_eq!(timestamp_text(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp_text(951_782_400, 999_999_999), "2000-02-29T00:00:00.999999Z");
        assert_eq!(timestamp_text(951_868_799, 0), "2000-02-29T23:59:59.000000Z");
        assert_eq!(timestamp_text(4_107_542_399, 0), "2100-02-28T23:59:59.000000Z");
        assert_eq!(timestamp_text(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
        assert_eq!(timestamp_text(LAST_SECOND, 0), "9999-12-31T23:59:59.000000Z");
        assert_eq!(timestamp_text(i64::MAX, 0), "9999-12-31T23:59:59.000000Z");
        assert_eq!(timestamp_text(-5, 0), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn every_day_follows_the_one_before_it() {
        let mut last = date(0);
        for day in 1..200_000 {
            let (year, month, day_of_month) = date(day);
            let follows = if day_of_month > 1 {
                (year, month, day_of_month - 1) == last
            } else if month > 1 {
                (year, month - 1) == (last.0, last.1) && last.2 >= 28
            } else {
                (year - 1, 12, 31) == last
            };
            assert!(follows, "{last:?} then {:?}", (year, month, day_of_month));
            last = (year, month, day_of_month);
        }
    }

    #[test]
    fn a_line_break_in_raw_json_becomes_a_space() {
        let mut out = Vec::new();
        write_value(&mut out, FieldValue::Json("{\n  \"a\": 1\r\n}"));
        assert_eq!(out, b"{   \"a\": 1  }");
    }

    #[test]
    fn a_special_byte_is_found_at_every_place() {
        for length in 0..40 {
            for place in 0..length {
                for special in [0, 0x1f, b'"', b'\\'] {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = special;
                    assert_eq!(first_special(&bytes), place);
                }
                let mut bytes = vec![b' '; length];
                bytes[place] = 0x7f;
                assert_eq!(first_special(&bytes), length);
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_json_parser(
            kind in any::<String>(), logger in any::<String>(), payload in any::<String>(),
            name in any::<String>(), key in "[\\x00-\\x7f]{0,20}", host in any::<String>(),
        ) {
            let mut members = Vec::new();
            write_member(&mut members, &key, FieldValue::Text(&payload));
            let template = Template::new(&logger, 1, &host, Some(u64::MAX));
            let fields = Fields::Metric { name: &name, rate: 1.0, members: &members };
            let message = encoded(&record(&kind, Payload::Text(&payload), fields), &template);
            prop_assert_eq!(message["type"].as_str(), Some(kind.as_str()));
            prop_assert_eq!(message["logger"].as_str(), Some(logger.as_str()));
            prop_assert_eq!(message["payload"].as_str(), Some(payload.as_str()));
            prop_assert_eq!(message["metlog_hostname"].as_str(), Some(host.as_str()));
            prop_assert_eq!(message["fields"][&key].as_str(), Some(payload.as_str()));
        }

        #[test]
        fn any_number_comes_back_from_a_json_parser(float in any::<f64>(), signed in any::<i64>(), unsigned in any::<u64>()) {
            let mut out = vec![b'['];
            write_float(&mut out, float);
            out.push(b',');
            write_integer(&mut out, signed);
            out.push(b',');
            write_unsigned(&mut out, unsigned);
            out.push(b']');
            let back: serde_json::Value = serde_json::from_slice(&out).unwrap();
            if float.is_finite() {
                let read: f64 = back[0].to_string().parse().unwrap();
                prop_assert!((read - float).abs() <= float.abs() * 1e-15);
            } else {
                prop_assert!(back[0].is_null());
            }
            prop_assert_eq!(back[1].as_i64(), Some(signed));
            prop_assert_eq!(back[2].as_u64(), Some(unsigned));
        }
    }
}
