//! What the terminal shows: a frame of lines, made from snapshots. Made for 80 columns and 24 rows; more are used.

use super::{rates::Rates, snapshot::Snapshot};
use crate::{
    api::pipeline::{Endpoint, Route},
    live::{numbers::count, safe_text},
};

/// What does not change while the demo runs.
#[derive(Debug)]
pub struct Facts {
    /// Where applications send to.
    pub messages: String,
    /// Where the API answers.
    pub api: String,
    /// The folder.
    pub folder: String,
    /// Whether to use colours.
    pub color: bool,
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Accent,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Good => "32",
            Style::Bad => "1;31",
            Style::Accent => "36",
        }
    }
}

/// A line in the making: cut where the terminal ends, whatever its colours.
struct Line<'a> {
    text: String,
    room: usize,
    facts: &'a Facts,
}

impl<'a> Line<'a> {
    fn new(facts: &'a Facts, columns: usize) -> Line<'a> {
        Line { text: String::new(), room: columns, facts }
    }

    fn push(mut self, style: Style, text: &str) -> Self {
        // Wide characters would break the columns; the demo sends none.
        let shown: String = safe_text::shown(text, usize::MAX).chars().take(self.room).collect();
        self.room -= shown.chars().count();
        if self.facts.color && !matches!(style, Style::Plain) && !shown.is_empty() {
            self.text.push_str(&format!("\x1b[{}m{shown}\x1b[0m", style.code()));
        } else {
            self.text.push_str(&shown);
        }
        self
    }

    fn end(self) -> String {
        self.text
    }
}

/// The frame for a terminal of this size.
pub fn frame(facts: &Facts, rates: &Rates, (columns, rows): (usize, usize)) -> Vec<String> {
    let Some(latest) = rates.latest() else { return Vec::new() };
    let mut lines = head(facts, latest, columns);
    lines.push(String::new());
    lines.extend(sources(facts, rates, latest, columns));
    lines.push(String::new());
    lines.extend(endpoints(facts, rates, latest, columns));
    lines.push(String::new());
    lines.extend(foot(facts, columns));
    if lines.len() > rows {
        // What is spacing goes first, then what is last.
        lines.retain(|line| !line.is_empty());
        lines.truncate(rows);
    }
    lines
}

fn head(facts: &Facts, latest: &Snapshot, columns: usize) -> Vec<String> {
    let seconds = latest.seconds as u64;
    let time = format!("{}:{:02}", seconds / 60, seconds % 60);
    let title = "metlog demo";
    let what = "  a made-up web shop, sent through a real router";
    let gap = columns.saturating_sub(1 + title.len() + what.len() + time.len() + "   q quits ".len());
    vec![
        Line::new(facts, columns)
            .push(Style::Bold, &format!(" {title}"))
            .push(Style::Plain, what)
            .push(Style::Plain, &" ".repeat(gap))
            .push(Style::Dim, &format!("{time}   q quits"))
            .end(),
        Line::new(facts, columns)
            .push(Style::Dim, " Two lines for yours:  ")
            .push(Style::Accent, &format!("let metlog = metlog::Client::udp(\"{}\")?;", facts.messages))
            .end(),
        Line::new(facts, columns).push(Style::Accent, &format!("{:23}metlog.incr(\"hits\");", "")).end(),
    ]
}

/// What the shop sends, and the types of these messages.
const TYPES: [(&str, &[&str]); 4] = [
    ("metrics", &["counter", "timer", "gauge"]),
    ("log lines", &["oldstyle"]),
    ("audit (CEF)", &["cef"]),
    ("exceptions", &["sentry"]),
];

/// The shop on the left, the router's inputs on the right.
fn sources(facts: &Facts, rates: &Rates, latest: &Snapshot, columns: usize) -> Vec<String> {
    let mut lines = vec![
        Line::new(facts, columns)
            .push(Style::Bold, &format!(" {:<12}{:>8}{:>10}", "GENERATOR", "msg/s", "sent"))
            .push(Style::Plain, "     ")
            .push(
                Style::Bold,
                &format!("{:<8}{:>7}{:>10}{:>9}{:>7}", "INPUT", "msg/s", "received", "rejected", "lost"),
            )
            .end(),
    ];
    for (row, (label, types)) in TYPES.iter().enumerate() {
        let sent = |snapshot: &Snapshot| -> u64 {
            types.iter().filter_map(|kind| snapshot.sent.by_type.get(kind)).sum()
        };
        let rate = rates.per_second(sent);
        let mut line = Line::new(facts, columns)
            .push(Style::Plain, &format!(" {label:<12}{:>8}{:>10}", whole(rate), count(sent(latest))))
            .push(Style::Plain, "     ");
        if let Some(input) = latest.pipeline.inputs.get(row) {
            let received = rates
                .per_second(|snapshot| snapshot.pipeline.inputs.get(row).map_or(0, |input| input.received));
            let rejected: u64 = input.rejected.values().sum();
            line = line
                .push(Style::Plain, &format!("{:<8}{:>7}", input.name, whole(received)))
                .push(Style::Plain, &format!("{:>10}", count(input.received)))
                .push(bad_above_zero(rejected), &format!("{rejected:>9}"))
                .push(bad_above_zero(input.kernel_drops), &format!("{:>7}", input.kernel_drops));
        } else if row + 1 == TYPES.len() {
            line = line.push(Style::Dim, &timings(latest));
        } else if let Some(service) = &latest.service {
            let rate = rates.per_second(|snapshot| snapshot.service.as_ref().map_or(0, |said| said.sent));
            let name = if service.name.is_empty() { "a service starts" } else { &service.name };
            line = line
                .push(Style::Plain, &format!("{name}: {} msg/s, {} sent", whole(rate), count(service.sent)));
        }
        lines.push(line.end());
    }
    lines
}

/// What a user of statsd would look at.
fn timings(latest: &Snapshot) -> String {
    let percentile = |part| latest.statsd.percentile("shop.request.search", part);
    match (percentile(0.5), percentile(0.99)) {
        (Some(median), Some(tail)) => format!("search: median {median:.0} ms, 99 % within {tail:.0} ms"),
        _ => String::new(),
    }
}

fn endpoints(facts: &Facts, rates: &Rates, latest: &Snapshot, columns: usize) -> Vec<String> {
    let mut lines = vec![
        Line::new(facts, columns)
            .push(
                Style::Bold,
                &format!(
                    " {:<10}{:<8}{:>7}{:>11}{:>8}   {}",
                    "ENDPOINT", "kind", "msg/s", "delivered", "queued", "takes"
                ),
            )
            .end(),
    ];
    for (position, endpoint) in latest.pipeline.endpoints.iter().enumerate() {
        let rate = rates.per_second(|snapshot| {
            snapshot.pipeline.endpoints.get(position).map_or(0, |endpoint| endpoint.delivered)
        });
        let state = if troubled(endpoint) { Style::Bad } else { Style::Good };
        lines.push(
            Line::new(facts, columns)
                .push(state, &format!(" {:<10}", endpoint.name))
                .push(Style::Plain, &format!("{:<8}{:>7}", endpoint.kind, whole(rate)))
                .push(Style::Plain, &format!("{:>11}", count(endpoint.delivered)))
                .push(Style::Plain, &format!("{:>8}   ", endpoint.queued))
                .push(Style::Plain, &takes(&latest.pipeline.routes, &endpoint.name))
                .end(),
        );
        let sample = latest.samples.get(position).cloned().flatten().unwrap_or_default();
        lines.push(Line::new(facts, columns).push(Style::Dim, &format!("   {}", shortened(&sample))).end());
    }
    lines
}

fn troubled(endpoint: &Endpoint) -> bool {
    endpoint.failure.is_some() || !endpoint.dropped.is_empty() || !endpoint.refused.is_empty()
}

/// The conditions of the routes that lead to an endpoint.
fn takes(routes: &[Route], endpoint: &str) -> String {
    let leading = routes.iter().filter(|route| route.to.iter().any(|name| name == endpoint));
    let conditions: Vec<String> = leading
        .map(|route| match &route.condition {
            Some(condition) => {
                let inside = condition.strip_prefix("{ ").and_then(|inside| inside.strip_suffix(" }"));
                inside.unwrap_or(condition).replace('"', "")
            }
            None if route.unrouted => "what nothing else took".to_owned(),
            None => "everything".to_owned(),
        })
        .collect();
    conditions.join("; ")
}

fn foot(facts: &Facts, columns: usize) -> Vec<String> {
    vec![
        Line::new(facts, columns)
            .push(Style::Dim, " ledger ")
            .push(Style::Accent, &format!("{}/api/v1/pipeline", facts.api))
            .push(Style::Dim, "  also /metrics")
            .end(),
        Line::new(facts, columns)
            .push(Style::Dim, " files  ")
            .push(Style::Accent, &facts.folder)
            .push(Style::Dim, "  with metlog.toml")
            .end(),
    ]
}

/// A line of JSON without what all lines have in common, so that its payload is within sight.
pub fn shortened(line: &str) -> String {
    match (line.find(",\"timestamp\":"), line.find(",\"severity\":")) {
        (Some(from), Some(to)) if line.starts_with('{') && from < to => {
            format!("{},…{}", &line[..from], &line[to..])
        }
        _ => line.to_owned(),
    }
}

fn bad_above_zero(count: u64) -> Style {
    if count > 0 { Style::Bad } else { Style::Plain }
}

fn whole(rate: f64) -> String {
    format!("{rate:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_picture_fits_into_80_columns_and_24_rows() {
        let facts = Facts {
            messages: "127.0.0.1:65535".to_owned(),
            api: "http://127.0.0.1:65535".to_owned(),
            folder: "/tmp/metlog-demo-abcdef".to_owned(),
            color: false,
        };
        let mut pipeline = crate::live::rates::tests::pipeline(1.0, 1000);
        let endpoint = pipeline.endpoints[0].clone();
        pipeline.endpoints = ["stats", "app-log", "audit", "errors", "archive"]
            .map(|name| Endpoint { name: name.to_owned(), ..endpoint.clone() })
            .to_vec();
        let mut rates = Rates::default();
        let samples = vec![Some("x".repeat(200)); 5];
        rates.add(Snapshot {
            sent: Default::default(),
            service: None,
            service_problem: None,
            pipeline,
            statsd: Default::default(),
            syslog: Default::default(),
            sentry: Default::default(),
            samples,
            seconds: 1.0,
        });
        let lines = frame(&facts, &rates, (80, 24));
        let picture = lines.join("\n");
        assert!(lines.len() <= 24 && lines.iter().all(|line| line.chars().count() <= 80), "{picture}");
        assert_eq!(lines.iter().filter(|line| line.is_empty()).count(), 3, "{picture}");
        let ends = lines[1].ends_with("metlog::Client::udp(\"127.0.0.1:65535\")?;");
        assert!(ends && picture.contains("/tmp/metlog-demo-abcdef"), "{picture}");
    }

    #[test]
    fn a_sample_shows_its_payload() {
        let line = r#"{"type":"oldstyle","timestamp":"2026-01-02T03:04:05Z","logger":"a","severity":3,"payload":"x"}"#;
        assert_eq!(shortened(line), r#"{"type":"oldstyle",…,"severity":3,"payload":"x"}"#);
        assert_eq!(shortened("shop.hits:1|c"), "shop.hits:1|c");
    }

    #[test]
    fn what_an_endpoint_takes_is_said_in_few_words() {
        let route = |condition: Option<&str>, to: &str, unrouted| crate::api::pipeline::Route {
            number: 1,
            name: None,
            condition: condition.map(str::to_owned),
            to: vec![to.to_owned()],
            is_final: false,
            unrouted,
        };
        let routes = [
            route(Some("{ severity = { max = 3 } }"), "a", false),
            route(Some("{ type = [\"timer\", \"gauge\"] }"), "a", false),
            route(None, "b", false),
            route(None, "c", true),
        ];
        assert_eq!(takes(&routes, "a"), "severity = { max = 3 }; type = [timer, gauge]");
        assert_eq!(takes(&routes, "b"), "everything");
        assert_eq!(takes(&routes, "c"), "what nothing else took");
    }

    #[test]
    fn a_line_is_cut_where_the_terminal_ends_and_cannot_steer_it() {
        let facts = Facts { messages: String::new(), api: String::new(), folder: String::new(), color: true };
        let line = Line::new(&facts, 6).push(Style::Bold, "abcd").push(Style::Plain, "\x1b[2J").end();
        assert_eq!(line, "\x1b[1mabcd\x1b[0m\\u");
        let facts = Facts { color: false, ..facts };
        assert_eq!(Line::new(&facts, 2).push(Style::Bad, "no color").end(), "no");
    }
}
