//! Reading one table of the file: typed values out, every problem into the [`Diagnostics`].

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{diagnostics::Diagnostics, fingerprint::Fingerprint, parameters::ParameterDoc, planned, suggest};

/// A value of the file together with its place.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// A type that a configuration value can be read as.
pub trait FromConfig: Sized {
    /// What is expected, as the object of "takes": `a size such as "8MiB"`.
    fn expected() -> String;

    /// Reads a value; where that fails, says why in `diagnostics` (see [`Diagnostics::wrong_type`] and
    /// [`Diagnostics::invalid`]) and returns `None`.
    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Self>;

    /// The value as a file would say it, for the reference page; empty where it cannot be said.
    fn to_toml(&self) -> String;

    /// The shape of the value, for the JSON Schema.
    fn schema() -> Schema {
        Schema::String
    }

    /// The value of an optional key that the file does not have. `None`: the key is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// The shape of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// `true` or `false`.
    Boolean,
    /// A whole number up to this one.
    Integer {
        /// The largest that is accepted.
        maximum: u64,
    },
    /// Any text; what it must look like is in the description.
    String,
    /// Text that is never shown.
    Secret,
    /// A size in bytes: text with a unit, or a whole number.
    Size,
    /// A time: text with a unit.
    Time,
    /// Any number.
    Number,
    /// The table of a route's `match`.
    Condition,
    /// One of these words, each with its description.
    Choice(Vec<(&'static str, String)>),
    /// A list.
    List(Box<Schema>),
    /// One of these, or a list of them.
    OneOrMany(Box<Schema>),
    /// A table with these keys.
    Table(Vec<ParameterDoc>),
    /// A table with keys of the operator's choice.
    Map(Box<Schema>),
    /// Any of these shapes.
    AnyOf(Vec<Schema>),
    /// Any value.
    Anything,
}

/// One table of the file while it is being read.
///
/// It hands out typed values and remembers which keys were asked for; [`Section::finish`] reports the others.
pub struct Section<'a> {
    name: String,
    span: Range<usize>,
    table: &'a DeTable<'a>,
    known: Vec<&'static str>,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Section<'a> {
    /// A table that starts at `span` and is spoken of as `name`.
    pub fn new(
        name: impl Into<String>,
        span: Range<usize>,
        table: &'a DeTable<'a>,
        diagnostics: &'a mut Diagnostics,
    ) -> Section<'a> {
        Section { name: name.into(), span, table, known: Vec::new(), diagnostics }
    }

    /// A value that must be a table, named after the key being read.
    pub fn of_value<T: FromConfig>(
        value: &'a Value<'a>,
        diagnostics: &'a mut Diagnostics,
    ) -> Option<Section<'a>> {
        match value.get_ref() {
            DeValue::Table(table) => {
                Some(Section::new(diagnostics.context().to_owned(), value.span(), table, diagnostics))
            }
            _ => {
                diagnostics.wrong_type::<T>(value);
                None
            }
        }
    }

    /// What the section is called: `endpoints.stats`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the section begins.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where problems go.
    pub fn diagnostics(&mut self) -> &mut Diagnostics {
        self.diagnostics
    }

