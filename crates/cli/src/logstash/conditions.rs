//! Which messages carry a tag, as a condition of ours.
//!
//! logstash's filters put tags on messages one behind the other, and its outputs ask for tags. Routes ask the message itself, so what
//! each tag stands for is followed through the filters.

use metlog_message::Key;

use super::toml::text;

/// What a message must be like.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// Every message.
    Always,
    /// The value at this path is one of these, each written in TOML.
    Is(String, Vec<String>),
    /// There is a value at this path.
    Exists(String),
    /// At least one holds; with none, no message.
    Any(Vec<Condition>),
    /// All hold.
    All(Vec<Condition>),
    /// It does not hold.
    Not(Box<Condition>),
}

impl Condition {
    /// No message.
    pub fn never() -> Condition {
        Condition::Any(Vec::new())
    }

    /// Whether no message can be like this.
    pub fn is_never(&self) -> bool {
        *self == Condition::never()
    }

    /// At least one of these: flat, and with the values of one path in one list.
    pub fn any(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        let mut flat: Vec<Condition> = Vec::new();
        for condition in conditions {
            match condition {
                Condition::Always => return Condition::Always,
                Condition::Any(inner) => inner.into_iter().for_each(|condition| add(&mut flat, condition)),
                other => add(&mut flat, other),
            }
        }
        only(flat).unwrap_or_else(Condition::Any)
    }

    /// All of these.
    pub fn all(conditions: impl IntoIterator<Item = Condition>) -> Condition {
        let mut flat: Vec<Condition> = Vec::new();
        for condition in conditions {
            match condition {
                Condition::Always => {}
                never if never.is_never() => return never,
                Condition::All(inner) => {
                    inner.into_iter().for_each(|condition| add_new(&mut flat, condition))
                }
                other => add_new(&mut flat, other),
            }
        }
        match flat.is_empty() {
            true => Condition::Always,
            false => only(flat).unwrap_or_else(Condition::All),
        }
    }

    /// The opposite.
    pub fn not(self) -> Condition {
        match self {
            Condition::Always => Condition::never(),
            never if never.is_never() => Condition::Always,
            Condition::Not(inner) => *inner,
            other => Condition::Not(Box::new(other)),
        }
    }

    /// The value of `match`; `None` for every message.
    pub fn to_toml(&self) -> Option<String> {
        match self {
            Condition::Always => None,
            other => Some(other.table()),
        }
    }

    fn table(&self) -> String {
        let list =
            |conditions: &[Condition]| conditions.iter().map(Condition::table).collect::<Vec<_>>().join(", ");
        match self {
            Condition::Always => "{}".to_owned(),
            Condition::All(conditions) => match entries(conditions) {
                Some(entries) => format!("{{ {} }}", entries.join(", ")),
                None => format!("{{ all = [{}] }}", list(conditions)),
            },
            Condition::Any(conditions) => format!("{{ any = [{}] }}", list(conditions)),
            other => format!("{{ {} }}", other.entry()),
        }
    }

    /// One entry of a table.
    fn entry(&self) -> String {
        match self {
            Condition::Is(path, values) => match values.as_slice() {
                [value] => format!("{path} = {value}"),
                values => format!("{path} = [{}]", values.join(", ")),
            },
            Condition::Exists(path) => format!("{path} = {{ exists = true }}"),
            Condition::Not(inner) => format!("not = {}", inner.table()),
            group => format!("all = [{}]", group.table()),
        }
    }
}

/// Adds one of several that are enough.
fn add(flat: &mut Vec<Condition>, condition: Condition) {
    if let Condition::Is(path, values) = &condition {
        for known in flat.iter_mut() {
            if let Condition::Is(known_path, known_values) = known
                && known_path == path
            {
                values.iter().for_each(|value| {
                    if !known_values.contains(value) {
                        known_values.push(value.clone());
                    }
                });
                return;
            }
        }
    }
    add_new(flat, condition);
}

fn add_new(flat: &mut Vec<Condition>, condition: Condition) {
    if !flat.contains(&condition) {
        flat.push(condition);
    }
}

/// The entries of one table that say all of these; `None` where two ask for one path, or one is no test of a path.
fn entries(conditions: &[Condition]) -> Option<Vec<String>> {
    let mut paths = Vec::new();
    for condition in conditions {
        match condition {
            Condition::Is(path, _) | Condition::Exists(path) if !paths.contains(&path) => paths.push(path),
            _ => return None,
        }
    }
    Some(conditions.iter().map(Condition::entry).collect())
}

