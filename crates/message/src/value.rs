//! One JSON value inside a message, looked at without building a tree: field paths, text, numbers.

use std::borrow::Cow;

use crate::{Index, Key, escapes, skip};

pub use crate::{
    number::Number,
    path::{Path, PathError},
};

/// A JSON value's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A value's JSON text, borrowed from a validated message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'m> {
    raw: &'m [u8],
}

impl<'m> Value<'m> {
    /// The JSON text as sent.
    #[inline]
    pub fn raw(self) -> &'m [u8] {
        self.raw
    }

    /// What it is.
    #[inline]
    pub fn kind(self) -> Kind {
        match self.raw.first() {
            Some(b'"') => Kind::String,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    /// A string decoded (a lone surrogate becomes U+FFFD); any other value's JSON text.
    pub fn text(self) -> Cow<'m, str> {
        match self.raw {
            [b'"', inside @ .., b'"'] => escapes::decode(inside),
            raw => String::from_utf8_lossy(raw),
        }
    }

    /// A string's bytes without copying, if it has no escapes.
    #[inline]
    pub fn plain(self) -> Option<&'m [u8]> {
        match self.raw {
            [b'"', inside @ .., b'"'] if memchr::memchr(b'\\', inside).is_none() => Some(inside),
            _ => None,
        }
    }

    /// The number, where it is one.
    pub fn number(self) -> Option<Number<'m>> {
        match self.kind() {
            Kind::Number => Number::parse(std::str::from_utf8(self.raw).ok()?),
            _ => None,
        }
    }

    /// The truth value, where it is one.
    pub fn boolean(self) -> Option<bool> {
        match self.raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The member of an object with this name, the last one where there are several, or the element of an array
    /// with this number, counted from 0.
    #[inline]
    pub fn get(self, part: &str) -> Option<Value<'m>> {
        match self.kind() {
            Kind::Object => {
                let mut found = None;
                for member in self.members() {
                    if member.is_named(part) {
                        found = Some(member.value);
                    }
                }
                found
            }
            Kind::Array => self.elements().nth(element_number(part)?),
            _ => None,
        }
    }

    /// The members of an object in the order in which they stand, duplicates included; of any other value, none.
    #[inline]
    pub fn members(self) -> Members<'m> {
        Members { rest: Rest::inside(self.raw, self.kind() == Kind::Object) }
    }

    /// The elements of an array; of any other value, none.
    #[inline]
    pub fn elements(self) -> Elements<'m> {
        Elements { rest: Rest::inside(self.raw, self.kind() == Kind::Array) }
    }
}

/// A member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'m> {
    /// The name as sent, without its quotes.
    name: &'m [u8],
    /// The name has escapes in it.
    escaped: bool,
    /// The value.
    pub value: Value<'m>,
}

impl<'m> Member<'m> {
    /// The decoded name.
    pub fn name(&self) -> Cow<'m, str> {
        escapes::decode(self.name)
    }

    #[inline]
    fn is_named(&self, name: &str) -> bool {
        if self.escaped { self.name() == name } else { self.name == name.as_bytes() }
    }
}

/// The members of an object; see [`Value::members`].
#[derive(Debug, Clone)]
pub struct Members<'m> {
    rest: Rest<'m>,
}

impl<'m> Iterator for Members<'m> {
    type Item = Member<'m>;

    #[inline]
    fn next(&mut self) -> Option<Member<'m>> {
        let start = self.rest.next_start()?;
        let text = self.rest.text;
        let (name_end, escaped) = skip::string(text, start);
        let name = text.get(start + 1..name_end.checked_sub(1)?)?;
        let colon = skip::white_space(text, name_end);
        let value = self.rest.value(skip::white_space(text, colon + 1))?;
        Some(Member { name, escaped, value })
    }
}

/// The elements of an array; see [`Value::elements`].
#[derive(Debug, Clone)]
pub struct Elements<'m> {
    rest: Rest<'m>,
}

