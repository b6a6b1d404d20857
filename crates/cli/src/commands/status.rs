//! `metlog status`: the ledger and the health of a running router, once.

use std::{io::Write, process::ExitCode};

use serde_json::{Value, json};

use crate::{
    api::{
        is_failing,
        pipeline::{Endpoint, Input, Pipeline},
    },
    api_client::{ApiArguments, ApiClient},
    live::{
        files,
        numbers::{bytes, count, counted, share, span},
        safe_text::shown,
        table::{Align, Table},
        verdict::{Verdict, by_reason, name_of},
        wrap::{terminal_columns, wrapped},
    },
};

/// The exit status when no router answers.
const NOT_REACHABLE: u8 = 2;

/// Characters of a name or an address that are shown.
const SHOWN: usize = 60;

/// Show the health and the ledger of a running router, once
///
/// The first lines say whether anything is wrong now; below them stands what was lost, refused or taken by no route since
/// the router started, and then every number of the ledger.
///
/// Exit status: 0 healthy; 1 in trouble (an endpoint fails, has held a message for more than a minute, or lost messages in the
/// last one; connections wait because too many are open; or the router is stopping); 2 no router answers, or it does not let you in.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    #[command(flatten)]
    api: ApiArguments,
    /// Print JSON: what GET /api/v1/pipeline answers, with `health`, `problems` and `notes`
    #[arg(long)]
    json: bool,
}

/// Exit status 0 when the router is healthy, 1 when it is in trouble, 2 when it does not answer.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (address, answer) = match ask(&arguments.api) {
        Ok(answer) => answer,
        Err(error) => {
            if arguments.json {
                let problem = format!("{error:#}");
                println!("{:#}", json!({ "health": "unreachable", "problems": [problem], "notes": [] }));
            }
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(NOT_REACHABLE));
        }
    };
    let pipeline: Pipeline = serde_json::from_value(answer.clone())?;
    let verdict = Verdict::of(&pipeline, &arguments.api.flags());
    let text = if arguments.json {
        format!("{:#}\n", as_json(answer, &verdict))
    } else {
        report(&address, &pipeline, &verdict, terminal_columns()).join("\n") + "\n"
    };
    // Whoever reads may have gone; the exit status still tells.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(if verdict.is_healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn ask(arguments: &ApiArguments) -> anyhow::Result<(String, Value)> {
    let client = ApiClient::new(arguments)?;
    let answer: Value = client.get("/api/v1/pipeline")?.json()?;
    if serde_json::from_value::<Pipeline>(answer.clone()).is_err() {
        anyhow::bail!("what listens at {} is no router of this version", client.address());
    }
    Ok((client.address().to_owned(), answer))
}

fn as_json(mut answer: Value, verdict: &Verdict) -> Value {
    answer["health"] = json!(if verdict.is_healthy() { "healthy" } else { "in trouble" });
    answer["problems"] = json!(verdict.problems);
    answer["notes"] = json!(verdict.notes);
    answer
}

/// Everything, line by line, for a terminal of so many columns.
fn report(address: &str, pipeline: &Pipeline, verdict: &Verdict, columns: Option<usize>) -> Vec<String> {
    let health = if verdict.is_healthy() { "healthy: no endpoint fails" } else { "IN TROUBLE" };
    let mut lines = vec![format!("metlog {} at {address} is {health}", shown(&pipeline.version, SHOWN))];
    let point = |text: &String| wrapped(&format!("  {text}"), columns.unwrap_or(usize::MAX), "      ");
    lines.extend(verdict.problems.iter().flat_map(point));
    let received = pipeline.inputs.iter().map(|input| input.received).sum();
    let waiting = pipeline.endpoints.iter().map(|endpoint| endpoint.queued).sum();
    let behind = match files::behind_bytes(&pipeline.inputs) {
        Some(behind) => format!(", {} behind in files", bytes(behind)),
        None => String::new(),
    };
    lines.push(format!(
        "running for {}, {} received, {} waiting{behind}",
        span(pipeline.uptime_seconds),
        counted(received, "frame", "frames"),
        count(waiting)
    ));
    if !verdict.notes.is_empty() {
        lines.push("since it started:".to_owned());
        lines.extend(verdict.notes.iter().flat_map(point));
    }
    lines.push(String::new());
    lines.extend(inputs(&pipeline.inputs).lines(columns));
    lines.push(String::new());
    lines.extend(endpoints(&pipeline.endpoints).lines(columns));
    lines
}

