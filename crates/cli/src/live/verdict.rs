//! Is anything wrong? What a router's ledger says, in words.

use std::collections::BTreeMap;

use super::{
    files,
    numbers::{count, counted, span},
    safe_text::shown,
};
use crate::api::{
    is_failing, is_in_trouble, lets_nobody_in,
    pipeline::{Endpoint, Input, Pipeline, State},
};

/// Characters of a name or an error that are shown.
const SHOWN: usize = 300;

/// What there is to say of a router's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What is wrong at this moment. Nothing: the router is healthy.
    pub problems: Vec<String>,
    /// What was lost, refused or taken by no route since the router started. It may be long ago, and intended.
    pub notes: Vec<String>,
}

impl Verdict {
    /// The verdict on what a router says of itself.
    ///
    /// `flags` are what the reader gave to reach this router, for commands that are suggested: ` --api …`, or nothing.
    pub fn of(pipeline: &Pipeline, flags: &str) -> Verdict {
        let mut problems = Vec::new();
        if pipeline.state == State::Stopping {
            problems.push("the router is stopping: it takes no more messages".to_owned());
        }
        let full = pipeline.inputs.iter().filter(|input| lets_nobody_in(input));
        problems.extend(full.map(|input| at_the_limit(input, &pipeline.inputs)));
        problems.extend(pipeline.endpoints.iter().filter(|endpoint| is_in_trouble(endpoint)).map(problem));
        let inputs = pipeline.inputs.iter().flat_map(|input| input_notes(input, flags));
        let notes = inputs.chain(pipeline.endpoints.iter().flat_map(endpoint_notes)).collect();
        Verdict { problems, notes }
    }

    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty()
    }
}

/// The limit is on all inputs' connections together.
fn at_the_limit(input: &Input, inputs: &[Input]) -> String {
    let open =
        inputs.iter().map(|input| input.connections.opened.saturating_sub(input.connections.closed)).sum();
    format!(
        "input `{}` lets nobody in: {} open, as many as may be (limits.connections); more wait until one of them ends",
        shown(&input.name, SHOWN),
        counted(open, "connection is", "connections are"),
    )
}

fn problem(endpoint: &Endpoint) -> String {
    let name = shown(&endpoint.name, SHOWN);
    let lost = by_reason(&endpoint.dropped_last_minute);
    let broken = by_reason(&endpoint.noticed_last_minute);
    let mut text = match &endpoint.failure {
        Some(failure) => {
            let error = shown(&failure.error, SHOWN);
            let lasting = span(failure.lasts_seconds);
            match failure.attempts {
                0 => format!("endpoint `{name}` is held up: {error} (for {lasting})"),
                attempts => {
                    let attempts = counted(attempts.into(), "attempt", "attempts in a row");
                    format!("endpoint `{name}` fails: {error} ({attempts}, for {lasting})")
                }
            }
        }
        None if lost.is_some() => format!("endpoint `{name}` loses messages"),
        None if broken.is_some() => format!("endpoint `{name}` loses connections"),
        None => format!("endpoint `{name}` does not keep up"),
    };
    if let Some(reasons) = lost {
        let separator = if endpoint.failure.is_some() { "; messages are lost:" } else { ":" };
        text += &format!("{separator} {reasons} in the last minute");
    }
    if let Some(broken) = broken {
        text += &format!("; what was under way may be lost: {broken} in the last minute");
    }
    if let Some(age) = endpoint.oldest_undelivered_seconds {
        let waiting = counted(endpoint.queued, "message waits", "messages wait");
        text += &format!("; {waiting}, the oldest for {}", span(age));
    } else if endpoint.failure.as_ref().is_some_and(|failure| failure.tried_idle) {
        text += "; nothing waits, and it is tried again by itself";
    } else if let Some(failure) = &endpoint.failure {
        // A server is only asked by sending it something.
        let last = span(failure.last_attempt_seconds);
        text += &format!("; nothing waits, and nothing was sent for {last}: the next message will tell");
    }
    if endpoint.held_up > 0 {
        let sources = counted(endpoint.held_up, "connection or file is", "connections or files are");
        text += &format!("; its buffer is full, and {sources} not read until there is room");
    }
    text
}

