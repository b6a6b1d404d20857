//! What Sentry's answer means for the event that was sent, and for those behind it.

use std::time::Duration;

use metlog_message::Timestamp;

use crate::{
    endpoints::{Answer, Then},
    http_client::{HeaderMap, Reply, StatusCode, quote, retry_after},
};

/// Sentry will not have the event: it is malformed (400).
pub(super) const REFUSED_INVALID: &str = "sentry-invalid";
/// Sentry will not have anything with this key (401, 403).
pub(super) const REFUSED_DENIED: &str = "sentry-denied";
/// The event is larger than Sentry takes (413).
pub(super) const REFUSED_LARGE: &str = "sentry-413";
/// The server says that it is somewhere else (3xx), where nothing is sent.
pub(super) const REFUSED_REDIRECT: &str = "sentry-redirect";
/// Any other answer that does not get better by trying again.
pub(super) const REFUSED_OTHER: &str = "sentry-refused";

/// How long Sentry's protocol waits after a 429 that does not say how long.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// The longest limit that is believed.
const LONGEST_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What an operator is told of a server's own words at most.
const EXPLANATION_CHARACTERS: usize = 200;

/// What a reply means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The event arrived; leave the project alone for so long.
    Delivered(Option<Duration>),
    /// It will never be taken.
    Refused(&'static str),
    /// Try again, not before this time has passed if it says so.
    Again(Option<Duration>),
    /// The project is over its limit.
    Limited(Duration),
}

impl Verdict {
    pub(super) fn of(reply: &Reply, now: Timestamp) -> Verdict {
        let limit = rate_limit(&reply.headers);
        match reply.status.as_u16() {
            200..=299 => Verdict::Delivered(limit),
            429 => {
                let asked = limit.or_else(|| retry_after(&reply.headers, now));
                Verdict::Limited(asked.unwrap_or(DEFAULT_LIMIT))
            }
            300..=399 => Verdict::Refused(REFUSED_REDIRECT),
            400 => Verdict::Refused(REFUSED_INVALID),
            401 | 403 => Verdict::Refused(REFUSED_DENIED),
            // Too slow, or too early: what a proxy says of the connection, not of the event.
            408 | 425 => Verdict::Again(retry_after(&reply.headers, now)),
            413 => Verdict::Refused(REFUSED_LARGE),
            402..=499 => Verdict::Refused(REFUSED_OTHER),
            _ => Verdict::Again(retry_after(&reply.headers, now)),
        }
    }

    /// As the answer for one message.
    pub(super) fn answer(self, project: &str, status: StatusCode) -> Answer {
        let wait = |settled, error, after| Answer {
            then: Then::Retry { error, after },
            ..Answer::delivered(settled)
        };
        let limited =
            |after: Duration| format!("{project} accepts no more events for {} s", after.as_secs().max(1));
        match self {
            Verdict::Delivered(None) => Answer::delivered(1),
            Verdict::Delivered(Some(after)) => {
                Answer { then: Then::Wait { until: limited(after), longest: after }, ..Answer::delivered(1) }
            }
            Verdict::Limited(after) => wait(0, limited(after), Some(after)),
            Verdict::Again(after) => wait(0, format!("{project} answers {status}"), after),
            Verdict::Refused(reason) => {
                let mut answer = Answer::delivered(1);
                answer.refused.add(reason);
                answer
            }
        }
    }
}

/// The longest limit in `X-Sentry-Rate-Limits` that is about events: a list of
/// `SECONDS:CATEGORY;CATEGORY:SCOPE:…`, where no category means all. Scopes are not told apart: each key learns of the limit
/// of its organisation by itself.
fn rate_limit(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all("x-sentry-rate-limits")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|limit| {
            let mut parts = limit.trim().split(':');
            let seconds: f64 = parts.next()?.trim().parse().ok()?;
            let mut categories = parts.next().unwrap_or_default().split(';').map(str::trim);
            let is_about_events = categories.any(|category| matches!(category, "" | "error" | "default"));
            let limit = Duration::try_from_secs_f64(seconds).ok()?;
            (is_about_events && !limit.is_zero()).then_some(limit.min(LONGEST_LIMIT))
        })
        .max()
}

