//! Where each envelope key's value lies in a message's bytes.

use std::borrow::Cow;

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
    pub fn name(self) -> &'static str {
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
    /// The value's JSON text as sent, or `None` where the key is missing or null.
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

    /// A string key's decoded bytes without copying, if that needs no unescaping: the hot path of routing.
    /// `None` where the string has escapes or the value is no string (then use [`Index::text`]); a missing key
    /// is its default.
    #[inline]
    pub fn plain<'m>(&self, message: &'m [u8], key: Key) -> Option<&'m [u8]> {
        let _ = (message, key);
        None
    }

    /// The key's value as text: strings decoded (a lone surrogate becomes U+FFFD), other values as their JSON
    /// text, a missing key as its default (`""`, and `6` for `severity`, `{}` for `fields`).
    pub fn text<'m>(&self, message: &'m [u8], key: Key) -> Cow<'m, str> {
        let _ = (message, key);
        Cow::Borrowed("")
    }
}
