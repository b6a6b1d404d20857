//! What a file that is not TOML is told: the parser's words, and what was probably meant.
//!
//! One slip makes a parser stumble over everything behind it. What follows from an error that was already reported is left
//! out, so that an operator reads about the slip.

use std::ops::Range;

use super::{
    diagnostics::{Diagnostics, Substituted},
    sources::Placed,
};

/// What the parser found in one file, as it is reported.
pub(super) struct Stumbles<'f> {
    placed: &'f Placed,
    /// Nothing before this place is worth another word.
    said_until: usize,
    /// The file has `:` where TOML has `=`; once is enough.
    is_yaml: bool,
}

impl<'f> Stumbles<'f> {
    pub fn new(placed: &'f Placed) -> Stumbles<'f> {
        Stumbles { placed, said_until: 0, is_yaml: false }
    }

    /// Reports one error of the parser. What is said later about the same line is a consequence, and so may be whatever
    /// seems to be missing from the file.
    pub fn report(&mut self, span: Option<Range<usize>>, message: &str, diagnostics: &mut Diagnostics) {
        let text = self.placed.source.text.as_str();
        let is_too_deep = message == "recursion limit";
        // The parser does not say where that is.
        let span = if is_too_deep { deepest_key(text) } else { span };
        let span = span.unwrap_or(text.len()..text.len());
        let line = line_around(text, span.start);
        self.unusable(line.clone(), diagnostics);
        if span.start < self.said_until {
            return;
        }
        let what = message.trim_end_matches(", expected nothing");
        if text.trim_start().starts_with('{') {
            let start = text.len() - text.trim_start().len();
            let problem =
                diagnostics.error(self.placed.moved(start..start + 1), "this is JSON, and not TOML");
            problem.help(
                "a section begins with its name in brackets, [inputs.NAME], and its lines are key = value",
            );
            self.said_until = text.len();
        } else if is_too_deep {
            let problem = diagnostics.error(self.placed.moved(span), "a key is nested too deeply");
            problem.help("a key has fewer than 80 parts, with a dot between two");
        } else if what == "duplicate key" {
            self.duplicate(span, line, diagnostics);
        } else {
            self.other(span, line, what, diagnostics);
        }
    }

    fn unusable(&self, line: Range<usize>, diagnostics: &mut Diagnostics) {
        diagnostics.substituted(Substituted {
            span: self.placed.moved(line),
            written: String::new(),
            filled: String::new(),
            variables: Vec::new(),
            unusable: true,
        });
        diagnostics.is_not_toml();
    }

    fn duplicate(&mut self, span: Range<usize>, line: Range<usize>, diagnostics: &mut Diagnostics) {
        let text = self.placed.source.text.as_str();
        let mut name = text.get(span.clone()).unwrap_or_default();
        let header = text.get(line.clone()).unwrap_or_default().split('#').next().unwrap_or_default().trim();
        if header.starts_with('[') {
            name = header;
            let list = header.trim_matches(['[', ']']).trim();
            if ["routes", "tests"].contains(&list) {
                self.list_as_a_section(list, span, line, diagnostics);
                return;
            }
            // The keys of a section that is there twice are there twice as well.
            self.said_until = text[line.end..].find("\n[").map_or(text.len(), |length| line.end + length + 1);
        }
        let problem = diagnostics.error(self.placed.moved(span), format!("`{name}` is given twice"));
        problem.help(match name == header {
            true => "give one of the two another name, or remove it",
            false => "remove one of the two",
        });
        if let Some(first) = first_of_two(text, line) {
            problem.label("here again").related(self.placed.moved(first), "given here first");
        }
    }

    /// Sections of one name that are meant to be a list of them; it is said at the second, for all.
    fn list_as_a_section(
        &mut self,
        list: &str,
        span: Range<usize>,
        line: Range<usize>,
        diagnostics: &mut Diagnostics,
    ) {
        let text = self.placed.source.text.as_str();
        self.said_until = text[line.end..].find("\n[").map_or(text.len(), |length| line.end + length + 1);
        if !diagnostics.tell_list(list) {
            return;
        }
        let problem = diagnostics.error(self.placed.moved(span), format!("`[{list}]` is given twice"));
        problem.help(format!("there may be any number of them, each with two brackets: [[{list}]]"));
        if let Some(first) = first_of_two(text, line) {
            problem.label("here again").related(self.placed.moved(first), "given here first");
        }
    }

    fn other(&mut self, span: Range<usize>, line: Range<usize>, what: &str, diagnostics: &mut Diagnostics) {
        let text = self.placed.source.text.as_str();
        // A help repeats the line, of which nothing secret may be shown.
        let whole = diagnostics.mask().apply_to_line(text.get(line.clone()).unwrap_or_default());
        let behind = whole.get(span.start - line.start..).unwrap_or_default();
        let key = whole.split_once(':').map(|(key, _)| key.trim().trim_start_matches("- "));
        let is_colon = what.starts_with("key with no value")
            || (what.starts_with("invalid unquoted key") && behind.trim_start().starts_with(':'));
        let is_yaml = is_colon && key.is_some() && !whole.trim().starts_with("//");
        if is_yaml && std::mem::replace(&mut self.is_yaml, true) {
            return;
        }
        let problem = diagnostics.error(self.placed.moved(span), format!("this is not TOML: {what}"));
        if let Some(key) = key.filter(|_| is_yaml) {
            problem.help(match whole.trim().ends_with(':') {
                true => format!("this looks like YAML; in TOML a section begins with brackets: [{key}.NAME]"),
                false => format!("TOML has `=` between a key and its value: {key} = {}", as_toml(&whole)),
            });
        } else if behind.starts_with(';') || whole.trim().starts_with("//") {
            problem.help("a comment begins with #");
        } else if what.starts_with("missing comma") {
            problem.help("a comma is missing, or what was opened before this is not closed");
            // Whatever is read behind it may stand in the wrong place.
            self.said_until = text.len();
            self.unusable(line.start..text.len(), diagnostics);
        } else if what.starts_with("invalid basic string") || what.starts_with("invalid literal string") {
            problem.help("a text ends with the quote that it begins with, on the same line");
        } else if what.starts_with("missing escaped value") {
            problem
                .label("a backslash in double quotes begins an escape")
                .help("put the text in single quotes, which take a backslash as it is: 'took \\d+ s'");
        } else if let Some(line) = with_quotes(&whole) {
            problem.help(line);
        } else if what.starts_with("string values must be quoted") {
            let end = behind.find([',', ']', '}', ' ']).unwrap_or(behind.len());
            problem.help(format!("text goes in quotes: \"{}\"", &behind[..end]));
        }
    }
}

/// The line that a place is in.
fn line_around(text: &str, position: usize) -> Range<usize> {
    let start = text.get(..position).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let end = text.get(position..).and_then(|after| after.find('\n')).map_or(text.len(), |at| position + at);
    start..end
}

/// The key with the most parts, as far as they are bare.
fn deepest_key(text: &str) -> Option<Range<usize>> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut start = 0;
    let mut keys = Vec::new();
    for piece in text.split_inclusive(|c| !is_of_key(c)) {
        let key = piece.trim_end_matches(|c| !is_of_key(c));
        keys.push((key.matches('.').count(), start..start + key.len()));
        start += piece.len();
    }
    keys.into_iter().rev().max_by_key(|(dots, _)| *dots).map(|(_, place)| place)
}

