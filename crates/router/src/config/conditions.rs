//! Reads a `match` table into a [`Condition`].
//!
//! The keys of the table are paths into the message, and all of them must hold. What a path is tested with:
//!
//! | value | holds where |
//! | --- | --- |
//! | `"text"`, `5`, `true` | the value is equal |
//! | `["a", "b"]` | it is equal to one of them |
//! | `{ min = 1, max = 4 }` | it is a number within these bounds |
//! | `{ prefix = "sync" }` | it is a string that begins like this |
//! | `{ glob = "sync*" }` | it is a string that fits the pattern |
//! | `{ regex = "time(d )?out" }` | it is a string in which the expression finds something |
//! | `{ exists = true }` | it is there |
//!
//! Several operators in one table must all hold. Three keys are no paths: `not = { … }`, `any = [ { … } ]` and
//! `all = [ { … } ]` combine whole tables. A message key of such a name is written with its own quotes: `'"any"'`.
//!
//! A test that can never hold, such as `type = 5`, is an error and not a route that silently takes nothing.

use std::{ops::Range, sync::Arc};

use metlog_message::{Key, Path};
use toml::de::{DeArray, DeTable, DeValue};

use self::subject::Subject;
use super::{
    diagnostics::{Diagnostic, Diagnostics},
    parameters::ParameterDoc,
    reader::{FromConfig, Schema, Value, found},
    sources::Source,
    suggest,
};
use crate::routes::{
    condition::{Condition, Scalar, Test},
    globs::Glob,
};

mod subject;
#[cfg(test)]
mod tests;

const OPERATORS: [&str; 6] = ["min", "max", "prefix", "glob", "regex", "exists"];

/// What one value is tested with, for the reference and the schema; the keys are those of [`OPERATORS`].
pub(super) fn operator_docs() -> Vec<ParameterDoc> {
    let text = |name, doc: &str| ParameterDoc { name, ..ParameterDoc::of::<Option<String>>(name, doc, None) };
    let number = |name, doc: &str| ParameterDoc {
        expected: "a number".to_owned(),
        schema: Schema::Number,
        ..text(name, doc)
    };
    vec![
        number("min", "The value is a number that is at least this."),
        number("max", "The value is a number that is at most this."),
        text("prefix", "The value is a string that begins like this."),
        text(
            "glob",
            "The value is a string of this shape: `*` anything, `?` one character, `[a-z]` a class, `{a,b}` alternatives.",
        ),
        text("regex", "The value is a string in which this expression finds something."),
        ParameterDoc::of::<Option<bool>>("exists", "Whether there is a value at all.", None),
    ]
}

/// What combines whole conditions.
pub(super) const GROUPS: [(&str, &str); 3] = [
    ("any", "A list of conditions of which at least one holds."),
    ("all", "A list of conditions that all hold."),
    ("not", "A condition that does not hold."),
];

