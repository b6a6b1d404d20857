//! Field paths as a configuration writes them.

use std::fmt;

use crate::Key;

/// A place in a message: `type`, `fields.user.id`, `fields."http.status"`.
///
/// A path splits at dots; a part may be quoted when it holds a dot itself. Inside quotes a backslash makes the
/// next character, a quote or a backslash, stand for itself. Elements of arrays are named by their number,
/// from 0: `fields.list.0`.
///
/// ```
/// use metlog_message::Path;
///
/// let path = Path::parse(r#"fields."http.status""#).unwrap();
/// assert_eq!(path.parts(), ["fields", "http.status"]);
/// assert_eq!(Path::parse("fields..x").unwrap_err().position, 7);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    parts: Vec<String>,
    /// The envelope key that the first part is.
    key: Option<Key>,
}

/// What is wrong with the text of a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {position}")]
pub struct PathError {
    /// What was found.
    pub problem: &'static str,
    /// Byte offset in the text.
    pub position: usize,
}

impl Path {
    /// Reads a path as a configuration writes it.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        let mut parts = Vec::new();
        let mut at = 0;
        loop {
            let (part, end) = if text[at..].starts_with('"') { quoted(text, at)? } else { bare(text, at)? };
            parts.push(part);
            if end == text.len() {
                break;
            }
            at = end + 1;
        }
        let key = Key::ALL.into_iter().find(|key| key.name() == parts[0]);
        Ok(Path { parts, key })
    }

    /// The parts, outermost key first; never empty.
    pub fn parts(&self) -> &[String] {
        &self.parts
    }

    /// The envelope key that the path begins with, if it is one.
    pub fn key(&self) -> Option<Key> {
        self.key
    }
}

impl std::str::FromStr for Path {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Path, PathError> {
        Path::parse(text)
    }
}

/// As [`Path::parse`] reads it, quoted where needed.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                f.write_str(".")?;
            }
            if part.is_empty() || part.contains(['.', '"']) {
                write!(f, "\"{}\"", part.replace('\\', r"\\").replace('"', "\\\""))?;
            } else {
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

/// Reads a part without quotes up to the next dot or the end.
fn bare(text: &str, start: usize) -> Result<(String, usize), PathError> {
    let end = text[start..].find('.').map_or(text.len(), |length| start + length);
    let part = &text[start..end];
    if part.is_empty() {
        let problem = if text.is_empty() { "the path is empty" } else { "a part is empty" };
        return Err(PathError { problem, position: start });
    }
    if let Some(offset) = part.find('"') {
        let problem = "a quote is only allowed around a whole part, found one";
        return Err(PathError { problem, position: start + offset });
    }
    Ok((part.to_owned(), end))
}

/// Reads a part in quotes, which may be empty, up to the dot behind it or the end.
fn quoted(text: &str, start: usize) -> Result<(String, usize), PathError> {
    let mut part = String::new();
    let mut characters = text[start + 1..].char_indices();
    while let Some((offset, character)) = characters.next() {
        let position = start + 1 + offset;
        match character {
            '"' => {
                let end = position + 1;
                return match text[end..].chars().next() {
                    None | Some('.') => Ok((part, end)),
                    Some(_) => Err(PathError {
                        problem: "expected a dot or the end behind the quoted part",
                        position: end,
                    }),
                };
            }
            '\\' => match characters.next() {
                Some((_, escaped @ ('"' | '\\'))) => part.push(escaped),
                _ => {
                    let problem = "expected a quote or a backslash behind the backslash";
                    return Err(PathError { problem, position: position + 1 });
                }
            },
            other => part.push(other),
        }
    }
    Err(PathError { problem: "the quoted part has no closing quote, which opens", position: start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        Path::parse(text).unwrap().parts().to_vec()
    }

    #[test]
    fn a_path_splits_at_dots_outside_quotes() {
        assert_eq!(parts("type"), ["type"]);
        assert_eq!(parts("fields.user.id"), ["fields", "user", "id"]);
        assert_eq!(parts(r#"fields."http.status".code"#), ["fields", "http.status", "code"]);
        assert_eq!(parts(r#""a\"b\\c"."""#), [r#"a"b\c"#, ""]);
        assert_eq!(parts("fields.ダチヂ.User Agent"), ["fields", "ダチヂ", "User Agent"]);
    }

    #[test]
    fn the_first_part_may_be_an_envelope_key() {
        assert_eq!(Path::parse("fields.x").unwrap().key(), Some(Key::Fields));
        assert_eq!(Path::parse("\"type\"").unwrap().key(), Some(Key::Type));
        assert_eq!(Path::parse("metlog_seq").unwrap().key(), None);
    }

    #[test]
    fn an_error_says_where() {
        for (text, position) in [
            ("", 0),
            (".", 0),
            ("a.", 2),
            (".a", 0),
            ("a..b", 2),
            ("a.b\"c", 3),
            ("a.\"b", 2),
            ("a.\"b\"c", 5),
            (r#"a."b\n""#, 5),
            ("ä.\"", 3),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert_eq!(error.position, position, "{text}: {error}");
        }
    }

    #[test]
    fn what_is_displayed_can_be_read_again() {
        for text in ["type", r#"fields."http.status""#, r#"""."a\"b\\"."#] {
            let Ok(path) = Path::parse(text) else { continue };
            assert_eq!(Path::parse(&path.to_string()).unwrap(), path, "{text}");
        }
        assert_eq!(Path::parse(r#"a."b"."c.d""#).unwrap().to_string(), r#"a.b."c.d""#);
    }
}
