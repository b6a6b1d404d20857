//! Under which value a route is filed: what must be equal, or begin alike, before a route is worth a look.
//!
//! A condition that is a conjunction is filed under its most telling part, and keeps the others as a rest to
//! evaluate. A disjunction whose every alternative can be filed is filed once for each. What can be filed
//! nowhere (a regular expression, a range, a `not`) is a candidate for every message.

use metlog_message::{Key, Path};

use super::{
    condition::{Condition, Scalar, Test},
    globs::Glob,
    subject::Subject,
};

/// A disjunction with more alternatives than this stays whole.
const MAX_ALTERNATIVES: usize = 64;

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
    pub texts: Vec<String>,
    pub prefixes: Vec<String>,
    /// Keys of the numbers, see [`number_key`]: unequal numbers may share one.
    pub numbers: Vec<u64>,
    pub booleans: Vec<bool>,
}

/// Every way in which a message can match `condition`.
pub(super) fn entries(condition: &Condition) -> Vec<Entry> {
    let mut parts = Vec::new();
    flatten(condition, &mut parts);
    let best = (0..parts.len())
        .filter_map(|position| Some((position, filed(parts[position])?)))
        .min_by_key(|(_, filed)| rank(&filed.filing));
    if let Some((position, filed)) = best {
        let mut rest = without(&parts, position);
        if !filed.says_it_all {
            rest.push(parts[position].clone());
        }
        return vec![Entry { filing: Some(filed.filing), rest: Condition::All(rest) }];
    }
    let split = (0..parts.len()).find_map(|position| Some((position, alternatives(parts[position])?)));
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

/// A number's key: equal numbers, however they are spelled, have the same one, because rounding to a double
/// depends on the value alone.
pub(super) fn number_key(text: &str) -> Option<u64> {
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
fn alternatives(condition: &Condition) -> Option<Vec<Entry>> {
    let Condition::Any(conditions) = condition else { return None };
    let mut found = Vec::new();
    for condition in conditions {
        found.extend(entries(condition));
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
    let mut filing = nothing(path)?;
    for scalar in scalars {
        match scalar {
            Scalar::String(string) => filing.texts.push(string.clone()),
            Scalar::Number(number) => filing.numbers.push(number_key(number)?),
            Scalar::Bool(expected) => filing.booleans.push(*expected),
        }
    }
    // The index of a payload knows its text, not its type.
    let needs_type = !filing.numbers.is_empty() || !filing.booleans.is_empty();
    if needs_type && matches!(filing.subject, Subject::Payload(_)) {
        return None;
    }
    let says_it_all = filing.numbers.is_empty();
    Some(Filed { filing, says_it_all })
}

fn filed_prefix(path: &Path, prefix: &str, says_it_all: bool) -> Option<Filed> {
    if prefix.is_empty() {
        return None;
    }
    let mut filing = nothing(path)?;
    filing.prefixes.push(prefix.to_owned());
    Some(Filed { filing, says_it_all })
}

fn nothing(path: &Path) -> Option<Filing> {
    let subject = Subject::at(path);
    // The index of severities is the bit mask of the matcher.
    let filed = subject != Subject::Severity;
    filed.then_some(Filing { subject, texts: vec![], prefixes: vec![], numbers: vec![], booleans: vec![] })
}

/// The smaller, the more telling, and the cheaper to look up.
fn rank(filing: &Filing) -> (u8, usize) {
    let equality = filing.prefixes.is_empty();
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
    (rank, filing.texts.len() + filing.prefixes.len() + filing.numbers.len() + filing.booleans.len())
}