fn input_notes(input: &Input, flags: &str) -> Vec<String> {
    let at = format!("at input `{}`", shown(&input.name, SHOWN));
    let mut notes = Vec::new();
    if let Some(reasons) = by_reason(&input.rejected) {
        let rejected = counted(input.rejected.values().sum(), "frame", "frames");
        let last = format!("see the last ones: metlog tap --rejects only --recent{flags}");
        notes.push(format!("{rejected} rejected {at}: {reasons} ({last})"));
    }
    for (number, one, several) in [
        (input.unrouted, "message that no route took", "messages that no route took"),
        (
            input.timestamp_unreadable,
            "message whose timestamp is no date",
            "messages whose timestamp is no date",
        ),
        (input.kernel_drops, "datagram dropped by the kernel", "datagrams dropped by the kernel"),
    ] {
        if number > 0 {
            notes.push(format!("{} {at}", counted(number, one, several)));
        }
    }
    if let Some(unread) = input.files.as_ref().filter(|_| !input.removed).and_then(files::unread) {
        notes.push(format!("input `{}` {unread}", shown(&input.name, SHOWN)));
    }
    notes
}

fn endpoint_notes(endpoint: &Endpoint) -> Vec<String> {
    let name = shown(&endpoint.name, SHOWN);
    let mut notes: Vec<String> =
        [("dropped in front of endpoint", &endpoint.dropped), ("refused by endpoint", &endpoint.refused)]
            .into_iter()
            .filter_map(|(what, counts)| {
                let messages = counted(counts.values().sum(), "message", "messages");
                Some(format!("{messages} {what} `{name}`: {}", by_reason(counts)?))
            })
            .collect();
    let noticed = |what: &str| endpoint.noticed.get(what).copied().filter(|number| *number > 0);
    // It may be over. Whoever wonders where the last messages went is told all the same.
    if let Some(failure) = endpoint.failure.as_ref().filter(|_| !endpoint.removed && !is_failing(endpoint)) {
        let (error, ago) = (shown(&failure.error, SHOWN), span(failure.last_attempt_seconds));
        notes.push(format!(
            "endpoint `{name}` failed {ago} ago, and nothing was sent since; the next message will tell: {error}"
        ));
    }
    // Counted as delivered, for all that a datagram's sender is told; a datagram has one message or more.
    if let Some(unreachable) = noticed("peer-unreachable") {
        let messages = counted(unreachable, "message", "messages");
        let number = count(unreachable);
        notes
            .push(format!("at least {messages} may be lost at endpoint `{name}`: peer-unreachable {number}"));
    }
    // The same, with what the kernels on both sides held. How many messages these were nobody can tell.
    if let Some(lost) = noticed("connection-lost") {
        let connections = counted(lost, "connection", "connections");
        notes.push(format!(
            "{connections} ended at endpoint `{name}`, and what was under way may be lost: connection-lost {}",
            count(lost)
        ));
    }
    notes
}

/// A component's name in a table, which says so if a reload has removed the component.
pub fn name_of(name: &str, is_removed: bool) -> String {
    shown(name, SHOWN) + if is_removed { " (removed)" } else { "" }
}

