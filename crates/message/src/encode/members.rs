//! The parts of `fields` that are JSON before a message is: members written one by one, and JSON text from outside.

use std::borrow::Cow;

use super::json::{FieldValue, write_string};
use super::value_writer::ValueWriter;
use crate::{Limits, careful, envelope::Slots, fast, slow_path};

/// Members of `fields` in the writing. What is written is well-formed, whatever it is written from.
///
/// ```
/// use metlog_message::encode::{FieldValue, MemberBuffer};
///
/// let mut members = MemberBuffer::new();
/// members.write("user", 7.into());
/// members.write("tags", FieldValue::Json("[1, 2"));
/// assert_eq!(format!("{:?}", members.members()), r#"Members({"user":7,"tags":"[1, 2"})"#);
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemberBuffer {
    pub(super) bytes: Vec<u8>,
}

impl MemberBuffer {
    /// No members.
    pub const fn new() -> MemberBuffer {
        MemberBuffer { bytes: Vec::new() }
    }

    /// Adds a member.
    #[inline]
    pub fn write(&mut self, key: &str, value: FieldValue<'_>) {
        self.write_with(key, |writer| writer.value(value));
    }

    /// Adds a member, and has `write` write its value: a list, an object, or a single value. What `write` returns is
    /// returned; where it writes nothing, the value is `null`.
    ///
    /// ```
    /// use metlog_message::encode::MemberBuffer;
    ///
    /// let mut members = MemberBuffer::new();
    /// members.write_with("sizes", |value| {
    ///     value.array(|array| (1..=3).for_each(|size| array.push(size.into())))
    /// });
    /// assert_eq!(format!("{:?}", members.members()), r#"Members({"sizes":[1,2,3]})"#);
    /// ```
    #[inline]
    pub fn write_with<R>(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>) -> R) -> R {
        self.bytes.push(b',');
        write_string(&mut self.bytes, key);
        self.bytes.push(b':');
        ValueWriter::write(self, write)
    }

    /// Adds a member that is an object, and has `write` write it.
    ///
    /// ```
    /// use metlog_message::encode::MemberBuffer;
    ///
    /// let mut members = MemberBuffer::new();
    /// members.write_object("request", |request| request.write("user", 7.into()));
    /// assert_eq!(format!("{:?}", members.members()), r#"Members({"request":{"user":7}})"#);
    /// ```
    pub fn write_object(&mut self, key: &str, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.write_with(key, |value| value.object(write));
    }

    /// Adds members that were written elsewhere.
    pub fn append(&mut self, members: Members<'_>) {
        self.bytes.extend_from_slice(members.bytes);
    }

    /// What was written so far.
    pub fn members(&self) -> Members<'_> {
        Members { bytes: &self.bytes }
    }

    /// Forgets the members and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// How much memory it has.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Writes the members of an object within `fields`. It only adds, so that what is around the object stays whole.
#[derive(Debug)]
pub struct ObjectWriter<'b> {
    pub(super) buffer: &'b mut MemberBuffer,
}

impl ObjectWriter<'_> {
    /// Adds a member.
    pub fn write(&mut self, key: &str, value: FieldValue<'_>) {
        self.buffer.write(key, value);
    }

    /// Adds a member, and has `write` write its value; see [`MemberBuffer::write_with`].
    #[inline]
    pub fn write_with<R>(&mut self, key: &str, write: impl FnOnce(ValueWriter<'_>) -> R) -> R {
        self.buffer.write_with(key, write)
    }

    /// Adds a member that is an object; see [`MemberBuffer::write_object`].
    pub fn write_object(&mut self, key: &str, write: impl FnOnce(&mut ObjectWriter<'_>)) {
        self.buffer.write_object(key, write);
    }

    /// Adds members that were written elsewhere.
    pub fn append(&mut self, members: Members<'_>) {
        self.buffer.append(members);
    }
}

/// Members that a [`MemberBuffer`] has written; there is no other way to make them, so they are well-formed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Members<'a> {
    /// Each member has its comma in front.
    bytes: &'a [u8],
}

impl<'a> Members<'a> {
    /// No members.
    pub const NONE: Members<'static> = Members { bytes: b"" };

