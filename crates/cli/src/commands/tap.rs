//! `metlog tap`: live messages of a running router.

use std::{
    fmt::Write as _,
    io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write},
    process::ExitCode,
    thread,
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use http_body_util::BodyExt;
use hyper::{Method, StatusCode};
use metlog_router::config::conditions;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use tokio::sync::oneshot;

use crate::{
    api::tap::Dropped,
    api_client::{Answer, ApiArguments, ApiClient},
    live::{
        condition_words,
        events::{Event, Events, Shown},
        numbers::{count, counted, span},
        pretty, safe_text,
    },
};

/// Show live messages of a running router
///
/// A condition is PATH=VALUE (with `*` in it: a pattern; several values with commas), PATH!=VALUE, PATH<=NUMBER, >=, <, >,
/// PATH~REGEX, PATH!~REGEX, PATH (is there) or !PATH. All conditions must hold. Severities have their names too. They are
/// evaluated in the router; what it does not show for want of time or room is counted and said, and delivered as ever.
///
/// A message is shown with the endpoints that its routes hand it to, before these have looked at it: one may still refuse
/// or drop it, which `metlog status` counts by reason and `metlog explain` says of a message.
///
/// Where standard output is a terminal, messages are lines for people; otherwise one message a line, as JSON. Ctrl-C ends
/// it, with a summary on standard error. Exit status 1 when the router goes away.
///
/// Examples:
///
///   metlog tap type=oldstyle 'severity<=error' 'logger=sync*'
///
///   metlog tap 'fields.name=login.*' --format event | jq -r '.to | join(" ")'
///
///   metlog tap --match '{ any = [{ type = "cef" }, { "fields.user" = { exists = true } }] }' --limit 10
///
///   metlog tap --rejects only --recent
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// What messages must satisfy; none: every message is shown
    #[arg(value_name = "CONDITION")]
    conditions: Vec<String>,
    /// A condition as a route's `match` has it: a table, in its braces, and all of it in single quotes for the shell. Text in
    /// it stands in double quotes. With conditions in words, both must hold
    #[arg(long = "match", value_name = "TABLE")]
    table: Option<String>,
    /// Only what came in by this input
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// Rejects too, with their reasons, or nothing else; conditions do not apply to them
    #[arg(long, value_enum, value_name = "HOW", num_args = 0..=1, default_missing_value = "also")]
    rejects: Option<Rejects>,
    /// Begin with the last rejects of before: a few of each reason, as far as the router remembers them
    #[arg(long, requires = "rejects")]
    recent: bool,
    /// End after so many
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// One in so many of those that match
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// At most so many a second, up to 10000 [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: Option<u32>,
    /// How messages are shown [default: pretty on a terminal, otherwise json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    #[command(flatten)]
    api: ApiArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Rejects {
    /// Messages and rejects
    #[value(alias = "true")]
    Also,
    /// Rejects alone
    Only,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The message, byte for byte as the router has it
    Json,
    /// The message with its input, the endpoints that it was handed to, and why it was rejected
    Event,
    /// A line for people
    Pretty,
}

/// Why it is over.
enum End {
    /// Everything that was asked for has been shown.
    Limit,
    /// A signal, or nobody reads any more.
    Asked,
    /// The router.
    Gone(anyhow::Error),
}

