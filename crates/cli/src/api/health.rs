//! `GET /healthz` and `GET /readyz`: for probes, and for people who wonder.
//!
//! Liveness is about the process alone. A router whose peer is down is doing its work, which is to hold the messages;
//! restarting it would lose them, so `/healthz` answers 200 as long as it can answer, and says `degraded` in its body.
//! Alerts on endpoints belong on `metlog_endpoint_oldest_undelivered_seconds` and `metlog_endpoint_up`.
//!
//! Readiness is about taking messages: the API is served once every input listens, and answers 503 as soon as the
//! router begins to stop, so that a load balancer sends no more.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::State as Shared,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use super::{
    Observed,
    guard::Guard,
    pipeline::{Endpoint, Failure, Input, State},
};

/// An endpoint whose oldest message has waited longer than this is in trouble, whatever the reason. Longer than any
/// linger and than a peer's restart.
const HEALTHY_AGE: Duration = Duration::from_secs(60);

/// What `/healthz` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// In one word.
    pub status: Status,
    /// Endpoints that fail (and did so in the last minute, or hold messages), that have held a message for more than a minute, or that lost some in the last one. Left out for who has no token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Troubled>>,
    /// Names of inputs at which connections wait, because as many are open as may be. Left out for who has no token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
}

/// The router's health in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing is in trouble.
    Ok,
    /// At least one endpoint or input is.
    Degraded,
    /// The router delivers what it has and then ends.
    Stopping,
}

/// An endpoint in trouble.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Troubled {
    /// Its name.
    pub name: String,
    /// Age of the oldest message that waits for it.
    pub oldest_undelivered_seconds: Option<f64>,
    /// What its last attempt said, if that failed.
    pub failure: Option<Failure>,
    /// Messages that found no room in the last minute, by reason.
    #[serde(default)]
    pub dropped_last_minute: BTreeMap<String, u64>,
    /// Connections that ended in the last minute while messages were under way: `connection-lost`.
    #[serde(default)]
    pub noticed_last_minute: BTreeMap<String, u64>,
}

/// `GET /healthz`.
pub async fn healthz(
    Shared(observed): Shared<Arc<Observed>>,
    Extension(guard): Extension<Arc<Guard>>,
    headers: HeaderMap,
) -> Json<Health> {
    let pipeline = observed.pipeline();
    let troubled = troubled(&pipeline.endpoints);
    let full = pipeline.inputs.iter().filter(|input| lets_nobody_in(input));
    let full: Vec<String> = full.map(|input| input.name.clone()).collect();
    let status = match pipeline.state {
        State::Stopping => Status::Stopping,
        State::Running if troubled.is_empty() && full.is_empty() => Status::Ok,
        State::Running => Status::Degraded,
    };
    let is_told = guard.knows(&headers);
    Json(Health { status, endpoints: is_told.then_some(troubled), inputs: is_told.then_some(full) })
}

/// Whether connections wait at an input because as many are open as may be. What their senders have written waits with them.
pub fn lets_nobody_in(input: &Input) -> bool {
    input.connections.waiting && !input.removed
}

/// Whether an endpoint fails, has held a message for too long, or loses messages.
pub fn is_in_trouble(endpoint: &Endpoint) -> bool {
    if endpoint.removed {
        // Nothing goes there any more, and what it still held is delivered or counted as dropped.
        return false;
    }
    let age = endpoint.oldest_undelivered_seconds.unwrap_or(0.0);
    let loses = !endpoint.dropped_last_minute.is_empty() || !endpoint.noticed_last_minute.is_empty();
    is_failing(endpoint) || age > HEALTHY_AGE.as_secs_f64() || loses
}

/// Whether its last attempt failed, and that still says something of it: messages wait for the next one, or it was a moment ago.
/// A server that takes datagrams is only asked by sending it something, so what an idle endpoint met long ago may be over.
pub fn is_failing(endpoint: &Endpoint) -> bool {
    let is_news = |failure: &Failure| failure.last_attempt_seconds <= HEALTHY_AGE.as_secs_f64();
    let is_waited_for = endpoint.oldest_undelivered_seconds.is_some();
    endpoint.failure.as_ref().is_some_and(|failure| is_waited_for || is_news(failure))
}

fn troubled(endpoints: &[Endpoint]) -> Vec<Troubled> {
    endpoints
        .iter()
        .filter(|endpoint| is_in_trouble(endpoint))
        .map(|endpoint| Troubled {
            name: endpoint.name.clone(),
            oldest_undelivered_seconds: endpoint.oldest_undelivered_seconds,
            failure: endpoint.failure.clone(),
            dropped_last_minute: endpoint.dropped_last_minute.clone(),
            noticed_last_minute: endpoint.noticed_last_minute.clone(),
        })
        .collect()
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Readiness {
    /// Whether the inputs take messages.
    pub ready: bool,
    /// What the router does.
    pub state: State,
}

/// `GET /readyz`.
pub async fn readyz(Shared(observed): Shared<Arc<Observed>>) -> Response {
    let state = observed.state();
    let (status, ready) = match state {
        State::Running => (StatusCode::OK, true),
        State::Stopping => (StatusCode::SERVICE_UNAVAILABLE, false),
    };
    (status, Json(Readiness { ready, state })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, age: Option<f64>, failure: Option<&str>) -> Endpoint {
        Endpoint {
            name: name.to_owned(),
            kind: "file".to_owned(),
            removed: false,
            enqueued: 1,
            delivered: 0,
            refused: BTreeMap::new(),
            dropped: BTreeMap::new(),
            dropped_last_minute: BTreeMap::new(),
            noticed_last_minute: BTreeMap::new(),
            queued: 1,
            queued_bytes: 100,
            buffer_limit_bytes: 1000,
            held_up: 0,
            oldest_undelivered_seconds: age,
            retries: 0,
            noticed: BTreeMap::new(),
            failure: failure.map(|error| Failure {
                error: error.to_owned(),
                attempts: 1,
                lasts_seconds: 1.0,
                last_attempt_seconds: 0.0,
                tried_idle: false,
            }),
            balances: true,
            drop_reasons: Vec::new(),
        }
    }

    #[test]
    fn trouble_is_a_failure_a_message_older_than_a_minute_or_a_loss_within_the_last_one() {
        let mut overflowing = endpoint("overflowing", None, None);
        overflowing.dropped_last_minute.insert("buffer-full".to_owned(), 3);
        let mut breaking = endpoint("breaking", None, None);
        breaking.noticed_last_minute.insert("connection-lost".to_owned(), 3);
        let mut lost_once = endpoint("lost-once", None, None);
        lost_once.dropped.insert("buffer-full".to_owned(), 3);
        let endpoints = [
            lost_once,
            overflowing,
            breaking,
            endpoint("idle", None, None),
            endpoint("busy", Some(59.0), None),
            endpoint("stuck", Some(61.0), None),
            endpoint("failing", Some(0.1), Some("connection refused")),
            last_attempt(59.0, endpoint("failed-just-now", None, Some("nobody listens"))),
            last_attempt(61.0, endpoint("failed-once", None, Some("nobody listens"))),
            last_attempt(61.0, endpoint("backing-off", Some(59.0), Some("connection refused"))),
        ];
        let names: Vec<_> = troubled(&endpoints).into_iter().map(|endpoint| endpoint.name).collect();
        assert_eq!(names, ["overflowing", "breaking", "stuck", "failing", "failed-just-now", "backing-off"]);
    }

    fn last_attempt(seconds: f64, mut endpoint: Endpoint) -> Endpoint {
        endpoint.failure.as_mut().unwrap().last_attempt_seconds = seconds;
        endpoint
    }
}