fn only(mut conditions: Vec<Condition>) -> Result<Condition, Vec<Condition>> {
    match conditions.len() {
        1 => conditions.pop().ok_or_else(Vec::new),
        _ => Err(conditions),
    }
}

/// A path of logstash-metlog, `fields/user`, as a key of `match` in TOML.
pub fn path(keypath: &str) -> String {
    let parts: Vec<&str> = keypath.split('/').filter(|part| !part.is_empty()).collect();
    let is_plain = |part: &&str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match parts.as_slice() {
        [one] if is_plain(one) && !matches!(*one, "any" | "all" | "not") => (*one).to_owned(),
        parts => text(&dotted(parts)),
    }
}

/// The same for a placeholder of a template. A key that is none of the envelope's is quoted, which says that it is meant.
pub fn placeholder(keypath: &str) -> String {
    let parts: Vec<&str> = keypath.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [own, rest @ ..] if !Key::ALL.into_iter().any(|key| key.name() == *own) => {
            let rest = if rest.is_empty() { String::new() } else { format!(".{}", dotted(rest)) };
            format!("{{\"{}\"{rest}}}", own.replace('\\', "\\\\").replace('"', "\\\""))
        }
        parts => format!("{{{}}}", dotted(parts)),
    }
}

fn dotted(parts: &[&str]) -> String {
    let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let quote_all = parts.len() == 1 && matches!(parts[0], "any" | "all" | "not");
    let part = |part: &&str| match is_plain(part) && !quote_all {
        true => (*part).to_owned(),
        false => format!("\"{}\"", part.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(".")
}

/// A test of the tagger: the value at a path, as text, is this text. Numbers and booleans were compared as they are printed.
pub fn is(keypath: &str, wanted: &str) -> Condition {
    let is_number = !wanted.is_empty() && wanted.len() < 16 && wanted.chars().all(|c| c.is_ascii_digit());
    let values = match keypath {
        "severity" | "metlog_pid" if is_number => vec![wanted.to_owned()],
        "severity" | "metlog_pid" => return Condition::never(),
        "type" | "logger" | "timestamp" | "payload" | "env_version" | "metlog_hostname" => vec![text(wanted)],
        _ if (is_number && (wanted == "0" || !wanted.starts_with('0')))
            || matches!(wanted, "true" | "false") =>
        {
            vec![text(wanted), wanted.to_owned()]
        }
        _ => vec![text(wanted)],
    };
    Condition::Is(path(keypath), values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_as_short_as_a_person_would_write_them() {
        let counter = is("type", "counter");
        let either = Condition::any([counter.clone(), is("type", "timer"), counter.clone()]);
        assert_eq!(either.to_toml().unwrap(), r#"{ type = ["counter", "timer"] }"#);
        assert_eq!(either.clone().not().to_toml().unwrap(), r#"{ not = { type = ["counter", "timer"] } }"#);
        assert_eq!(either.clone().not().not(), either);
        assert_eq!(Condition::all([Condition::Always, counter.clone()]), counter);
        assert!(Condition::all([counter.clone(), Condition::never()]).is_never());
        assert_eq!(Condition::any([counter.clone(), Condition::Always]).to_toml(), None);
        let both = Condition::all([
            counter.clone(),
            is("severity", "3"),
            Condition::all([counter.clone(), either.clone()]),
        ]);
        let expected =
            r#"{ all = [{ type = "counter" }, { severity = 3 }, { type = ["counter", "timer"] }] }"#;
        assert_eq!(both.to_toml().unwrap(), expected);
        let both = Condition::all([counter, is("severity", "3")]);
        assert_eq!(both.to_toml().unwrap(), r#"{ type = "counter", severity = 3 }"#);
    }

    #[test]
    fn values_are_what_they_looked_like() {
        assert_eq!(is("severity", "3").to_toml().unwrap(), "{ severity = 3 }");
        assert!(is("severity", "high").is_never());
        assert_eq!(is("fields/code", "500").to_toml().unwrap(), r#"{ "fields.code" = ["500", 500] }"#);
        assert_eq!(is("fields/a.b/c", "x").to_toml().unwrap(), r#"{ "fields.\"a.b\".c" = "x" }"#);
        assert_eq!(is("any", "x").to_toml().unwrap(), r#"{ "\"any\"" = "x" }"#);
        assert_eq!(placeholder("fields/logtext"), "{fields.logtext}");
        assert_eq!(placeholder("app/name"), "{\"app\".name}");
    }
}
