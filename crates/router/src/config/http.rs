//! What endpoints over HTTP are told about their server: its URL, and headers of one's own.

use hyper::{
    Uri,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
        TRANSFER_ENCODING,
    },
};
use toml::de::DeValue;

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Schema, Value},
    types::{Secret, quoted, text},
};

/// Headers that follow from the request itself.
const OWN_HEADERS: [HeaderName; 5] = [CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, TRANSFER_ENCODING];

/// An `http://` or `https://` URL without a user's name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Uri);

impl HttpUrl {
    /// Reads a URL. The error never quotes it.
    pub fn parse(text: &str) -> Result<HttpUrl, String> {
        if text.contains('#') {
            return Err("what begins with `#` is not for the server: remove it".to_owned());
        }
        if !text.contains("://") {
            return Err("it begins with http:// or https://".to_owned());
        }
        let uri: Uri = text.parse().map_err(|error| format!("this is no URL: {error}"))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return Err("only http:// and https:// are spoken here".to_owned()),
        }
        if has_password(text) {
            return Err("a user and a password belong into `auth`, where they are not shown".to_owned());
        }
        match uri.host() {
            None | Some("") => Err("the host is missing".to_owned()),
            Some(_) => Ok(HttpUrl(uri)),
        }
    }

    /// The whole URL, for requests.
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether what is sent is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// The URL for an operator's eye: without its path and query, each of which may hold a token.
    pub fn shown(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let rest = self.0.path_and_query().is_some_and(|rest| rest.as_str() != "/");
        format!("{scheme}://{authority}/{}", if rest { "…" } else { "" })
    }
}

fn has_password(text: &str) -> bool {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest).split(['/', '?']).next();
    authority.is_some_and(|authority| authority.contains('@'))
}

impl FromConfig for HttpUrl {
    fn expected() -> String {
        "a URL such as \"https://collector.example.org/logs\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<HttpUrl> {
        let written = text::<HttpUrl>(value, diagnostics)?;
        // Of a URL only scheme and host are shown in any case; of what is none, nobody knows what is its host.
        if has_password(written) || written.contains('?') || !written.contains("://") {
            diagnostics.mask().add_value(value.span());
        }
        match HttpUrl::parse(written) {
            Ok(url) => Some(url),
            Err(reason) => {
                diagnostics.invalid::<HttpUrl>(value, reason);
                None
            }
        }
    }

    fn to_toml(&self) -> String {
        quoted(&self.0.to_string())
    }
}

/// Headers that go with every request. Their values may be secrets and are never shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpHeaders(HeaderMap);

impl HttpHeaders {
    /// The headers, each marked as sensitive.
    pub fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl FromConfig for HttpHeaders {
    fn expected() -> String {
        "a table of texts such as { X-Scope = \"web\" }".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<HttpHeaders> {
        let DeValue::Table(table) = value.get_ref() else {
            diagnostics.wrong_type::<HttpHeaders>(value);
            return None;
        };
        let mut headers = HeaderMap::new();
        let mut is_whole = true;
        for (key, value) in table {
            let name = HeaderName::from_bytes(key.get_ref().as_bytes());
            let known = match &name {
                Ok(name) if OWN_HEADERS.contains(name) => {
                    let problem = diagnostics.error(key.span(), format!("the router itself sets `{name}`"));
                    problem.help("remove it");
                    None
                }
                Ok(name) => Some(name),
                Err(_) => {
                    let message = format!("`{}` cannot be the name of a header", key.get_ref());
                    diagnostics.error(key.span(), message).help("a name has letters, digits and `-`");
                    None
                }
            };
            let outer = diagnostics.enter(format!("headers.{}", key.get_ref()));
            let secret = Secret::from_config(value, diagnostics);
            diagnostics.leave(outer);
            let read = secret.as_ref().map(|secret| HeaderValue::from_str(secret.reveal()));
            if let Some(Err(_)) = &read {
                let message = format!("`{}` has characters that no header can have", key.get_ref());
                diagnostics.error(value.span(), message).help("a value is one line of text");
            }
            match (known, read) {
                (Some(name), Some(Ok(mut value))) => {
                    value.set_sensitive(true);
                    headers.append(name, value);
                }
                _ => is_whole = false,
            }
        }
        is_whole.then_some(HttpHeaders(headers))
    }

    fn to_toml(&self) -> String {
        // Only a default is ever written, and that is empty.
        "{}".to_owned()
    }

    fn schema() -> Schema {
        Schema::Map(Box::new(Schema::Secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_what_may_be_secret() {
        for (text, shown) in [
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/"),
            ("https://logs.example.org/a/b", "https://logs.example.org/…"),
            ("https://[::1]:8080/in?token=abc", "https://[::1]:8080/…"),
        ] {
            assert_eq!(HttpUrl::parse(text).unwrap().shown(), shown);
        }
        for (text, reason) in [
            ("logs.example.org/in", "begins with http"),
            ("/in", "begins with http"),
            ("ftp://logs.example.org/", "only http"),
            ("https://me:hunter2@logs.example.org/", "belong into `auth`"),
            ("http://", ""),
            ("http://a b/", "no URL"),
            ("http://a/#b", "`#`"),
        ] {
            let error = HttpUrl::parse(text).unwrap_err();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn every_wrong_header_is_reported_and_no_value_shown() {
        let value =
            DeValue::parse("{ X-A = 'hunter2', 'b c' = 'x', Host = 'h', D = 4, E = \"a\\u0007b\" }").unwrap();
        let mut diagnostics = Diagnostics::new();
        assert_eq!(HttpHeaders::from_config(&value, &mut diagnostics), None);
        let messages: Vec<&str> = diagnostics.iter().map(|item| item.message.as_str()).collect();
        assert_eq!(messages.len(), 4, "{messages:?}");
        assert!(!format!("{messages:?}").contains("hunter2"));

        let value = DeValue::parse("{ X-A = 'hunter2' }").unwrap();
        let headers = HttpHeaders::from_config(&value, &mut Diagnostics::new()).unwrap();
        assert_eq!(headers.map()["x-a"], "hunter2");
        assert!(!format!("{headers:?}").contains("hunter2"));
    }
}