/// Exit status 0 when the user or the limit ended it, 1 when the router did.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let path = path(&arguments)?;
    eprint!("{}", warnings(&arguments)?);
    let client = ApiClient::new(&arguments.api)?;
    let asked = asked_to_end()?;
    let is_terminal = io::stdout().is_terminal();
    let format = arguments.format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Json });
    let mut view = View {
        out: BufWriter::new(io::stdout().lock()),
        format,
        is_terminal,
        color: is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        shown: 0,
        dropped: Dropped::default(),
    };
    let begin = Instant::now();
    let end = client.block_on(watch(&client, &path, &mut view, asked))?;
    view.summary(begin);
    match end {
        End::Limit | End::Asked => Ok(ExitCode::SUCCESS),
        End::Gone(error) => {
            eprintln!("error: the router at {} went away: {error:#}", client.address());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What is odd about the conditions. A misspelt key shows nothing, and would look like silence.
fn warnings(arguments: &Arguments) -> anyhow::Result<String> {
    let words = condition_words::table(&arguments.conditions)?;
    let table = arguments.table.as_deref().unwrap_or("{}");
    Ok(conditions::warnings(&words) + &conditions::warnings(table))
}

/// What is asked of the router.
fn path(arguments: &Arguments) -> anyhow::Result<String> {
    let mut parameters = Vec::new();
    let words = condition_words::table(&arguments.conditions)?;
    let table = match &arguments.table {
        Some(table) if arguments.conditions.is_empty() => table.clone(),
        Some(table) => format!("{{ all = [{words}, {table}] }}"),
        None => words,
    };
    parameters.push(("match", table));
    if let Some(input) = &arguments.input {
        parameters.push(("input", input.clone()));
    }
    if let Some(rejects) = arguments.rejects {
        if rejects == Rejects::Only && (arguments.table.is_some() || !arguments.conditions.is_empty()) {
            bail!("a reject has no keys that a condition could look at: use --rejects only without one");
        }
        parameters.push(("rejects", if rejects == Rejects::Only { "only" } else { "true" }.to_owned()));
    }
    if arguments.recent {
        parameters.push(("recent", "true".to_owned()));
    }
    let numbers = [
        ("limit", arguments.limit),
        ("sample", arguments.sample.map(u64::from)),
        ("rate", arguments.rate.map(u64::from)),
    ];
    parameters.extend(numbers.into_iter().filter_map(|(name, number)| Some((name, number?.to_string()))));
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
    Ok(format!("/api/v1/tap?{}", query.join("&")))
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            // Writing into a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// Rings when a signal asks for the end.
fn asked_to_end() -> anyhow::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch signals")?;
    let (ring, asked) = oneshot::channel();
    thread::spawn(move || {
        signals.forever().next();
        // Nobody listens any more if it has ended by itself.
        let _ = ring.send(());
    });
    Ok(asked)
}

async fn watch(
    client: &ApiClient,
    path: &str,
    view: &mut View<'_>,
    mut asked: oneshot::Receiver<()>,
) -> anyhow::Result<End> {
    let response = client.send(Method::GET, path).await?;
    if response.status() != StatusCode::OK {
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let problem: serde_json::Value = Answer { status, body }.json()?;
        let problem = problem["error"].as_str().unwrap_or("the router refuses").trim_end();
        bail!("{}", problem.strip_prefix("error: ").unwrap_or(problem));
    }
    // Said when the router has answered, for from now on nothing is missed without being counted.
    eprintln!("metlog tap: watching {}", client.address());
    let (mut body, mut events) = (response.into_body(), Events::default());
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = &mut asked => return Ok(End::Asked),
        };
        let bytes = match frame {
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => return Ok(End::Gone(error.into())),
            None => return Ok(End::Gone(anyhow!("it ended the stream"))),
        };
        for event in events.push(&bytes)? {
            match view.show(&event) {
                Ok(()) if event == Event::End => return Ok(End::Limit),
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Asked),
                Err(error) => return Err(error).context("cannot write to standard output"),
            }
        }
        match view.out.flush() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(End::Asked),
            Err(error) => return Err(error).context("cannot write to standard output"),
        }
    }
}

/// Where messages are shown, and what has been.
struct View<'o> {
    out: BufWriter<StdoutLock<'o>>,
    format: Format,
    is_terminal: bool,
    color: bool,
    shown: u64,
    dropped: Dropped,
}

