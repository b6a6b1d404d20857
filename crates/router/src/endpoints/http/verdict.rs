//! What a server's answer means for the messages that it got.
//!
//! Three questions decide: did it take them; is it about these messages, so that the same ones would be refused again; or
//! is it about something that can pass or be repaired, so that they are held.

use crate::http_client::StatusCode;

/// What the ledger calls a message that is too large for the server by itself.
pub(super) const TOO_LARGE: &str = "http-413";

/// What becomes of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They arrived.
    Delivered,
    /// The server will never take one of these messages at least, by this reason: the others may be good.
    RefusedSome(&'static str),
    /// The server will never take these messages, by this reason.
    Refused(&'static str),
    /// The body is larger than the server takes.
    TooLarge,
    /// The server cannot take them now.
    Later,
    /// The address or the credentials are wrong, not the messages: they wait for an operator, who is told this.
    Misconfigured(&'static str),
}

/// What an answer of this status means.
pub(super) fn verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        200..=299 => Verdict::Delivered,
        300..=399 => Verdict::Misconfigured("redirects are not followed: put the right address into `url`"),
        401 | 403 | 407 => Verdict::Misconfigured("look at `auth` and `headers`"),
        404 => Verdict::Misconfigured("look at `url`"),
        405 => Verdict::Misconfigured("look at `url` and `method`"),
        408 | 425 | 429 => Verdict::Later,
        413 => Verdict::TooLarge,
        code @ (400 | 422) => Verdict::RefusedSome(reason(code)),
        code @ 402..=499 => Verdict::Refused(reason(code)),
        _ => Verdict::Later,
    }
}

/// The ledger's names are a fixed set, whatever a server makes up.
fn reason(code: u16) -> &'static str {
    match code {
        400 => "http-400",
        402 => "http-402",
        406 => "http-406",
        409 => "http-409",
        410 => "http-410",
        411 => "http-411",
        412 => "http-412",
        414 => "http-414",
        415 => "http-415",
        421 => "http-421",
        422 => "http-422",
        431 => "http-431",
        451 => "http-451",
        _ => "http-4xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        let meaning = |code| verdict(StatusCode::from_u16(code).unwrap());
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(meaning(code), Verdict::Delivered, "{code}");
        }
        for code in [408, 425, 429, 500, 502, 503, 504, 507, 599, 999] {
            assert_eq!(meaning(code), Verdict::Later, "{code}");
        }
        for code in [301, 302, 307, 401, 403, 404, 405, 407] {
            assert!(matches!(meaning(code), Verdict::Misconfigured(_)), "{code}");
        }
        assert_eq!(meaning(400), Verdict::RefusedSome("http-400"));
        assert_eq!(meaning(422), Verdict::RefusedSome("http-422"));
        assert_eq!(meaning(415), Verdict::Refused("http-415"));
        assert_eq!(meaning(418), Verdict::Refused("http-4xx"));
        assert_eq!(meaning(413), Verdict::TooLarge);
    }
}