/// For declarations; problems are reported in more detail than this trait asks for.
impl FromConfig for Condition {
    fn expected() -> String {
        "a table such as { type = \"counter\" }".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Condition> {
        read(value, diagnostics)
    }

    fn to_toml(&self) -> String {
        String::new()
    }

    fn schema() -> Schema {
        Schema::Condition
    }
}

const SEVERITIES: &str =
    "0 emergency, 1 alert, 2 critical, 3 error, 4 warning, 5 notice, 6 informational, 7 debug";

/// Reads the value of `match`. An empty table takes every message.
pub fn read(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Condition> {
    let DeValue::Table(table) = value.get_ref() else {
        let problem = diagnostics.error(value.span(), "`match` takes a table such as { type = \"counter\" }");
        problem.label(format!("this is {}", found(value.get_ref())));
        return None;
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let read: Vec<Option<Condition>> = entries
        .into_iter()
        .map(|(key, value)| match &**key.get_ref() {
            "not" => read(value, diagnostics).map(|condition| Condition::Not(Box::new(condition))),
            "any" => group("any", value, diagnostics).map(Condition::Any),
            "all" => group("all", value, diagnostics).map(Condition::All),
            text => entry(text, key.span(), value, diagnostics),
        })
        .collect();
    let mut conditions = read.into_iter().collect::<Option<Vec<Condition>>>()?;
    match conditions.len() {
        1 => conditions.pop(),
        _ => Some(Condition::All(conditions)),
    }
}

/// Reads the text of a `match` table that stands alone, as in a query. The error shows every problem in it.
pub fn parse(text: &str) -> Result<Condition, String> {
    let (condition, diagnostics) = read_alone(text);
    condition.ok_or_else(|| diagnostics.render(false))
}

/// What is odd about the text of a `match` table that can be used, such as a misspelt key of the envelope; empty where
/// nothing is.
pub fn warnings(text: &str) -> String {
    match read_alone(text) {
        (Some(_), diagnostics) => diagnostics.render(false),
        (None, _) => String::new(),
    }
}

fn read_alone(text: &str) -> (Option<Condition>, Diagnostics) {
    let mut diagnostics = Diagnostics::new();
    diagnostics.add_source(Arc::new(Source::new("match", text)));
    let condition = match DeValue::parse(text) {
        Ok(value) => read(&value, &mut diagnostics),
        Err(error) => {
            let place = error.span().unwrap_or(0..text.len());
            diagnostics.error(place, error.message()).help("write it as { type = \"counter\" }");
            None
        }
    };
    (condition, diagnostics)
}

/// The same for the eye: strings are as they stand in the file, not with the values of environment variables.
pub fn read_as_written(value: &Value<'_>, diagnostics: &Diagnostics) -> Option<Condition> {
    read(value, &mut diagnostics.for_showing())
}

/// The tables in `any = [ … ]` and `all = [ … ]`.
fn group(key: &str, value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Vec<Condition>> {
    let items = match value.get_ref() {
        DeValue::Array(items) if !items.is_empty() => items,
        other => {
            let message = format!("`{key}` takes a list of tables such as [{{ type = \"counter\" }}]");
            let problem = diagnostics.error(value.span(), message);
            problem.label(if other.is_array() {
                "this is empty".to_owned()
            } else {
                format!("this is {}", found(other))
            });
            problem.help(format!("a message key called `{key}` is written '\"{key}\"'"));
            return None;
        }
    };
    let read: Vec<Option<Condition>> = items.iter().map(|item| read(item, diagnostics)).collect();
    read.into_iter().collect()
}

/// One path and what it is tested with.
fn entry(
    text: &str,
    span: Range<usize>,
    value: &Value<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Condition> {
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(error) => {
            let problem = diagnostics.error(span, format!("`{text}` is not a path into a message: {error}"));
            problem.help("a path is a key, or keys with dots between them: \"fields.user.id\"");
            return None;
        }
    };
    let subject = Subject::of_key(path.key());
    if let Some(meant) = suggest::nearest_key(&path) {
        let problem =
            diagnostics.warning(span.clone(), format!("no message that follows the envelope has `{text}`"));
        problem.label(format!("did you mean `{meant}`?"));
    }
    let inside = path.parts().len() > 1;
    let mut reader = Tests { text, key: path.key(), subject, diagnostics };
    if inside && !matches!(subject, Subject::Object | Subject::Anything) {
        reader.never(span, format!("`{}` is {}: nothing lies inside it", first_part(&path), subject.name()));
        return None;
    }
    if inside {
        reader.subject = Subject::Anything;
        reader.key = None;
    }
    let tests = match value.get_ref() {
        DeValue::Array(items) => reader.one_of(value, items).map(|test| vec![test]),
        DeValue::Table(table) => reader.operators(value, table),
        _ => reader.scalar(value).map(|scalar| vec![Test::OneOf(vec![scalar])]),
    }?;
    let mut conditions: Vec<Condition> =
        tests.into_iter().map(|test| Condition::Test(path.clone(), test)).collect();
    match conditions.len() {
        1 => conditions.pop(),
        _ => Some(Condition::All(conditions)),
    }
}

fn first_part(path: &Path) -> &str {
    path.parts().first().map_or("", String::as_str)
}

/// Reads the tests of one path.
struct Tests<'r> {
    /// The path as written.
    text: &'r str,
    /// The envelope key that the whole path is.
    key: Option<Key>,
    subject: Subject,
    diagnostics: &'r mut Diagnostics,
}

impl Tests<'_> {
    /// Reports a test that no message can pass.
    fn never(&mut self, span: Range<usize>, reason: String) -> &mut Diagnostic {
        self.diagnostics.error(span, "this never matches").label(reason)
    }

    fn wrong_subject(&mut self, value: &Value<'_>) {
        let reason = format!("`{}` is {}", self.text, self.subject.name());
        let help = (self.subject == Subject::Severity).then_some(SEVERITIES);
        self.never(value.span(), reason).help = help.map(str::to_owned);
    }

    fn one_of(&mut self, list: &Value<'_>, items: &DeArray<'_>) -> Option<Test> {
        if items.is_empty() {
            self.never(list.span(), "the list is empty".to_owned());
            return None;
        }
        let read: Vec<Option<Scalar>> = items.iter().map(|item| self.scalar(item)).collect();
        read.into_iter().collect::<Option<_>>().map(Test::OneOf)
    }

    fn scalar(&mut self, value: &Value<'_>) -> Option<Scalar> {
        match value.get_ref() {
            DeValue::String(text) if self.subject.can_be_string() => {
                Some(Scalar::String(self.diagnostics.string(&value.span(), text)))
            }
            DeValue::Boolean(flag) if self.subject == Subject::Anything => Some(Scalar::Bool(*flag)),
            DeValue::Integer(_) | DeValue::Float(_) => self.number(value).map(Scalar::Number),
            DeValue::String(_) | DeValue::Boolean(_) => {
                self.wrong_subject(value);
                None
            }
            other => {
                let message = format!("`{}` cannot be compared with {}", self.text, found(other));
                let problem = self.diagnostics.error(value.span(), message);
                problem.help("compare with a string, a number, true or false, or a list of these");
                None
            }
        }
    }

    /// A number as JSON writes it: the text of the file, so that no digit is lost.
    fn number(&mut self, value: &Value<'_>) -> Option<String> {
        if !self.subject.can_be_number() {
            self.wrong_subject(value);
            return None;
        }
        if self.key == Some(Key::Payload) {
            let message =
                "`payload` is text in what the client libraries send, and a number never equals text";
            let problem = self.diagnostics.warning(value.span(), message);
            problem.help("this only matches messages whose payload is a JSON number");
        }
        let number = match value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
            }
            DeValue::Float(number) if !number.as_str().contains(['i', 'n']) => {
                Some(number.as_str().to_owned())
            }
            _ => None,
        };
        let Some(number) = number else {
            self.diagnostics.error(value.span(), "this is not a number that a message can hold");
            return None;
        };
        let number = number.trim_start_matches('+').to_owned();
        let outside =
            number.parse::<f64>().is_ok_and(|number| !(0.0..=7.0).contains(&number) || number.fract() != 0.0);
        if self.subject == Subject::Severity && outside {
            self.wrong_subject(value);
            return None;
        }
        Some(number)
    }

