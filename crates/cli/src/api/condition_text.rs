//! A route's condition as text, in the configuration's own notation.
//!
//! It is written anew from what the router really tests, so it may look different from the file; read as a `match`, it
//! means the same.

use metlog_message::Path;
use metlog_router::{
    config::types::quoted,
    routes::condition::{Condition, Scalar, Test},
};

/// Keys of a `match` table that are no paths.
const COMBINATIONS: [&str; 3] = ["not", "any", "all"];

/// The condition; `None` for the one that takes everything.
pub fn of(condition: &Condition) -> Option<String> {
    match condition {
        Condition::All(conditions) if conditions.is_empty() => None,
        condition => Some(table(condition)),
    }
}

fn table(condition: &Condition) -> String {
    let entries = entries(condition);
    if entries.is_empty() {
        return "{}".to_owned();
    }
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// What stands in the table, all of which must hold.
fn entries(condition: &Condition) -> Vec<(String, String)> {
    match condition {
        Condition::All(conditions) => {
            let together: Vec<(String, String)> = conditions.iter().flat_map(entries).collect();
            let mut keys: Vec<&str> = together.iter().map(|(key, _)| key.as_str()).collect();
            keys.sort_unstable();
            // A table has each key once.
            if keys.windows(2).any(|pair| pair[0] == pair[1]) {
                vec![("all".to_owned(), list(conditions.iter().map(table)))]
            } else {
                together
            }
        }
        Condition::Any(conditions) => vec![("any".to_owned(), list(conditions.iter().map(table)))],
        Condition::Not(condition) => vec![("not".to_owned(), table(condition))],
        Condition::Test(path, test) => vec![(key(path), value(test))],
    }
}

fn key(path: &Path) -> String {
    let text = path.to_string();
    let bare = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    if COMBINATIONS.contains(&text.as_str()) {
        // Quoted as a path, within a quoted key: then it is the message's own key.
        format!("'\"{text}\"'")
    } else if !text.is_empty() && text.chars().all(bare) {
        text
    } else if text.contains('"')
        && !text.contains(|character: char| character == '\'' || character.is_control())
    {
        format!("'{text}'")
    } else {
        quoted(&text)
    }
}

fn value(test: &Test) -> String {
    match test {
        Test::OneOf(scalars) => match scalars.as_slice() {
            [one] => scalar(one),
            several => list(several.iter().map(scalar)),
        },
        Test::Prefix(text) => format!("{{ prefix = {} }}", quoted(text)),
        Test::Glob(text) => format!("{{ glob = {} }}", quoted(text)),
        Test::Regex(text) => format!("{{ regex = {} }}", quoted(text)),
        Test::Range { min, max } => {
            let bound =
                |name, bound: &Option<String>| bound.as_ref().map(|bound| format!("{name} = {bound}"));
            let bounds: Vec<String> = [bound("min", min), bound("max", max)].into_iter().flatten().collect();
            format!("{{ {} }}", bounds.join(", "))
        }
        Test::Exists(exists) => format!("{{ exists = {exists} }}"),
    }
}

fn scalar(scalar: &Scalar) -> String {
    match scalar {
        Scalar::String(text) => quoted(text),
        Scalar::Number(text) => text.clone(),
        Scalar::Bool(value) => value.to_string(),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metlog_router::{config::Source, topology};

    fn condition(text: &str) -> Condition {
        configuration(text).routes[0].condition.clone()
    }

    fn configuration(text: &str) -> topology::Configuration {
        let source = Source::new(
            "test.toml",
            format!(
                "[inputs.udp]\nkind = \"udp\"\nlisten = \"127.0.0.1:0\"\n[endpoints.null]\nkind = \"null\"\n\
                 [[routes]]\nmatch = {text}\nto = [\"null\"]\n"
            ),
        );
        let (configuration, diagnostics) = topology::load(&source);
        configuration.unwrap_or_else(|| panic!("{}", diagnostics.render(false)))
    }

    #[test]
    fn conditions_look_as_in_a_file() {
        for text in [
            r#"{ type = ["counter", "timer"] }"#,
            r#"{ type = "oldstyle", severity = { max = 4 } }"#,
            r#"{ "fields.load" = { min = 1, max = 4.5 } }"#,
            r#"{ logger = { glob = "sync*" }, "fields.user.id" = { exists = true } }"#,
            r#"{ payload = { regex = "time(d )?out" }, not = { metlog_hostname = "web1" } }"#,
            r#"{ any = [{ type = "wsgi" }, { "fields.kind" = "http" }] }"#,
            r#"{ 'fields."http.status"' = 200, "fields.ok" = true, '"any"' = "x" }"#,
        ] {
            assert_eq!(of(&condition(text)).as_deref(), Some(text));
        }
        assert_eq!(of(&condition("{}")), None);
    }

    #[test]
    fn values_from_the_environment_are_shown_by_their_names() {
        let text = concat!(
            r#"{ type = ["a", "${PATH}"], logger = { prefix = "x${PATH}" }, metlog_hostname = { glob = "${PATH}*" }, "#,
            r#"any = [{ payload = { regex = "^[${NONE_OF_THIS_NAME:-x}]" } }, { "fields.a" = "${PATH}" }] }"#
        );
        let configuration = configuration(text);
        assert_eq!(super::super::Plan::of(&configuration).routes[0].condition.as_deref(), Some(text));
        assert!(format!("{:?}", configuration.routes[0].condition).contains('/'), "it matches by the value");
    }

    #[test]
    fn what_was_written_means_the_same() {
        for text in [
            r#"{ logger = { prefix = "a\\\"b", regex = "c" } }"#,
            r#"{ all = [{ type = "a" }, { type = { exists = true } }], "it's.\"a.b\"" = 1 }"#,
            r#"{ not = { any = [{ type = "a", logger = "b" }, {}] } }"#,
        ] {
            let first = condition(text);
            let written = of(&first).unwrap();
            assert_eq!(of(&condition(&written)).as_deref(), Some(written.as_str()), "{text}");
        }
    }
}