impl View<'_> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        match event {
            Event::Shown(shown) => {
                self.shown += 1;
                self.line(shown)
            }
            Event::Dropped(dropped) => {
                self.out.flush()?;
                let before = std::mem::replace(&mut self.dropped, *dropped);
                let grown = Dropped {
                    over_rate: dropped.over_rate.saturating_sub(before.over_rate),
                    queue_full: dropped.queue_full.saturating_sub(before.queue_full),
                    unexamined: dropped.unexamined.saturating_sub(before.unexamined),
                };
                missed(grown).iter().for_each(|line| eprintln!("metlog tap: {line}"));
                Ok(())
            }
            Event::End => Ok(()),
        }
    }

    fn line(&mut self, shown: &Shown) -> io::Result<()> {
        let json = match self.format {
            Format::Pretty => return writeln!(self.out, "{}", pretty::line(&shown.whole, self.color)),
            Format::Json => shown.message(),
            Format::Event => &shown.whole,
        };
        if self.is_terminal {
            writeln!(self.out, "{}", safe_text::json(json))
        } else {
            writeln!(self.out, "{json}")
        }
    }

    fn summary(&mut self, begin: Instant) {
        // A reader that has gone is no reason to keep the summary back.
        let _ = self.out.flush();
        eprintln!(
            "metlog tap: {} shown in {}",
            counted(self.shown, "message", "messages"),
            span(begin.elapsed().as_secs_f64())
        );
        missed(self.dropped).iter().for_each(|line| eprintln!("metlog tap: in all, {line}"));
    }
}

/// What was not shown, and what to do.
fn missed(dropped: Dropped) -> Vec<String> {
    [
        (
            dropped.over_rate,
            "matched but were too many a second: narrow the condition, or use --sample or --rate",
        ),
        (dropped.queue_full, "matched but came faster than they are read here"),
        (dropped.unexamined, "were not looked at, for the condition takes too much of the router's time"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, why)| format!("{} not shown: they {why}", count(number)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn path_of(words: &[&str]) -> anyhow::Result<String> {
        path(&Command::try_parse_from([&["tap"], words].concat()).unwrap().arguments)
    }

    #[test]
    fn the_command_line_becomes_a_query() {
        assert_eq!(path_of(&[]).unwrap(), "/api/v1/tap?match=%7B%7D");
        assert_eq!(
            path_of(&["type=a", "--input", "tcp", "-n", "5", "--sample", "2", "--rate", "7", "--rejects"])
                .unwrap(),
            "/api/v1/tap?match=%7B%20%22type%22%20%3D%20%22a%22%20%7D&input=tcp&rejects=true&limit=5&sample=2&rate=7"
        );
        let both = path_of(&["type=a", "--match", "{ x = 1 }"]).unwrap();
        assert!(
            both.contains(
                "all%20%3D%20%5B%7B%20%22type%22%20%3D%20%22a%22%20%7D%2C%20%7B%20x%20%3D%201%20%7D%5D"
            ),
            "{both}"
        );
        assert_eq!(path_of(&["--rejects", "true"]).unwrap(), path_of(&["--rejects", "also"]).unwrap());
        assert!(path_of(&["--rejects", "only"]).unwrap().ends_with("&rejects=only"));
        assert!(path_of(&["type=a", "--rejects", "only"]).is_err());
        assert!(path_of(&["--rejects", "only", "--recent"]).unwrap().ends_with("&rejects=only&recent=true"));
    }

    #[test]
    fn a_misspelt_key_is_pointed_out() {
        let said = |words: &[&str]| {
            warnings(&Command::try_parse_from([&["tap"], words].concat()).unwrap().arguments).unwrap()
        };
        assert!(said(&["sevrity<=3"]).contains("did you mean `severity`?"), "{}", said(&["sevrity<=3"]));
        assert!(said(&["--match", "{ lgger = \"shop\" }"]).contains("did you mean `logger`?"));
        assert_eq!(said(&["severity<=3", "fields.user"]), "");
    }

    #[test]
    fn what_is_missed_is_said_with_what_to_do() {
        assert_eq!(missed(Dropped::default()), [""; 0]);
        let lines = missed(Dropped { over_rate: 1500, queue_full: 0, unexamined: 2 });
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("1,500 not shown") && lines[0].contains("--sample"), "{lines:?}");
    }
}
