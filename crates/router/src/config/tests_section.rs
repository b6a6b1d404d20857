//! The `[[tests]]` of the file: messages, and what must become of them. `metlog test` runs them; a router reads them and
//! does nothing with them.

use std::{ops::Range, path::PathBuf};

use metlog_message::{Reason, Timestamp};
use toml::{Spanned, de::DeValue};

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Schema, Section, Value, found},
    routes::unknown_endpoint,
    suggest,
    types::parsed,
};
use crate::parameters;

/// One `[[tests]]`.
#[derive(Debug, Clone)]
pub struct Test {
    /// Where it stands: file, line and column.
    pub place: String,
    /// What it says.
    pub keys: TestKeys,
}

parameters! {
    /// Messages, and what must become of them.
    pub struct TestKeys {
        /// What is tested, in a sentence.
        pub name: String,
        /// The input by which the messages come in; without it, as `metlog explain` reads them.
        pub input: Option<String>,
        /// The time of receipt, which stands in for missing timestamps.
        pub now: Timestamp = Timestamp { seconds: 946_684_800, nanoseconds: 0 },
        /// The messages: text as it would be sent, or tables that become JSON.
        pub messages: Vec<Item> = Vec::new(),
        /// More messages, one a line; relative to the folder of the main file.
        pub file: Option<PathBuf>,
        /// By endpoint, what it must send: a list with one text or table for each message, or a table of keys. An endpoint that
        /// is not named must get nothing.
        pub expect: Expectations = Expectations::default(),
        /// How many messages no route takes.
        pub unrouted: usize = 0,
        /// The reasons of the rejects, in order.
        pub rejected: Vec<String> = Vec::new(),
    }
}

parameters! {
    /// What an endpoint must do. A key that is left out is not looked at, apart from `refused`.
    pub struct Expectation {
        /// What it sends, for each message: a text (a line break at the end makes no difference), or a table, which must be
        /// equal as JSON.
        pub sends: Option<Vec<Item>>,
        /// Where to, as `metlog explain` names it.
        pub to: Option<String>,
        /// How many messages it takes.
        pub count: Option<usize>,
        /// The reasons for which it refuses messages, in order.
        pub refused: Vec<String> = Vec::new(),
    }
}

/// What stands in for a key that is needed and cannot be read, while the others are looked at.
const SAMPLE: &str = "name = \"a test\"";

/// A message, or what is sent of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// These very characters.
    Text(String),
    /// A table, as JSON text in the order of the file.
    Json(String),
}

/// The endpoints that a test expects something of, with the places of their names.
#[derive(Debug, Clone, Default)]
pub struct Expectations(Vec<(String, Range<usize>, Expectation)>);

impl Expectations {
    /// What is expected of an endpoint.
    pub fn of(&self, endpoint: &str) -> Option<&Expectation> {
        self.0.iter().find(|(name, ..)| name == endpoint).map(|(.., expectation)| expectation)
    }
}

/// Reads every `[[tests]]`; `inputs` and `endpoints` are the names that one can mean.
pub(super) fn read(root: &mut Section<'_>, inputs: &[&str], endpoints: &[&str]) -> Vec<Option<Test>> {
    let Some(value) = root.value("tests") else { return Vec::new() };
    let DeValue::Array(items) = value.get_ref() else {
        if !root.diagnostics().is_list_told("tests") {
            let problem = root.diagnostics().error(value.span(), "tests are written in double brackets");
            problem.help("begin each one with [[tests]]");
        }
        return Vec::new();
    };
    let mut tests = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let DeValue::Table(table) = item.get_ref() else {
            let message = format!("a test is a table, not {}", found(item.get_ref()));
            root.diagnostics().error(item.span(), message).help("begin each test with [[tests]]");
            continue;
        };
        let place = root.diagnostics().place(&item.span());
        let mut section =
            Section::new(format!("test {}", position + 1), item.span(), table, root.diagnostics());
        let keys = TestKeys::read_and_check(&mut section, SAMPLE, |keys, section| {
            check(keys, section, inputs, endpoints);
        });
        section.finish();
        tests.push(keys.map(|keys| Test { place, keys }));
    }
    tests
}

/// Names that nothing has, and a test without messages.
fn check(keys: &TestKeys, section: &mut Section<'_>, inputs: &[&str], endpoints: &[&str]) {
    if keys.messages.is_empty() && keys.file.is_none() {
        const EXPECTED: &str = "a list of messages, texts or tables; or add a `file` of them";
        match section.value("messages").map(Spanned::span) {
            None => section.missing("messages", EXPECTED),
            Some(span) => {
                let problem = section.diagnostics().error(span, "`messages` has none, so nothing is tested");
                problem.help(format!("it takes {EXPECTED}"));
            }
        }
    }
    if let Some(input) = &keys.input
        && !inputs.contains(&input.as_str())
        && !section.diagnostics().may_be_elsewhere(input)
    {
        let span = section.span_of("input");
        let problem = section.diagnostics().error(span, format!("there is no input called `{input}`"));
        if let Some(meant) = suggest::nearest(input, inputs.iter().copied()) {
            problem.label(format!("did you mean \"{meant}\"?"));
        }
    }
    for (name, span, _) in &keys.expect.0 {
        if !endpoints.contains(&name.as_str()) {
            unknown_endpoint(span.clone(), name, endpoints, section.diagnostics());
        }
    }
    let known: Vec<String> = Reason::all().map(|reason| reason.to_string()).collect();
    for reason in keys.rejected.iter().filter(|reason| !known.contains(reason)) {
        let span = section.span_of("rejected");
        let message = format!("nothing is rejected as `{reason}`");
        let problem = section.diagnostics().error(span, message);
        match suggest::nearest(reason, known.iter().map(String::as_str)) {
            Some(meant) => problem.label(format!("did you mean \"{meant}\"?")),
            None => problem
                .help("reasons are such as \"invalid-json\", \"missing-type\" or \"wrong-type:severity\""),
        };
    }
}

