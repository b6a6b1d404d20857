//! `GET /api/v1/tap`: live messages as server-sent events, filtered in the router.
//!
//! | parameter | meaning | default |
//! | --- | --- | --- |
//! | `match` | a condition, written as in a route: `{ type = "oldstyle", severity = { max = 3 } }` | every message |
//! | `input` | only what came in by this input | all inputs |
//! | `rejects` | `also`, or `true`: rejects too; `only`: nothing else. `match` does not apply to them | `false` |
//! | `recent` | `true`: first the last rejects of before, a few of each reason; needs `rejects` | `false` |
//! | `sample` | one in so many of the messages that match | 1 |
//! | `rate` | so many messages a second at most | 1000 |
//! | `limit` | end after so many messages | never |
//!
//! | event | data |
//! | --- | --- |
//! | (none: a message) | `{"input":"tcp","to":["log"],"message":{…}}`; `to` is what it was handed to, and empty if no route took it |
//! | `reject` | the same with `"reason":"invalid-json"`; the message is the `metlog.reject` that tells of it |
//! | `dropped` | [`Dropped`]: what this tap did not show so far; sent when it grows, once a second at most |
//! | `end` | `{"reason":"limit"}`: nothing follows |
//!
//! A comment comes every ten seconds when nothing else does. All of it is bounded in `metlog_router::tap`.

use std::{
    convert::Infallible,
    fmt::Write,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::Frame;
use metlog_router::{
    config::conditions,
    routes::matcher::Matcher,
    tap::{Filter, Missed, ShowRejects, Subscription, Tapped},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Observed, connections::Stream};

/// The largest `rate`: what one watcher may cost the thread that it shares with network endpoints.
pub const MAX_RATE: u32 = 10_000;

/// The `rate` of who asks for none.
pub const DEFAULT_RATE: u32 = 1000;

/// How often to look whether there is something to say besides messages.
const TICK: Duration = Duration::from_secs(1);

/// Ticks in silence before a comment, by which both sides see that the other is still there.
const QUIET_TICKS: u32 = 10;

/// Roughly how much is written at once.
const FRAME_BYTES: usize = 64 * 1024;

/// The parameters of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parameters {
    r#match: Option<String>,
    input: Option<String>,
    rejects: Rejects,
    recent: bool,
    sample: Option<u32>,
    rate: Option<u32>,
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Rejects {
    #[default]
    False,
    #[serde(alias = "also")]
    True,
    Only,
}

/// What a tap did not show since it began. All of it was delivered as ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Messages that matched, but were more than `rate` a second.
    pub over_rate: u64,
    /// Messages that matched, but the client had not yet read what came before.
    pub queue_full: u64,
    /// Messages that nobody looked at, because the filter took too much of the router's time.
    pub unexamined: u64,
}

impl From<Missed> for Dropped {
    fn from(Missed { over_rate, queue_full, unexamined }: Missed) -> Dropped {
        Dropped { over_rate, queue_full, unexamined }
    }
}

