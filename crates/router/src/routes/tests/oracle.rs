//! Random tables on random messages: the compiled table gives exactly what reading the conditions naively gives.
//!
//! The naive reading walks the condition over a parsed message and knows nothing of paths compiled to subjects,
//! filings or lists. The universe of keys and values is small, so that tests and values meet often.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::routes::{
    explanation::Explanation,
    table::{RouteSpec, RouteTable, Scratch},
};

const PATHS: [&str; 13] = [
    "type",
    "type",
    "type",
    "logger",
    "logger",
    "severity",
    "payload",
    "metlog_hostname",
    "metlog_pid",
    "fields.a",
    "fields.b.c",
    "fields.\"x.y\"",
    "extra",
];
const TEXTS: [&str; 10] = ["", "a", "ab", "abc", "abd", "b", "é", "éa", "1", "6"];
const NUMBERS: [&str; 10] =
    ["0", "-0.0", "1", "1.0", "10e-1", "2.5", "6", "-3", "9007199254740992", "9007199254740993"];
const ENDPOINTS: [usize; 6] = [0, 1, 2, 63, 64, 130];

/// A random message: its JSON text, and the same as the oracle sees it.
#[derive(Debug, Clone)]
struct Sample {
    frame: String,
    naive: Value,
    /// The payload as text tests see it.
    payload: String,
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(TEXTS.to_vec()).prop_map(str::to_owned)
}

/// A string's JSON text, plain or with every character escaped.
fn string() -> impl Strategy<Value = String> {
    (text(), prop::bool::weighted(0.2)).prop_map(|(text, escaped)| {
        if !escaped {
            return format!("\"{text}\"");
        }
        let escapes = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
        format!("\"{}\"", escapes.collect::<String>())
    })
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => string(),
        3 => prop::sample::select(NUMBERS.to_vec()).prop_map(str::to_owned),
        1 => prop::sample::select(vec!["true", "false", "null", "[]", "{}", "[\"a\"]"]).prop_map(str::to_owned),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    let maybe = |value: BoxedStrategy<String>| prop::option::weighted(0.7, value);
    let fields = (maybe(any_value().boxed()), maybe(any_value().boxed()), maybe(any_value().boxed()))
        .prop_map(|(a, c, xy)| {
            let a = a.map(|value| format!(r#""a":{value}"#));
            let c = c.map(|value| format!(r#""b":{{"c":{value}}}"#));
            let xy = xy.map(|value| format!(r#""x.y":{value}"#));
            format!("{{{}}}", [a, c, xy].into_iter().flatten().collect::<Vec<_>>().join(","))
        });
    let pid = prop::sample::select(vec!["1", "6", "null"]).prop_map(str::to_owned);
    let severity = prop::sample::select(vec!["0", "1", "3", "6", "7"]).prop_map(str::to_owned);
    (
        string(),
        maybe(string().boxed()),
        maybe(severity.boxed()),
        maybe(any_value().boxed()),
        maybe(string().boxed()),
        maybe(pid.boxed()),
        maybe(fields.boxed()),
        maybe(any_value().boxed()),
    )
        .prop_map(|(kind, logger, severity, payload, hostname, pid, fields, extra)| {
            let values = [
                ("type", Some(kind)),
                ("logger", logger),
                ("severity", severity),
                ("payload", payload.clone()),
                ("metlog_hostname", hostname),
                ("metlog_pid", pid),
                ("fields", fields),
                ("extra", extra),
            ];
            let parts = values.iter().filter_map(|(key, value)| Some(format!("{key:?}:{}", value.as_ref()?)));
            let frame = format!("{{{}}}", parts.collect::<Vec<_>>().join(","));
            Sample { naive: with_defaults(&frame), payload: payload_text(payload), frame }
        })
}

fn payload_text(payload: Option<String>) -> String {
    match payload.as_deref() {
        None | Some("null") => String::new(),
        Some(text) if text.starts_with('"') => serde_json::from_str(text).unwrap(),
        Some(text) => text.to_owned(),
    }
}

/// The message as a tree: a null under an envelope key is as good as missing, and defaults stand in.
fn with_defaults(frame: &str) -> Value {
    let mut message: Map<String, Value> = serde_json::from_str(frame).unwrap();
    message.retain(|key, value| key == "extra" || !value.is_null());
    let defaults = [("logger", "".into()), ("severity", 6.into()), ("payload", "".into())];
    for (key, value) in defaults {
        message.entry(key).or_insert(value);
    }
    message.entry("timestamp").or_insert("2026-11-22T00:00:00Z".into());
    message.entry("fields").or_insert(Value::Object(Map::new()));
    Value::Object(message)
}

fn naive_value<'v>(message: &'v Value, path: &Path) -> Option<&'v Value> {
    path.parts().iter().try_fold(message, |value, part| value.as_object()?.get(part))
}

/// A number in thousandths: exact for every number of this universe.
fn thousandths(number: &str) -> i128 {
    match number.parse::<i128>() {
        Ok(whole) => whole * 1000,
        Err(_) => (number.parse::<f64>().unwrap() * 1000.0) as i128,
    }
}

fn naive_glob(glob: &str, text: &str) -> bool {
    match glob.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &glob[1..];
            text.char_indices().any(|(position, _)| naive_glob(rest, &text[position..]))
                || naive_glob(rest, "")
        }
        Some(expected) => text.chars().next().is_some_and(|found| {
            (expected == '?' || expected == found)
                && naive_glob(&glob[expected.len_utf8()..], &text[found.len_utf8()..])
        }),
    }
}

fn naive(condition: &Condition, sample: &Sample) -> bool {
    let (path, test) = match condition {
        Condition::All(conditions) => return conditions.iter().all(|condition| naive(condition, sample)),
        Condition::Any(conditions) => return conditions.iter().any(|condition| naive(condition, sample)),
        Condition::Not(condition) => return !naive(condition, sample),
        Condition::Test(path, test) => (path, test),
    };
    let value = naive_value(&sample.naive, path);
    if let Test::Exists(expected) = test {
        return value.is_some() == *expected;
    }
    let Some(value) = value else { return false };
    let text = if path.parts() == ["payload"] { Some(sample.payload.as_str()) } else { value.as_str() };
    let number = value.as_number().map(|number| thousandths(&number.to_string()));
    match test {
        Test::Exists(_) => unreachable!("answered above"),
        Test::OneOf(scalars) => scalars.iter().any(|scalar| match scalar {
            Scalar::String(expected) => text == Some(expected),
            Scalar::Number(expected) => number == Some(thousandths(expected)),
            Scalar::Bool(expected) => value.as_bool() == Some(*expected),
        }),
        Test::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
        Test::Glob(glob) => text.is_some_and(|text| naive_glob(glob, text)),
        Test::Regex(regex) => text.is_some_and(|text| regex::Regex::new(regex).unwrap().is_match(text)),
        Test::Range { min, max } => number.is_some_and(|number| {
            min.as_ref().is_none_or(|min| number >= thousandths(min))
                && max.as_ref().is_none_or(|max| number <= thousandths(max))
        }),
    }
}

/// The routes that take a message, read from the top.
fn naive_routes(routes: &[RouteSpec], sample: &Sample) -> Vec<usize> {
    let pass = |unrouted: bool| {
        let mut taken = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            if route.unrouted == unrouted && naive(&route.condition, sample) {
                taken.push(number);
                if route.is_final {
                    break;
                }
            }
        }
        taken
    };
    let taken = pass(false);
    if taken.is_empty() { pass(true) } else { taken }
}

fn random_test() -> impl Strategy<Value = Test> {
    let number = || prop::sample::select(NUMBERS.to_vec()).prop_map(str::to_owned);
    let scalar = prop_oneof![
        4 => text().prop_map(Scalar::String),
        2 => number().prop_map(Scalar::Number),
        1 => any::<bool>().prop_map(Scalar::Bool),
    ];
    let globs = vec!["a*", "*b", "a*c", "*", "?", "ab", "?b*", "é*", "a?*"];
    prop_oneof![
        4 => prop::collection::vec(scalar, 1..4).prop_map(Test::OneOf),
        3 => text().prop_map(Test::Prefix),
        2 => prop::sample::select(globs).prop_map(|glob| Test::Glob(glob.to_owned())),
        1 => prop::sample::select(vec!["^a", "b+", "é$", ""]).prop_map(|regex| Test::Regex(regex.to_owned())),
        1 => (prop::option::of(number()), prop::option::of(number())).prop_map(|(min, max)| Test::Range { min, max }),
        1 => any::<bool>().prop_map(Test::Exists),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf =
        (prop::sample::select(PATHS.to_vec()), random_test()).prop_map(|(path, random)| test(path, random));
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::All),
            2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Condition::Any),
            1 => inner.prop_map(not),
        ]
    })
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let to = prop::collection::vec(prop::sample::select(ENDPOINTS.to_vec()), 0..3);
    (condition(), to, prop::bool::weighted(0.25), prop::bool::weighted(0.2))
        .prop_map(|(condition, to, is_final, unrouted)| RouteSpec { condition, to, is_final, unrouted })
}

