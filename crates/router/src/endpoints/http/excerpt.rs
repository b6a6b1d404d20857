//! The beginning of what a server says about its answer, for the log and the status: often the only explanation that there
//! is. A server may repeat what it was sent, so no secret of the configuration is let through.

use crate::http_client::{Reply, quote};

/// How much of a server's words is shown.
const EXCERPT_CHARACTERS: usize = 200;

/// What is shorter is no secret, and would be found in every other word.
const SHORTEST_SECRET: usize = 4;

/// Makes excerpts without secrets.
pub(super) struct Excerpts {
    /// From the longest, so that one that is part of another does not leave the rest of it standing.
    secrets: Vec<String>,
}

impl Excerpts {
    pub(super) fn new(mut secrets: Vec<String>) -> Excerpts {
        secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Excerpts { secrets }
    }

    /// `: ` and the beginning of the body on one line, or nothing.
    pub(super) fn of(&self, reply: &Reply) -> String {
        let mut text = String::from_utf8_lossy(&reply.body).into_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "(not shown)");
        }
        let line = quote(&text, EXCERPT_CHARACTERS);
        if line.is_empty() { line } else { format!(": {line}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_client::{HeaderMap, StatusCode};

    fn excerpt(body: &[u8]) -> String {
        let secrets = ["Basic aHVudGVyMg==", "aHVudGVyMg==", "", "1", "in", "hunter2"].map(str::to_owned);
        let body = body.to_vec().into();
        Excerpts::new(secrets.to_vec()).of(&Reply { status: StatusCode::OK, headers: HeaderMap::new(), body })
    }

    #[test]
    fn a_server_is_quoted_on_one_line_and_briefly() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(excerpt(b" no such\r\n\tindex\x1b[31m\n"), ": no such index [31m");
        assert_eq!(excerpt(b"\xff{}"), ": \u{fffd}{}");
        assert_eq!(excerpt("ä".repeat(5000).as_bytes()).chars().count(), ": ".len() + EXCERPT_CHARACTERS + 1);
    }

    #[test]
    fn a_header_as_short_as_a_digit_does_not_riddle_the_words() {
        assert_eq!(excerpt(b"error 1 in line 10"), ": error 1 in line 10");
    }

    #[test]
    fn secrets_that_a_server_repeats_are_not_shown() {
        assert_eq!(
            excerpt(b"bad credentials: Basic aHVudGVyMg== (hunter2)"),
            ": bad credentials: (not shown) ((not shown))"
        );
    }
}
