//! `metlog reload`: have a running router go on with its changed configuration file.

use std::process::ExitCode;

use crate::{
    api::reload::{Changes, Reloaded},
    api_client::{ApiArguments, ApiClient},
};

/// Have a running router go on with what its configuration file says now
///
/// The router reads the file that it was started with, and what that includes. A file that cannot be used changes nothing:
/// the router goes on as before, the problems are shown as `metlog check` shows them, and the exit status is 1.
///
/// What did not change in the file keeps running, with its connections and with what it holds.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    api: ApiArguments,
}

/// Exit status 0 when the router goes on with the file, 1 when nothing has changed.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = ApiClient::new(&arguments.api)?;
    let answer = client.post("/api/v1/reload")?;
    let outcome: Reloaded = answer.json()?;
    eprint!("{}", outcome.warnings);
    if let Some(error) = &outcome.error {
        eprintln!("{}", error.trim_end());
        eprintln!("nothing has changed: the router goes on as before");
        return Ok(ExitCode::FAILURE);
    }
    print!("{}", told(&outcome));
    Ok(ExitCode::SUCCESS)
}

/// The report, for people.
fn told(outcome: &Reloaded) -> String {
    let mut text = "reloaded\n".to_owned();
    for (what, changes) in [("inputs", &outcome.inputs), ("endpoints", &outcome.endpoints)] {
        text += &format!("  {what:10} {}\n", in_words(changes));
    }
    let routes = if outcome.routes_changed { "changed" } else { "unchanged" };
    text += &format!("  {:10} {}, {routes}\n", "routes", outcome.routes);
    if !outcome.next_start.is_empty() {
        text += &format!("takes effect at the next start: {}\n", outcome.next_start.join(", "));
    }
    text
}

/// `kept 2, changed stats, removed old`: what is kept is only counted, the rest is news.
pub fn in_words(changes: &Changes) -> String {
    let mut parts = Vec::new();
    if !changes.kept.is_empty() {
        parts.push(format!("kept {}", changes.kept.len()));
    }
    for (word, names) in
        [("changed", &changes.changed), ("added", &changes.added), ("removed", &changes.removed)]
    {
        if !names.is_empty() {
            parts.push(format!("{word} {}", names.join(" ")));
        }
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_is_new_and_counts_the_rest() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let outcome = Reloaded {
            reloaded: true,
            inputs: Changes { kept: names(&["udp", "tcp"]), ..Changes::default() },
            endpoints: Changes {
                kept: names(&["archive"]),
                changed: names(&["stats"]),
                removed: names(&["a", "b"]),
                ..Changes::default()
            },
            routes: 3,
            routes_changed: true,
            next_start: names(&["threads"]),
            ..Reloaded::default()
        };
        assert_eq!(
            told(&outcome),
            "reloaded\n  inputs     kept 2\n  endpoints  kept 1, changed stats, removed a b\n  routes     3, changed\n\
             takes effect at the next start: threads\n"
        );
    }
}
