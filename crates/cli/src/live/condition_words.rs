//! Conditions in a few words, as one types them in a shell: `type=oldstyle 'severity<=3' 'logger=sync*'`.
//!
//! | words | meaning |
//! | --- | --- |
//! | `type=counter,timer` | equal to one of these |
//! | `logger=sync*` | a glob: the value has `*`, `?`, `[` or `{` |
//! | `payload~'time(d )?out'` | a regular expression finds something |
//! | `severity<=3`, `fields.rate<1` | a number within bounds; severities have their names too: `severity<=error` |
//! | `fields.user`, `!fields.user` | it is there, it is not |
//! | `logger!=web`, `payload!~ping` | not that |
//! | `fields."http.status"=500` | a part of a path in its own quotes |
//! | `fields.code='"500"'` | exactly this string, with nothing special in it |
//!
//! A word alone that is no key of messages, such as `oldstyle`, is refused: it would wait for messages with a key of that name, in
//! silence. Who has such a key puts it in quotes, `'"oldstyle"'`.
//!
//! All words must hold. They become the text of a `match` table, which the router reads as it reads a route's; what can
//! only be said there goes into `--match`. A bare value that could be a number, such as `fields.code=500`, stands for the
//! number and for the string.

use metlog_message::Number;
use metlog_router::config::is_key_of_messages;

use super::severities;

/// The envelope keys whose values are always strings.
const TEXT_KEYS: [&str; 6] = ["type", "timestamp", "logger", "payload", "env_version", "metlog_hostname"];

/// What stands between a path and a value, longest first where one begins like another.
const OPERATORS: [(&str, Operator); 10] = [
    ("!=", Operator::NotEqual),
    ("!~", Operator::NotFound),
    ("<=", Operator::Most),
    (">=", Operator::Least),
    ("=~", Operator::Found),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Below),
    (">", Operator::Above),
    ("~", Operator::Found),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Found,
    NotFound,
    Most,
    Least,
    Below,
    Above,
}

/// Words that are no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Nothing says which value is meant.
    #[error("`{0}` has no path: expected something like type=counter, severity<=3 or fields.user")]
    NoPath(String),
    /// No key of messages, and nothing that it is compared with.
    #[error(
        "`{word}` is no key of messages, and there is nothing to compare: write type{equals}{value} for messages of \
         this type, 'payload{contains}{value}' for those with it in their text, or '{not}\"{value}\"' for a key of your own"
    )]
    NoOperator {
        /// The whole word.
        word: String,
        /// The word without what says that it is not to be there.
        value: String,
        /// How the same is said of a type.
        equals: &'static str,
        /// How the same is said of a text.
        contains: &'static str,
        /// What says that it is not to be there.
        not: &'static str,
    },
    /// Nothing to compare with.
    #[error("`{0}` has no value behind its operator; for an empty one write PATH='\"\"'")]
    NoValue(String),
    /// A bound that is no number.
    #[error("`{word}`: {value:?} is not a number to compare with")]
    NotANumber {
        /// The whole word.
        word: String,
        /// What should be one.
        value: String,
    },
    /// A bound that is neither a severity's number nor its name.
    #[error("`{word}`: {value:?} is no severity: expected a number or {}", severities::names())]
    NoSeverity {
        /// The whole word.
        word: String,
        /// What should be one.
        value: String,
    },
}

/// The `match` table that says what all these words say.
pub fn table(words: &[String]) -> Result<String, WordError> {
    let conditions = words.iter().map(|word| condition(word)).collect::<Result<Vec<String>, _>>()?;
    Ok(all(conditions))
}

fn all(mut conditions: Vec<String>) -> String {
    match conditions.len() {
        0 => "{}".to_owned(),
        1 => conditions.remove(0),
        _ => format!("{{ all = [{}] }}", conditions.join(", ")),
    }
}

fn any(mut conditions: Vec<String>) -> String {
    match conditions.len() {
        1 => conditions.remove(0),
        _ => format!("{{ any = [{}] }}", conditions.join(", ")),
    }
}

fn not(condition: &str) -> String {
    format!("{{ not = {condition} }}")
}