/// The line before a line that says the same header, or the same key of the same section; `None` where it is not that
/// simple.
fn first_of_two(text: &str, second: Range<usize>) -> Option<Range<usize>> {
    let name = |line: &str| match line.trim_start().starts_with('[') {
        true => line.split('#').next().unwrap_or_default().trim().to_owned(),
        false => line.split('=').next().unwrap_or_default().trim().to_owned(),
    };
    let wanted = name(text.get(second.clone())?);
    let mut end = second.start;
    while let Some(before) = text.get(..end.checked_sub(1)?) {
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = &before[start..];
        if name(line) == wanted {
            return Some(start..start + line.trim_end().len());
        }
        if !wanted.starts_with('[') && line.trim_start().starts_with('[') {
            return None;
        }
        end = start;
    }
    None
}

/// The value of a line `key: value`, where it is a single word; otherwise dots, for quotes and lists differ as well.
fn as_toml(line: &str) -> String {
    let value = line.split_once(':').map_or("", |(_, value)| value.trim());
    let is_word = value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    match value {
        "true" | "false" => value.to_owned(),
        _ if is_word && value.starts_with(|c: char| c.is_ascii_alphabetic()) => format!("\"{value}\""),
        _ => "…".to_owned(),
    }
}

/// The line `key = some text` with its value in quotes; `None` where that is not the problem.
fn with_quotes(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let (key, value) = (key.trim(), value.split('#').next().unwrap_or_default().trim());
    let straight = value.trim_matches(['“', '”', '„', '‘', '’']);
    match value {
        "yes" | "on" => Some(format!("write {key} = true")),
        "no" | "off" => Some(format!("write {key} = false")),
        _ if straight != value => Some(format!("use straight quotes: {key} = \"{straight}\"")),
        "" => None,
        _ if value.contains(['"', '\'', '[', '{', '\\']) => None,
        _ => Some(format!("text goes in quotes: {key} = \"{value}\"")),
    }
}
