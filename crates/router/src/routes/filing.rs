//! Under which value a route is filed: what must be equal, or begin alike, before a route is worth a look.
//!
//! A condition that is a conjunction is filed under one of its parts, and keeps the others as a rest to evaluate:
//! under the part that costs least to look up, `type` before all, unless many routes share its value and another
//! part tells them apart. A disjunction whose every alternative can be filed is filed once for each. What can be filed
//! nowhere (a regular expression, a range, a `not`) is a candidate for every message.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use metlog_message::{Key, Path};

use super::{
    condition::{Condition, Scalar, Test},
    globs::Glob,
    subject::Subject,
};

/// A disjunction with more alternatives than this stays whole.
const MAX_ALTERNATIVES: usize = 64;

/// As long as no more ways to match share a value, it is not worth a look at another key to tell them apart.
const SMALL_CROWD: usize = 8;

/// One way in which a route can match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The values to file it under; `None`: it can match whatever the values are.
    pub filing: Option<Filing>,
    /// What is left to evaluate when the value is there.
    pub rest: Condition,
}

/// Values of one subject; a message that has none of them cannot match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filing {
    pub subject: Subject,
    pub values: Vec<FiledValue>,
}

/// A value that a message must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum FiledValue {
    /// This string.
    Text(String),
    /// A string that begins like this.
    Prefix(String),
    /// A number with this key, see [`number_key`]: unequal numbers may share one.
    Number(u64),
    /// This truth value.
    Boolean(bool),
}

/// How many ways to match could be filed under each value.
#[derive(Debug, Default)]
pub(super) struct Crowds(HashMap<Subject, HashMap<FiledValue, usize, FixedState>, FixedState>);

impl Crowds {
    /// Counts every filing that a condition offers.
    pub fn count(&mut self, condition: &Condition) {
        let mut parts = Vec::new();
        flatten(condition, &mut parts);
        for part in parts {
            if let Some(Filed { filing, .. }) = filed(part) {
                let values = self.0.entry(filing.subject).or_default();
                for value in filing.values {
                    *values.entry(value).or_default() += 1;
                }
            } else if let Condition::Any(conditions) = part {
                conditions.iter().for_each(|condition| self.count(condition));
            }
        }
    }

    /// The most that share one of the values.
    fn of(&self, filing: &Filing) -> usize {
        let values = self.0.get(&filing.subject);
        let count = |value| values.and_then(|values| values.get(value)).copied().unwrap_or(0);
        filing.values.iter().map(count).max().unwrap_or(0)
    }
}

/// Every way in which a message can match `condition`.
pub(super) fn entries(condition: &Condition, crowds: &Crowds) -> Vec<Entry> {
    let mut parts = Vec::new();
    flatten(condition, &mut parts);
    let best = (0..parts.len())
        .filter_map(|position| Some((position, filed(parts[position])?)))
        .min_by_key(|(_, filed)| (crowds.of(&filed.filing).max(SMALL_CROWD), rank(&filed.filing)));
    if let Some((position, filed)) = best {
        let mut rest = without(&parts, position);
        if !filed.says_it_all {
            rest.push(parts[position].clone());
        }
        return vec![Entry { filing: Some(filed.filing), rest: Condition::All(rest) }];
    }
    let split =
        (0..parts.len()).find_map(|position| Some((position, alternatives(parts[position], crowds)?)));
    match split {
        Some((position, alternatives)) => alternatives
            .into_iter()
            .map(|entry| {
                let mut rest = without(&parts, position);
                rest.push(entry.rest);
                Entry { filing: entry.filing, rest: Condition::All(rest) }
            })
            .collect(),
        None => vec![Entry { filing: None, rest: condition.clone() }],
    }
}

/// Reading a double counts in exponents and digits only so far; within this length it need not go further.
const MAX_NUMBER_BYTES: usize = 1 << 16;

/// A number's key: equal numbers, however they are spelled, have the same one, because rounding to a double
/// depends on the value alone. `None` where the text is too long to be sure of that.
pub(super) fn number_key(text: &str) -> Option<u64> {
    if text.len() > MAX_NUMBER_BYTES {
        return None;
    }
    // Adding zero turns a negative zero into the positive one.
    text.parse::<f64>().ok().map(|number| (number + 0.0).to_bits())
}

