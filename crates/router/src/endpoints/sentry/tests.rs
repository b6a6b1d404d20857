//! Which DSN a message is for, and what is shown of it.

use super::*;
use crate::{config::Kind, endpoints::registry, testing::work_of};

fn settings(body: &str) -> Result<Box<dyn EndpointSettings>, String> {
    let kind: &Kind<dyn EndpointSettings> =
        registry::KINDS.iter().find(|kind| kind.name == "sentry").unwrap();
    kind.read_body(body)
}

/// What becomes of a message with these fields: where it would go, or why not.
fn fate(body: &str, fields: &str) -> Result<String, &'static str> {
    let line = format!(
        r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25Z","payload":"{{\"message\":\"m\"}}","fields":{fields}}}"#
    );
    match settings(body).unwrap().preview(&work_of(&[line]).messages().next().unwrap()) {
        Preview::Sends { to, bytes } => {
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains("KEY") && !text.contains("SECRET"), "{text}");
            Ok(to)
        }
        Preview::Refuses { reason, .. } => Err(reason),
        Preview::Keeps | Preview::Obeys { .. } => panic!("an event is never kept"),
    }
}

const DEFAULT: &str = r#"dsn = "https://KEY@sentry.example.org/2""#;
const ALLOWED: &str = r#"allow_hosts = ["sentry.example.org", "10.0.0.7:9000"]"#;

#[test]
fn a_messages_own_dsn_comes_first_and_may_only_name_allowed_hosts() {
    let default = Ok("https://sentry.example.org/api/2/envelope/".to_owned());
    for fields in
        ["{}", r#"{"dsn":null}"#, r#"{"dsn":""}"#, r#"{"dsn":"udp://KEY:SECRET@sentry.example.org:9001/2"}"#]
    {
        assert_eq!(fate(DEFAULT, fields), default, "{fields}");
    }
    assert_eq!(
        fate(DEFAULT, r#"{"dsn":"https://KEY:SECRET@sentry.example.org/a/7"}"#),
        Ok("https://sentry.example.org/a/api/7/envelope/".to_owned())
    );
    for dsn in ["https://KEY@evil.example.org/2", "http://KEY@127.0.0.1/2", "http://KEY@169.254.169.254/2"] {
        assert_eq!(fate(DEFAULT, &format!(r#"{{"dsn":"{dsn}"}}"#)), Err("dsn-host"), "{dsn}");
    }
    assert_eq!(
        fate(DEFAULT, r#"{"dsn":"https://KEY@sentry.example.org:8443/2"}"#),
        Err("dsn-host"),
        "another port"
    );
    for dsn in [r#""nonsense""#, "7", r#"{"a":1}"#] {
        assert_eq!(fate(DEFAULT, &format!(r#"{{"dsn":{dsn}}}"#)), Err("dsn-invalid"), "{dsn}");
    }
}

#[test]
fn a_refusal_names_the_host_and_none_of_the_keys() {
    let what = |dsn: &str| {
        let line = format!(
            r#"{{"type":"sentry","timestamp":"2012-07-18T21:13:25Z","payload":"{{}}","fields":{{"dsn":"{dsn}"}}}}"#
        );
        match settings(DEFAULT).unwrap().preview(&work_of(&[line]).messages().next().unwrap()) {
            Preview::Refuses { what, .. } => what.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(what("https://KEY:SECRET@evil.example.org:8443/path/2"), "evil.example.org:8443");
    assert_eq!(what("https://KEY:SECRET@/2"), "the host is missing, as in https://KEY@HOST/PROJECT");
}

#[test]
fn without_a_default_each_message_must_bring_its_own() {
    assert_eq!(fate(ALLOWED, "{}"), Err("dsn-missing"));
    assert_eq!(fate(ALLOWED, r#"{"dsn":"udp://KEY:SECRET@sentry.example.org:9001/2"}"#), Err("dsn-scheme"));
    assert_eq!(
        fate(ALLOWED, r#"{"dsn":"http://KEY@10.0.0.7:9000/2"}"#),
        Ok("http://10.0.0.7:9000/api/2/envelope/".to_owned())
    );
}

#[test]
fn what_cannot_work_is_said_when_the_configuration_is_read() {
    for (body, problem) in [
        ("", "there is no host that anything may be sent to"),
        (r#"dsn = """#, "there is no host that anything may be sent to"),
        (r#"dsn = "udp://KEY@h/2""#, "the scheme must be https or http"),
        (r#"dsn = "https://h/2""#, "the key is missing"),
        (r#"allow_hosts = ["https://h"]"#, "only the host"),
        (r#"allow_hosts = ["a.*.org"]"#, "only at the beginning"),
        ("dsn = \"https://KEY@h/2\"\nmax_event = \"1GiB\"", "64MiB or less"),
        ("dsn = \"https://KEY@h/2\"\nmax_dsns = 0", "more than nothing"),
    ] {
        let printed = settings(body).unwrap_err();
        assert!(printed.contains(problem) && !printed.contains("KEY@h/2"), "{body}: {printed}");
    }
}

#[test]
fn the_default_dsn_is_not_in_what_is_printed() {
    assert!(!format!("{:?}", settings(DEFAULT).unwrap()).contains("KEY"));
}
