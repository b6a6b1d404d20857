//! The DSN: where an event goes, and with which key. And the hosts that a message may name.

use std::{fmt, net::Ipv6Addr};

use crate::{
    config::{
        Diagnostics, FromConfig, Schema,
        reader::Value,
        types::{parsed, quoted},
    },
    http_client::Uri,
};

/// A message has no DSN, and neither has the configuration.
pub(super) const REFUSED_MISSING: &str = "dsn-missing";
/// Its DSN cannot be read.
pub(super) const REFUSED_INVALID: &str = "dsn-invalid";
/// Its DSN names a way other than HTTP, and there is no default to fall back to.
pub(super) const REFUSED_SCHEME: &str = "dsn-scheme";
/// Its DSN names a host that is not allowed.
pub(super) const REFUSED_HOST: &str = "dsn-host";

/// Longer ones are no DSNs.
const LONGEST: usize = 1024;

/// A DSN, taken apart. Borrowed, because every message may bring its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dsn<'t> {
    pub(super) scheme: &'static str,
    pub(super) public: &'t str,
    /// What old DSNs had besides the public key.
    pub(super) secret: Option<&'t str>,
    /// Host and port, as written.
    pub(super) authority: &'t str,
    pub(super) host: &'t str,
    pub(super) port: u16,
    /// `/`, or a path that ends with one.
    pub(super) path: &'t str,
    pub(super) project: &'t str,
}

/// Why a text is no DSN that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DsnError {
    /// Not over HTTP.
    Scheme,
    /// Otherwise; what is wrong.
    Invalid(&'static str),
}