impl FromConfig for Item {
    fn expected() -> String {
        "a text or a table".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Item> {
        match value.get_ref() {
            DeValue::String(text) => Some(Item::Text(text.to_string())),
            DeValue::Table(_) => {
                let mut json = String::new();
                write_json(value, &mut json, diagnostics)?;
                Some(Item::Json(json))
            }
            _ => {
                diagnostics.wrong_type::<Item>(value);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        String::new()
    }

    fn schema() -> Schema {
        Schema::AnyOf(vec![Schema::String, Schema::Map(Box::new(Schema::Anything))])
    }
}

/// Writes a value of the file as JSON, keys in the order of the file.
fn write_json(value: &Value<'_>, json: &mut String, diagnostics: &mut Diagnostics) -> Option<()> {
    // A text can always be written.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    match value.get_ref() {
        DeValue::String(string) => json.push_str(&text(string)),
        DeValue::Boolean(flag) => json.push_str(if *flag { "true" } else { "false" }),
        DeValue::Datetime(time) => json.push_str(&text(&time.to_string())),
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?;
            json.push_str(&number.to_string());
        }
        DeValue::Float(number) => {
            let number = number.as_str().replace('_', "");
            let number = number.trim_start_matches('+');
            if serde_json::from_str::<serde_json::Number>(number).is_err() {
                diagnostics.error(value.span(), "this is not a number that a message can hold");
                return None;
            }
            json.push_str(number);
        }
        DeValue::Array(items) => {
            json.push('[');
            for (position, item) in items.iter().enumerate() {
                json.push_str(if position > 0 { "," } else { "" });
                write_json(item, json, diagnostics)?;
            }
            json.push(']');
        }
        DeValue::Table(table) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            json.push('{');
            for (position, (key, value)) in entries.into_iter().enumerate() {
                json.push_str(if position > 0 { "," } else { "" });
                json.push_str(&text(key.get_ref()));
                json.push(':');
                write_json(value, json, diagnostics)?;
            }
            json.push('}');
        }
    }
    Some(())
}

impl FromConfig for Timestamp {
    fn expected() -> String {
        "a time such as \"2026-11-22T09:05:24Z\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Timestamp> {
        let read = |text: &str| Timestamp::parse(text.as_bytes()).ok_or_else(|| "not such a time".to_owned());
        match value.get_ref() {
            DeValue::Datetime(time) => match read(&time.to_string()) {
                Ok(time) => Some(time),
                Err(reason) => {
                    diagnostics.invalid::<Timestamp>(value, reason);
                    None
                }
            },
            _ => parsed(value, diagnostics, read),
        }
    }

    fn to_toml(&self) -> String {
        format!("\"{self}\"")
    }

    fn schema() -> Schema {
        Schema::Anything
    }
}

impl FromConfig for Expectations {
    fn expected() -> String {
        "a table with the names of endpoints".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Expectations> {
        let DeValue::Table(table) = value.get_ref() else {
            diagnostics.wrong_type::<Expectations>(value);
            return None;
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut read = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let outer = diagnostics.enter(format!("expect.{}", key.get_ref()));
            let expectation = expectation(value, diagnostics);
            diagnostics.leave(outer);
            read.push(expectation.map(|expectation| (key.get_ref().to_string(), key.span(), expectation)));
        }
        read.into_iter().collect::<Option<_>>().map(Expectations)
    }

    fn to_toml(&self) -> String {
        "{}".to_owned()
    }

    fn schema() -> Schema {
        let of_one = vec![Vec::<Item>::schema(), Expectation::schema()];
        Schema::Map(Box::new(Schema::AnyOf(of_one)))
    }
}

/// A list says what is sent; a table can say more.
fn expectation(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Expectation> {
    match value.get_ref() {
        DeValue::Array(_) => {
            let sends = Vec::<Item>::from_config(value, diagnostics)?;
            Some(Expectation { sends: Some(sends), to: None, count: None, refused: Vec::new() })
        }
        _ => Expectation::from_config(value, diagnostics),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Option<Item> {
        let value: Spanned<DeValue<'_>> = DeValue::parse(text).unwrap();
        Item::from_config(&value, &mut Diagnostics::new())
    }

    #[test]
    fn a_table_becomes_json_in_the_order_of_the_file() {
        let json = |text: &str| Some(Item::Json(text.to_owned()));
        assert_eq!(
            item(
                r#"{ type = "a\"b", severity = 0x6, fields = { z = [1_000, +2.5, true], a = 2026-11-22 } }"#
            ),
            json(r#"{"type":"a\"b","severity":6,"fields":{"z":[1000,2.5,true],"a":"2026-11-22"}}"#)
        );
        assert_eq!(item("{}"), json("{}"));
        assert_eq!(item("'{}'"), Some(Item::Text("{}".to_owned())));
        for wrong in ["1", "[]", "{ a = nan }", "{ a = [-inf] }"] {
            assert_eq!(item(wrong), None, "{wrong}");
        }
    }
}
