//! What a test looks at: how the value at a path is reached, decided once when the condition is compiled.

use std::borrow::Cow;

use metlog_message::{Index, Key, Kind, Path, Value, lookup};

/// The value that a test is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// An envelope key whose value is always a string: sent, or its default.
    Text(Key),
    /// An envelope key whose value is a string and that has no default: it may be missing.
    OptionalText(Key),
    /// `severity`: known to the index, never missing.
    Severity,
    /// `payload`: never missing; text tests see the JSON text of one that is no string.
    Payload(Path),
    /// Anything else: any type, perhaps missing.
    Elsewhere(Path),
}

impl Subject {
    /// How the value at `path` is reached.
    pub fn at(path: &Path) -> Subject {
        let [name] = path.parts() else { return Subject::Elsewhere(path.clone()) };
        match Key::ALL.into_iter().find(|key| key.name() == name) {
            Some(key @ (Key::Type | Key::Timestamp | Key::Logger)) => Subject::Text(key),
            Some(key @ (Key::EnvVersion | Key::Hostname)) => Subject::OptionalText(key),
            Some(Key::Severity) => Subject::Severity,
            Some(Key::Payload) => Subject::Payload(path.clone()),
            Some(Key::Fields | Key::Pid) | None => Subject::Elsewhere(path.clone()),
        }
    }

    /// Whether the value can only be a string (or missing), so that no other type needs a look.
    pub fn is_always_text(&self) -> bool {
        matches!(self, Subject::Text(_) | Subject::OptionalText(_))
    }

    /// Whether a message always has it.
    pub fn is_always_present(&self) -> bool {
        match self {
            Subject::Text(_) | Subject::Severity | Subject::Payload(_) => true,
            Subject::OptionalText(_) => false,
            Subject::Elsewhere(path) => path.parts() == [Key::Fields.name()],
        }
    }

    /// What tests of strings see: the decoded string, `None` where there is none. Nothing is copied unless
    /// the string has escapes.
    #[inline]
    pub fn text<'m>(&self, message: &'m [u8], index: &Index) -> Option<Cow<'m, [u8]>> {
        match self {
            Subject::Text(key) => Some(envelope_text(message, index, *key)),
            Subject::Payload(_) => Some(envelope_text(message, index, Key::Payload)),
            Subject::OptionalText(key) => {
                index.raw(message, *key).map(|_| envelope_text(message, index, *key))
            }
            Subject::Severity => None,
            Subject::Elsewhere(path) => lookup(message, index, path).and_then(string),
        }
    }

    /// Whether [`Subject::text`] is `expected`.
    #[inline]
    pub fn text_is(&self, message: &[u8], index: &Index, expected: &[u8]) -> bool {
        match self {
            Subject::Text(key) => index.text_is(message, *key, expected),
            _ => self.text(message, index).is_some_and(|text| *text == *expected),
        }
    }

    /// The value with its type; only asked of what is not always text.
    pub fn value<'m>(&self, message: &'m [u8], index: &Index) -> Option<Value<'m>> {
        match self {
            Subject::Payload(path) | Subject::Elsewhere(path) => lookup(message, index, path),
            Subject::Text(_) | Subject::OptionalText(_) | Subject::Severity => None,
        }
    }

    /// Whether the message has it.
    pub fn exists(&self, message: &[u8], index: &Index) -> bool {
        match self {
            Subject::OptionalText(key) => index.raw(message, *key).is_some(),
            Subject::Elsewhere(path) => lookup(message, index, path).is_some(),
            Subject::Text(_) | Subject::Severity | Subject::Payload(_) => true,
        }
    }
}

/// The string in `value`, decoded; `None` where it is of another type.
pub(super) fn string(value: Value<'_>) -> Option<Cow<'_, [u8]>> {
    match value.plain() {
        Some(plain) => Some(Cow::Borrowed(plain)),
        None if value.kind() == Kind::String => Some(bytes(value.text())),
        None => None,
    }
}

#[inline]
fn envelope_text<'m>(message: &'m [u8], index: &Index, key: Key) -> Cow<'m, [u8]> {
    match index.plain(message, key) {
        Some(plain) => Cow::Borrowed(plain),
        None => bytes(index.text(message, key)),
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}