impl<'m> Iterator for Elements<'m> {
    type Item = Value<'m>;

    #[inline]
    fn next(&mut self) -> Option<Value<'m>> {
        let start = self.rest.next_start()?;
        self.rest.value(start)
    }
}

/// What is left of the inside of an object or array.
#[derive(Debug, Clone)]
struct Rest<'m> {
    text: &'m [u8],
    at: usize,
}

impl<'m> Rest<'m> {
    /// Behind the opening bracket, or at the end where there is none to look into.
    #[inline]
    fn inside(text: &'m [u8], look: bool) -> Rest<'m> {
        Rest { text, at: if look { 1 } else { text.len() } }
    }

    /// Where the next member or element begins; `None` at the closing bracket.
    #[inline]
    fn next_start(&self) -> Option<usize> {
        let mut at = skip::white_space(self.text, self.at);
        if self.text.get(at) == Some(&b',') {
            at = skip::white_space(self.text, at + 1);
        }
        match self.text.get(at) {
            Some(b'}' | b']') | None => None,
            Some(_) => Some(at),
        }
    }

    #[inline]
    fn value(&mut self, start: usize) -> Option<Value<'m>> {
        let end = skip::value(self.text, start);
        self.at = end;
        // An empty value only comes from text that was never validated; it ends the walk.
        let raw = self.text.get(start..end)?;
        (!raw.is_empty()).then_some(Value { raw })
    }
}

/// The number that names an array's element: digits only, no zeros in front.
fn element_number(part: &str) -> Option<usize> {
    let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
    if plain { part.parse().ok() } else { None }
}

/// Where `path` leads in a message. Envelope defaults count as present: a message without `severity` has 6.
///
/// `logger`, `severity`, `payload` and `fields` have defaults; the other keys do not. A null counts as missing at
/// an envelope key and as a value elsewhere. Of duplicate keys the last one counts, at every level.
///
/// ```
/// use metlog_message::{Decoded, Decoder, Path, Timestamp, lookup};
///
/// let frame = br#"{"type":"counter","timestamp":"2012-07-18T21:13:25Z","fields":{"name":"hits","rate":0.5}}"#;
/// let Ok(Decoded::InPlace { index, .. }) = Decoder::default().decode(frame, Timestamp::now()) else { panic!() };
/// let value = lookup(frame, &index, &Path::parse("fields.name").unwrap()).unwrap();
/// assert_eq!(value.text(), "hits");
/// ```
#[inline]
pub fn lookup<'m>(message: &'m [u8], index: &Index, path: &Path) -> Option<Value<'m>> {
    let (first, further) = path.parts().split_first()?;
    let mut value = match path.key() {
        Some(key) => Value { raw: index.raw(message, key).or(default_of(key))? },
        None => Value { raw: message }.get(first)?,
    };
    for part in further {
        value = value.get(part)?;
    }
    Some(value)
}