fn condition(word: &str) -> Result<String, WordError> {
    let Some((path, operator, value)) = split(word) else {
        let (path, exists) = word.strip_prefix('!').map_or((word, true), |path| (path, false));
        if path.trim().is_empty() {
            return Err(WordError::NoPath(word.to_owned()));
        }
        let first = path.trim().split('.').next().unwrap_or_default();
        if !first.starts_with('"') && !is_key_of_messages(first) {
            let (equals, contains, not) = if exists { ("=", "~", "") } else { ("!=", "!~", "!") };
            let (word, value) = (word.to_owned(), path.trim().to_owned());
            return Err(WordError::NoOperator { word, value, equals, contains, not });
        }
        return Ok(format!("{{ {} = {{ exists = {exists} }} }}", quoted(path.trim())));
    };
    if path.is_empty() {
        return Err(WordError::NoPath(word.to_owned()));
    }
    if value.is_empty() {
        return Err(WordError::NoValue(word.to_owned()));
    }
    let key = quoted(path);
    let bound = || {
        let is_severity = path == "severity";
        let number = if is_severity { severity(value) } else { value.to_owned() };
        let (word, value) = (word.to_owned(), value.to_owned());
        match Number::parse(&number) {
            Some(_) => Ok(number),
            None if is_severity => Err(WordError::NoSeverity { word, value }),
            None => Err(WordError::NotANumber { word, value }),
        }
    };
    let found =
        || format!("{{ {key} = {{ regex = {} }} }}", quoted(&unquoted(value).unwrap_or(value.to_owned())));
    let strictly = |side: &str, bound: &str| {
        all(vec![format!("{{ {key} = {{ {side} = {bound} }} }}"), not(&format!("{{ {key} = {bound} }}"))])
    };
    Ok(match operator {
        Operator::Equal => equal(path, &key, value),
        Operator::NotEqual => not(&equal(path, &key, value)),
        Operator::Found => found(),
        Operator::NotFound => not(&found()),
        Operator::Most => format!("{{ {key} = {{ max = {} }} }}", bound()?),
        Operator::Least => format!("{{ {key} = {{ min = {} }} }}", bound()?),
        Operator::Below => strictly("max", &bound()?),
        Operator::Above => strictly("min", &bound()?),
    })
}

/// The path, the operator and the value, at the first operator outside of quotes.
fn split(word: &str) -> Option<(&str, Operator, &str)> {
    let mut is_quoted = false;
    for (place, character) in word.char_indices() {
        if character == '"' {
            is_quoted = !is_quoted;
        }
        let rest = &word[place..];
        let found = OPERATORS.iter().find(|(text, _)| !is_quoted && rest.starts_with(text));
        if let Some((text, operator)) = found {
            return Some((word[..place].trim(), *operator, rest[text.len()..].trim()));
        }
    }
    None
}

fn equal(path: &str, key: &str, value: &str) -> String {
    let mut values = Vec::new();
    let mut conditions = Vec::new();
    for item in items(value) {
        let item = item.trim();
        if let Some(exact) = unquoted(item) {
            values.push(quoted(&exact));
        } else if path == "severity" {
            let number = severity(item);
            let is_number = Number::parse(&number).is_some();
            values.push(if is_number { number } else { quoted(&number) });
        } else if item.contains(['*', '?', '[', '{']) {
            conditions.push(format!("{{ {key} = {{ glob = {} }} }}", quoted(item)));
        } else {
            let is_text = TEXT_KEYS.contains(&path);
            if !is_text && (Number::parse(item).is_some() || item == "true" || item == "false") {
                values.push(item.to_owned());
            }
            if path != "metlog_pid" {
                values.push(quoted(item));
            }
        }
    }
    match values.len() {
        0 => {}
        1 => conditions.insert(0, format!("{{ {key} = {} }}", values.concat())),
        _ => conditions.insert(0, format!("{{ {key} = [{}] }}", values.join(", "))),
    }
    any(conditions)
}

/// A severity's number for its name; anything else as it is.
fn severity(text: &str) -> String {
    severities::number_of(text).map_or_else(|| text.to_owned(), |number| number.to_string())
}