/// `buffer-full 93, shutdown 1`; `None` where nothing was counted.
pub fn by_reason(counts: &BTreeMap<String, u64>) -> Option<String> {
    let mut counts: Vec<(&String, &u64)> = counts.iter().filter(|(_, count)| **count > 0).collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words: Vec<String> = counts
        .iter()
        .map(|(reason, number)| format!("{} {}", shown(reason, SHOWN), count(**number)))
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::rates::tests::pipeline;

    #[test]
    fn what_is_wrong_now_is_told_from_what_was_lost_before() {
        let verdict = Verdict::of(&pipeline(100.0, 1000), " --config metlog.toml");
        assert_eq!(
            verdict.problems,
            [
                "endpoint `stats` fails: connection\\u{1b}[2J refused (14 attempts in a row, for 2 min 6 s); 400 messages wait, the oldest for 2 min 5 s"
            ]
        );
        assert_eq!(
            verdict.notes,
            [
                "12 frames rejected at input `tcp`: invalid-json 10, too-large 2 (see the last ones: metlog tap --rejects only --recent --config metlog.toml)",
                "5 messages that no route took at input `tcp`",
                "93 messages dropped in front of endpoint `stats`: buffer-full 93",
                "7 messages refused by endpoint `stats`: not-a-number 7",
                "at least 3 messages may be lost at endpoint `stats`: peer-unreachable 3",
            ]
        );
        assert!(!verdict.is_healthy());
    }

    #[test]
    fn an_endpoint_that_lost_messages_in_the_last_minute_says_so_whether_it_fails_or_not() {
        let mut pipeline = pipeline(100.0, 1000);
        let stats = &mut pipeline.endpoints[1];
        stats.dropped_last_minute.insert("buffer-full".to_owned(), 16_500);
        stats.oldest_undelivered_seconds = Some(0.3);
        let both = Verdict::of(&pipeline, "").problems.remove(0);
        assert!(
            both.contains(", for 2 min 6 s); messages are lost: buffer-full 16,500 in the last minute; 400"),
            "{both}"
        );
        pipeline.endpoints[1].failure = None;
        assert_eq!(
            Verdict::of(&pipeline, "").problems,
            [
                "endpoint `stats` loses messages: buffer-full 16,500 in the last minute; 400 messages wait, the oldest for 300 ms"
            ]
        );
    }

    #[test]
    fn connections_that_end_while_messages_are_under_way_are_a_problem_for_a_minute() {
        let mut pipeline = pipeline(100.0, 1000);
        let log = &mut pipeline.endpoints[0];
        log.noticed_last_minute.insert("connection-lost".to_owned(), 997);
        assert_eq!(
            Verdict::of(&pipeline, "").problems[0],
            "endpoint `log` loses connections; what was under way may be lost: connection-lost 997 in the last minute"
        );
    }

    #[test]
    fn an_idle_endpoint_that_failed_says_since_when_and_what_it_waits_for() {
        let mut pipeline = pipeline(100.0, 1000);
        let stats = &mut pipeline.endpoints[1];
        (stats.queued, stats.oldest_undelivered_seconds) = (0, None);
        let failure = stats.failure.as_mut().unwrap();
        (failure.attempts, failure.lasts_seconds, failure.last_attempt_seconds) = (2, 90.0, 59.0);
        assert_eq!(
            Verdict::of(&pipeline, "").problems,
            [
                "endpoint `stats` fails: connection\\u{1b}[2J refused (2 attempts in a row, for 1 min 30 s); nothing waits, and nothing was sent for 59.0 s: the next message will tell"
            ]
        );
    }

    #[test]
    fn an_endpoint_that_cannot_begin_is_tried_without_messages() {
        let mut pipeline = pipeline(100.0, 1000);
        let stats = &mut pipeline.endpoints[1];
        (stats.queued, stats.oldest_undelivered_seconds) = (0, None);
        stats.failure.as_mut().unwrap().tried_idle = true;
        let problem = Verdict::of(&pipeline, "").problems.remove(0);
        assert!(
            problem.ends_with(", for 2 min 6 s); nothing waits, and it is tried again by itself"),
            "{problem}"
        );
    }

    #[test]
    fn an_endpoint_in_trouble_that_holds_up_senders_says_so() {
        let mut pipeline = pipeline(100.0, 1000);
        (pipeline.endpoints[0].held_up, pipeline.endpoints[1].held_up) = (3, 2);
        let problems = Verdict::of(&pipeline, "").problems;
        assert_eq!(problems.len(), 1, "to wait for a moment is what `block` means: {problems:?}");
        let expected = "; its buffer is full, and 2 connections or files are not read until there is room";
        assert!(problems[0].ends_with(expected), "{problems:?}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_note() {
        let mut pipeline = pipeline(100.0, 1000);
        pipeline.endpoints[1].failure = None;
        pipeline.endpoints[1].oldest_undelivered_seconds = None;
        let files = r#"{"followed":0,"behind_bytes":0,"held_up":0,"list":[],
            "left_alone":[{"path":"secret.log","reason":"file-unreadable","why":"Permission denied (os error 13)"}]}"#;
        pipeline.inputs[0].files = Some(serde_json::from_str(files).unwrap());
        let verdict = Verdict::of(&pipeline, "");
        assert!(verdict.is_healthy(), "{verdict:?}");
        let expected = "input `tcp` cannot read secret.log (Permission denied (os error 13))";
        assert!(verdict.notes.contains(&expected.to_owned()), "{verdict:?}");
    }

    #[test]
    fn an_endpoint_that_failed_long_ago_and_had_nothing_to_send_since_is_a_note_and_no_trouble() {
        let mut pipeline = pipeline(100.0, 1000);
        let stats = &mut pipeline.endpoints[1];
        (stats.queued, stats.oldest_undelivered_seconds) = (0, None);
        stats.failure.as_mut().unwrap().last_attempt_seconds = 660.0;
        let Verdict { problems, notes } = Verdict::of(&pipeline, "");
        assert_eq!(problems, Vec::<String>::new());
        let expected = "endpoint `stats` failed 11 min ago, and nothing was sent since; the next message will tell: connection\\u{1b}[2J refused";
        assert!(notes.contains(&expected.to_owned()), "{notes:?}");
        pipeline.endpoints[1].removed = true;
        assert!(!Verdict::of(&pipeline, "").notes.contains(&expected.to_owned()));
    }

    #[test]
    fn an_input_at_the_limit_on_connections_is_a_problem_while_others_wait() {
        let mut pipeline = pipeline(100.0, 1000);
        pipeline.endpoints.clear();
        assert!(Verdict::of(&pipeline, "").is_healthy());
        pipeline.inputs[0].connections.waiting = true;
        assert_eq!(
            Verdict::of(&pipeline, "").problems,
            [
                "input `tcp` lets nobody in: 3 connections are open, as many as may be (limits.connections); more wait until one of them ends"
            ]
        );
        pipeline.inputs[0].removed = true;
        assert!(Verdict::of(&pipeline, "").is_healthy());
    }

    #[test]
    fn what_was_under_way_on_connections_that_ended_may_be_lost() {
        let mut pipeline = pipeline(100.0, 1000);
        pipeline.endpoints[0].noticed.insert("connection-lost".to_owned(), 2);
        let notes = Verdict::of(&pipeline, "").notes;
        let expected =
            "2 connections ended at endpoint `log`, and what was under way may be lost: connection-lost 2";
        assert!(notes.contains(&expected.to_owned()), "{notes:?}");
    }

    #[test]
    fn a_router_that_delivers_is_healthy_whatever_it_dropped_once() {
        let mut pipeline = pipeline(100.0, 1000);
        pipeline.endpoints[1].failure = None;
        assert!(!Verdict::of(&pipeline, "").is_healthy(), "its oldest message waits for more than a minute");
        pipeline.endpoints[1].oldest_undelivered_seconds = Some(1.0);
        assert!(Verdict::of(&pipeline, "").is_healthy());
        pipeline.state = State::Stopping;
        assert!(!Verdict::of(&pipeline, "").is_healthy());
    }
}