/// The JSON text of an envelope key's default.
fn default_of(key: Key) -> Option<&'static [u8]> {
    match key {
        Key::Logger | Key::Payload => Some(b"\"\""),
        Key::Severity => Some(b"6"),
        Key::Fields => Some(b"{}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decoded, Decoder, Timestamp};

    const MESSAGE: &str = r#"{"type":"t", "timestamp" : "2012-08-29T12:00:00Z","fields" : {"name": "a\"b", "rate":0.5,
        "deep": {"list": [10, [11, 12], {"x":null}], "":"empty"}, "http.status": 404, "ok": true,
        "twice": 1, "tw\u0069ce": 2, "]}": "\\"}, "payload": {"a": [1]}, "extra": {"k": "v"}, "logger": null, "extra": 5}"#;

    fn look(path: &str) -> Option<String> {
        let message = MESSAGE.replace('\n', " ");
        let Ok(Decoded::InPlace { index, .. }) =
            Decoder::default().decode(message.as_bytes(), Timestamp { seconds: 0, nanoseconds: 0 })
        else {
            panic!("the message is good")
        };
        let path = Path::parse(path).unwrap();
        lookup(message.as_bytes(), &index, &path)
            .map(|value| String::from_utf8_lossy(value.raw()).into_owned())
    }

    #[test]
    fn a_path_leads_to_keys_members_and_elements() {
        for (path, raw) in [
            ("type", "\"t\""),
            ("fields.name", r#""a\"b""#),
            ("fields.rate", "0.5"),
            ("fields.deep.list.0", "10"),
            ("fields.deep.list.1.1", "12"),
            ("fields.deep.list.2", r#"{"x":null}"#),
            ("fields.deep.list.2.x", "null"),
            (r#"fields.deep."""#, r#""empty""#),
            (r#"fields."http.status""#, "404"),
            (r#"fields."]}""#, r#""\\""#),
            ("payload.a.0", "1"),
        ] {
            assert_eq!(look(path).as_deref(), Some(raw), "{path}");
        }
        for nowhere in [
            "fields.nothing",
            "fields.name.x",
            "fields.deep.list.3",
            "fields.deep.list.00",
            "fields.deep.list.-1",
            "fields.deep.list.99999999999999999999999999",
            "nothing",
            "nothing.at.all",
            "type.0",
        ] {
            assert_eq!(look(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn the_last_of_duplicate_keys_counts_also_where_it_is_escaped() {
        assert_eq!(look("fields.twice").as_deref(), Some("2"));
        assert_eq!(look("extra").as_deref(), Some("5"));
        assert_eq!(look("extra.k"), None);
    }

    #[test]
    fn the_envelope_defaults_count_as_present() {
        assert_eq!(look("logger").as_deref(), Some("\"\""));
        assert_eq!(look("severity").as_deref(), Some("6"));
        for without_default in ["env_version", "metlog_pid", "metlog_hostname"] {
            assert_eq!(look(without_default), None, "{without_default}");
        }
    }

    #[test]
    fn a_value_knows_its_kind() {
        for (raw, kind) in [
            ("null", Kind::Null),
            ("true", Kind::Bool),
            ("false", Kind::Bool),
            ("-1", Kind::Number),
            ("\"\"", Kind::String),
            ("[]", Kind::Array),
            ("{}", Kind::Object),
        ] {
            let value = Value { raw: raw.as_bytes() };
            assert_eq!(value.kind(), kind);
            assert_eq!(value.number().is_some(), kind == Kind::Number);
            assert_eq!(value.boolean().is_some(), kind == Kind::Bool);
            assert_eq!(value.plain().is_some(), kind == Kind::String);
        }
        assert_eq!(Value { raw: br#""\u00e9\ud800""# }.text(), "é\u{FFFD}");
        assert_eq!(Value { raw: br#"{"a":1}"# }.text(), r#"{"a":1}"#);
    }

    #[test]
    fn the_members_of_an_object_are_listed_in_order() {
        let object = Value { raw: br#" {"a":1 , "\u0062":[2],"a":{}}"#.trim_ascii_start() };
        let listed: Vec<_> = object.members().map(|member| (member.name(), member.value.text())).collect();
        assert_eq!(listed, [("a".into(), "1".into()), ("b".into(), "[2]".into()), ("a".into(), "{}".into())]);
        assert_eq!(object.elements().count(), 0);
    }

    #[test]
    fn text_that_was_never_validated_does_no_harm() {
        for raw in
            ["", "{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":,", "{,,,", "[", "[,", "[[", "{\"a\" 1 2 3"]
        {
            let value = Value { raw: raw.as_bytes() };
            assert!(value.members().count() < 10);
            assert!(value.elements().count() < 10);
            let _ = (value.get("a"), value.get("0"), value.text());
        }
    }
}
