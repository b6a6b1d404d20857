//! Warnings of placeholders that no message of the client libraries has.
//!
//! Any key may be in a message, so a template with one of these is no error; but what is not there is empty, and a line of nothing
//! says nothing about why. Who means such a key puts it in quotes.

use super::{Piece, Template};
use crate::config::{Diagnostics, reader::Value, suggest};

/// What there is to choose from.
const PLACEHOLDERS: &str = "there are `{timestamp}`, `{type}`, `{logger}`, `{severity}`, `{payload}`, `{metlog_hostname}`, \
                            `{metlog_pid}`, `{env_version}`, `{date}`, `{hour}`, and `{fields.NAME}` for what is in `fields`";

pub(super) fn warn(template: &Template, value: &Value<'_>, diagnostics: &mut Diagnostics) {
    for piece in &template.pieces {
        let Piece::Path(path) = piece else { continue };
        let first = path.parts().first().map_or("", String::as_str);
        let rest: String = path.parts().iter().skip(1).map(|part| format!(".{part}")).collect();
        let written = format!("{{{first}{rest}}}");
        // In quotes a `|` is part of a key.
        let is_filtered = written.contains('|') && template.text.contains(&written);
        let is_meant = suggest::is_key_of_messages(first)
            || template.text.contains(&format!("{{\"{}\"", escaped(first)));
        if is_meant && !is_filtered {
            continue;
        }
        // `{payload|upper}`, `{ payload }`, `{payload:>10}`, `{@timestamp}`
        let bare = first.trim().trim_start_matches('@').split(['|', ':', ' ']).next().unwrap_or(first);
        let meant = match suggest::is_key_of_messages(bare) {
            true => Some(bare),
            false => suggest::equivalent_key(bare).or_else(|| suggest::nearest_key(path)),
        };
        let message = match is_filtered {
            true => format!("`{written}` has a `|`, and placeholders take no filters"),
            false => format!("`{written}` is none of the envelope's keys"),
        };
        let problem = diagnostics.warning(value.span(), message);
        let meant = meant.map(|meant| format!("{{{meant}{}}}", rest.split('|').next().unwrap_or_default()));
        match &meant {
            Some(meant) => problem.label(format!("did you mean `{meant}`?")),
            None => problem.label("nothing stands there unless messages have this key"),
        };
        let own = format!("for a key of your own put it in quotes: {{\"{}\"{rest}}}", escaped(first));
        problem.help(match (is_filtered, meant) {
            (true, _) => "a placeholder stands for a value as it is".to_owned(),
            (false, Some(_)) => own,
            (false, None) => format!("{PLACEHOLDERS}; {own}"),
        });
    }
}

/// A key as it stands in quotes.
fn escaped(key: &str) -> String {
    key.replace('\\', "\\\\").replace('"', "\\\"")
}
