//! Writing envelope 0.8: from Rust values to one line of compact JSON.
//!
//! A generator writes a message on the application's own thread, so this is a hot path: nothing here allocates
//! once the output buffer has grown to its working size, what is the same for every message of one process
//! ([`Template`]) is escaped once, and the date is formatted once a second ([`SecondCache`]).

mod json;
mod members;
mod second_cache;
mod value_writer;

use self::json::{is_small_whole, pair};
pub use self::{
    json::{
        FieldValue, write_escaped, write_float, write_integer, write_string, write_unsigned, write_value,
    },
    members::{MemberBuffer, Members, ObjectWriter, one_line_object},
    second_cache::SecondCache,
    value_writer::{ArrayWriter, ValueWriter},
};
use crate::Timestamp;

/// The envelope version that every message carries.
pub const ENV_VERSION: &str = "0.8";

/// What stands between the sequence number and the source.
const AFTER_SEQUENCE: &str = ",\"metlog_src\":\"";

/// The content of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Payload<'a> {
    /// Any text.
    Text(&'a str),
    /// A whole number, sent as text.
    Integer(i64),
    /// A whole number that may not fit an `i64`, sent as text.
    Unsigned(u64),
    /// A number, sent as text; NaN and the infinities are sent as an empty payload.
    Float(f64),
    /// A length of time in microseconds, sent as text in milliseconds: 12345 is `12.345`.
    Microseconds(u64),
}

/// The `fields` of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Fields<'a> {
    /// A whole JSON object, already encoded. [`Template::write`] takes it as it is; [`one_line_object`] says whether
    /// it is one.
    Object(&'a str),
    /// Members that were written one by one.
    Members(Members<'a>),
    /// A counter's, gauge's or timer's: its name and sample rate, then further members.
    Metric {
        /// `fields.name`
        name: &'a str,
        /// `fields.rate`
        rate: f64,
        /// As in [`Fields::Members`].
        members: Members<'a>,
    },
}

impl Fields<'_> {
    /// How many bytes of JSON the caller has encoded.
    pub fn encoded_len(&self) -> usize {
        match self {
            Fields::Object(object) => object.len(),
            Fields::Members(members) | Fields::Metric { members, .. } => members.encoded_len(),
        }
    }
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
/// use metlog_message::encode::{Fields, Members, Payload, Record, SecondCache, Template, When};
///
/// let template = Template::new("shop", 77, "web1", None);
/// let mut line = Vec::new();
/// let record = Record {
///     kind: "counter",
///     when: When::At(Timestamp { seconds: 1_795_338_324, nanoseconds: 990_410_000 }),
///     logger: None,
///     severity: 6,
///     payload: Payload::Integer(1),
///     fields: Fields::Metric { name: "hits", rate: 1.0, members: Members::NONE },
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
    source: Option<u64>,
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
        let after_sequence = source.map(|source| format!("{AFTER_SEQUENCE}{source:016x}\"}}").into_bytes());
        Template { after_timestamp, after_fields, after_sequence, source }
    }

    /// Whether messages carry `metlog_seq` and `metlog_src`.
    pub fn has_source(&self) -> bool {
        self.after_sequence.is_some()
    }

    /// What `metlog_src` says of all messages, as the number that it is.
    pub fn source(&self) -> Option<u64> {
        self.source
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
        let name = match record.fields {
            Fields::Metric { name, .. } => name.len(),
            _ => 0,
        };
        let fields = record.fields.encoded_len() + name * 6;
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

    /// A bound on what [`Template::write_encoded`] appends.
    pub fn longest_encoded(&self, object: &str) -> usize {
        // A comma, the keys with spaces, and a number of at most 20 digits.
        const SEQUENCE: usize = 48;
        object.len() + SEQUENCE + self.after_sequence.as_ref().map_or(0, Vec::len)
    }

    /// Appends a message that is JSON text already, an object on one line ([`one_line_object`]), without a line break
    /// at its end. All that it is given is `metlog_seq` and `metlog_src`, where the template has a source, with spaces
    /// between tokens if it has them.
    ///
    /// ```
    /// use metlog_message::encode::Template;
    ///
    /// let mut line = Vec::new();
    /// Template::new("shop", 77, "web1", Some(0xabc)).write_encoded(&mut line, r#"{"type": "cef"}"#, 3);
    /// assert_eq!(line, br#"{"type": "cef", "metlog_seq": 3, "metlog_src": "0000000000000abc"}"#);
    /// ```
    pub fn write_encoded(&self, out: &mut Vec<u8>, object: &str, sequence: u64) {
        let object = object.trim_ascii();
        let Some(after_sequence) = &self.after_sequence else {
            return out.extend_from_slice(object.as_bytes());
        };
        let members = object.strip_suffix('}').unwrap_or(object).trim_ascii_end();
        let spaced = members.split_once("\":").is_some_and(|(_, value)| value.starts_with(' '));
        out.extend_from_slice(members.as_bytes());
        if !members.ends_with('{') {
            out.extend_from_slice(if spaced { b", " } else { b"," });
        }
        out.extend_from_slice(b"\"metlog_seq\":");
        if spaced {
            out.push(b' ');
        }
        write_unsigned(out, sequence);
        match (spaced, after_sequence.strip_prefix(AFTER_SEQUENCE.as_bytes())) {
            (true, Some(source)) => {
                out.extend_from_slice(b", \"metlog_src\": \"");
                out.extend_from_slice(source);
            }
            _ => out.extend_from_slice(after_sequence),
        }
    }
}