fn sorted(endpoints: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut endpoints: Vec<usize> = endpoints.into_iter().collect();
    endpoints.sort_unstable();
    endpoints
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_matcher_agrees_with_the_naive_reading(condition in condition(), samples in prop::collection::vec(sample(), 8)) {
        for sample in samples {
            let message = Message::new(&sample.frame);
            prop_assert_eq!(message.matches(&condition), naive(&condition, &sample), "{}", sample.frame);
        }
    }

    #[test]
    fn an_explanation_comes_to_the_verdict_that_the_matcher_comes_to(
        condition in condition(),
        samples in prop::collection::vec(sample(), 8),
    ) {
        for sample in samples {
            let message = Message::new(&sample.frame);
            let explanation = Explanation::of(&condition, &condition, &message.text, &message.index);
            prop_assert_eq!(explanation.holds, message.matches(&condition), "{}", sample.frame);
            prop_assert!(explanation.because.iter().all(|reason| !reason.is_empty()));
        }
    }

    #[test]
    fn a_table_agrees_with_the_naive_reading(
        routes in prop::collection::vec(route(), 0..14),
        samples in prop::collection::vec(sample(), 16),
        copies in prop::sample::select(vec![0, 1 << 20]),
    ) {
        let table = RouteTable::compile_within(routes.clone(), 131, copies).unwrap();
        let mut scratch = Scratch::default();
        for sample in samples {
            let message = Message::new(&sample.frame);
            let expected = naive_routes(&routes, &sample);
            prop_assert_eq!(table.routes_of(&message.text, &message.index), expected.clone(), "{}", sample.frame);
            let mut union = sorted(expected.iter().flat_map(|&number| routes[number].to.clone()));
            union.dedup();
            let expected = (!expected.is_empty()).then_some(union);
            let endpoints = table.route(&message.text, &message.index, &mut scratch);
            let endpoints = endpoints.map(|endpoints| sorted(endpoints.iter().copied()));
            prop_assert_eq!(endpoints, expected, "{}", sample.frame);
        }
    }
}