    /// How long their JSON is, with a comma in front of each.
    pub fn encoded_len(self) -> usize {
        self.bytes.len()
    }

    /// Their JSON, a comma in front of each.
    pub(super) fn after_others(self) -> &'a [u8] {
        self.bytes
    }

    /// Their JSON, a comma in front of each but the first.
    pub(super) fn alone(self) -> &'a [u8] {
        self.bytes.get(1..).unwrap_or_default()
    }
}

impl std::fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Members({{{}}})", String::from_utf8_lossy(self.alone()))
    }
}

/// JSON text of an object as it may stand for `fields`: on one line, and what old clients write for numbers that JSON
/// does not have as `null`. `None` where it is no object that a router would take.
///
/// ```
/// use metlog_message::encode::one_line_object;
///
/// assert_eq!(one_line_object(r#"{"a":1}"#).as_deref(), Some(r#"{"a":1}"#));
/// assert_eq!(one_line_object("{\n\"a\":NaN}").as_deref(), Some(r#"{ "a":null}"#));
/// assert_eq!(one_line_object(r#"{"a":1},"b":{}"#), None);
/// ```
pub fn one_line_object(text: &str) -> Option<Cow<'_, str>> {
    // `fields` lies one level below the message.
    let limits = Limits { depth: Limits::default().depth - 1, ..Limits::default() };
    let text = trimmed(text);
    if text.starts_with('{') { one_line(text, &limits) } else { None }
}

/// The same for any value of a key of `fields`.
pub(super) fn one_line_value(text: &str) -> Option<Cow<'_, str>> {
    one_line(trimmed(text), &Limits { depth: Limits::default().depth - 2, ..Limits::default() })
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

fn one_line<'t>(text: &'t str, limits: &Limits) -> Option<Cow<'t, str>> {
    if text.starts_with('{')
        && fast::scan(text.as_bytes(), limits, &mut Slots::default())
            .is_some_and(|scanned| scanned.end as usize == text.len())
    {
        return Some(Cow::Borrowed(text));
    }
    if careful::scan(text.as_bytes(), limits).ok()?.rewrite {
        return String::from_utf8(slow_path::rewrite(text.as_bytes())).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(text))
}

#[cfg(test)]
mod tests {
    use super::super::write_value;
    use super::*;

    #[test]
    fn only_an_object_stands_for_fields() {
        for good in ["{}", r#"{"a":{"b":[1,2.50]}}"#, r#"{"type":7,"timestamp":[]}"#, r#"{"é":"\n"}"#] {
            assert_eq!(one_line_object(good).as_deref(), Some(good));
        }
        for bad in
            ["", "[1]", "{", "}", r#"{"a":1}}"#, r#"{"a":1}{"b":2}"#, r#"{"a"}"#, "{\"a\":\"\n\"}", "{'a':1}"]
        {
            assert_eq!(one_line_object(bad), None, "{bad}");
        }
        let deep = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(one_line_object(&deep(126)).is_some());
        assert!(one_line_object(&deep(127)).is_none());
    }

    #[test]
    fn objects_within_objects_have_their_commas_and_braces() {
        let mut members = MemberBuffer::new();
        members.write_object("empty", |_| {});
        members.write_object("outer", |outer| {
            outer.write_object("inner", |inner| inner.write("a", 1.into()));
            outer.write("b", "c".into());
            outer.write_object("nothing", |_| {});
        });
        members.write("d", true.into());
        let expected = r#"{"empty":{},"outer":{"inner":{"a":1},"b":"c","nothing":{}},"d":true}"#;
        assert_eq!(format!("{:?}", members.members()), format!("Members({expected})"));
        assert!(one_line_object(expected).is_some());
    }

    #[test]
    fn json_that_is_none_becomes_a_string() {
        for (json, written) in [
            (" [1,\n2] ", "[1, 2]"),
            ("null", "null"),
            ("-Infinity", "null"),
            ("", r#""""#),
            ("1,\"b\":2", r#""1,\"b\":2""#),
            ("{\"a\":1}}", r#""{\"a\":1}}""#),
        ] {
            let mut out = Vec::new();
            write_value(&mut out, FieldValue::Json(json));
            assert_eq!(String::from_utf8(out).unwrap(), written, "{json}");
        }
    }
}
