//! `${NAME}` and `${NAME:-default}` in the strings of the file.
//!
//! `$$` is a literal `$`; a `$` before anything else stands for itself, so that regular expressions stay
//! readable. As in a shell, `:-` also applies to a variable that is empty. Keys are taken as they are.
//!
//! The file is parsed first and the values are filled in afterwards: a value can never become syntax. Values may
//! be secrets, so diagnostics name the variable and never show what it holds.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::diagnostics::{Diagnostics, Substituted};

/// Fills variables into every string of the table.
pub(super) fn substitute<'s>(
    mut table: DeTable<'s>,
    variable: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Diagnostics,
) -> DeTable<'s> {
    let mut walk = Walk { variable, diagnostics };
    walk.table(&mut table);
    table
}

struct Walk<'w> {
    variable: &'w dyn Fn(&str) -> Option<String>,
    diagnostics: &'w mut Diagnostics,
}

impl Walk<'_> {
    fn table(&mut self, table: &mut DeTable<'_>) {
        for (_, value) in table.iter_mut() {
            self.value(value);
        }
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            DeValue::String(text) if text.contains('$') => {
                let filled = self.string(text, span);
                *text = filled.into();
            }
            _ => {}
        }
    }

    fn string(&mut self, text: &str, span: Range<usize>) -> String {
        let filled = fill_in(text, self.variable);
        for problem in &filled.problems {
            self.report(problem, &span);
        }
        if !filled.variables.is_empty() || !filled.problems.is_empty() {
            let unusable = !filled.problems.is_empty();
            self.diagnostics.substituted(Substituted {
                span,
                written: text.to_owned(),
                filled: filled.text.clone(),
                variables: filled.variables,
                unusable,
            });
        }
        filled.text
    }

    fn report(&mut self, problem: &Problem, span: &Range<usize>) {
        match problem {
            Problem::NotSet(name) => self
                .diagnostics
                .error(
                    self.place(span, &format!("${{{name}}}")),
                    format!("the environment variable `{name}` is not set"),
                )
                .help(format!("set it for the router, or give a default: ${{{name}:-default}}")),
            Problem::NotClosed => self
                .diagnostics
                .error(self.place(span, "${"), "`${` without its `}`")
                .help("write ${NAME} or ${NAME:-default}; a literal `$` before a brace is written `$$`"),
            Problem::NoName => self
                .diagnostics
                .error(self.place(span, "${"), "`${…}` does not hold the name of a variable")
                .help("a name has letters, digits and `_`; a literal `$` before a brace is written `$$`"),
        };
    }

    /// Where `part` stands in the file within a string; the whole string where escapes hide it.
    fn place(&self, span: &Range<usize>, part: &str) -> Range<usize> {
        let found = self.diagnostics.text(span).and_then(|text| text.find(part));
        found.map_or_else(|| span.clone(), |offset| span.start + offset..span.start + offset + part.len())
    }
}

#[derive(Debug, PartialEq)]
enum Problem {
    NotSet(String),
    NotClosed,
    NoName,
}

#[derive(Debug, Default, PartialEq)]
struct Filled {
    text: String,
    variables: Vec<(String, String)>,
    problems: Vec<Problem>,
}

fn fill_in(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Filled {
    let mut filled = Filled::default();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        filled.text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            let Some((inner, after)) = after.split_once('}') else {
                filled.problems.push(Problem::NotClosed);
                return filled;
            };
            expand(inner, variable, &mut filled);
            rest = after;
        } else {
            filled.text.push('$');
            rest = rest.strip_prefix('$').unwrap_or(rest);
        }
    }
    filled.text.push_str(rest);
    filled
}

/// What is between the braces.
fn expand(inner: &str, variable: &dyn Fn(&str) -> Option<String>, filled: &mut Filled) {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(letters) {
        filled.problems.push(Problem::NoName);
        return;
    }
    match (variable(name), default) {
        (Some(value), None) => {
            filled.text.push_str(&value);
            filled.variables.push((name.to_owned(), value));
        }
        (Some(value), Some(_)) if !value.is_empty() => {
            filled.text.push_str(&value);
            filled.variables.push((name.to_owned(), value));
        }
        (_, Some(default)) => {
            filled.text.push_str(default);
            // The default stands in the file, so there is nothing to hide; the string may still hold a number.
            filled.variables.push((name.to_owned(), String::new()));
        }
        (None, None) => filled.problems.push(Problem::NotSet(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("web1".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${HOST} \" $$".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn fills_in_variables() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${HOST}", "web1"),
            ("a-${HOST}-b-${HOST}", "a-web1-b-web1"),
            ("${HOST:-other}", "web1"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("cost: $$5 $5 end$", "cost: $5 $5 end$"),
            ("$${HOST}", "${HOST}"),
            ("${TRICKY}", "${HOST} \" $$"),
        ] {
            let filled = fill_in(text, &variable);
            assert_eq!((filled.text.as_str(), filled.problems.len()), (expected, 0), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, problem) in [
            ("${NONE}", Problem::NotSet("NONE".to_owned())),
            ("${HOST", Problem::NotClosed),
            ("${}", Problem::NoName),
            ("${HOST-x}", Problem::NoName),
            ("${1A}", Problem::NoName),
        ] {
            assert_eq!(fill_in(text, &variable).problems, [problem], "{text}");
        }
    }
}
