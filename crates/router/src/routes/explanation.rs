//! Why a condition holds for a message, or does not, in words for people.
//!
//! Each single test is decided by the [`Matcher`] that routes by it, so that what is said cannot differ from what is done; the
//! tests of this room compare the two. Of conditions that must all hold, the first that does not is enough to say.

use std::borrow::Cow;

use metlog_message::{Index, Key, Kind, Path, lookup};

use super::{
    condition::{Condition, Scalar, Test},
    matcher::Matcher,
};

/// Characters of a value that are shown.
const SHOWN: usize = 80;

/// Whether a condition holds for a message, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it holds.
    pub holds: bool,
    /// What it rests on, one test each: `severity = 6 is above max = 4`. Empty where there is nothing to satisfy. Holds
    /// parts of the message, which may be any characters.
    pub because: Vec<String>,
}

impl Explanation {
    /// Explains `condition` for a message. `written` is the same condition as it is shown, with the names of environment
    /// variables instead of their values.
    pub fn of(condition: &Condition, written: &Condition, message: &[u8], index: &Index) -> Explanation {
        match condition {
            Condition::All(conditions) => {
                let mut because = Vec::new();
                for (condition, written) in conditions.iter().zip(parts(written, conditions)) {
                    let part = Explanation::of(condition, written, message, index);
                    if !part.holds {
                        return part;
                    }
                    because.extend(part.because);
                }
                Explanation { holds: true, because }
            }
            Condition::Any(conditions) => {
                let mut because = Vec::new();
                for (condition, written) in conditions.iter().zip(parts(written, conditions)) {
                    let part = Explanation::of(condition, written, message, index);
                    if part.holds {
                        return part;
                    }
                    because.extend(part.because);
                }
                Explanation { holds: false, because }
            }
            Condition::Not(inner) => {
                let written = match written {
                    Condition::Not(written) => written,
                    _ => inner,
                };
                let part = Explanation::of(inner, written, message, index);
                let word = if part.holds { "excluded by `not`" } else { "not excluded" };
                let because = match part.because.is_empty() {
                    true => word.to_owned(),
                    false => format!("{word}: {}", part.because.join(", ")),
                };
                Explanation { holds: !part.holds, because: vec![because] }
            }
            Condition::Test(path, test) => {
                let shown = match written {
                    Condition::Test(_, shown) => shown,
                    _ => test,
                };
                let holds = holds(path, test, message, index);
                let subject = Subject { path, message, index };
                Explanation { holds, because: vec![subject.explain(test, shown, holds)] }
            }
        }
    }
}

/// The parts of a combination, as they are shown.
fn parts<'c>(written: &'c Condition, conditions: &'c [Condition]) -> &'c [Condition] {
    match written {
        Condition::All(parts) | Condition::Any(parts) if parts.len() == conditions.len() => parts,
        _ => conditions,
    }
}

/// A test that cannot be compiled is in no route table.
fn holds(path: &Path, test: &Test, message: &[u8], index: &Index) -> bool {
    Matcher::compile(&Condition::Test(path.clone(), test.clone()))
        .is_ok_and(|matcher| matcher.matches(message, index))
}

/// What a test is about.
struct Subject<'m> {
    path: &'m Path,
    message: &'m [u8],
    index: &'m Index,
}