/// What the server says of its refusal, made safe to show.
pub(super) fn explanation(reply: &Reply) -> String {
    let body = match reply.headers.get("x-sentry-error").or_else(|| reply.headers.get("location")) {
        Some(value) => String::from_utf8_lossy(value.as_bytes()),
        None => String::from_utf8_lossy(&reply.body),
    };
    quote(&body, EXPLANATION_CHARACTERS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RECEIVED;

    fn reply(status: u16, headers: &[(&'static str, &str)]) -> Reply {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Reply { status: StatusCode::from_u16(status).unwrap(), headers: map, body: Default::default() }
    }

    fn verdict(status: u16, headers: &[(&'static str, &str)]) -> Verdict {
        Verdict::of(&reply(status, headers), RECEIVED)
    }

    const LIMITS: &str = "x-sentry-rate-limits";

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn each_status_has_its_meaning() {
        assert_eq!(verdict(200, &[]), Verdict::Delivered(None));
        assert_eq!(verdict(202, &[]), Verdict::Delivered(None));
        for (status, reason) in [
            (302, REFUSED_REDIRECT),
            (400, REFUSED_INVALID),
            (401, REFUSED_DENIED),
            (403, REFUSED_DENIED),
            (404, REFUSED_OTHER),
            (413, REFUSED_LARGE),
            (422, REFUSED_OTHER),
        ] {
            assert_eq!(verdict(status, &[]), Verdict::Refused(reason), "{status}");
        }
        for status in [408, 500, 502, 503, 504, 599] {
            assert_eq!(verdict(status, &[]), Verdict::Again(None), "{status}");
        }
        assert_eq!(verdict(503, &[("retry-after", "7")]), Verdict::Again(Some(seconds(7))));
    }

    #[test]
    fn limits_are_those_of_events_and_the_longest_counts() {
        for (limits, expected) in [
            ("60::organization", Some(60)),
            ("60:error:key", Some(60)),
            ("60:transaction;error:project:quota", Some(60)),
            ("60:default", Some(60)),
            ("60", Some(60)),
            ("2.5:error:key", Some(2)),
            ("60:transaction:key", None),
            ("60:transaction:key, 30:error:organization, 20::key", Some(30)),
            ("2700:transaction;profile:organization:quota_exceeded,1:error", Some(1)),
            ("soon:error:key, -1:error:key, inf::key, NaN::key, 0::key,,:", None),
            ("1e30::key, 99999999::key", Some(86_400)),
        ] {
            let found = match verdict(200, &[(LIMITS, limits)]) {
                Verdict::Delivered(limit) => limit.map(|limit| limit.as_secs()),
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{limits}");
        }
        assert_eq!(
            verdict(200, &[(LIMITS, "1::key"), (LIMITS, "9::key")]),
            Verdict::Delivered(Some(seconds(9)))
        );
    }

    #[test]
    fn a_429_waits_as_it_says_or_for_a_minute() {
        assert_eq!(verdict(429, &[]), Verdict::Limited(seconds(60)));
        assert_eq!(verdict(429, &[("retry-after", "5")]), Verdict::Limited(seconds(5)));
        assert_eq!(
            verdict(429, &[("retry-after", "5"), (LIMITS, "9:error:key")]),
            Verdict::Limited(seconds(9))
        );
        assert_eq!(
            verdict(429, &[("retry-after", "5"), (LIMITS, "9:session:key")]),
            Verdict::Limited(seconds(5))
        );
        assert_eq!(verdict(429, &[("retry-after", "soon")]), Verdict::Limited(seconds(60)));
    }

    #[test]
    fn a_limit_on_a_success_delivers_and_then_waits() {
        let answer = Verdict::Delivered(Some(seconds(9))).answer("h:443/2", StatusCode::OK);
        assert_eq!(answer.settled, 1);
        let until = "h:443/2 accepts no more events for 9 s".to_owned();
        assert_eq!(answer.then, Then::Wait { until, longest: seconds(9) });
    }

    #[test]
    fn what_a_server_says_is_shown_on_one_short_line() {
        let mut reply = reply(400, &[]);
        reply.body = format!("{{\"detail\":\n\x1b[1m{}\"", "x".repeat(500)).into_bytes().into();
        let text = explanation(&reply);
        assert!(text.starts_with("{\"detail\": [1mxxx") && text.chars().count() == 201, "{text}");
    }
}
