//! What the envelope fixes about a value, so that a test which can never hold is found at load.

use metlog_message::Key;

/// What the envelope says about the type at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    /// Can be any JSON value.
    Anything,
    String,
    Severity,
    WholeNumber,
    Object,
}

impl Subject {
    pub fn of_key(key: Option<Key>) -> Subject {
        match key {
            Some(Key::Type | Key::Timestamp | Key::Logger | Key::EnvVersion | Key::Hostname) => {
                Subject::String
            }
            Some(Key::Severity) => Subject::Severity,
            Some(Key::Pid) => Subject::WholeNumber,
            Some(Key::Fields) => Subject::Object,
            Some(Key::Payload) | None => Subject::Anything,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Subject::Anything => "any value",
            Subject::String => "a string",
            Subject::Severity => "a number from 0 to 7",
            Subject::WholeNumber => "a whole number",
            Subject::Object => "an object",
        }
    }

    pub fn can_be_string(self) -> bool {
        matches!(self, Subject::Anything | Subject::String)
    }

    pub fn can_be_number(self) -> bool {
        matches!(self, Subject::Anything | Subject::Severity | Subject::WholeNumber)
    }
}

/// Whether every message has the key, sent or by default.
pub(super) fn is_always_there(key: Key) -> bool {
    match key {
        Key::Type | Key::Timestamp | Key::Logger | Key::Severity | Key::Payload | Key::Fields => true,
        Key::EnvVersion | Key::Pid | Key::Hostname => false,
    }
}