impl Subject<'_> {
    fn explain(&self, test: &Test, shown: &Test, holds: bool) -> String {
        let Some((value, is_default)) = self.value() else {
            return match test {
                Test::Exists(_) if !holds => format!("{} is missing", self.path),
                Test::Exists(_) => format!("{} is missing, as it must be", self.path),
                _ => format!("{} is missing", self.path),
            };
        };
        let default = if is_default { " (the default)" } else { "" };
        let subject = format!("{} = {}{default}", self.path, shortened(&value));
        let kind = kind(&value);
        // Text tests see the JSON text of a payload that is no string.
        let is_text = kind == Kind::String || self.path.parts() == [Key::Payload.name()];
        match shown {
            Test::Exists(true) => format!("{} is there", self.path),
            Test::Exists(false) => format!("{subject} is there"),
            Test::OneOf(scalars) => one_of(&subject, kind, scalars, holds),
            Test::Range { .. } if kind != Kind::Number => {
                format!("{subject} is {}, not a number", name(kind))
            }
            Test::Range { min, max } => self.range(&subject, min.as_deref(), max.as_deref(), holds),
            Test::Prefix(_) | Test::Glob(_) | Test::Regex(_) if !is_text => {
                format!("{subject} is {}, not a string", name(kind))
            }
            Test::Prefix(prefix) => {
                format!("{subject} {} {prefix:?}", if holds { "begins with" } else { "does not begin with" })
            }
            Test::Glob(glob) => {
                format!(
                    "{subject} {} {glob:?}",
                    if holds { "fits the glob" } else { "does not fit the glob" }
                )
            }
            Test::Regex(regex) => {
                let finds = if holds { "finds something" } else { "finds nothing" };
                format!("{subject}, in which the regex {regex:?} {finds}")
            }
        }
    }

    fn range(&self, subject: &str, min: Option<&str>, max: Option<&str>, holds: bool) -> String {
        let bound = |name: &str, bound: Option<&str>| bound.map(|bound| format!("{name} = {bound}"));
        if holds {
            let bounds: Vec<String> = [bound("min", min), bound("max", max)].into_iter().flatten().collect();
            return format!("{subject} is within {}", bounds.join(", "));
        }
        let lower = Test::Range { min: min.map(str::to_owned), max: None };
        match (bound("min", min), bound("max", max)) {
            (Some(min), _) if !self::holds(self.path, &lower, self.message, self.index) => {
                format!("{subject} is below {min}")
            }
            (_, max) => format!("{subject} is above {}", max.unwrap_or_default()),
        }
    }

    /// The value's JSON text, and whether the envelope's default stands in for it.
    fn value(&self) -> Option<(Cow<'_, str>, bool)> {
        let text = |raw| String::from_utf8_lossy(raw);
        let key = match self.path.parts() {
            [_] => self.path.key(),
            _ => None,
        };
        let Some(key) = key else {
            return lookup(self.message, self.index, self.path).map(|value| (text(value.raw()), false));
        };
        match self.index.raw(self.message, key) {
            Some(raw) => Some((text(raw), false)),
            None => match key {
                Key::Severity => Some(("6".into(), true)),
                Key::Fields => Some(("{}".into(), true)),
                Key::Type | Key::Timestamp | Key::Logger | Key::Payload => Some(("\"\"".into(), true)),
                Key::EnvVersion | Key::Pid | Key::Hostname => None,
            },
        }
    }
}

fn one_of(subject: &str, kind: Kind, scalars: &[Scalar], holds: bool) -> String {
    let shown: Vec<String> = scalars.iter().map(scalar).collect();
    match (shown.as_slice(), holds) {
        ([_], true) => subject.to_owned(),
        (_, true) => format!("{subject} is one of {}", shown.join(", ")),
        ([one], false) => {
            let why = match scalars.iter().all(|scalar| kind_of(scalar) != kind) {
                true => format!(": {} is never equal to {}", name(kind), name(kind_of(&scalars[0]))),
                false => String::new(),
            };
            format!("{subject} is not {one}{why}")
        }
        (_, false) => format!("{subject} is none of {}", shown.join(", ")),
    }
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::String(text) => format!("{text:?}"),
        Scalar::Number(text) => text.clone(),
        Scalar::Bool(value) => value.to_string(),
    }
}

fn kind_of(scalar: &Scalar) -> Kind {
    match scalar {
        Scalar::String(_) => Kind::String,
        Scalar::Number(_) => Kind::Number,
        Scalar::Bool(_) => Kind::Bool,
    }
}

fn kind(json: &str) -> Kind {
    match json.as_bytes().first() {
        Some(b'"') => Kind::String,
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'-' | b'0'..=b'9') => Kind::Number,
        _ => Kind::Null,
    }
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "a list",
        Kind::Object => "an object",
    }
}

fn shortened(json: &str) -> Cow<'_, str> {
    match json.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &json[..end])),
        None => Cow::Borrowed(json),
    }
}
