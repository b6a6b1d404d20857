//! The JSON Schema says what the code says: a validator accepts every configuration that the router accepts, and refuses
//! what an editor can see is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use jsonschema::Validator;
use metlog_router::{
    config::{Kind, Source, json_schema, load_with_environment},
    endpoints, inputs,
};
use serde_json::{Map, Value, json};
use toml::de::{DeTable, DeValue};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document() -> Value {
    json_schema::document(inputs::registry::KINDS, endpoints::registry::KINDS)
}

fn validator() -> Validator {
    jsonschema::draft202012::new(&document()).unwrap()
}

/// TOML as an editor hands it to a validator.
fn as_json(text: &str) -> Value {
    fn value(found: &DeValue<'_>) -> Value {
        match found {
            DeValue::String(text) => json!(text),
            DeValue::Integer(number) => json!(i64::from_str_radix(number.as_str(), number.radix()).unwrap()),
            DeValue::Float(number) => json!(number.as_str().parse::<f64>().unwrap()),
            DeValue::Boolean(flag) => json!(flag),
            DeValue::Datetime(time) => json!(time.to_string()),
            DeValue::Array(items) => items.iter().map(|item| value(item.get_ref())).collect(),
            DeValue::Table(table) => object(table),
        }
    }
    fn object(table: &DeTable<'_>) -> Value {
        let entries = table.iter().map(|(key, found)| (key.get_ref().to_string(), value(found.get_ref())));
        Value::Object(entries.collect::<Map<String, Value>>())
    }
    object(DeTable::parse(text).unwrap().get_ref())
}

#[track_caller]
fn accepts(name: &str, text: &str) {
    let problems: Vec<String> = validator()
        .iter_errors(&as_json(text))
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{name}: {}\n{text}", problems.join("\n"));
}

#[test]
fn the_schema_is_itself_valid() {
    assert!(jsonschema::draft202012::meta::is_valid(&document()));
}

#[test]
fn every_sample_is_accepted() {
    fn check<S: ?Sized>(group: &str, kinds: &[Kind<S>]) {
        for kind in kinds {
            accepts(kind.name, &format!("[{group}.x]\nkind = \"{}\"\n{}", kind.name, kind.sample));
        }
    }
    check("inputs", inputs::registry::KINDS);
    check("endpoints", endpoints::registry::KINDS);
}

#[test]
fn every_configuration_of_the_repository_is_accepted() {
    let root = repository();
    let mut seen = 0;
    let folders = ["docs", ".", "bench/configs"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let cases =
        fs::read_dir(root.join("tests/cases")).unwrap().map(|case| case.unwrap().path().join("config.toml"));
    let demo = [root.join("crates/cli/src/demo/metlog.toml")];
    for path in files.map(|file| file.unwrap().path()).chain(cases).chain(demo) {
        let name = path.display().to_string();
        let blocks: Vec<String> = if name.ends_with(".md") {
            let text = fs::read_to_string(&path).unwrap();
            text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
        } else if name.ends_with(".toml") && !name.contains("/./") {
            vec![fs::read_to_string(&path).unwrap()]
        } else {
            Vec::new()
        };
        for block in blocks {
            accepts(&name, &block);
            seen += 1;
        }
    }
    assert!(seen >= 40, "only {seen} found");
}

#[test]
fn what_an_editor_can_see_is_refused() {
    let validator = validator();
    for broken in [
        "[inputs.x]\nkind = 'upd'\n",
        "[inputs.x]\nlisten = '127.0.0.1:5565'\n",
        "[inputs.x]\nkind = 'udp'\nlissen = '127.0.0.1:5565'\n",
        "[inputs.'a b']\nkind = 'udp'\n",
        "[input.x]\nkind = 'udp'\n",
        "[endpoints.x]\nkind = 'udp'\n",
        "[endpoints.x]\nkind = 'file'\n",
        "[endpoints.x]\nkind = 'null'\nbuffer = '8MiB'\n",
        "[endpoints.x]\nkind = 'null'\nbuffer = { memory = '8MB' }\n",
        "[endpoints.x]\nkind = 'null'\nbuffer = { when_full = 'wait' }\n",
        "[endpoints.x]\nkind = 'statsd'\nlinger = '5 sec'\n",
        "[endpoints.x]\nkind = 'statsd'\nlinger = 5\n",
        "[routes]\nto = ['x']\n",
        "[[routes]]\nto = 'x'\n",
        "[[routes]]\nmatch = { type = 'x' }\n",
        "[[routes]]\nto = ['x']\nfinal = 'yes'\n",
        "[[routes]]\nto = ['x']\nmatch = 'counter'\n",
        "[[routes]]\nto = ['x']\nmatch = { logger = { globb = 'a*' } }\n",
        "[[routes]]\nto = ['x']\nmatch = { logger = {} }\n",
        "[[routes]]\nto = ['x']\nmatch = { any = { type = 'x' } }\n",
        "[[routes]]\nto = ['x']\nmatch = { type = [] }\n",
        "threads = '4'\n",
        "threads = -1\n",
        "include = 'conf.d/*.toml'\n",
        "[limits]\nmemory = true\n",
        "[api]\ntokn = 'x'\n",
    ] {
        assert!(!validator.is_valid(&as_json(broken)), "{broken}");
        let (configuration, _) = load_with_environment(
            &Source::new("metlog.toml", broken),
            inputs::registry::KINDS,
            endpoints::registry::KINDS,
            &|_| None,
        );
        assert!(configuration.is_none(), "the router takes it: {broken}");
    }
}

/// What the reader asks for and what is described are the same keys: the reader names them all when it meets one that it
/// does not know.
#[test]
fn the_schema_has_every_key_that_the_reader_asks_for() {
    let schema = document();
    let definition = |name: String| schema["$defs"][name]["properties"].as_object().unwrap().clone();
    let check = |text: &str, described: Map<String, Value>| {
        let (_, diagnostics) = load_with_environment(
            &Source::new("metlog.toml", text),
            inputs::registry::KINDS,
            endpoints::registry::KINDS,
            &|_| None,
        );
        let problem = diagnostics.iter().find(|item| item.message.contains("`qqqqqq`")).unwrap();
        let help = problem.help.as_deref().unwrap();
        // Conditions in VRL are asked for only to say that this build has none.
        let known: Vec<&str> = help.split('`').skip(1).step_by(2).filter(|key| *key != "where").collect();
        let described: Vec<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(known, described, "{text}");
    };
    for kind in inputs::registry::KINDS {
        // The keys of the line decoder are asked for with any decoder.
        let text = format!("[inputs.x]\nkind = \"{}\"\n{}qqqqqq = 1\n", kind.name, kind.sample);
        check(&text, definition(format!("inputs.{}", kind.name)));
    }
    for kind in endpoints::registry::KINDS {
        let text = format!("[endpoints.x]\nkind = \"{}\"\n{}", kind.name, kind.sample);
        check(&text.replacen('\n', "\nqqqqqq = 1\n", 1), definition(format!("endpoints.{}", kind.name)));
    }
    check("[[routes]]\nqqqqqq = 1\n", definition("route".to_owned()));
    check("qqqqqq = 1\n", schema["properties"].as_object().unwrap().clone());
    for section in ["limits", "rejects", "api"] {
        let described = schema["properties"][section]["properties"].as_object().unwrap().clone();
        check(&format!("[{section}]\nqqqqqq = 1\n"), described);
    }
}
