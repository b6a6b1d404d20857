//! Where each envelope key's value lies in a message's bytes.

use std::borrow::Cow;

use crate::{Timestamp, escapes};

/// The envelope's own keys, in the order in which their values are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Key {
    /// `type`: what kind of message this is.
    Type,
    /// `timestamp`: when it was made.
    Timestamp,
    /// `logger`: which application made it.
    Logger,
    /// `severity`: 0 (emergency) to 7 (debug).
    Severity,
    /// `payload`: the content.
    Payload,
    /// `fields`: the metadata.
    Fields,
    /// `env_version`: the version of the envelope.
    EnvVersion,
    /// `metlog_pid`: the sender's process id.
    Pid,
    /// `metlog_hostname`: the sender's host.
    Hostname,
}

impl Key {
    /// How many envelope keys there are.
    pub const COUNT: usize = 9;

    /// Every envelope key, in checking order.
    pub const ALL: [Key; Key::COUNT] = [
        Key::Type,
        Key::Timestamp,
        Key::Logger,
        Key::Severity,
        Key::Payload,
        Key::Fields,
        Key::EnvVersion,
        Key::Pid,
        Key::Hostname,
    ];

    /// The key as it stands in a message.
    pub const fn name(self) -> &'static str {
        match self {
            Key::Type => "type",
            Key::Timestamp => "timestamp",
            Key::Logger => "logger",
            Key::Severity => "severity",
            Key::Payload => "payload",
            Key::Fields => "fields",
            Key::EnvVersion => "env_version",
            Key::Pid => "metlog_pid",
            Key::Hostname => "metlog_hostname",
        }
    }
}

/// Byte range of a value inside its message; `start == end` where the key is absent (or null).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    /// First byte of the value's JSON text (the opening quote of a string).
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
}

/// One bit per [`Key`] whose value is a string wherever the message has one.
const ALWAYS_STRINGS: u16 = 1 << Key::Type as u16
    | 1 << Key::Timestamp as u16
    | 1 << Key::Logger as u16
    | 1 << Key::EnvVersion as u16
    | 1 << Key::Hostname as u16;

/// What a string's JSON text is longer than its bytes, if it has no escapes.
const QUOTES: usize = 2;

/// The severity of a message that has none: informational.
pub(crate) const DEFAULT_SEVERITY: u8 = 6;

/// Where each envelope key's value lies, relative to the first byte of the message.
///
/// An index is only meaningful together with the very bytes it was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Index {
    pub(crate) slots: [Slot; Key::COUNT],
    /// One bit per [`Key`]: the value is a string with backslashes in it.
    pub(crate) escaped: u16,
    /// The severity, 6 where the message has none.
    pub(crate) severity: u8,
    /// The timestamp is a string that is no date.
    pub(crate) timestamp_unreadable: bool,
}

impl Index {
    /// That of an empty object.
    pub const EMPTY: Index = Index {
        slots: [Slot { start: 0, end: 0 }; Key::COUNT],
        escaped: 0,
        severity: DEFAULT_SEVERITY,
        timestamp_unreadable: false,
    };

