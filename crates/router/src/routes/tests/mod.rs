//! What the routes promise, told on real messages and checked against a naive reading of the conditions.

use metlog_message::{Decoded, Decoder, Index, Path, Timestamp};

use super::{
    condition::{Condition, Scalar, Test},
    matcher::Matcher,
};

mod explanations;
mod operators;
mod oracle;
mod tables;

/// A message as the router holds it.
struct Message {
    text: Vec<u8>,
    index: Index,
}

impl Message {
    fn new(frame: &str) -> Message {
        let received = Timestamp { seconds: 1_790_000_000, nanoseconds: 0 };
        match Decoder::default().decode(frame.as_bytes(), received).unwrap() {
            Decoded::InPlace { start, end, index } => {
                Message { text: frame.as_bytes()[start..end].to_vec(), index }
            }
            Decoded::Rewritten { text, index } => Message { text, index },
            Decoded::Blank => panic!("nothing in {frame:?}"),
        }
    }

    fn matches(&self, condition: &Condition) -> bool {
        Matcher::compile(condition).unwrap().matches(&self.text, &self.index)
    }
}

/// What the original client put on the wire, and what a production service wrote.
fn real_messages() -> impl Iterator<Item = &'static str> {
    let client = include_str!("../../../../../tests/data/metlog-0.8.jsonl");
    let service = include_str!("../../../../../tests/data/aitc-2012-07-18.jsonl");
    client.lines().chain(service.lines())
}

fn test(path: &str, test: Test) -> Condition {
    Condition::Test(Path::parse(path).unwrap(), test)
}

fn equals(path: &str, text: &str) -> Condition {
    any_of(path, &[text])
}

fn any_of(path: &str, texts: &[&str]) -> Condition {
    test(path, Test::OneOf(texts.iter().map(|text| Scalar::String((*text).to_owned())).collect()))
}

fn number(path: &str, number: &str) -> Condition {
    test(path, Test::OneOf(vec![Scalar::Number(number.to_owned())]))
}

fn boolean(path: &str, expected: bool) -> Condition {
    test(path, Test::OneOf(vec![Scalar::Bool(expected)]))
}

fn prefix(path: &str, prefix: &str) -> Condition {
    test(path, Test::Prefix(prefix.to_owned()))
}

fn glob(path: &str, glob: &str) -> Condition {
    test(path, Test::Glob(glob.to_owned()))
}

fn regex(path: &str, regex: &str) -> Condition {
    test(path, Test::Regex(regex.to_owned()))
}

fn range(path: &str, min: Option<&str>, max: Option<&str>) -> Condition {
    test(path, Test::Range { min: min.map(str::to_owned), max: max.map(str::to_owned) })
}

fn exists(path: &str, expected: bool) -> Condition {
    test(path, Test::Exists(expected))
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}