/// What commas separate, outside of quotes, braces and brackets.
fn items(value: &str) -> Vec<&str> {
    let (mut items, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    let mut quote = None;
    for (place, character) in value.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') => depth -= 1,
            (None, ',') if depth <= 0 => {
                items.push(&value[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    items.push(&value[start..]);
    items
}

/// What stands between quotes, if the whole text does.
fn unquoted(text: &str) -> Option<String> {
    ['"', '\''].into_iter().find_map(|quote| {
        let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inside.to_owned())
    })
}

/// A string of the configuration's notation.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use metlog_router::config::conditions;

    #[track_caller]
    fn check(words: &[&str], expected: &str) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let table = table(&words).unwrap();
        assert_eq!(table, expected);
        if let Err(problem) = conditions::parse(&table) {
            panic!("the router does not read it: {problem}");
        }
    }

    #[test]
    fn words_become_the_condition_that_one_would_write_in_a_route() {
        check(&[], "{}");
        check(&["type=oldstyle"], r#"{ "type" = "oldstyle" }"#);
        check(&["type=counter,timer"], r#"{ "type" = ["counter", "timer"] }"#);
        check(&["logger=sync*"], r#"{ "logger" = { glob = "sync*" } }"#);
        check(&["type=a,b*"], r#"{ any = [{ "type" = "a" }, { "type" = { glob = "b*" } }] }"#);
        check(&["logger={a,b}x"], r#"{ "logger" = { glob = "{a,b}x" } }"#);
        check(&["severity<=3"], r#"{ "severity" = { max = 3 } }"#);
        check(&["severity<=Error"], r#"{ "severity" = { max = 3 } }"#);
        check(&["severity=warn"], r#"{ "severity" = 4 }"#);
        check(&["payload~time(d )?out"], r#"{ "payload" = { regex = "time(d )?out" } }"#);
        check(&["fields.user"], r#"{ "fields.user" = { exists = true } }"#);
        check(&["!fields.user"], r#"{ "fields.user" = { exists = false } }"#);
        check(&["metlog_src"], r#"{ "metlog_src" = { exists = true } }"#);
        check(&[r#""own".key"#], r#"{ "\"own\".key" = { exists = true } }"#);
        check(&["logger!=web"], r#"{ not = { "logger" = "web" } }"#);
        check(&["payload!~^ping"], r#"{ not = { "payload" = { regex = "^ping" } } }"#);
        check(
            &["type=oldstyle", "severity<3"],
            r#"{ all = [{ "type" = "oldstyle" }, { all = [{ "severity" = { max = 3 } }, { not = { "severity" = 3 } }] }] }"#,
        );
    }

    #[test]
    fn a_bare_value_stands_for_the_number_and_the_string() {
        check(&["fields.code=500"], r#"{ "fields.code" = [500, "500"] }"#);
        check(&["fields.ok=true"], r#"{ "fields.ok" = [true, "true"] }"#);
        check(&[r#"fields.code="500""#], r#"{ "fields.code" = "500" }"#);
        check(&["metlog_pid=17"], r#"{ "metlog_pid" = 17 }"#);
        check(&["payload=5"], r#"{ "payload" = "5" }"#);
        check(&[r#"fields."http.status"=ok"#], r#"{ "fields.\"http.status\"" = "ok" }"#);
        check(&[r#"payload="a,*""#], r#"{ "payload" = "a,*" }"#);
        check(&["payload='\t\\'"], r#"{ "payload" = "\u0009\\" }"#);
    }

    #[test]
    fn what_is_no_condition_is_said() {
        let problem = |word: &str| table(&[word.to_owned()]).unwrap_err();
        assert_eq!(problem("=5"), WordError::NoPath("=5".to_owned()));
        assert_eq!(problem("!"), WordError::NoPath("!".to_owned()));
        assert_eq!(problem("type="), WordError::NoValue("type=".to_owned()));
        assert!(problem("fields.load<=high").to_string().contains("\"high\" is not a number"));
        let said = problem("oldstyle").to_string();
        assert!(said.contains("write type=oldstyle for") && said.contains("'payload~oldstyle'"), "{said}");
        let said = problem("!sync.put").to_string();
        assert!(said.contains("write type!=sync.put for") && said.contains("'!\"sync.put\"'"), "{said}");
        let said = problem("severity<=eror").to_string();
        assert!(said.contains("\"eror\" is no severity: expected a number or emergency, alert,"), "{said}");
    }
}
