//! Outputs become endpoints, each with the route that leads there.

use super::{
    ByTags, Choices, Notes, Settings, applies, by_tags,
    conditions::{self, Condition},
    filters::Tags,
    language::Plugin,
    relatives,
    toml::{comment, literal, text},
};

/// One output, turned.
struct Output {
    /// Where it came from.
    origin: String,
    /// What the endpoint is called.
    name: String,
    /// The keys of the endpoint.
    body: String,
    /// Which messages go there.
    condition: Condition,
    /// That is not known: it stands in the result as a comment.
    is_open: bool,
}

/// Turns every output. The sections come in the order of the file: all endpoints, then all routes.
pub fn turn<'p>(
    outputs: impl Iterator<Item = &'p Plugin>,
    types: &[String],
    tags: &Tags,
    choices: &Choices,
    notes: &mut Notes<'_>,
) -> Vec<String> {
    let mut turned: Vec<Output> = Vec::new();
    for plugin in outputs {
        let mut settings = Settings::of(plugin);
        if !matches!(
            plugin.name.as_str(),
            "metlog_file" | "metlog_statsd" | "metlog_cef" | "metlog_sentry_dsn" | "metlog_sentry" | "stdout"
        ) {
            let help = relatives::of_output(&plugin.name);
            notes.plugin_not_turned(plugin, &help);
            continue;
        }
        if !applies(plugin, &mut settings, types, notes) {
            continue;
        }
        let ByTags { condition, unturned } = by_tags(plugin, &mut settings, tags, notes);
        let turn = match plugin.name.as_str() {
            "metlog_file" => file,
            "metlog_statsd" => statsd,
            "metlog_cef" => cef,
            "metlog_sentry_dsn" | "metlog_sentry" => sentry,
            _ => stdout,
        };
        let Some(Turn { name, body, needs }) = turn(&mut settings, choices, notes) else { continue };
        notes.finish(plugin, &settings);
        let is_open = condition.is_never() && unturned.is_some();
        if let Some(tag) = &unturned {
            let origin = tags.origin(tag, notes);
            let (message, help) = match is_open {
                true => (
                    format!(
                        "{} is not turned: its tag `{tag}` comes from {origin}, which is not turned",
                        plugin.name
                    ),
                    "it stands in the result as a comment: write the `match` of its route",
                ),
                false => (
                    format!(
                        "{} gets less than before: its tag `{tag}` comes also from {origin}, which is not turned",
                        plugin.name
                    ),
                    "add what it is missing to the `match` of its route",
                ),
            };
            notes.left_out_because(settings.span_of("tags"), message, help);
        } else if condition.is_never() {
            let message =
                format!("no filter adds these tags, so {} never got a message; it is left out", plugin.name);
            notes.differs(settings.span_of("tags"), message, "add a route if it is to get some");
            continue;
        }
        let origin = format!("{}: output {}", notes.place(&plugin.span), plugin.name);
        let name = unused(name, &turned);
        turned.push(Output { origin, name, body, condition: Condition::all([condition, needs]), is_open });
    }
    let (open, closed): (Vec<Output>, Vec<Output>) = turned.into_iter().partition(|output| output.is_open);
    let endpoints = closed.iter().map(endpoint);
    let routes = closed.iter().map(|output| route(output, &closed));
    endpoints.chain(routes).chain(open.iter().map(as_comment)).collect()
}

fn endpoint(output: &Output) -> String {
    format!("{}[endpoints.{}]\n{}", comment(&output.origin), output.name, output.body)
}

/// An endpoint and its route, to be completed by an operator: nobody here knows which messages go there.
fn as_comment(output: &Output) -> String {
    let route = format!("\n[[routes]]\nmatch = {{ … }}\nto = [\"{}\"]\n", output.name);
    let lines = format!("[endpoints.{}]\n{}{route}", output.name, output.body);
    let lines = lines.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { comment(line) });
    std::iter::once(comment(&output.origin)).chain(lines).collect()
}

/// An endpoint in the making: what it may be called, its keys, and what its messages must have besides their tags.
struct Turn {
    name: String,
    body: String,
    needs: Condition,
}

impl Turn {
    fn new(name: &str, body: String) -> Option<Turn> {
        Some(Turn { name: name.to_owned(), body, needs: Condition::Always })
    }
}

fn route(output: &Output, all: &[Output]) -> String {
    let mut section = "[[routes]]\n".to_owned();
    if is_the_rest(output, all) {
        section.push_str("unrouted = true\n");
    } else if let Some(condition) = output.condition.to_toml() {
        section.push_str(&format!("match = {condition}\n"));
    }
    section.push_str(&format!("to = [\"{}\"]\n", output.name));
    section
}

/// Whether this output gets exactly what no other one gets.
fn is_the_rest(output: &Output, all: &[Output]) -> bool {
    let others = all.iter().filter(|other| other.name != output.name).map(|other| other.condition.clone());
    let others = Condition::any(others.collect::<Vec<_>>());
    let Condition::Not(taken) = &output.condition else { return false };
    // Only lists of values can be compared: whether longer conditions are the same is not obvious.
    match (taken.as_ref(), &others) {
        (Condition::Is(path, values), Condition::Is(other_path, other_values)) => {
            path == other_path
                && values.len() == other_values.len()
                && values.iter().all(|value| other_values.contains(value))
        }
        (taken, others) => taken == others,
    }
}

