//! Conditions compiled for speed: what can be decided at load is, and nothing is allocated per message.
//!
//! Severity tests become a bit mask that the index answers, tests that can never or must always hold fold
//! away, lists of strings become hash sets, and the cheap tests of a conjunction run first. Text is compared as
//! decoded bytes, which are the message's own bytes wherever no escape had to be decoded.

use std::cmp::Ordering;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use metlog_message::{Index, Number, Path};
use regex::bytes::Regex;

use super::{
    condition::{Condition, Scalar, Test},
    globs::{Glob, GlobError},
    subject::Subject,
};

/// A compiled condition.
#[derive(Debug, Clone)]
pub struct Matcher {
    node: Node,
}

/// Why a condition cannot be compiled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MatchError {
    /// A glob that is none.
    #[error("glob {glob:?}: {source}")]
    Glob {
        /// As configured.
        glob: String,
        /// What is wrong with it.
        source: GlobError,
    },
    /// A regular expression that is none, or that would need too much memory.
    #[error("regular expression {regex:?}: {source}")]
    Regex {
        /// As configured.
        regex: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// A number that is not written as JSON writes numbers.
    #[error("{0:?} is not a number")]
    Number(String),
}

#[derive(Debug, Clone)]
enum Node {
    Always,
    Never,
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Not(Box<Node>),
    /// One bit per accepted severity.
    Severity(u8),
    Exists(Subject),
    Text(Subject, TextTest),
    Equals(Subject, Box<[Figure]>),
    Range(Subject, Option<Figure>, Option<Figure>),
    Bool(Subject, bool),
}

#[derive(Debug, Clone)]
enum TextTest {
    Equal(Box<[u8]>),
    OneOf(HashSet<Box<[u8]>, FixedState>),
    Prefix(Box<[u8]>),
    Glob(Glob),
    Regex(Regex),
}

/// A number of the configuration, known to be one.
#[derive(Debug, Clone)]
struct Figure(Box<str>);

impl Matcher {
    /// Compiles a condition.
    pub fn compile(condition: &Condition) -> Result<Matcher, MatchError> {
        Ok(Matcher { node: compile(condition)? })
    }

    /// Whether the condition holds for a message.
    #[inline]
    pub fn matches(&self, message: &[u8], index: &Index) -> bool {
        self.is_always() || self.node.holds(message, index)
    }

    /// Whether it holds for every message, so that no message needs a look.
    #[inline]
    pub fn is_always(&self) -> bool {
        matches!(self.node, Node::Always)
    }

    /// Whether it holds for no message at all.
    pub fn is_never(&self) -> bool {
        matches!(self.node, Node::Never)
    }
}

impl Node {
    fn holds(&self, message: &[u8], index: &Index) -> bool {
        match self {
            Node::Always => true,
            Node::Never => false,
            Node::All(nodes) => nodes.iter().all(|node| node.holds(message, index)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(message, index)),
            Node::Not(node) => !node.holds(message, index),
            Node::Severity(mask) => accepts(*mask, index.severity()),
            Node::Exists(subject) => subject.exists(message, index),
            Node::Text(subject, TextTest::Equal(expected)) => subject.text_is(message, index, expected),
            Node::Text(subject, test) => subject.text(message, index).is_some_and(|text| test.holds(&text)),
            Node::Equals(subject, figures) => subject
                .value(message, index)
                .and_then(|value| value.number())
                .is_some_and(|number| figures.iter().any(|figure| figure.order(number).is_eq())),
            Node::Range(subject, min, max) => subject
                .value(message, index)
                .and_then(|value| value.number())
                .is_some_and(|number| within(number, min.as_ref(), max.as_ref())),
            Node::Bool(subject, expected) => {
                subject.value(message, index).and_then(|value| value.boolean()) == Some(*expected)
            }
        }
    }

    /// Roughly what a look costs, so that a conjunction asks the cheap questions first.
    fn cost(&self) -> u8 {
        match self {
            Node::Always | Node::Never | Node::Severity(_) => 0,
            Node::Not(node) => node.cost(),
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().map(Node::cost).max().unwrap_or(0),
            Node::Text(_, TextTest::Regex(_)) => 4,
            Node::Text(Subject::Payload(_), _) => 2,
            Node::Text(Subject::Elsewhere(_), _) => 3,
            Node::Text(..) => 1,
            Node::Exists(subject) if subject.is_always_text() => 1,
            Node::Exists(_) | Node::Equals(..) | Node::Range(..) | Node::Bool(..) => 3,
        }
    }
}