impl<'t> Dsn<'t> {
    /// Reads `SCHEME://PUBLIC[:SECRET]@HOST[:PORT][/PATH]/PROJECT`. What old clients put in front of the scheme
    /// (`threaded+https`) and behind the project (`?timeout=5`) was meant for them, and is left out.
    pub(super) fn parse(text: &'t str) -> Result<Dsn<'t>, DsnError> {
        use DsnError::{Invalid, Scheme};
        let text = text.trim();
        // So that it can stand in a header and in a JSON string as it is.
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b',' | b'<' | b'>');
        if text.len() > LONGEST || !text.bytes().all(is_plain) {
            return Err(Invalid("it holds characters that no DSN has, or too many"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or(Invalid("the scheme is missing, as in https://"))?;
        let scheme = match scheme.rsplit_once('+').map_or(scheme, |(_, scheme)| scheme) {
            scheme if scheme.eq_ignore_ascii_case("https") => "https",
            scheme if scheme.eq_ignore_ascii_case("http") => "http",
            _ => return Err(Scheme),
        };
        let rest = rest.find(['?', '#']).map_or(rest, |end| &rest[..end]).trim_end_matches('/');
        let (keys, rest) =
            rest.split_once('@').ok_or(Invalid("the key is missing, as in https://KEY@HOST/PROJECT"))?;
        let (public, secret) = match keys.split_once(':') {
            Some((public, secret)) => (public, Some(secret).filter(|secret| !secret.is_empty())),
            None => (keys, None),
        };
        let (authority, path) =
            rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).unwrap_or_default();
        let (path, project) =
            path.rfind('/').and_then(|last| path.split_at_checked(last + 1)).unwrap_or_default();
        if public.is_empty() || keys.contains('/') {
            return Err(Invalid("the key is missing, as in https://KEY@HOST/PROJECT"));
        }
        if authority.is_empty() || authority.starts_with(':') {
            return Err(Invalid("the host is missing, as in https://KEY@HOST/PROJECT"));
        }
        let (host, written_port) = host_and_port(authority).map_err(Invalid)?;
        if project.is_empty() {
            return Err(Invalid("the project is missing, as in https://KEY@HOST/PROJECT"));
        }
        // A proxy in front of an allowed host must not read another path than the one that stands here.
        let leads_elsewhere = |part: &str| part == "." || part == ".." || part.contains('%');
        if path.split('/').any(leads_elsewhere) || leads_elsewhere(project) {
            return Err(Invalid("its path holds `..` or `%`"));
        }
        let port = written_port.unwrap_or(if scheme == "https" { 443 } else { 80 });
        let dsn = Dsn { scheme, public, secret, authority, host, port, path, project };
        // What is allowed or not is this host and this port, and what is connected to are those of the URI: where the two
        // readings differ, whoever sends messages would choose where requests go.
        match dsn.uri() {
            Some(uri) if uri.host() == Some(host) && uri.port_u16() == written_port => Ok(dsn),
            _ => Err(Invalid("host or path cannot stand in a URL")),
        }
    }

    /// Where its envelopes go.
    pub(super) fn uri(&self) -> Option<Uri> {
        let Dsn { authority, path, project, .. } = self;
        let path = format!("{path}api/{project}/envelope/");
        Uri::builder().scheme(self.scheme).authority(*authority).path_and_query(path).build().ok()
    }

    /// The key of its lane: all of it.
    pub(super) fn write_to(&self, text: &mut Vec<u8>) {
        for part in [self.scheme, "://", self.public] {
            text.extend_from_slice(part.as_bytes());
        }
        if let Some(secret) = self.secret {
            text.push(b':');
            text.extend_from_slice(secret.as_bytes());
        }
        for part in ["@", self.authority, self.path, self.project] {
            text.extend_from_slice(part.as_bytes());
        }
    }
}

/// Host and port of an authority, or what is wrong with it. Strict, because whether a host is allowed is decided on what this
/// finds: what could be read in two ways is no host.
fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), &'static str> {
    const NO_HOST: &str = "the host is no name and no address";
    let host_end = if authority.starts_with('[') {
        authority.find(']').ok_or(NO_HOST)? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at_checked(host_end).ok_or(NO_HOST)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = bracketed.map_or_else(|| is_name(host), |address| address.parse::<Ipv6Addr>().is_ok());
    match port.strip_prefix(':') {
        _ if !is_host => Err(NO_HOST),
        None if port.is_empty() => Ok((host, None)),
        None => Err(NO_HOST),
        Some(digits) => {
            let port = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            let port = port.and_then(|digits| digits.parse().ok()).filter(|&port| port > 0);
            Ok((host, Some(port.ok_or("the port is not a number up to 65535")?)))
        }
    }
}

/// Whether this is a name as the domain name system has them, or an IPv4 address. A dot may end it.
fn is_name(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let labels = host.strip_suffix('.').unwrap_or(host);
    labels.split('.').all(|label| !label.is_empty() && label.bytes().all(is_plain))
}

/// Whether a host is an address, in any of the ways in which resolvers read one: `[::1]`, `10.0.0.7`, `0x7f.1`, `2130706433`.
fn is_address(host: &str) -> bool {
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or(host);
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    host.starts_with('[')
        || last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The `dsn` of the configuration: none where it is empty, so that it may come from an environment variable that is not
/// always set. Never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DefaultDsn(String);

impl DefaultDsn {
    pub(super) fn dsn(&self) -> Option<Dsn<'_>> {
        // Read successfully once, when the configuration was.
        Dsn::parse(&self.0).ok()
    }
}

impl fmt::Debug for DefaultDsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl FromConfig for DefaultDsn {
    fn expected() -> String {
        "a DSN such as \"https://KEY@sentry.example.org/2\", best from the environment".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<DefaultDsn> {
        diagnostics.conceal(value.span());
        parsed(value, diagnostics, |text| match (text.trim(), Dsn::parse(text)) {
            ("", _) => Ok(DefaultDsn::default()),
            (text, Ok(_)) => Ok(DefaultDsn(text.to_owned())),
            (_, Err(DsnError::Scheme)) => Err("the scheme must be https or http".to_owned()),
            (_, Err(DsnError::Invalid(problem))) => Err(problem.to_owned()),
        })
    }

    fn absent() -> Option<DefaultDsn> {
        Some(DefaultDsn::default())
    }

    fn to_toml(&self) -> String {
        String::new()
    }

    fn schema() -> Schema {
        Schema::Secret
    }
}

/// One of `allow_hosts`: `sentry.example.org`, the same with a port, or `*.example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost {
    host: String,
    port: Option<u16>,
}

impl AllowedHost {
    /// Whether this DSN may be used.
    pub(super) fn allows(&self, dsn: &Dsn<'_>) -> bool {
        self.port.is_none_or(|port| port == dsn.port)
            && match self.host.strip_prefix('*') {
                Some(suffix) => !is_address(dsn.host) && ends_with_ignoring_case(dsn.host, suffix),
                None => dsn.host.eq_ignore_ascii_case(&self.host),
            }
    }

    /// Host and port of the default DSN.
    pub(super) fn of(dsn: &Dsn<'_>) -> AllowedHost {
        AllowedHost { host: dsn.host.to_owned(), port: Some(dsn.port) }
    }

