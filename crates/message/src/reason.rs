//! Why a frame could not be used: the names that counters, logs and `metlog.reject` messages carry.

use crate::index::Key;

/// Why a frame or message was rejected.
///
/// The order of the variants is the order in which the checks run; two frames with the same bytes always get
/// the same reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Longer than the limit on one message.
    TooLarge,
    /// Not UTF-8.
    InvalidUtf8,
    /// Nested deeper than the limit.
    TooDeep,
    /// Not JSON.
    InvalidJson,
    /// JSON, but not an object.
    NotAnObject,
    /// The object has no `type`, or it is null.
    MissingType,
    /// The value of an envelope key has the wrong JSON type.
    WrongType(Key),
    /// The value of an envelope key has the right type but lies outside its range.
    OutOfRange(Key),
    /// A `\0name::` frame names a decoder that the router does not have.
    UnknownDecoder,
    /// A frame in msgpack that is none, or holds what has no place in a message.
    InvalidMsgpack,
}

impl Reason {
    /// How many different reasons there are: the length of an array of counters indexed by [`Reason::index`].
    pub const COUNT: usize = 8 + 2 * Key::COUNT;

    /// A dense number below [`Reason::COUNT`], for counters.
    pub fn index(self) -> usize {
        match self {
            Reason::TooLarge => 0,
            Reason::InvalidUtf8 => 1,
            Reason::TooDeep => 2,
            Reason::InvalidJson => 3,
            Reason::NotAnObject => 4,
            Reason::MissingType => 5,
            Reason::UnknownDecoder => 6,
            Reason::InvalidMsgpack => 7,
            Reason::WrongType(key) => 8 + key as usize,
            Reason::OutOfRange(key) => 8 + Key::COUNT + key as usize,
        }
    }

    /// Every reason, in the order of [`Reason::index`].
    pub fn all() -> impl Iterator<Item = Reason> {
        [
            Reason::TooLarge,
            Reason::InvalidUtf8,
            Reason::TooDeep,
            Reason::InvalidJson,
            Reason::NotAnObject,
            Reason::MissingType,
            Reason::UnknownDecoder,
            Reason::InvalidMsgpack,
        ]
        .into_iter()
        .chain(Key::ALL.map(Reason::WrongType))
        .chain(Key::ALL.map(Reason::OutOfRange))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::TooLarge => f.write_str("too-large"),
            Reason::InvalidUtf8 => f.write_str("invalid-utf8"),
            Reason::TooDeep => f.write_str("too-deep"),
            Reason::InvalidJson => f.write_str("invalid-json"),
            Reason::NotAnObject => f.write_str("not-an-object"),
            Reason::MissingType => f.write_str("missing-type"),
            Reason::UnknownDecoder => f.write_str("unknown-decoder"),
            Reason::InvalidMsgpack => f.write_str("invalid-msgpack"),
            Reason::WrongType(key) => write!(f, "wrong-type:{}", key.name()),
            Reason::OutOfRange(key) => write!(f, "out-of-range:{}", key.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_number_and_name() {
        let names: std::collections::HashSet<String> =
            Reason::all().map(|reason| reason.to_string()).collect();
        assert_eq!(names.len(), Reason::COUNT);
        for (position, reason) in Reason::all().enumerate() {
            assert_eq!(reason.index(), position, "{reason}");
        }
    }
}