struct Filed {
    filing: Filing,
    /// Being found under the filing is all that the condition asks for.
    says_it_all: bool,
}

fn flatten<'c>(condition: &'c Condition, parts: &mut Vec<&'c Condition>) {
    match condition {
        Condition::All(conditions) => conditions.iter().for_each(|condition| flatten(condition, parts)),
        other => parts.push(other),
    }
}

fn without(parts: &[&Condition], left_out: usize) -> Vec<Condition> {
    let kept = parts.iter().enumerate().filter(|(position, _)| *position != left_out);
    kept.map(|(_, part)| (*part).clone()).collect()
}

/// The entries of a disjunction, if each of its alternatives can be filed.
fn alternatives(condition: &Condition, crowds: &Crowds) -> Option<Vec<Entry>> {
    let Condition::Any(conditions) = condition else { return None };
    let mut found = Vec::new();
    for condition in conditions {
        found.extend(entries(condition, crowds));
        if found.len() > MAX_ALTERNATIVES || found.iter().any(|entry| entry.filing.is_none()) {
            return None;
        }
    }
    Some(found)
}

fn filed(condition: &Condition) -> Option<Filed> {
    let Condition::Test(path, test) = condition else { return None };
    match test {
        Test::OneOf(scalars) => filed_values(path, scalars),
        Test::Prefix(prefix) => filed_prefix(path, prefix, true),
        Test::Glob(glob) => {
            let glob = Glob::compile(glob).ok()?;
            let start = std::str::from_utf8(glob.start()).ok()?;
            if glob.is_exact() {
                filed_values(path, &[Scalar::String(start.to_owned())])
            } else {
                filed_prefix(path, start, glob.is_prefix())
            }
        }
        Test::Regex(_) | Test::Range { .. } | Test::Exists(_) => None,
    }
}

fn filed_values(path: &Path, scalars: &[Scalar]) -> Option<Filed> {
    let subject = Subject::at(path);
    // The index of a payload knows its text, not its type; severities are a bit mask of the matcher.
    let strings_only = scalars.iter().all(|scalar| matches!(scalar, Scalar::String(_)));
    if subject == Subject::Severity || matches!(subject, Subject::Payload(_)) && !strings_only {
        return None;
    }
    let value = |scalar: &Scalar| match scalar {
        Scalar::String(string) => Some(FiledValue::Text(string.clone())),
        Scalar::Number(number) => number_key(number).map(FiledValue::Number),
        Scalar::Bool(expected) => Some(FiledValue::Boolean(*expected)),
    };
    let values: Vec<FiledValue> = scalars.iter().map(value).collect::<Option<_>>()?;
    let says_it_all = !values.iter().any(|value| matches!(value, FiledValue::Number(_)));
    Some(Filed { filing: Filing { subject, values }, says_it_all })
}

fn filed_prefix(path: &Path, prefix: &str, says_it_all: bool) -> Option<Filed> {
    let subject = Subject::at(path);
    if prefix.is_empty() || subject == Subject::Severity {
        return None;
    }
    let values = vec![FiledValue::Prefix(prefix.to_owned())];
    Some(Filed { filing: Filing { subject, values }, says_it_all })
}

/// The smaller, the cheaper to look up and the more telling.
fn rank(filing: &Filing) -> (u8, usize) {
    let equality = !filing.values.iter().any(|value| matches!(value, FiledValue::Prefix(_)));
    let rank = match (&filing.subject, equality) {
        (Subject::Text(Key::Type), true) => 0,
        // Nearly every message says the same.
        (Subject::OptionalText(Key::EnvVersion), _) => 8,
        (Subject::Text(_) | Subject::OptionalText(_), true) => 1,
        (Subject::Elsewhere(_), true) => 2,
        (Subject::Text(Key::Type), false) => 3,
        (Subject::Text(_) | Subject::OptionalText(_), false) => 4,
        (Subject::Elsewhere(_), false) => 5,
        (Subject::Payload(_) | Subject::Severity, true) => 6,
        (Subject::Payload(_) | Subject::Severity, false) => 7,
    };
    (rank, filing.values.len())
}
