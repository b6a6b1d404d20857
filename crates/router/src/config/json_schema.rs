//! The JSON Schema of the configuration, for editors that complete and check while one types.
//!
//! It is made from the same declarations that read the file. It accepts whatever the router accepts, and finds what can be seen
//! without looking at two places at once; `metlog check` finds the rest.

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::{
    conditions,
    file::Kind,
    parameters::ParameterDoc,
    reader::Schema,
    settings::{Api, EndpointKeys, General, InputKeys, Limits, LineDecoder, Rejects, RouteKeys},
    tests_section::TestKeys,
};

/// A text that holds an environment variable may become anything.
const VARIABLE: &str = r"\$\{";

/// Larger numbers are not whole in JSON everywhere.
const LARGEST_EXACT: u64 = 1 << 53;

/// The schema of a whole configuration, in the draft of 2020-12.
pub fn document<I: ?Sized, E: ?Sized>(inputs: &[Kind<I>], endpoints: &[Kind<E>]) -> Value {
    let mut definitions = Map::new();
    definitions.insert("match".to_owned(), condition());
    definitions.insert("test".to_owned(), test());
    definitions.insert("route".to_owned(), table("One route.", &RouteKeys::docs()));
    let of_input: Vec<ParameterDoc> = InputKeys::docs().into_iter().chain(LineDecoder::docs()).collect();
    let inputs = components("inputs", "An input", inputs, &of_input, &mut definitions);
    let endpoints =
        components("endpoints", "An endpoint", endpoints, &EndpointKeys::docs(), &mut definitions);

    let mut root = table("The configuration of a Metlog router.", &General::docs());
    let sections = [
        ("limits", table("What bounds memory, messages and connections.", &Limits::docs())),
        ("rejects", table("What becomes of frames that could not be used.", &Rejects::docs())),
        ("api", table("The HTTP interface for operators.", &Api::docs())),
        ("inputs", inputs),
        ("endpoints", endpoints),
        (
            "routes",
            json!({ "description": "Which messages go where.", "type": "array", "items": { "$ref": "#/$defs/route" } }),
        ),
        (
            "tests",
            json!({
                "description": "Messages, and what must become of them: `metlog test` runs these.",
                "type": "array",
                "items": table("One test.", &TestKeys::docs()),
            }),
        ),
    ];
    for (name, section) in sections {
        root["properties"][name] = section;
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("Metlog configuration");
    root["$defs"] = Value::Object(definitions);
    root
}

/// `[inputs.NAME]` or `[endpoints.NAME]`: tables with names of the operator's choice, each of one of the kinds.
fn components<S: ?Sized>(
    group: &str,
    what: &str,
    kinds: &[Kind<S>],
    common: &[ParameterDoc],
    definitions: &mut Map<String, Value>,
) -> Value {
    let mut choices = Vec::new();
    for kind in kinds {
        let docs: Vec<ParameterDoc> = common.iter().cloned().chain((kind.docs)()).collect();
        let mut body = table(kind.summary, &docs);
        body["properties"]["kind"] = json!({ "description": format!("{what} of kind `{}`: {}.", kind.name, kind.summary), "const": kind.name });
        let required = body["required"].as_array().cloned().unwrap_or_default();
        body["required"] = std::iter::once(json!("kind")).chain(required).collect();
        let name = format!("{group}.{}", kind.name);
        choices.push(json!({ "$ref": format!("#/$defs/{name}") }));
        definitions.insert(name, body);
    }
    json!({
        "description": format!("{what} is [{group}.NAME], with a name of your choice."),
        "type": "object",
        "propertyNames": { "pattern": "^[A-Za-z0-9_-]+$" },
        "additionalProperties": { "oneOf": choices },
    })
}

fn table(about: &str, docs: &[ParameterDoc]) -> Value {
    let properties: Map<String, Value> =
        docs.iter().map(|doc| (doc.name.to_owned(), property(doc))).collect();
    let required: Vec<&str> = docs.iter().filter(|doc| doc.required).map(|doc| doc.name).collect();
    let mut table = json!({ "description": about, "type": "object", "additionalProperties": false, "properties": properties });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn property(doc: &ParameterDoc) -> Value {
    let mut property = value(&doc.schema);
    property["description"] = json!(doc.doc.replace('\n', " "));
    if let Some(default) = doc.default.as_deref().and_then(default) {
        property["default"] = default;
    }
    property
}

/// A default, which is written as the file would have it.
fn default(text: &str) -> Option<Value> {
    fn json(value: &DeValue<'_>) -> Option<Value> {
        Some(match value {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).ok()?),
            DeValue::Float(number) => json!(number.as_str().parse::<f64>().ok()?),
            DeValue::Boolean(flag) => json!(flag),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(items) => {
                items.iter().map(|item| json(item.get_ref())).collect::<Option<Vec<Value>>>()?.into()
            }
            DeValue::Table(table) => {
                let entries = table
                    .iter()
                    .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
                Value::Object(entries.collect::<Option<Map<String, Value>>>()?)
            }
        })
    }
    json(DeValue::parse(text).ok()?.get_ref())
}

