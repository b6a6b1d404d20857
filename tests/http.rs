//! An HTTP server gets every message, whatever it answers in between.

use std::net::TcpListener;

use crate::support::{
    Ledger, Router,
    http_server::{Deed, Server},
    ledger::number,
    messages, receivers, senders,
};

fn configuration(endpoint: &str) -> String {
    format!(
        r#"
[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.collector]
kind = "http"
linger = "5ms"
{endpoint}

[endpoints.archive]
kind = "file"
path = "archive.jsonl"

[[routes]]
to = ["collector", "archive"]
"#
    )
}

#[test]
fn every_message_arrives_once_and_in_order_whatever_the_server_does_in_between() {
    let server = Server::start(&[
        Deed::Answers(204, ""),
        Deed::Answers(500, ""),
        Deed::Closes,
        Deed::Answers(401, ""),
        Deed::Answers(429, "retry-after: 1\r\n"),
        Deed::Hangs,
        Deed::Answers(301, "location: http://127.0.0.1:1/\r\n"),
    ]);
    // Long enough for a busy machine: a server that answers later gets the messages once more.
    let url =
        format!("url = \"http://{}/in\"\nbatch = {{ messages = 50 }}\ntimeout = \"5s\"", server.address);
    let router = Router::start(&configuration(&url));
    let all = messages::real("metlog-0.8.jsonl");
    senders::tcp(router.address("tcp"), messages::text_of(&all).as_bytes());
    let ledger = router.wait_until_delivered(all.len() as u64);
    assert!(number(&ledger.endpoint("collector")["retries"]) >= 6, "{ledger:?}");
    let stopped = router.stop();
    assert_eq!(server.lines(), all);
    assert_eq!(stopped.ledger.delivered("collector"), all.len() as u64);
    assert_eq!(receivers::lines(&stopped.path("archive.jsonl")), all);
}

#[test]
fn what_the_server_refuses_is_counted_by_reason_and_holds_nothing_up() {
    let server = Server::start(&[Deed::Answers(415, ""), Deed::Answers(200, ""), Deed::Answers(402, "")]);
    let url = format!("url = \"http://{}/\"\nbatch = {{ messages = 10 }}", server.address);
    let router = Router::start(&configuration(&url));
    let sent = messages::numbered("app", 40, 0);
    senders::tcp(router.address("tcp"), messages::text_of(&sent).as_bytes());
    let ledger = router.wait_until_delivered(40);
    assert_eq!(
        ledger.endpoint("collector")["refused"],
        serde_json::json!({ "http-415": 10, "http-402": 10 })
    );
    router.stop();
    assert_eq!(server.lines(), [&sent[10..20], &sent[30..]].concat());
}

#[test]
fn a_server_that_is_down_is_named_and_no_secret_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let router = Router::start(&format!(
        "shutdown_timeout = \"300ms\"\n{}",
        configuration(&format!(
            "url = \"http://{nobody}/in?key=hunter2\"\nauth = {{ bearer = \"hunter3\" }}\nheaders = {{ X-Key = \"hunter4\" }}"
        ))
    ));
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("app", 10, 0)).as_bytes());
    let ledger = router.wait("the endpoint says that it fails", |ledger| {
        !ledger.endpoint("collector")["failure"].is_null() && ledger.delivered("archive") == 10
    });
    let error = ledger.endpoint("collector")["failure"]["error"].as_str().expect("words").to_owned();
    assert_eq!(error, format!("cannot reach {nobody}: connection refused"));
    assert!(!format!("{ledger:?}").contains("hunter"), "{ledger:?}");
    let stopped = router.stop();
    assert_eq!(stopped.ledger.endpoint("collector")["dropped"], serde_json::json!({ "shutdown": 10 }));
    assert!(!stopped.log.contains("hunter"), "{}", stopped.log);
}

#[test]
fn what_a_server_asked_for_holds_over_a_reload_unless_the_credentials_change() {
    let server = Server::start(&[Deed::Answers(429, "retry-after: 3600\r\n")]);
    let with = |more: &str| configuration(&format!("url = \"http://{}/in\"\n{more}", server.address));
    let router = Router::start(&with(""));
    senders::tcp(router.address("tcp"), messages::text_of(&messages::numbered("a", 1, 0)).as_bytes());
    let is_limited = |ledger: &Ledger| {
        let failure = &ledger.endpoint("collector")["failure"]["error"];
        failure.as_str().is_some_and(|error| error.contains("429"))
    };
    router.wait("the server has asked to be left alone", is_limited);
    for timeout in ["20s", "10s"] {
        router.reload(&with(&format!("timeout = \"{timeout}\"")));
        router.wait("the new endpoint leaves it alone, too", is_limited);
        assert_eq!(server.requests(), 1);
    }
    router.reload(&with("auth = { bearer = \"another\" }"));
    router.wait_until_delivered(1);
    assert_eq!(server.requests(), 2);
    router.stop();
}