impl TextTest {
    fn holds(&self, text: &[u8]) -> bool {
        match self {
            TextTest::Equal(expected) => *text == **expected,
            TextTest::OneOf(expected) => expected.contains(text),
            TextTest::Prefix(prefix) => text.starts_with(prefix),
            TextTest::Glob(glob) => glob.matches(text),
            TextTest::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Figure {
    fn parse(text: &str) -> Result<Figure, MatchError> {
        match Number::parse(text) {
            Some(_) => Ok(Figure(text.into())),
            None => Err(MatchError::Number(text.to_owned())),
        }
    }

    /// How `number` compares with this one.
    fn order(&self, number: Number<'_>) -> Ordering {
        // Parsed before, when it was compiled.
        Number::parse(&self.0).map_or(Ordering::Less, |figure| number.compare(figure))
    }
}

fn within(number: Number<'_>, min: Option<&Figure>, max: Option<&Figure>) -> bool {
    min.is_none_or(|min| min.order(number).is_ge()) && max.is_none_or(|max| max.order(number).is_le())
}

fn accepts(mask: u8, severity: u8) -> bool {
    mask.checked_shr(u32::from(severity)).unwrap_or(0) & 1 == 1
}

fn compile(condition: &Condition) -> Result<Node, MatchError> {
    Ok(match condition {
        Condition::All(conditions) => all(compile_each(conditions)?),
        Condition::Any(conditions) => any(compile_each(conditions)?),
        Condition::Not(condition) => not(compile(condition)?),
        Condition::Test(path, test) => compile_test(path, test)?,
    })
}

fn compile_each(conditions: &[Condition]) -> Result<Vec<Node>, MatchError> {
    conditions.iter().map(compile).collect()
}

fn all(mut nodes: Vec<Node>) -> Node {
    nodes.retain(|node| !matches!(node, Node::Always));
    if nodes.iter().any(|node| matches!(node, Node::Never)) {
        return Node::Never;
    }
    nodes.sort_by_key(Node::cost);
    match nodes.len() {
        0 => Node::Always,
        1 => nodes.remove(0),
        _ => Node::All(nodes.into()),
    }
}

fn any(mut nodes: Vec<Node>) -> Node {
    nodes.retain(|node| !matches!(node, Node::Never));
    if nodes.iter().any(|node| matches!(node, Node::Always)) {
        return Node::Always;
    }
    nodes.sort_by_key(Node::cost);
    match nodes.len() {
        0 => Node::Never,
        1 => nodes.remove(0),
        _ => Node::Any(nodes.into()),
    }
}

fn not(node: Node) -> Node {
    match node {
        Node::Always => Node::Never,
        Node::Never => Node::Always,
        Node::Severity(mask) => severity(!mask),
        Node::Not(inner) => *inner,
        other => Node::Not(Box::new(other)),
    }
}

fn severity(mask: u8) -> Node {
    match mask {
        0 => Node::Never,
        u8::MAX => Node::Always,
        mask => Node::Severity(mask),
    }
}

fn compile_test(path: &Path, test: &Test) -> Result<Node, MatchError> {
    let subject = Subject::at(path);
    Ok(match test {
        Test::Exists(expected) => {
            let exists = if subject.is_always_present() { Node::Always } else { Node::Exists(subject) };
            if *expected { exists } else { not(exists) }
        }
        Test::OneOf(scalars) => one_of(&subject, scalars)?,
        Test::Prefix(prefix) => match subject {
            Subject::Text(_) | Subject::Payload(_) if prefix.is_empty() => Node::Always,
            subject => text(&subject, TextTest::Prefix(prefix.as_bytes().into())),
        },
        Test::Glob(glob) => {
            let compiled = Glob::compile(glob);
            let glob = compiled.map_err(|source| MatchError::Glob { glob: glob.clone(), source })?;
            text(&subject, TextTest::Glob(glob))
        }
        Test::Regex(regex) => {
            let compiled = Regex::new(regex);
            let regex = compiled.map_err(|source| MatchError::Regex { regex: regex.clone(), source })?;
            text(&subject, TextTest::Regex(regex))
        }
        Test::Range { min, max } => {
            let min = min.as_deref().map(Figure::parse).transpose()?;
            let max = max.as_deref().map(Figure::parse).transpose()?;
            match subject {
                Subject::Severity => severities(|number| within(number, min.as_ref(), max.as_ref())),
                subject if subject.is_always_text() => Node::Never,
                subject => Node::Range(subject, min, max),
            }
        }
    })
}

fn one_of(subject: &Subject, scalars: &[Scalar]) -> Result<Node, MatchError> {
    let mut texts: Vec<Box<[u8]>> = Vec::new();
    let mut figures = Vec::new();
    let mut alternatives = Vec::new();
    for scalar in scalars {
        match scalar {
            Scalar::String(string) => texts.push(string.as_bytes().into()),
            Scalar::Number(number) => figures.push(Figure::parse(number)?),
            Scalar::Bool(_) if subject.is_always_text() || *subject == Subject::Severity => {}
            Scalar::Bool(expected) => alternatives.push(Node::Bool(subject.clone(), *expected)),
        }
    }
    match texts.len() {
        0 => {}
        1 => alternatives.push(text(subject, TextTest::Equal(texts.remove(0)))),
        _ => alternatives.push(text(subject, TextTest::OneOf(texts.into_iter().collect()))),
    }
    if *subject == Subject::Severity {
        alternatives.push(severities(|number| figures.iter().any(|figure| figure.order(number).is_eq())));
    } else if !figures.is_empty() && !subject.is_always_text() {
        alternatives.push(Node::Equals(subject.clone(), figures.into()));
    }
    Ok(any(alternatives))
}

fn text(subject: &Subject, test: TextTest) -> Node {
    // A severity is always a number, and types never mix.
    if *subject == Subject::Severity { Node::Never } else { Node::Text(subject.clone(), test) }
}

fn severities(accept: impl Fn(Number<'_>) -> bool) -> Node {
    const NAMES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let accepted = |bit: &usize| Number::parse(NAMES[*bit]).is_some_and(&accept);
    severity((0..NAMES.len()).filter(accepted).fold(0, |mask, bit| mask | 1 << bit))
}