fn write_payload(out: &mut Vec<u8>, payload: Payload<'_>) {
    match payload {
        Payload::Text(text) => write_escaped(out, text),
        Payload::Integer(number) => write_integer(out, number),
        Payload::Unsigned(number) => write_unsigned(out, number),
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
            out.extend_from_slice(members.alone());
            out.push(b'}');
        }
        Fields::Metric { name, rate, members } => {
            out.extend_from_slice(b"{\"name\":\"");
            write_escaped(out, name);
            out.extend_from_slice(b"\",\"rate\":");
            write_float(out, rate);
            out.extend_from_slice(members.after_others());
            out.push(b'}');
        }
    }
}
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        json::first_special,
        second_cache::{LAST_SECOND, date},
        *,
    };

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
        let mut members = MemberBuffer::new();
        members.write("k", 1.into());
        let fields = Fields::Metric { name: "hits", rate: 0.1, members: members.members() };
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
    fn a_message_that_is_text_already_gets_the_source_and_nothing_else() {
        let written = |source, object: &str| {
            let mut out = Vec::new();
            let template = Template::new("shop", 77, "web1", source);
            template.write_encoded(&mut out, object, u64::MAX);
            assert!(out.len() <= template.longest_encoded(object));
            String::from_utf8(out).unwrap()
        };
        let source = r#""metlog_seq":18446744073709551615,"metlog_src":"000000000000000f"}"#;
        assert_eq!(written(Some(15), " {} "), format!("{{{source}"));
        assert_eq!(written(Some(15), r#"{"a":{} }"#), format!(r#"{{"a":{{}},{source}"#));
        let spaced = source.replace(":", ": ").replace(",", ", ");
        assert_eq!(written(Some(15), r#"{"a": {} }"#), format!(r#"{{"a": {{}}, {spaced}"#));
        assert_eq!(written(None, r#"{"a": 1} "#), r#"{"a": 1}"#);
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
            let mut members = MemberBuffer::new();
            members.write(&key, FieldValue::Text(&payload));
            let template = Template::new(&logger, 1, &host, Some(u64::MAX));
            let fields = Fields::Metric { name: &name, rate: 1.0, members: members.members() };
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
                // Read by the standard library: serde_json rounds the last digits of subnormal numbers.
                let comma = out.iter().position(|&byte| byte == b',').unwrap();
                let read: f64 = std::str::from_utf8(&out[1..comma]).unwrap().parse().unwrap();
                prop_assert_eq!(read, float);
                prop_assert!(back[0].is_number());
            } else {
                prop_assert!(back[0].is_null());
            }
            prop_assert_eq!(back[1].as_i64(), Some(signed));
            prop_assert_eq!(back[2].as_u64(), Some(unsigned));
        }
    }
}