    /// The value's JSON text as sent, or `None` where the key is missing or null.
    #[inline]
    pub fn raw<'m>(&self, message: &'m [u8], key: Key) -> Option<&'m [u8]> {
        let slot = self.slots[key as usize];
        if slot.start == slot.end { None } else { message.get(slot.start as usize..slot.end as usize) }
    }

    /// The value of `severity`, or the default 6.
    #[inline]
    pub fn severity(&self) -> u8 {
        self.severity
    }

    /// Whether the timestamp is a string that is no date, so that the time of receipt stands in for it.
    #[inline]
    pub fn timestamp_unreadable(&self) -> bool {
        self.timestamp_unreadable
    }

    /// The message's own timestamp, or `None` where it is unreadable and the time of receipt stands in for it.
    #[inline]
    pub fn timestamp(&self, message: &[u8]) -> Option<Timestamp> {
        match self.plain(message, Key::Timestamp) {
            Some(text) => Timestamp::parse(text),
            None => Timestamp::parse(self.text(message, Key::Timestamp).as_bytes()),
        }
    }

    /// A string key's decoded bytes without copying, if that needs no unescaping: the hot path of routing.
    /// `None` where the string has escapes or the value is no string (then use [`Index::text`]); a missing key
    /// is its default.
    #[inline]
    pub fn plain<'m>(&self, message: &'m [u8], key: Key) -> Option<&'m [u8]> {
        match self.raw(message, key) {
            Some([b'"', inside @ .., b'"']) if self.escaped >> key as u16 & 1 == 0 => Some(inside),
            Some(_) => None,
            None => match key {
                Key::Severity | Key::Fields => None,
                _ => Some(b""),
            },
        }
    }

    /// Whether the key's value as text ([`Index::text`]) is `expected`. Mostly a string's length alone says no, and the
    /// message is not touched.
    #[inline]
    pub fn text_is(&self, message: &[u8], key: Key, expected: &[u8]) -> bool {
        let slot = self.slots[key as usize];
        let length = slot.end.wrapping_sub(slot.start) as usize;
        let is_unescaped_string = !self.escaped & ALWAYS_STRINGS & 1 << key as u16 != 0 && length > 0;
        if is_unescaped_string && length != expected.len() + QUOTES {
            return false;
        }
        match self.plain(message, key) {
            Some(plain) => plain == expected,
            None => self.text(message, key).as_bytes() == expected,
        }
    }

    /// The key's value as text: strings decoded (a lone surrogate becomes U+FFFD), other values as their JSON
    /// text, a missing key as its default (`""`, and `6` for `severity`, `{}` for `fields`).
    pub fn text<'m>(&self, message: &'m [u8], key: Key) -> Cow<'m, str> {
        match self.raw(message, key) {
            Some([b'"', inside @ .., b'"']) => escapes::decode(inside),
            Some(raw) => String::from_utf8_lossy(raw),
            None => Cow::Borrowed(match key {
                Key::Severity => "6",
                Key::Fields => "{}",
                _ => "",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoded, Decoder};

    fn index(message: &str) -> Index {
        match Decoder::default().decode(message.as_bytes(), Timestamp { seconds: 0, nanoseconds: 0 }) {
            Ok(Decoded::InPlace { index, .. }) => index,
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn a_missing_key_reads_as_its_default() {
        let message = r#"{"type":"t","timestamp":"2012-08-29T12:00:00","logger":null}"#;
        let index = index(message);
        let text = |key| index.text(message.as_bytes(), key).into_owned();
        assert_eq!(Key::ALL.map(text), ["t", "2012-08-29T12:00:00", "", "6", "", "{}", "", "", ""]);
        assert_eq!(index.severity(), 6);
        assert_eq!(index.raw(message.as_bytes(), Key::Logger), None);
        assert_eq!(index.plain(message.as_bytes(), Key::Payload), Some(&b""[..]));
        assert_eq!(index.plain(message.as_bytes(), Key::Fields), None);
        assert_eq!(index.plain(message.as_bytes(), Key::Severity), None);
    }

    #[test]
    fn a_comparison_by_length_first_says_what_a_comparison_of_the_text_says() {
        let messages = [
            r#"{"type":"t","timestamp":"2012-08-29T12:00:00","logger":null,"payload":"never"}"#,
            r#"{"type":"never","timestamp":"2012-08-29T12:00:00","payload":12345,"metlog_pid":99}"#,
            r#"{"type":"nev\u0065r","timestamp":"2012-08-29T12:00:00","logger":"\ud800","payload":{"a":1}}"#,
            r#"{"type":"oldstyle","timestamp":"2012-08-29T12:00:00","severity":3,"env_version":"0.8","metlog_hostname":""}"#,
        ];
        let candidates = [
            "",
            "t",
            "never",
            "nevar",
            "6",
            "3",
            "99",
            "12345",
            "0.8",
            "{}",
            "{\"a\":1}",
            "\u{fffd}",
            "oldstyle",
        ];
        for message in messages {
            let index = index(message);
            for key in Key::ALL {
                let text = index.text(message.as_bytes(), key);
                for candidate in candidates {
                    let is = index.text_is(message.as_bytes(), key, candidate.as_bytes());
                    assert_eq!(is, text == candidate, "{message}: {key:?} {candidate:?}");
                }
            }
        }
    }

    #[test]
    fn a_string_without_escapes_is_plain_and_one_with_escapes_is_decoded() {
        let message = r#"{"type":"t\u0041","timestamp":"2012\u002d08-29T12:00:00Z","logger":"plain","payload":{"a":1},"severity":3}"#;
        let index = index(message);
        let bytes = message.as_bytes();
        assert_eq!(index.plain(bytes, Key::Type), None);
        assert_eq!(index.text(bytes, Key::Type), "tA");
        assert_eq!(index.plain(bytes, Key::Logger), Some(&b"plain"[..]));
        assert_eq!(index.plain(bytes, Key::Payload), None);
        assert_eq!(index.text(bytes, Key::Payload), r#"{"a":1}"#);
        assert_eq!(index.text(bytes, Key::Severity), "3");
        assert_eq!(index.timestamp(bytes), Timestamp::parse(b"2012-08-29T12:00:00Z"));
        assert!(!index.timestamp_unreadable());
    }
}