fn unused(wanted: String, turned: &[Output]) -> String {
    let is_free = |name: &str| turned.iter().all(|output| output.name != name);
    if is_free(&wanted) {
        return wanted;
    }
    let numbered = (2..).map(|number| format!("{wanted}-{number}")).find(|name| is_free(name));
    numbered.unwrap_or(wanted)
}

fn file(settings: &mut Settings<'_>, _: &Choices, notes: &mut Notes<'_>) -> Option<Turn> {
    let Some(path) = settings.text("path") else {
        notes.not_turned(settings.plugin.span.clone(), "a metlog_file without a path", "add path => \"…\"");
        return None;
    };
    if let Some(placeholder) = reference(&path) {
        let key = placeholder.trim_start_matches("%{").trim_end_matches('}').trim_start_matches('@');
        let ours = match key {
            "source_host" => "{metlog_hostname}".to_owned(),
            key if key.starts_with('+') || key == "timestamp" => "{date}".to_owned(),
            key => format!("{{{}}}", key.trim_matches(['[', ']']).replace("][", ".")),
        };
        let message = format!(
            "metlog_file filled nothing in: it wrote to a file with `{placeholder}` in its name, and so does the result"
        );
        let help = format!("if each is to have a file of its own, write {ours} for it in `path`");
        notes.differs(settings.span_of("path"), message, &help);
    }
    let mut body = format!("kind = \"file\"\npath = {}\n", text(&literal(&path)));
    let field = settings.text("formatted_field").unwrap_or_default();
    let prefix = settings.is_true("prefix_timestamps");
    let mut needs = Condition::Always;
    match settings.text("format").as_deref() {
        Some("preformatted_field") => {
            let field = if field.is_empty() { "payload".to_owned() } else { field };
            let template =
                if prefix { "{timestamp} " } else { "" }.to_owned() + &conditions::placeholder(&field);
            body.push_str(&format!("format = \"text\"\ntemplate = {}\n", text(&template)));
            body.push_str(
                "multiline = \"keep\"           # as before; \"escape\" keeps every message on one line\n",
            );
            if field != "payload" {
                // What had no such field was not written.
                needs = Condition::Exists(conditions::path(&field));
            }
        }
        None | Some("json") => {
            if prefix {
                let message = "JSON lines are written without a timestamp in front";
                notes.differs(
                    settings.span_of("prefix_timestamps"),
                    message,
                    "each message has its `timestamp`",
                );
            }
        }
        Some(_) => {
            let help = "metlog_file knows `json` and `preformatted_field`";
            notes.not_turned(settings.span_of("format"), "this format", help);
            return None;
        }
    }
    let stem = path.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
    let name: String = stem.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    Some(Turn { name: if name.is_empty() { "file".to_owned() } else { name }, body, needs })
}

/// The first `%{…}` of a text.
fn reference(text: &str) -> Option<&str> {
    let found = &text[text.find("%{")?..];
    Some(&found[..=found.find('}')?])
}

fn statsd(settings: &mut Settings<'_>, _: &Choices, _: &mut Notes<'_>) -> Option<Turn> {
    let host = settings.text("host").unwrap_or_else(|| "localhost".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = settings.text("port").unwrap_or_else(|| "8125".to_owned());
    Turn::new("statsd", format!("kind = \"statsd\"\naddress = {}\n", text(&format!("{host}:{port}"))))
}

/// The local syslog daemon, as the C library reaches it.
fn cef(_: &mut Settings<'_>, _: &Choices, _: &mut Notes<'_>) -> Option<Turn> {
    Turn::new("cef", "kind = \"syslog\"\ntransport = \"unix\"             # /dev/log\n".to_owned())
}

fn sentry(settings: &mut Settings<'_>, choices: &Choices, notes: &mut Notes<'_>) -> Option<Turn> {
    let mut body = "kind = \"sentry\"\n".to_owned();
    if settings.plugin.name == "metlog_sentry" {
        let Some(dsn) = settings.text("dsn") else {
            notes.not_turned(
                settings.plugin.span.clone(),
                "a metlog_sentry without a DSN",
                "add dsn => \"…\"",
            );
            return None;
        };
        let span = settings.span_of("dsn");
        notes.secrets.push(span.clone());
        let message = "the DSN with its secret stands in the result, as it does here";
        notes.differs(span, message, "move it into the environment: dsn = \"${SENTRY_DSN}\"");
        body.push_str(&format!("dsn = {}\n", text(&dsn)));
    } else if choices.allow_hosts.is_empty() {
        let help =
            "a message could name any; name the hosts of your servers: --allow-host sentry.example.org";
        notes.not_turned(settings.plugin.span.clone(), "which Sentry hosts a message may name", help);
        body.push_str(
            "allow_hosts = []               # the hosts that a message's own DSN may name: add yours\n",
        );
    }
    if !choices.allow_hosts.is_empty() {
        let hosts: Vec<String> = choices.allow_hosts.iter().map(|host| text(host)).collect();
        body.push_str(&format!("allow_hosts = [{}]\n", hosts.join(", ")));
    }
    Turn::new("sentry", body)
}

fn stdout(settings: &mut Settings<'_>, _: &Choices, _: &mut Notes<'_>) -> Option<Turn> {
    // How it was printed was for a developer's eye.
    settings.get("debug");
    settings.get("debug_format");
    Turn::new("stdout", "kind = \"stdout\"\n".to_owned())
}
