//! Templates: text with placeholders for parts of a message, `{timestamp} {fields.user.id}`.
//!
//! One template language serves lines of text and paths of files; they differ in what a value may contain. A value never
//! breaks out of its line, or of its folder.

mod misspelt;

use std::borrow::Cow;

use metlog_message::{Key, Path, Timestamp, lookup, value::PathError};

use crate::{
    batch::Message,
    config::{Diagnostics, FromConfig, Schema, reader::Value, types},
};

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template {
    pieces: Vec<Piece>,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    /// An envelope key with a text of its own; answered from the index without a look-up.
    Key(Key),
    /// Any other path.
    Path(Path),
    /// `{date}`: the message's own day in UTC.
    Date,
    /// `{hour}`: the message's own hour in UTC.
    Hour,
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace that nothing closes.
    #[error("the `{{` at character {0} is never closed; write `{{{{` for a brace of its own")]
    Unclosed(usize),
    /// A closing brace without an opening one.
    #[error("the `}}` at character {0} closes nothing; write `}}}}` for a brace of its own")]
    Unopened(usize),
    /// A placeholder that is no path.
    #[error("`{{{placeholder}}}` is no path into a message: {error}")]
    Placeholder {
        /// What stands between the braces.
        placeholder: String,
        /// What is wrong with it.
        error: PathError,
    },
}

impl Template {
    /// Reads a template as a configuration writes it.
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(position) = rest.find(['{', '}']) {
            let at = text.len() - rest.len() + position;
            literal.push_str(&rest[..position]);
            let behind = &rest[position + 1..];
            let brace = &rest[position..=position];
            if let Some(after) = behind.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Unopened(at + 1));
            }
            let end = behind.find('}').ok_or(TemplateError::Unclosed(at + 1))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::placeholder(&behind[..end])?);
            rest = &behind[end + 1..];
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Template { pieces, text: text.to_owned() })
    }

    /// `{timestamp} {payload}`: what a line of text looks like unless the configuration says otherwise.
    pub fn timestamp_and_payload() -> Template {
        let space = Piece::Literal(" ".to_owned());
        Template {
            pieces: vec![Piece::Key(Key::Timestamp), space, Piece::Key(Key::Payload)],
            text: "{timestamp} {payload}".to_owned(),
        }
    }

    /// `{logger}`.
    pub fn of_logger() -> Template {
        Template { pieces: vec![Piece::Key(Key::Logger)], text: "{logger}".to_owned() }
    }

    /// `{payload}`.
    pub fn of_payload() -> Template {
        Template { pieces: vec![Piece::Key(Key::Payload)], text: "{payload}".to_owned() }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text in front of the first placeholder; all of it where there is none.
    pub fn fixed_start(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// A regular expression of the path that comes of the template behind the first `skipped` bytes of
    /// [`Template::fixed_start`].
    pub fn path_pattern(&self, skipped: usize) -> String {
        let mut skipped = skipped;
        let mut pattern = String::new();
        for piece in self.path_pieces() {
            match piece {
                Ok(literal) => pattern.push_str(&regex::escape(literal.get(skipped..).unwrap_or_default())),
                Err(bytes) => pattern.push_str(bytes.pattern()),
            }
            skipped = 0;
        }
        pattern
    }

    /// Its pieces in order: the literal text, or what a value can be in a path.
    pub fn path_pieces(&self) -> impl Iterator<Item = Result<&str, PathBytes>> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Literal(literal) => Ok(literal.as_str()),
            Piece::Date => Err(PathBytes::Date),
            Piece::Hour => Err(PathBytes::Hour),
            Piece::Key(_) | Piece::Path(_) => Err(PathBytes::Any),
        })
    }

    /// Whether there are line breaks between the placeholders.
    pub fn has_line_breaks(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Literal(literal) if literal.contains('\n')))
    }

    /// Whether there is no placeholder at all.
    pub fn is_fixed(&self) -> bool {
        self.pieces.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// Appends the template with the message's values. `value` appends one value in the form that the place asks for.
    #[inline]
    pub fn render(&self, message: &Message<'_>, out: &mut Vec<u8>, value: impl Fn(&[u8], &mut Vec<u8>)) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                Piece::Key(key) => match message.index.plain(message.bytes, *key) {
                    Some(plain) => value(plain, out),
                    None => value(message.index.text(message.bytes, *key).as_bytes(), out),
                },
                Piece::Path(path) => {
                    let text = lookup(message.bytes, message.index, path)
                        .map_or(Cow::Borrowed(""), |found| found.text());
                    value(text.as_bytes(), out);
                }
                Piece::Date => value(time_of(message).date().as_bytes(), out),
                Piece::Hour => value(time_of(message).hour().as_bytes(), out),
            }
        }
    }
}

/// The message's own time; the time of receipt where it has none that can be read.
fn time_of(message: &Message<'_>) -> Timestamp {
    message.index.timestamp(message.bytes).unwrap_or(message.received)
}

impl Piece {
    fn placeholder(text: &str) -> Result<Piece, TemplateError> {
        match text {
            "date" => return Ok(Piece::Date),
            "hour" => return Ok(Piece::Hour),
            _ => {}
        }
        if let Some(key) = Key::ALL.into_iter().find(|key| key.name() == text) {
            return Ok(Piece::Key(key));
        }
        Path::parse(text)
            .map(Piece::Path)
            .map_err(|error| TemplateError::Placeholder { placeholder: text.to_owned(), error })
    }
}

impl FromConfig for Template {
    fn expected() -> String {
        "a text with placeholders such as \"{timestamp} {payload}\"".to_owned()
    }