fn inputs(inputs: &[Input]) -> Table {
    let columns = [
        ("INPUT", Align::Left),
        ("KIND", Align::Left),
        ("LISTENS AT", Align::Left),
        ("RECEIVED", Align::Right),
        ("ROUTED", Align::Right),
        ("UNROUTED", Align::Right),
        ("REJECTED", Align::Right),
        ("KERNEL DROPS", Align::Right),
        ("CONNECTIONS", Align::Right),
    ];
    // Kernel drops are told above, where there are any.
    let mut table = Table::new(&columns, &["KIND", "KERNEL DROPS", "CONNECTIONS", "LISTENS AT"]);
    for input in inputs {
        let connections = &input.connections;
        let open = match connections.opened {
            0 => "-".to_owned(),
            opened => count(opened.saturating_sub(connections.closed)),
        };
        table.row(
            vec![
                name_of(&input.name, input.removed),
                shown(&input.kind, SHOWN),
                shown(&input.address, SHOWN),
                count(input.received),
                count(input.routed),
                count(input.unrouted),
                count(input.rejected.values().sum()),
                count(input.kernel_drops),
                open,
            ],
            below(input),
        );
    }
    table
}

fn below(input: &Input) -> Vec<String> {
    let counts = [("rejected", &input.rejected), ("noticed", &input.noticed)];
    let counts = counts.into_iter().filter_map(|(what, counts)| Some((what, by_reason(counts)?)));
    let counts = counts.map(|(what, reasons)| format!("{what}: {reasons}"));
    // With these a row adds up, and says whose clock is in the files.
    let others = [("blank", input.blank), ("timestamp_unreadable", input.timestamp_unreadable)];
    let others = others.into_iter().filter(|(_, number)| *number > 0);
    let others = others.map(|(what, number)| format!("{what}: {}", count(number)));
    counts.chain(others).chain(input.files.iter().flat_map(files::lines)).collect()
}

