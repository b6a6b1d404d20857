//! "Did you mean …?": the nearest of some known names.

use metlog_message::{Key, Path};

/// The candidate nearest to `word`, if one is near enough to be meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= (word.len().max(candidate.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The envelope key that the first part of a path was probably meant to be. Any other key may be in a message too, so what
/// is only near is no error.
pub(crate) fn nearest_key(path: &Path) -> Option<&'static str> {
    let first = path.parts().first()?;
    let known = path.key().is_some() || SENDER_KEYS.contains(&first.as_str());
    if known { None } else { nearest(first, Key::ALL.into_iter().map(Key::name)) }
}

/// Whether messages have a key of this name: one of the envelope's, or one that the client libraries add.
pub fn is_key_of_messages(name: &str) -> bool {
    SENDER_KEYS.contains(&name) || Key::ALL.into_iter().any(|key| key.name() == name)
}

/// What is in a message in the place of what other systems call by this name.
pub(crate) fn equivalent_key(name: &str) -> Option<&'static str> {
    let name: String = plain(name).into_iter().filter(char::is_ascii_alphanumeric).collect();
    match name.as_str() {
        "time" | "ts" | "datetime" | "when" => Some("timestamp"),
        "message" | "msg" | "text" | "body" | "log" | "line" | "value" | "shortmessage" => Some("payload"),
        "host" | "hostname" | "server" | "node" | "source" => Some("metlog_hostname"),
        "level" | "loglevel" | "lvl" | "levelname" | "priority" => Some("severity"),
        "app" | "application" | "appname" | "program" | "service" | "ident" | "tag" => Some("logger"),
        "pid" | "process" | "procid" => Some("metlog_pid"),
        "day" => Some("date"),
        "name" => Some("fields.name"),
        "rate" => Some("fields.rate"),
        _ => None,
    }
}

/// What the client libraries add.
const SENDER_KEYS: [&str; 2] = ["metlog_seq", "metlog_src"];

/// "`a`, `b` or `c`".
pub(super) fn listed<'n>(names: impl IntoIterator<Item = &'n str>, last: &str) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}

/// Where a key belongs that is often written in the wrong place.
pub(super) fn belongs(key: &str) -> Option<&'static str> {
    match key {
        "data_dir" | "threads" | "shutdown_timeout" => {
            Some("it belongs at the top of the file, before the first [section]")
        }
        "when_full" => Some("it belongs to an endpoint's buffer, as in buffer = { when_full = \"block\" }"),
        "memory" | "disk" | "fsync" => {
            Some("it belongs to an endpoint's buffer, as in buffer = { memory = \"8MiB\" }")
        }
        "match" | "to" | "final" | "unrouted" => Some("it belongs to a route, under [[routes]]"),
        "filter" | "filters" | "transforms" => Some("routes choose messages: [[routes]] with match = { … }"),
        _ => match section_meant(key) {
            Some("endpoints") => Some("destinations are called endpoints: [endpoints.NAME]"),
            Some("inputs") => Some("where messages come from are inputs: [inputs.NAME]"),
            _ => None,
        },
    }
}

/// The section that a heading at the top level of the file was meant to be, of those whose entries are spoken of elsewhere.
pub(super) fn section_meant(heading: &str) -> Option<&'static str> {
    match heading {
        "output" | "outputs" | "sink" | "sinks" | "destination" | "destinations" => Some("endpoints"),
        "source" | "sources" | "listener" | "listeners" => Some("inputs"),
        _ => nearest(heading, ["inputs", "endpoints", "routes"]).filter(|meant| *meant != heading),
    }
}

/// Case and the choice between `-` and `_` are no difference.
fn plain(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).map(|c| if c == '-' { '_' } else { c }).collect()
}

/// How many letters must be added, dropped, replaced or swapped with their neighbour (optimal string alignment).
fn distance(from: &[char], to: &[char]) -> usize {
    let mut two_above = vec![0; to.len() + 1];
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for row in 1..=from.len() {
        let mut current = vec![row; to.len() + 1];
        for column in 1..=to.len() {
            let changed = usize::from(from[row - 1] != to[column - 1]);
            let mut best = (above[column] + 1).min(current[column - 1] + 1).min(above[column - 1] + changed);
            let swapped =
                row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1];
            if swapped {
                best = best.min(two_above[column - 2] + 1);
            }
            current[column] = best;
        }
        two_above = std::mem::replace(&mut above, current);
    }
    above[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["address", "prefix", "when_full", "max"];
        for (word, meant) in [
            ("adress", Some("address")),
            ("addresss", Some("address")),
            ("when-full", Some("when_full")),
            ("whenfull", Some("when_full")),
            ("Max", Some("max")),
            ("mxa", Some("max")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn names_of_other_systems_are_understood() {
        for (word, meant) in [
            ("time", Some("timestamp")),
            ("@timestamp", None),
            ("Message", Some("payload")),
            ("log_level", Some("severity")),
            ("host", Some("metlog_hostname")),
            ("shop", None),
        ] {
            assert_eq!(equivalent_key(word), meant, "{word}");
        }
        assert!(is_key_of_messages("metlog_seq") && is_key_of_messages("payload"));
        assert!(!is_key_of_messages("message"));
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(listed([], "or"), "");
        assert_eq!(listed(["a"], "or"), "`a`");
        assert_eq!(listed(["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