/// `GET /api/v1/tap`.
pub async fn tap(
    State(observed): State<Arc<Observed>>,
    Extension(stream): Extension<Stream>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Response {
    let parameters = match parameters {
        Ok(Query(parameters)) => parameters,
        Err(rejection) => return refuse(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let limit = parameters.limit;
    let (recent, of_input) = (parameters.recent, parameters.input.clone());
    if let Some(input) = &parameters.input {
        let inputs = observed.pipeline().inputs.into_iter().filter(|input| !input.removed);
        let known: Vec<String> = inputs.map(|input| input.name).collect();
        if !known.contains(input) {
            let message = format!("there is no input called `{input}`; known inputs: {}", known.join(", "));
            return refuse(StatusCode::BAD_REQUEST, &message);
        }
    }
    // A regular expression may take a while to compile, and this thread has endpoints to serve.
    let filter = match tokio::task::spawn_blocking(move || parameters.filter()).await {
        Ok(Ok(filter)) => filter,
        Ok(Err(problem)) => return refuse(StatusCode::BAD_REQUEST, &problem),
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    match observed.tap.subscribe(filter) {
        Ok(subscription) => {
            let mut earlier = if recent { observed.tap.remembered(of_input.as_deref()) } else { Vec::new() };
            // Of those the last ones, as far as they are wanted.
            let most = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
            earlier.drain(..earlier.len().saturating_sub(most));
            let headers = [
                (header::CONTENT_TYPE, "text/event-stream"),
                // The connection is known to be this stream's, and does not outlive it.
                (header::CONNECTION, "close"),
            ];
            (headers, Body::new(Events::new(subscription, stream, limit, earlier))).into_response()
        }
        Err(too_many) => refuse(StatusCode::SERVICE_UNAVAILABLE, &too_many.to_string()),
    }
}

fn refuse(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

impl Parameters {
    fn filter(self) -> Result<Filter, String> {
        let condition = conditions::parse(self.r#match.as_deref().unwrap_or("{}"))?;
        let matcher = Matcher::compile(&condition).map_err(|error| error.to_string())?;
        if self.recent && self.rejects == Rejects::False {
            return Err("`recent` is about rejects: add rejects=only or rejects=also".to_owned());
        }
        if self.limit == Some(0) {
            return Err("`limit` is 0, expected at least 1".to_owned());
        }
        let within = |name: &str, value: Option<u32>, default: u32, most: u32| match value {
            None => Ok(default),
            Some(value) if (1..=most).contains(&value) => Ok(value),
            Some(value) => Err(format!("`{name}` is {value}, expected 1 to {most}")),
        };
        Ok(Filter {
            matcher,
            input: self.input,
            rejects: match self.rejects {
                Rejects::False => ShowRejects::No,
                Rejects::True => ShowRejects::Also,
                Rejects::Only => ShowRejects::Only,
            },
            sample: within("sample", self.sample, 1, u32::MAX)?,
            max_per_second: within("rate", self.rate, DEFAULT_RATE, MAX_RATE)?,
        })
    }
}

/// The body of the answer.
struct Events {
    subscription: Subscription,
    stream: Stream,
    /// How many messages may still be shown.
    left: u64,
    /// What the client has been told that it missed.
    told: Missed,
    /// What was there before it began.
    earlier: Vec<Tapped>,
    tick: Interval,
    quiet_ticks: u32,
    ended: bool,
}

impl Events {
    fn new(subscription: Subscription, stream: Stream, limit: Option<u64>, earlier: Vec<Tapped>) -> Events {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        stream.moves();
        // The first tick comes at once, and with it a comment: whoever stands between sees that the answer has begun.
        let quiet_ticks = QUIET_TICKS;
        let left = limit.unwrap_or(u64::MAX);
        let told = Missed::default();
        Events { subscription, stream, left, told, earlier, tick, quiet_ticks, ended: false }
    }

    fn messages(&mut self, taken: &[Tapped]) -> String {
        let mut text = String::new();
        for tapped in taken {
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            write_event(&mut text, tapped);
        }
        if self.left == 0 {
            self.tell_missed(&mut text);
            text.push_str("event: end\ndata: {\"reason\":\"limit\"}\n\n");
            self.ended = true;
        }
        text
    }

    fn tell_missed(&mut self, text: &mut String) {
        let missed = self.subscription.missed();
        if missed == self.told {
            return;
        }
        self.told = missed;
        if let Ok(data) = serde_json::to_string(&Dropped::from(missed)) {
            text.push_str(&format!("event: dropped\ndata: {data}\n\n"));
        }
    }

    fn between_messages(&mut self) -> String {
        let mut text = String::new();
        self.tell_missed(&mut text);
        self.quiet_ticks += 1;
        if text.is_empty() && self.quiet_ticks > QUIET_TICKS {
            text.push_str(": nothing to show\n\n");
        }
        text
    }
}

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Called only when the connection has room for more.
        self.stream.moves();
        if self.ended {
            return Poll::Ready(None);
        }
        let mut text = String::new();
        // First, so that a steady stream of messages does not keep the client from learning what it misses.
        while self.tick.poll_tick(context).is_ready() {
            text = self.between_messages();
        }
        let earlier = std::mem::take(&mut self.earlier);
        if !earlier.is_empty() {
            text += &self.messages(&earlier);
        }
        if !self.ended
            && let Poll::Ready(taken) = self.subscription.poll_take(context, FRAME_BYTES)
        {
            text += &self.messages(&taken);
        }
        if text.is_empty() {
            return Poll::Pending;
        }
        self.quiet_ticks = 0;
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

/// One message in the stream's notation.
fn write_event(text: &mut String, tapped: &Tapped) {
    if tapped.reject.is_some() {
        text.push_str("event: reject\n");
    }
    let to: Vec<&str> = tapped.to.iter().map(|name| &**name).collect();
    // Names have letters, digits, `-` and `_` only, and so do reasons (with `:`): writing them cannot go wrong.
    let _ = write!(text, "data: {{\"input\":{},\"to\":{}", json!(&*tapped.input), json!(to));
    if let Some(reason) = tapped.reject {
        let _ = write!(text, ",\"reason\":{}", json!(reason.to_string()));
    }
    text.push_str(",\"message\":");
    // Valid JSON, so UTF-8 without raw control characters in its strings; but between its tokens there may be a carriage
    // return, which would end the event's line.
    for (position, part) in String::from_utf8_lossy(&tapped.message).split(['\r', '\n']).enumerate() {
        text.push_str(if position > 0 { " " } else { "" });
        text.push_str(part);
    }
    text.push_str("}\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use metlog_message::Reason;

    fn tapped(message: &str, reject: Option<Reason>) -> Tapped {
        Tapped {
            input: "tcp".into(),
            to: vec!["log".into(), "rest".into()],
            reject,
            message: message.as_bytes().into(),
        }
    }

    fn event(tapped: &Tapped) -> String {
        let mut text = String::new();
        write_event(&mut text, tapped);
        text
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_stands_between_the_messages_tokens() {
        assert_eq!(
            event(&tapped("{\"type\":\r\"a\",\"payload\":\"\\r\\n\"}", None)),
            "data: {\"input\":\"tcp\",\"to\":[\"log\",\"rest\"],\"message\":{\"type\": \"a\",\"payload\":\"\\r\\n\"}}\n\n"
        );
    }

    #[test]
    fn a_reject_says_so_and_why() {
        let text = event(&tapped("{}", Some(Reason::InvalidJson)));
        assert!(text.starts_with("event: reject\ndata: {"), "{text}");
        assert!(text.contains(",\"reason\":\"invalid-json\",\"message\":{}}\n\n"), "{text}");
    }

    #[test]
    fn rejects_are_asked_for_in_the_words_of_the_command_line() {
        for (query, expected) in [
            ("rejects=also", Rejects::True),
            ("rejects=true", Rejects::True),
            ("rejects=only", Rejects::Only),
        ] {
            let address = format!("/api/v1/tap?{query}").parse().unwrap();
            let Query(parameters) = Query::<Parameters>::try_from_uri(&address).unwrap();
            assert_eq!(parameters.rejects, expected, "{query}");
        }
    }

    #[test]
    fn parameters_out_of_bounds_are_refused_with_what_was_expected() {
        let refused = |parameters: Parameters| parameters.filter().unwrap_err();
        let rate = refused(Parameters { rate: Some(10_001), ..Parameters::default() });
        assert_eq!(rate, "`rate` is 10001, expected 1 to 10000");
        assert!(refused(Parameters { recent: true, ..Parameters::default() }).contains("about rejects"));
        assert!(refused(Parameters { limit: Some(0), ..Parameters::default() }).contains("`limit` is 0"));
        assert!(refused(Parameters { sample: Some(0), ..Parameters::default() }).contains("`sample` is 0"));
        let wrong = Parameters { r#match: Some("{ type = 5 }".to_owned()), ..Parameters::default() };
        assert!(refused(wrong).contains("never matches"));
    }
}