fn endpoints(endpoints: &[Endpoint]) -> Table {
    let columns = [
        ("ENDPOINT", Align::Left),
        ("KIND", Align::Left),
        ("DELIVERED", Align::Right),
        ("WAITING", Align::Right),
        ("OLDEST", Align::Right),
        ("BUFFER", Align::Right),
        ("REFUSED", Align::Right),
        ("DROPPED", Align::Right),
        ("RETRIES", Align::Right),
    ];
    let mut table = Table::new(&columns, &["RETRIES", "KIND", "BUFFER", "OLDEST"]);
    for endpoint in endpoints {
        let below = [
            ("dropped", by_reason(&endpoint.dropped)),
            ("refused", by_reason(&endpoint.refused)),
            ("noticed", by_reason(&endpoint.noticed)),
            (
                if is_failing(endpoint) { "fails" } else { "failed last" },
                endpoint.failure.as_ref().map(|failure| shown(&failure.error, 5 * SHOWN)),
            ),
        ];
        let below = below.into_iter().filter_map(|(what, text)| Some(format!("{what}: {}", text?)));
        table.row(
            vec![
                name_of(&endpoint.name, endpoint.removed),
                shown(&endpoint.kind, SHOWN),
                count(endpoint.delivered),
                count(endpoint.queued),
                endpoint.oldest_undelivered_seconds.map_or("-".to_owned(), span),
                format!(
                    "{} of {}",
                    share(endpoint.queued_bytes, endpoint.buffer_limit_bytes),
                    bytes(endpoint.buffer_limit_bytes)
                ),
                count(endpoint.refused.values().sum()),
                count(endpoint.dropped.values().sum()),
                count(endpoint.retries),
            ],
            below.collect(),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::rates::tests::pipeline;

    #[test]
    fn the_report_says_first_whether_anything_is_wrong() {
        let pipeline = pipeline(7384.0, 1_234_567);
        let text = report("127.0.0.1:5580", &pipeline, &Verdict::of(&pipeline, ""), None).join("\n");
        assert_eq!(
            text,
            r"metlog 0.1.0 at 127.0.0.1:5580 is IN TROUBLE
  endpoint `stats` fails: connection\u{1b}[2J refused (14 attempts in a row, for 2 min 6 s); 400 messages wait, the oldest for 2 min 5 s
running for 2 h 3 min, 1,234,567 frames received, 400 waiting
since it started:
  12 frames rejected at input `tcp`: invalid-json 10, too-large 2 (see the last ones: metlog tap --rejects only --recent)
  5 messages that no route took at input `tcp`
  93 messages dropped in front of endpoint `stats`: buffer-full 93
  7 messages refused by endpoint `stats`: not-a-number 7
  at least 3 messages may be lost at endpoint `stats`: peer-unreachable 3

INPUT  KIND  LISTENS AT       RECEIVED     ROUTED  UNROUTED  REJECTED  KERNEL DROPS  CONNECTIONS
tcp    tcp   127.0.0.1:5565  1,234,567  1,234,567         5        12             0            3
    rejected: invalid-json 10, too-large 2

ENDPOINT  KIND    DELIVERED  WAITING     OLDEST           BUFFER  REFUSED  DROPPED  RETRIES
log       file    1,234,567        0          -   0 % of 8.0 MiB        0        0        0
stats     statsd        500      400  2 min 5 s  75 % of 8.0 MiB        7       93       14
    dropped: buffer-full 93
    refused: not-a-number 7
    noticed: peer-unreachable 3
    fails: connection\u{1b}[2J refused"
        );
    }

    #[test]
    fn blank_frames_and_unreadable_timestamps_stand_below_their_input() {
        let mut pipeline = pipeline(1.0, 10);
        (pipeline.inputs[0].blank, pipeline.inputs[0].timestamp_unreadable) = (1_200, 3);
        let text = report("127.0.0.1:5580", &pipeline, &Verdict::of(&pipeline, ""), None).join("\n");
        assert!(text.contains("too-large 2\n    blank: 1,200\n    timestamp_unreadable: 3\n"), "{text}");
        assert!(text.contains("  3 messages whose timestamp is no date at input `tcp`\n"), "{text}");
    }

    #[test]
    fn the_report_fits_80_columns() {
        let mut pipeline = pipeline(7384.0, 1_234_567_890);
        let fits = |pipeline: &Pipeline| {
            let text = report("127.0.0.1:5580", pipeline, &Verdict::of(pipeline, ""), Some(80)).join("\n");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            text
        };
        let text = fits(&pipeline);
        for part in [
            "  1,234,567,890  ",
            "  75 % of 8.0 MiB  ",
            "(a wider terminal shows KIND, KERNEL DROPS",
            "(a wider terminal shows RETRIES, KIND too)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        pipeline.endpoints[0].name = "a-name-that-somebody-found-good-when-there-was-more-room".to_owned();
        fits(&pipeline);
    }

    #[test]
    fn json_is_the_routers_answer_with_the_verdict() {
        let pipeline = pipeline(1.0, 10);
        let verdict = Verdict::of(&pipeline, "");
        let json = as_json(serde_json::to_value(&pipeline).unwrap(), &verdict);
        assert_eq!(json["health"], "in trouble");
        assert_eq!(json["inputs"][0]["received"], 10);
        assert_eq!(json["problems"].as_array().unwrap().len(), 1);
    }
}
