//! What a route's `match` says, as data: written by the configuration reader, compiled by the matcher.

use metlog_message::Path;

/// A condition on one message.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Every one of these holds (an empty list always holds).
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
    /// This does not hold.
    Not(Box<Condition>),
    /// A test of the value at a path. A missing value passes only `Exists(false)`.
    Test(Path, Test),
}

/// A test of one value. Types never mix: a string never equals a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal to one of these.
    OneOf(Vec<Scalar>),
    /// A string that begins like this.
    Prefix(String),
    /// A string that matches this glob: `*` any run of characters, `?` one character, `[a-z]` a class,
    /// `{a,b}` alternatives.
    Glob(String),
    /// A string in which this regular expression finds something. Validated by the configuration reader.
    Regex(String),
    /// A number within these bounds, both inclusive, each a JSON number's text.
    Range {
        /// Smallest accepted value.
        min: Option<String>,
        /// Largest accepted value.
        max: Option<String>,
    },
    /// The value is there (`true`) or is not (`false`). A null counts as there, except at an envelope key.
    Exists(bool),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Compared with decoded strings.
    String(String),
    /// A JSON number's text, compared by value.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
}