    fn parse(text: &str) -> Result<AllowedHost, String> {
        if text.contains("://") || text.contains('@') {
            return Err("only the host, without scheme and key".to_owned());
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        if name.contains('*') {
            return Err("`*.` stands for any name, and only at the beginning".to_owned());
        }
        let (host, port) = host_and_port(name)?;
        if below && is_address(host) {
            return Err("`*.` stands for names, and there are none below an address".to_owned());
        }
        let host = if below { format!("*.{host}") } else { host.to_owned() };
        Ok(AllowedHost { host, port })
    }
}

fn ends_with_ignoring_case(text: &str, suffix: &str) -> bool {
    let tail = text.len().checked_sub(suffix.len()).and_then(|start| text.get(start..));
    text.len() > suffix.len() && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(suffix))
}

impl FromConfig for AllowedHost {
    fn expected() -> String {
        "a host such as \"sentry.example.org\", \"10.0.0.7:9000\" or \"*.ingest.sentry.io\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<AllowedHost> {
        parsed(value, diagnostics, AllowedHost::parse)
    }

    fn to_toml(&self) -> String {
        match self.port {
            Some(port) => quoted(&format!("{}:{port}", self.host)),
            None => quoted(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut key = Vec::new();
        Dsn::parse(text).unwrap().write_to(&mut key);
        String::from_utf8(key).unwrap()
    }

    #[test]
    fn dsns_old_and_new_are_understood() {
        let dsn = Dsn::parse("https://a:b@s.example.com/42").unwrap();
        let expected = Dsn {
            scheme: "https",
            public: "a",
            secret: Some("b"),
            authority: "s.example.com",
            host: "s.example.com",
            port: 443,
            path: "/",
            project: "42",
        };
        assert_eq!(dsn, expected);
        for (text, uri, key) in [
            ("https://k@h/2", "https://h/api/2/envelope/", "https://k@h/2"),
            (" HTTP://k:@h:9000/a/b/2/ ", "http://h:9000/a/b/api/2/envelope/", "http://k@h:9000/a/b/2"),
            ("threaded+https://k:s@h/2?timeout=5", "https://h/api/2/envelope/", "https://k:s@h/2"),
            ("http://k@[::1]:80/2#x", "http://[::1]:80/api/2/envelope/", "http://k@[::1]:80/2"),
            ("https://k@h/web", "https://h/api/web/envelope/", "https://k@h/web"),
        ] {
            assert_eq!(Dsn::parse(text).unwrap().uri().unwrap(), uri, "{text}");
            assert_eq!(written(text), key);
            assert_eq!(written(key), key);
        }
    }

    #[test]
    fn what_is_no_dsn_is_told_apart() {
        for text in
            ["udp://public:secret@sentry.example.com:9001/2", "gopher://k@h/2", "threaded+udp://k@h/2"]
        {
            assert_eq!(Dsn::parse(text), Err(DsnError::Scheme), "{text}");
        }
        for text in [
            "",
            "2",
            "https://",
            "https://h/2",
            "https://@h/2",
            "https://:s@h/2",
            "https://k@/2",
            "https://k@:80/2",
            "https://k@h",
            "https://k@h/",
            "https://k@h:port/2",
            "https://k@h h/2",
            "https://k\"@h/2",
            "https://k@h@i/2",
            "https://k@h/2\r\nx: y",
            "https://k,l@h/2",
            "https://k@[::1/2",
            "https://a/b@h/2",
            "https://k@h/%2e%2e/2",
            "https://k@h/../2",
            "https://k@h/a%2f2",
        ] {
            assert!(matches!(Dsn::parse(text), Err(DsnError::Invalid(_))), "{text}");
        }
        assert!(Dsn::parse(&format!("https://k@h/{}", "2".repeat(2000))).is_err());
    }

    #[test]
    fn a_host_is_allowed_by_name_by_port_or_by_what_it_ends_with() {
        let allows = |pattern: &str, authority: &str| {
            let dsn = format!("http://k@{authority}/2");
            AllowedHost::parse(pattern).unwrap().allows(&Dsn::parse(&dsn).unwrap())
        };
        assert!(allows("sentry.example.org", "sentry.example.org"));
        assert!(allows("sentry.example.org", "SENTRY.example.org:9000"));
        assert!(!allows("sentry.example.org", "asentry.example.org"));
        assert!(allows("10.0.0.7:9000", "10.0.0.7:9000"));
        assert!(!allows("10.0.0.7:9000", "10.0.0.7:22"));
        assert!(!allows("10.0.0.7:9000", "10.0.0.7"));
        assert!(allows("[::1]", "[::1]:80") && !allows("[::1]:81", "[::1]:80"));
        assert!(allows("*.ingest.sentry.io", "o1.ingest.sentry.io"));
        assert!(allows("h:80", "h") && !allows("h:443", "h"));
        assert!(allows("*.ingest.sentry.io", "o1.US.ingest.sentry.io:443"));
        assert!(!allows("*.ingest.sentry.io", "ingest.sentry.io"));
        assert!(!allows("*.ingest.sentry.io", "o1.ingest.sentry.io.evil.org"));
    }

    #[test]
    fn what_is_allowed_is_what_is_connected_to() {
        let allowed = AllowedHost::parse("*.ingest.sentry.io").unwrap();
        for authority in [
            "[::ffff:127.0.0.1].ingest.sentry.io",
            "[::1]x.ingest.sentry.io",
            "[::1]:80.ingest.sentry.io",
            "[::1]:80:.ingest.sentry.io",
            "[::1].ingest.sentry.io:80",
            "[a.ingest.sentry.io]",
            "[::1%25.ingest.sentry.io]",
            "127.0.0.1:80.ingest.sentry.io",
            "127.0.0.1:80@a.ingest.sentry.io",
            "a.ingest.sentry.io@127.0.0.1",
            "127.0.0.1%2f.ingest.sentry.io",
            "127.0.0.1%00.ingest.sentry.io",
            "127.0.0.1\\.ingest.sentry.io",
            "127.0.0.1\t.ingest.sentry.io",
            "127.0.0.1;.ingest.sentry.io",
            "127.0.0.1\u{ff0f}.ingest.sentry.io",
            "a.ingest\u{3002}sentry.io",
            "a..ingest.sentry.io",
            ".ingest.sentry.io",
            "a.ingest.sentry.io..",
            "a.ingest.sentry.io:",
            "a.ingest.sentry.io:+80",
            "a.ingest.sentry.io:-1",
            "a.ingest.sentry.io:0",
            "a.ingest.sentry.io:65616",
            "a.ingest.sentry.io:80:90",
        ] {
            let text = format!("http://k@{authority}/2");
            assert!(matches!(Dsn::parse(&text), Err(DsnError::Invalid(_))), "{text}");
        }
        for refused in [
            "http://k@127.0.0.1/a.ingest.sentry.io/2",
            "http://k@127.0.0.1?a.ingest.sentry.io/2",
            "http://k@127.0.0.1#a.ingest.sentry.io/2",
            "http://a.ingest.sentry.io/@127.0.0.1/2",
            "http://a.ingest.sentry.io?@127.0.0.1/2",
            "http://a.ingest.sentry.io:80@127.0.0.1/2",
            "http://k@[::ffff:127.0.0.1]/2",
            // Right as a name, but no rule names it.
            "http://k@a.ingest.sentry.io./2",
        ] {
            assert!(!Dsn::parse(refused).is_ok_and(|dsn| allowed.allows(&dsn)), "{refused}");
        }
        for (authority, host, port) in [
            ("A.Ingest.SENTRY.io", "A.Ingest.SENTRY.io", 80),
            ("a-b_1.ingest.sentry.io:080", "a-b_1.ingest.sentry.io", 80),
            ("a.ingest.sentry.io:65535", "a.ingest.sentry.io", 65535),
        ] {
            let text = format!("http://k:{{}}[]$@{authority}/2");
            let dsn = Dsn::parse(&text).unwrap();
            assert!(allowed.allows(&dsn), "{text}");
            assert_eq!((dsn.host, dsn.port), (host, port));
            let uri = dsn.uri().unwrap();
            assert_eq!((uri.host().unwrap(), uri.port_u16().unwrap_or(80)), (host, port));
        }
    }

    #[test]
    fn a_pattern_for_names_has_no_addresses() {
        for pattern in ["*.0.0.1", "*.[::1]", "*.0x1", "*.0.0.1.", "*.1:80"] {
            assert!(AllowedHost::parse(pattern).is_err(), "{pattern}");
        }
        for pattern in
            ["", "*.", "*", "a*.b", "*.*.b", "[::1].b", "[x]", "h:", "h:x", "a b", "a/b", "a..b", "é.org"]
        {
            assert!(AllowedHost::parse(pattern).is_err(), "{pattern}");
        }
        let pattern = AllowedHost { host: "*.1".to_owned(), port: None };
        for authority in ["10.0.0.1", "127.1", "0x7f.1"] {
            let text = format!("http://k@{authority}/2");
            assert!(!pattern.allows(&Dsn::parse(&text).unwrap()), "{text}");
        }
    }
}
