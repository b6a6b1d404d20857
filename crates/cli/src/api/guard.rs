//! Who may ask.
//!
//! With a token, every path but the two probes needs it. Without one the API listens on a loopback address, and is open
//! to this machine's users; but a web page that one of them looks at must not get in. A page can point a name of its own
//! at 127.0.0.1 and read the answers as its own (DNS rebinding), so without a token the `Host` of a request must be an
//! address or `localhost`, which is never what a browser sends for such a page.
//!
//! A page can also send a request blindly, without reading the answer. What changes something (any method but GET and
//! HEAD) is therefore turned away if it comes from another site, which browsers say in `Sec-Fetch-Site` or `Origin`.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Paths that probes ask without a token.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// What a request must show.
#[derive(Debug)]
pub struct Guard {
    /// A reload may bring another one.
    token: RwLock<Option<Token>>,
    address: IpAddr,
}

struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Guard {
    /// A guard for an API on this address.
    pub fn new(token: Option<String>, address: IpAddr) -> Guard {
        Guard { token: RwLock::new(token.map(Token)), address }
    }

    /// Requests must carry this one from now on.
    pub fn set_token(&self, token: Option<String>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token.map(Token);
    }

    fn token(&self) -> RwLockReadGuard<'_, Option<Token>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request may see everything: it carries the token, or there is none.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        let token = self.token();
        let Some(Token(token)) = &*token else { return true };
        let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
        match given.split_at_checked("Bearer ".len()) {
            Some((scheme, given)) => {
                scheme.eq_ignore_ascii_case(b"Bearer ") && same(given.trim_ascii(), token.as_bytes())
            }
            None => false,
        }
    }

    /// Whether a request to an API without a token names this machine. One without `Host` comes from no browser.
    fn is_addressed(&self, headers: &HeaderMap) -> bool {
        let Some(host) = headers.get(header::HOST) else { return true };
        let Ok(host) = host.to_str() else { return false };
        let name = without_port(host);
        name.eq_ignore_ascii_case("localhost")
            || name.parse().is_ok_and(|address: IpAddr| address.is_loopback() || address == self.address)
    }
}

/// Whether a browser sent the request for a page of another site. Other clients say nothing about it.
fn is_from_another_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let address =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, address)| address);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    address.is_none() || address != host
}

/// `127.0.0.1:5580` and `[::1]:5580` without the port and the brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

/// Compares in a time that depends on the lengths alone, so that it does not tell how much of a guess was right.
fn same(given: &[u8], token: &[u8]) -> bool {
    let difference = given.iter().zip(token).fold(0, |difference, (a, b)| difference | (a ^ b));
    given.len() == token.len() && std::hint::black_box(difference) == 0
}

/// Turns away who may not ask.
pub async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if guard.token().is_none() && !guard.is_addressed(headers) {
        let body =
            json!({ "error": "this API answers to its address and to localhost only; set a token in [api]" });
        return (StatusCode::MISDIRECTED_REQUEST, Json(body)).into_response();
    }
    if !OPEN_PATHS.contains(&request.uri().path()) && !guard.knows(headers) {
        let body =
            json!({ "error": "this needs the header Authorization: Bearer TOKEN, with the token of [api]" });
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Json(body))
            .into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) && is_from_another_site(headers) {
        let body =
            json!({ "error": "this changes something, and is not taken from the pages of other sites" });
        return (StatusCode::FORBIDDEN, Json(body)).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_whole_token_opens() {
        let guard = Guard::new(Some("secret".to_owned()), IpAddr::from([10, 0, 0, 1]));
        for (value, opens) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer secre", false),
            ("Bearer secrets", false),
            ("Bearer ", false),
            ("Basic secret", false),
            ("secret", false),
            ("", false),
        ] {
            assert_eq!(guard.knows(&headers(header::AUTHORIZATION, value)), opens, "{value}");
        }
        assert!(!guard.knows(&HeaderMap::new()));
        assert!(Guard::new(None, IpAddr::from([127, 0, 0, 1])).knows(&HeaderMap::new()));
    }

    #[test]
    fn a_name_that_somebody_else_controls_is_not_this_machine() {
        let guard = Guard::new(None, IpAddr::from([127, 0, 0, 2]));
        for (host, addressed) in [
            ("localhost", true),
            ("LOCALHOST:5580", true),
            ("127.0.0.1:5580", true),
            ("127.0.0.2", true),
            ("[::1]:5580", true),
            ("rebound.example:5580", false),
            ("localhost.example", false),
            ("127.0.0.1.example", false),
            ("192.0.2.1", false),
            ("", false),
        ] {
            assert_eq!(guard.is_addressed(&headers(header::HOST, host)), addressed, "{host}");
        }
        assert!(guard.is_addressed(&HeaderMap::new()));
    }

    #[test]
    fn a_browser_says_that_a_request_comes_from_another_site() {
        let of = |pairs: &[(&'static str, &str)]| {
            let mut headers = headers(header::HOST, "127.0.0.1:5580");
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            is_from_another_site(&headers)
        };
        assert!(!of(&[]), "no browser");
        assert!(!of(&[("origin", "http://127.0.0.1:5580")]));
        assert!(!of(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:5580")]));
        assert!(!of(&[("sec-fetch-site", "none")]), "typed by the user");
        assert!(of(&[("origin", "http://127.0.0.1:8000")]), "another service of this machine");
        assert!(of(&[("origin", "https://evil.example")]));
        assert!(of(&[("origin", "null")]), "a page that hides where it is from");
        assert!(of(&[("sec-fetch-site", "cross-site")]));
        assert!(of(&[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:5580")]));
    }

    #[test]
    fn a_token_is_never_shown() {
        let guard = Guard::new(Some("secret".to_owned()), IpAddr::from([10, 0, 0, 1]));
        assert!(!format!("{guard:?}").contains("secret"));
    }
}