    fn schema() -> Schema {
        String::schema()
    }

    fn to_toml(&self) -> String {
        types::quoted(&self.text)
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Self> {
        let text = String::from_config(value, diagnostics)?;
        match Template::parse(&text) {
            Ok(template) => {
                misspelt::warn(&template, value, diagnostics);
                Some(template)
            }
            Err(error) => {
                diagnostics.invalid::<Self>(value, error.to_string());
                None
            }
        }
    }
}

/// Appends a value to a line of text: line breaks are written as `\n` and `\r`, so that a message stays one line.
pub fn one_line(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(position) = memchr::memchr2(b'\n', b'\r', rest) {
        out.extend_from_slice(&rest[..position]);
        out.extend_from_slice(if rest[position] == b'\n' { b"\\n" } else { b"\\r" });
        rest = &rest[position + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a value to a line of text as it is, line breaks included.
pub fn as_it_is(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(value);
}

/// Appends a value to a path. Whatever a message says, it stays one part of the path and never names another folder:
/// everything but letters, digits, `-`, `_` and `.` becomes %XX, and so does a leading dot; an empty value becomes `_`.
pub fn path_part(value: &[u8], out: &mut Vec<u8>) {
    if value.is_empty() {
        out.push(b'_');
    }
    for (position, &byte) in value.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => out.push(byte),
            b'.' if position > 0 => out.push(byte),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                out.extend_from_slice(&[
                    b'%',
                    DIGITS[usize::from(byte >> 4)],
                    DIGITS[usize::from(byte & 15)],
                ]);
            }
        }
    }
}

/// What a placeholder can become in a path: at least one of these bytes, see [`path_part`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathBytes {
    /// Any value.
    Any,
    /// Of `{date}`.
    Date,
    /// Of `{hour}`.
    Hour,
}

impl PathBytes {
    /// Whether this byte is one of them.
    pub fn contains(self, byte: u8) -> bool {
        byte.is_ascii_digit()
            || match self {
                // `~` is where a long name was shortened.
                PathBytes::Any => byte.is_ascii_alphabetic() || b"._%~-".contains(&byte),
                PathBytes::Date => byte == b'-',
                PathBytes::Hour => false,
            }
    }

    /// The same as a regular expression.
    fn pattern(self) -> &'static str {
        match self {
            PathBytes::Any => "[A-Za-z0-9._%~-]+",
            PathBytes::Date => "[0-9-]+",
            PathBytes::Hour => "[0-9]+",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::batch_of;

    #[test]
    fn the_bytes_of_a_value_are_those_of_its_pattern() {
        for bytes in [PathBytes::Any, PathBytes::Date, PathBytes::Hour] {
            let pattern = regex::bytes::Regex::new(&format!("^{}$", bytes.pattern())).unwrap();
            let differs = |byte: &u8| pattern.is_match(&[*byte]) != bytes.contains(*byte);
            assert_eq!((0..=u8::MAX).find(differs), None, "{bytes:?}");
        }
    }

    fn rendered(template: &str, message: &str, value: fn(&[u8], &mut Vec<u8>)) -> String {
        let handover = crate::batch::Handover::all(&std::sync::Arc::new(batch_of(&[message])));
        let mut out = Vec::new();
        Template::parse(template).unwrap().render(&handover.message(0).unwrap(), &mut out, value);
        String::from_utf8(out).unwrap()
    }

    const MESSAGE: &str = r#"{"type":"oldstyle","timestamp":"2012-07-18T23:13:25.5+02:00","payload":"two\nlines","fields":{"user":{"id":7},"a.b":"x"}}"#;

    #[test]
    fn placeholders_are_keys_paths_and_the_messages_own_time() {
        assert_eq!(
            rendered(
                "{timestamp} {type} {severity} {fields.user.id} {fields.\"a.b\"} {none}|",
                MESSAGE,
                one_line
            ),
            "2012-07-18T23:13:25.5+02:00 oldstyle 6 7 x |"
        );
        assert_eq!(rendered("{date}/{hour}", MESSAGE, path_part), "2012-07-18/21");
    }

    #[test]
    fn a_message_stays_one_line_unless_it_is_to_be_kept() {
        assert_eq!(rendered("<{payload}>", MESSAGE, one_line), "<two\\nlines>");
        assert_eq!(rendered("<{payload}>", MESSAGE, as_it_is), "<two\nlines>");
    }

    #[test]
    fn default_templates_are_what_their_text_says() {
        for default in [Template::timestamp_and_payload(), Template::of_logger(), Template::of_payload()] {
            assert_eq!(Template::parse(default.as_str()), Ok(default));
        }
    }

    #[test]
    fn doubled_braces_stand_for_themselves() {
        assert_eq!(rendered("{{{type}}}", MESSAGE, one_line), "{oldstyle}");
    }

    #[test]
    fn a_broken_template_says_where() {
        assert_eq!(Template::parse("a {b"), Err(TemplateError::Unclosed(3)));
        assert_eq!(Template::parse("a }"), Err(TemplateError::Unopened(3)));
        assert!(matches!(Template::parse("{fields..a}"), Err(TemplateError::Placeholder { .. })));
    }

    #[test]
    fn a_value_cannot_leave_its_folder() {
        for (value, expected) in [
            ("..", "%2E."),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("/etc", "%2Fetc"),
            ("a\0b", "a%00b"),
            ("", "_"),
            ("50%", "50%25"),
            ("é", "%C3%A9"),
            ("sync.put-1_x", "sync.put-1_x"),
        ] {
            let mut out = Vec::new();
            path_part(value.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