    /// A table of operators; all of them must hold.
    fn operators(&mut self, whole: &Value<'_>, table: &DeTable<'_>) -> Option<Vec<Test>> {
        if table.is_empty() {
            let problem =
                self.diagnostics.error(whole.span(), format!("nothing is said about `{}`", self.text));
            problem.help(format!("known operators: {}", suggest::listed(OPERATORS, "and")));
            return None;
        }
        let mut tests = Vec::new();
        let mut complete = true;
        if table.contains_key("min") || table.contains_key("max") {
            match self.range(table) {
                Some(range) => tests.push(range),
                None => complete = false,
            }
        }
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let test = match &**key.get_ref() {
                "min" | "max" => continue,
                "prefix" => self
                    .pattern("prefix", value)
                    .map(|text| Test::Prefix(self.diagnostics.string(&value.span(), text))),
                "glob" => self.glob(value),
                "regex" => self.regex(value),
                "exists" => self.exists(value),
                unknown => {
                    self.unknown_operator(unknown, key.span(), value);
                    None
                }
            };
            match test {
                Some(test) => tests.push(test),
                None => complete = false,
            }
        }
        complete.then_some(tests)
    }

    fn unknown_operator(&mut self, name: &str, span: Range<usize>, value: &Value<'_>) {
        let problem = self.diagnostics.error(span, format!("there is no operator `{name}`"));
        if let Some(meant) = suggest::nearest(name, OPERATORS) {
            problem.label(format!("did you mean `{meant}`?"));
        } else if name == "not" {
            problem.help(format!("`not` goes around whole conditions: not = {{ {} = … }}", self.text));
        } else if name == "any" || name == "all" {
            problem
                .help(format!("`{name}` goes around whole conditions: {name} = [ {{ {} = … }} ]", self.text));
        } else if value.get_ref().is_table() || self.subject == Subject::Object {
            problem.help(format!(
                "is it a path? Then it goes in quotes: \"{}.{}\" = …",
                self.text,
                inner_path(name, value)
            ));
        } else {
            problem.help(format!("known operators: {}", suggest::listed(OPERATORS, "and")));
        }
    }

    fn range(&mut self, table: &DeTable<'_>) -> Option<Test> {
        let mut bound = |key: &str| match table.get(key) {
            Some(value) if matches!(value.get_ref(), DeValue::Integer(_) | DeValue::Float(_)) => {
                self.number(value).map(Some)
            }
            Some(value) => {
                let problem = self.diagnostics.error(value.span(), format!("`{key}` takes a number"));
                problem.label(format!("this is {}", found(value.get_ref())));
                None
            }
            None => Some(None),
        };
        let (min, max) = (bound("min"), bound("max"));
        let (min, max) = (min?, max?);
        let value_of = |bound: &Option<String>| bound.as_ref().and_then(|text| text.parse::<f64>().ok());
        if let (Some(low), Some(high), Some(place)) = (value_of(&min), value_of(&max), table.get("min"))
            && low > high
        {
            self.never(place.span(), "`min` is greater than `max`".to_owned());
            return None;
        }
        Some(Test::Range { min, max })
    }

    /// The text of an operator on strings.
    fn pattern<'v>(&mut self, operator: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let Some(text) = value.get_ref().as_str() else {
            let problem = self.diagnostics.error(value.span(), format!("`{operator}` takes a string"));
            problem.label(format!("this is {}", found(value.get_ref())));
            return None;
        };
        if !self.subject.can_be_string() {
            self.wrong_subject(value);
            return None;
        }
        Some(text)
    }

    fn glob(&mut self, value: &Value<'_>) -> Option<Test> {
        let glob = self.pattern("glob", value)?;
        if let Err(error) = Glob::compile(glob) {
            let problem = self.diagnostics.error(value.span(), "this is not a glob pattern");
            problem.label(error.to_string());
            problem
                .help("`*` is any run of characters, `?` one character, [a-z] a class, {a,b} alternatives");
            return None;
        }
        Some(Test::Glob(self.diagnostics.string(&value.span(), glob)))
    }

    fn regex(&mut self, value: &Value<'_>) -> Option<Test> {
        let expression = self.pattern("regex", value)?;
        if let Err(error) = regex::bytes::Regex::new(expression) {
            // The last line of the error says what is wrong; the lines above it repeat the expression.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            let problem = self.diagnostics.error(value.span(), "this is not a regular expression");
            problem.label(reason.strip_prefix("error: ").unwrap_or(reason));
            return None;
        }
        Some(Test::Regex(self.diagnostics.string(&value.span(), expression)))
    }

    fn exists(&mut self, value: &Value<'_>) -> Option<Test> {
        let flag = value.get_ref().as_bool();
        if flag == Some(false) && self.key.is_some_and(subject::is_always_there) {
            self.never(value.span(), format!("every message has `{}`, if only by default", self.text));
            return None;
        }
        if flag.is_none() {
            let problem = self.diagnostics.error(value.span(), "`exists` takes true or false");
            problem.label(format!("this is {}", found(value.get_ref())));
        }
        flag.map(Test::Exists)
    }
}

/// `user.id` for what TOML reads `user.id = 5` as: tables inside each other.
fn inner_path(name: &str, value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::Table(table) if table.len() == 1 => match table.iter().next() {
            Some((key, _)) if OPERATORS.contains(&&**key.get_ref()) => name.to_owned(),
            Some((key, inner)) => format!("{name}.{}", inner_path(key.get_ref(), inner)),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}
