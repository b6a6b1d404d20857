//! Joins lines: a message begins with a line that matches a pattern, and what follows up to the next such line belongs to it.

use std::{ops::Range, time::Duration};

use regex::bytes::Regex;

use crate::config::{ByteSize, Diagnostics, FromConfig, parameters, reader::Value, types};

parameters! {
    /// Joins lines that belong together, such as a stack trace, into one message.
    pub struct Multiline {
        /// A message begins with a line that matches this regular expression; all lines up to the next one that does belong
        /// to it.
        pub start: StartPattern,
        /// A message whose next line does not come for this long is complete.
        pub timeout: Duration = Duration::from_secs(1),
        /// A message that would become longer than this, or than `limits.message`, is cut between two lines.
        pub max_bytes: ByteSize = ByteSize::mib(1),
    }
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct StartPattern(Regex);

impl FromConfig for StartPattern {
    fn expected() -> String {
        "a regular expression such as '^\\d{4}-'".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<StartPattern> {
        types::parsed(value, diagnostics, |text| match Regex::new(text) {
            Ok(pattern) if pattern.is_match(b"") => {
                Err("this matches every line, so that nothing would be joined".to_owned())
            }
            Ok(pattern) => Ok(StartPattern(pattern)),
            // Its first lines repeat the pattern; the last one says what is wrong.
            Err(error) => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        })
    }

    fn to_toml(&self) -> String {
        types::quoted(self.0.as_str())
    }
}

/// Finds the messages in runs of lines.
#[derive(Debug, Clone)]
pub struct Joiner {
    start: StartPattern,
    max_bytes: usize,
    /// How long the next line is waited for.
    pub timeout: Duration,
}

/// Two that find the same messages where all lines are there.
impl PartialEq for Joiner {
    fn eq(&self, other: &Joiner) -> bool {
        (self.start.0.as_str(), self.max_bytes) == (other.start.0.as_str(), other.max_bytes)
    }
}

impl Joiner {
    /// For messages of at most `message_bytes`.
    pub fn new(settings: &Multiline, message_bytes: usize) -> Joiner {
        let max_bytes = usize::try_from(settings.max_bytes.bytes()).unwrap_or(usize::MAX).min(message_bytes);
        Joiner { start: settings.start.clone(), max_bytes, timeout: settings.timeout }
    }

    /// The most bytes that have to be seen at once to find a message's end.
    pub fn window_bytes(&self) -> usize {
        self.max_bytes.saturating_add(1)
    }

    /// Whether a message begins with this line.
    pub fn begins(&self, line: &[u8]) -> bool {
        self.start.0.is_match(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The places of the complete messages in `lines`, which ends with a line break, each without its last line break; and how
    /// many bytes they take. The last message is complete only if `no_more` lines belong to it.
    pub fn frames(&self, lines: &[u8], no_more: bool) -> (Vec<Range<usize>>, usize) {
        let mut frames = Vec::new();
        // Where the message at hand begins.
        let mut begin = 0;
        let mut line = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let text = lines.get(line..end).unwrap_or_default();
            if line > begin && (self.begins(text) || end - begin > self.max_bytes) {
                frames.push(begin..line - 1);
                begin = line;
            }
            line = end + 1;
        }
        // Another line could not fit.
        let is_full = line > begin && line - begin > self.max_bytes;
        if line > begin && (no_more || is_full) {
            frames.push(begin..line - 1);
            begin = line;
        }
        (frames, begin)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joiner(max_bytes: usize) -> Joiner {
        Joiner { start: StartPattern(Regex::new("^[0-9]").unwrap()), max_bytes, timeout: Duration::ZERO }
    }

    fn joined(joiner: &Joiner, lines: &str, no_more: bool) -> (Vec<String>, usize) {
        let (frames, taken) = joiner.frames(lines.as_bytes(), no_more);
        (frames.into_iter().map(|frame| lines[frame].to_owned()).collect(), taken)
    }

    #[test]
    fn a_message_ends_where_the_next_begins() {
        let lines = "1 error\n  at x\n  at y\n2 fine\n3 er";
        let complete = &lines[..lines.rfind('\n').unwrap() + 1];
        assert_eq!(joined(&joiner(100), complete, false), (vec!["1 error\n  at x\n  at y".to_owned()], 22));
        let all = joined(&joiner(100), complete, true);
        assert_eq!(all, (vec!["1 error\n  at x\n  at y".to_owned(), "2 fine".to_owned()], 29));
    }

    #[test]
    fn lines_before_the_first_start_are_a_message_of_their_own() {
        assert_eq!(joined(&joiner(100), "  at z\n1 x\n", false).0, ["  at z"]);
        assert_eq!(joined(&joiner(100), "\n\n", true).0, ["\n"]);
        assert_eq!(joined(&joiner(100), "", true), (Vec::new(), 0));
    }

    #[test]
    fn a_message_that_grows_too_long_is_cut_between_lines() {
        let (messages, taken) = joined(&joiner(10), "1\naaaa\nbbbb\ncccc\ndddddddddddddd\n", false);
        assert_eq!(messages, ["1\naaaa", "bbbb\ncccc", "dddddddddddddd"]);
        assert_eq!(taken, 32);
    }

    #[test]
    fn a_pattern_that_takes_every_line_is_refused() {
        let read = |text: &str| {
            let value = toml::de::DeValue::parse(text).unwrap();
            let mut diagnostics = Diagnostics::new();
            let read = StartPattern::from_config(&value, &mut diagnostics).is_some();
            (read, diagnostics.iter().next().and_then(|problem| problem.label.clone()))
        };
        assert_eq!(read("'^\\d'"), (true, None));
        assert_eq!(read("'x*'").1.unwrap(), "this matches every line, so that nothing would be joined");
        assert_eq!(read("'('").1.unwrap(), "unclosed group");
    }

    proptest! {
        /// However the lines come in, nothing is lost, nothing is repeated, and the messages are those of one look at all.
        #[test]
        fn messages_do_not_depend_on_how_much_is_seen_at_once(
            lines in prop::collection::vec("[0-9 a]{0,4}", 0..40), window in 14usize..60,
        ) {
            let joiner = joiner(8);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let (whole, _) = joined(&joiner, &text, true);
            let mut pieces = Vec::new();
            let mut position = 0;
            while position < text.len() {
                let end = text.len().min(position + window);
                let Some(last) = text[position..end].rfind('\n') else { break };
                let (messages, taken) = joined(&joiner, &text[position..position + last + 1], end == text.len());
                prop_assert!(taken > 0, "stuck");
                pieces.extend(messages);
                position += taken;
            }
            prop_assert_eq!(pieces, whole);
        }
    }
}