    /// Where the value of `key` stands; the section itself where it has no such key.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span(), Spanned::span)
    }

    /// The value of `key` as it stands, which counts as asked for.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// The value of a key that must be there, unless its type has a value for absence.
    pub fn required<T: FromConfig>(&mut self, key: &'static str) -> Option<T> {
        match self.value(key) {
            Some(value) => self.read(key, value),
            None => T::absent().or_else(|| {
                self.missing(key, &T::expected());
                None
            }),
        }
    }

    /// The value of a key that need not be there. Also `None` where it could not be read.
    pub fn optional<T: FromConfig>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key)?;
        self.read(key, value)
    }

    /// The value of a key, or `default` where the file does not have it. `None` where it could not be read.
    pub fn or_default<T: FromConfig>(&mut self, key: &'static str, default: T) -> Option<T> {
        match self.value(key) {
            Some(value) => self.read(key, value),
            None => Some(default),
        }
    }

    /// The value of a table key; where the file does not have it, what an empty table says.
    pub fn or_all_defaults<T: FromConfig>(&mut self, key: &'static str) -> Option<T> {
        match self.value(key) {
            Some(value) => self.read(key, value),
            None => self.read(key, &Spanned::new(self.span(), DeValue::Table(DeTable::new()))),
        }
    }

    fn read<T: FromConfig>(&mut self, key: &str, value: &Value<'_>) -> Option<T> {
        let outer = self.diagnostics.enter(self.name_of(key));
        let read = T::from_config(value, self.diagnostics);
        self.diagnostics.leave(outer);
        read
    }

    /// A table inside this one; `None` where it is missing, or is no table (which is reported).
    pub fn child(&mut self, key: &'static str) -> Option<Section<'_>> {
        let value = self.value(key)?;
        let name = self.name_of(key);
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(name, value.span(), table, self.diagnostics)),
            other => {
                let found = found(other);
                self.diagnostics.error(value.span(), format!("`{key}` takes a table, not {found}"));
                None
            }
        }
    }

    /// Reports that `key` is needed.
    pub fn missing(&mut self, key: &str, expected: &str) {
        if !self.diagnostics.is_incomplete() {
            let message = format!("{} needs the key `{key}`", self.title());
            self.diagnostics
                .error(self.span.clone(), message)
                .help(format!("add `{key}`: it takes {expected}"));
        }
    }

    /// Has `check` report what is wrong with keys together, where stand-ins are in the place of those that are `unread`. What it
    /// says of one of these, at its place or by its name, is a consequence of what was said of it before, and left out.
    pub fn check_without(&mut self, unread: &[&str], check: impl FnOnce(&mut Section<'_>)) {
        if unread.is_empty() {
            return check(self);
        }
        if self.diagnostics.is_incomplete() {
            return;
        }
        let said = self.diagnostics.iter().count();
        check(self);
        let places: Vec<_> = unread.iter().filter_map(|key| Some(self.table.get(*key)?.span())).collect();
        self.diagnostics.retain_behind(said, |problem| {
            !places.contains(&problem.span) && !unread.iter().any(|key| problem.names(key))
        });
    }

    /// Of the keys that were not asked for so far, and of those that were.
    pub fn fingerprints(&self) -> (Fingerprint, Fingerprint) {
        (
            Fingerprint::of(self.table, |key| !self.knows(key)),
            Fingerprint::of(self.table, |key| self.knows(key)),
        )
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// The name for the eye; the top level of the file has none of its own.
    fn title(&self) -> &str {
        if self.name.is_empty() { "the file" } else { &self.name }
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        let mut unknown: Vec<_> = self.table.keys().filter(|key| !self.knows(key.get_ref())).collect();
        unknown.sort_by_key(|key| key.span().start);
        let title = self.title().to_owned();
        let mut known = self.known;
        known.sort_unstable();
        known.dedup();
        for key in unknown {
            let name = key.get_ref();
            if let Some(instead) = planned::instead(&self.name, name) {
                let message = format!("`{name}` is not available in this version");
                self.diagnostics.error(key.span(), message).help(instead);
                continue;
            }
            let message = match self.name.as_str() {
                "" => format!("unknown key `{name}` at the top level of the file"),
                section => format!("unknown key `{name}` in {section}"),
            };
            let problem = self.diagnostics.error(key.span(), message);
            if let Some(meant) = suggest::nearest(name, known.iter().copied()) {
                problem.label(format!("did you mean `{meant}`?"));
            } else if let Some(place) = suggest::belongs(name) {
                problem.help(place);
            } else if known.is_empty() {
                problem.help(format!("{title} takes no keys"));
            } else {
                problem.help(format!("{title} takes {}", suggest::listed(known.iter().copied(), "and")));
            }
        }
    }

    fn knows(&self, key: &str) -> bool {
        self.known.contains(&key)
    }
}

/// A value's type with its article, for "takes …, not …".
pub(super) fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

impl Diagnostics {
    /// Reports that the value of the current key is not what a `T` is written as.
    pub fn wrong_type<T: FromConfig>(&mut self, value: &Value<'_>) {
        let message = format!("`{}` takes {}", self.key(), T::expected());
        let problem = self.error(value.span(), message);
        problem.label(format!("this is {}", found(value.get_ref())));
        match (T::schema(), value.get_ref()) {
            (Schema::Integer { .. }, DeValue::String(text)) if text.parse::<u64>().is_ok() => {
                problem.help("remove the quotes");
            }
            (Schema::Boolean, DeValue::String(text)) if matches!(&**text, "true" | "false") => {
                problem.help("remove the quotes");
            }
            (Schema::List(item), other) if item.written_as(other) => {
                problem.help("put it in brackets: [ … ]");
            }
            _ => {}
        }
    }

    /// Reports that the value of the current key has the right type but cannot be used: `reason` is shown at it.
    pub fn invalid<T: FromConfig>(&mut self, value: &Value<'_>, reason: impl Into<String>) {
        let message = format!("`{}` takes {}", self.key(), T::expected());
        self.error(value.span(), message).label(reason);
    }
}

impl Schema {
    /// Whether a value has the TOML type that this shape is written in.
    pub(super) fn written_as(&self, value: &DeValue<'_>) -> bool {
        match self {
            Schema::Boolean => value.is_bool(),
            Schema::Integer { .. } => value.is_integer(),
            Schema::String | Schema::Secret | Schema::Time | Schema::Choice(_) => value.is_str(),
            Schema::Size => value.is_str() || value.is_integer(),
            Schema::Number => value.is_integer() || value.is_float(),
            Schema::List(_) => value.is_array(),
            Schema::OneOrMany(item) => value.is_array() || item.written_as(value),
            Schema::AnyOf(shapes) => shapes.iter().any(|shape| shape.written_as(value)),
            Schema::Anything => true,
            Schema::Table(_) | Schema::Map(_) | Schema::Condition => value.is_table(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages and helps that reading `text` with `read` leads to.
    fn problems(text: &str, read: impl FnOnce(&mut Section<'_>)) -> Vec<(String, Option<String>)> {
        let table = DeTable::parse(text).unwrap();
        let mut diagnostics = Diagnostics::new();
        let mut section = Section::new("endpoints.x", 0..1, table.get_ref(), &mut diagnostics);
        read(&mut section);
        section.finish();
        diagnostics.iter().map(|item| (item.message.clone(), item.help.clone())).collect()
    }

    #[test]
    fn hands_out_typed_values() {
        let found = problems("count = 3\nname = 'n'\n", |section| {
            assert_eq!(section.required::<u16>("count"), Some(3));
            assert_eq!(section.optional::<String>("name"), Some("n".to_owned()));
            assert_eq!(section.optional::<String>("other"), None);
            assert_eq!(section.or_default("rate", 7u8), Some(7));
            assert_eq!(section.required::<Option<u8>>("more"), Some(None));
        });
        assert_eq!(found, []);
    }

    #[test]
    fn reports_missing_unknown_and_planned_keys() {
        let found = problems("adress = 1\nzzz = 2\nauth = 3\n", |section| {
            section.required::<String>("address");
        });
        let expected = [
            ("endpoints.x needs the key `address`", Some("add `address`: it takes a string")),
            ("unknown key `adress` in endpoints.x", None),
            ("unknown key `zzz` in endpoints.x", Some("endpoints.x takes `address`")),
            (
                "`auth` is not available in this version",
                Some("remove it; connect over a trusted network or a local proxy"),
            ),
        ];
        let expected = expected.map(|(message, help)| (message.to_owned(), help.map(str::to_owned)));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_wrong_type_says_how_to_repair_it() {
        let found = problems("a = '5'\nb = 'true'\nc = 'x'\n", |section| {
            assert_eq!(section.required::<u8>("a"), None);
            assert_eq!(section.required::<bool>("b"), None);
            assert_eq!(section.required::<Vec<String>>("c"), None);
            assert!(section.child("c").is_none());
        });
        let helps: Vec<_> = found.into_iter().map(|(_, help)| help.unwrap_or_default()).collect();
        assert_eq!(helps, ["remove the quotes", "remove the quotes", "put it in brackets: [ … ]", ""]);
    }
}