fn value(schema: &Schema) -> Value {
    // Variables have no other type than text.
    let or_variable = |schema: Value| json!({ "anyOf": [schema, { "type": "string", "pattern": VARIABLE }] });
    match schema {
        Schema::Boolean => or_variable(json!({ "type": "boolean" })),
        Schema::Integer { maximum } if *maximum < LARGEST_EXACT => {
            or_variable(json!({ "type": "integer", "minimum": 0, "maximum": maximum }))
        }
        Schema::Integer { .. } => or_variable(json!({ "type": "integer", "minimum": 0 })),
        Schema::Number => json!({ "type": "number" }),
        Schema::String | Schema::Secret => json!({ "type": "string" }),
        Schema::Size => json!({ "anyOf": [
            { "type": "string", "pattern": format!("^[0-9]+ *(B|KiB|MiB|GiB|TiB)$|{VARIABLE}") },
            { "type": "integer", "minimum": 0 },
        ] }),
        Schema::Time => {
            json!({ "type": "string", "pattern": format!("^[0-9]+ *(us|ms|s|m|h|d)$|{VARIABLE}") })
        }
        Schema::Condition => json!({ "$ref": "#/$defs/match" }),
        Schema::Choice(words) => {
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let docs: Vec<String> = words.iter().map(|(_, doc)| doc.replace('\n', " ")).collect();
            // What editors show beside each word.
            or_variable(json!({
                "enum": names,
                "enumDescriptions": docs,
                "x-taplo": { "docs": { "enumValues": docs } },
            }))
        }
        Schema::List(item) => json!({ "type": "array", "items": value(item) }),
        Schema::OneOrMany(item) => {
            json!({ "anyOf": [value(item), { "type": "array", "minItems": 1, "items": value(item) }] })
        }
        Schema::Table(docs) => table("", docs),
        Schema::AnyOf(shapes) => json!({ "anyOf": shapes.iter().map(value).collect::<Vec<Value>>() }),
        Schema::Anything => json!({}),
        Schema::Map(item) => json!({ "type": "object", "additionalProperties": value(item) }),
    }
}

/// A `match` table: paths into the message, and three words that combine conditions.
fn condition() -> Value {
    let mut properties = Map::new();
    for (word, doc) in conditions::GROUPS {
        let one = json!({ "$ref": "#/$defs/match" });
        properties.insert(
            word.to_owned(),
            match word {
                "not" => json!({ "description": doc, "$ref": "#/$defs/match" }),
                _ => json!({ "description": doc, "type": "array", "minItems": 1, "items": one }),
            },
        );
    }
    for key in metlog_message::Key::ALL {
        let doc = format!("What the message's `{}` is tested with.", key.name());
        properties.insert(key.name().to_owned(), json!({ "description": doc, "$ref": "#/$defs/test" }));
    }
    json!({
        "description": "Paths into the message and what they are tested with; all must hold.",
        "type": "object",
        "properties": properties,
        "additionalProperties": { "$ref": "#/$defs/test" },
    })
}

/// What the value at one path is tested with.
fn test() -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let mut operators = table("All of these must hold.", &conditions::operator_docs());
    operators["minProperties"] = json!(1);
    // Here a text is a text, and a variable in it no number.
    operators["properties"]["exists"] =
        json!({ "description": "Whether there is a value at all.", "type": "boolean" });
    json!({ "anyOf": [
        scalar,
        { "description": "One of these.", "type": "array", "minItems": 1, "items": scalar },
        operators,
    ] })
}
