use super::*;
use crate::{config::Source, testing::RECEIVED};

const CONFIGURATION: &str = r#"
[inputs.udp]
kind = "udp"
[inputs.lines]
kind = "tcp"
decoder = "line"
logger = "app"
severity = 4
allow_meta = true
[inputs.bridge]
kind = "unix"
path = "bridge.sock"
allow_meta = true
[endpoints.log]
kind = "file"
path = "log/{logger}.log"
format = "text"
template = "{payload}"
[endpoints.stats]
kind = "statsd"
[endpoints.nothing]
kind = "null"
[rejects]
to = ["nothing"]
[[routes]]
match = { type = "counter" }
to = ["stats"]
final = true
[[routes]]
match = { severity = { max = 4 } }
to = ["log", "nothing"]
[[routes]]
unrouted = true
to = ["nothing"]
"#;

fn fate(input: Option<&str>, frame: &[u8]) -> Fate {
    fate_with(CONFIGURATION, input, frame)
}

fn fate_with(configuration: &str, input: Option<&str>, frame: &[u8]) -> Fate {
    let (configuration, diagnostics) = topology::load(&Source::new("test.toml", configuration));
    let configuration = configuration.unwrap_or_else(|| panic!("{}", diagnostics.render(false)));
    let rehearsal = Rehearsal::new(&configuration).unwrap();
    rehearsal.frame(&rehearsal.entrance(input).unwrap(), frame, RECEIVED)
}

fn journey(input: Option<&str>, frame: &str) -> Journey {
    match fate(input, frame.as_bytes()) {
        Fate::Routed(journey) => journey,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_followed_to_every_endpoint() {
    let journey = journey(
        None,
        r#"{"type":"oldstyle","timestamp":"2026-11-22T00:00:00Z","logger":"a","severity":3,"payload":"x"}"#,
    );
    assert!(matches!(&journey.routes[0], RouteFate::Leaves(because) if because[0].contains("oldstyle")));
    assert!(matches!(&journey.routes[1], RouteFate::Takes(because) if because[0].contains("max = 4")));
    assert_eq!(journey.routes[2], RouteFate::NotNeeded { after: 1 });
    let sends = Preview::Sends { to: "log/a.log".to_owned(), bytes: b"x\n".to_vec() };
    assert_eq!(
        journey.stops,
        [Stop { endpoint: 0, preview: sends }, Stop { endpoint: 2, preview: Preview::Keeps }]
    );
    assert!(journey.changes.is_empty());
}

#[test]
fn behind_a_final_route_nobody_is_asked() {
    let journey = journey(None, r#"{"type":"counter","severity":0,"payload":"many"}"#);
    assert!(matches!(journey.routes[0], RouteFate::Takes(_)));
    assert_eq!(journey.routes[1], RouteFate::NotAsked { after: 0 });
    assert_eq!(journey.stops, [Stop { endpoint: 1, preview: Preview::from("statsd-name") }]);
    assert_eq!(journey.changes, ["it has no `timestamp`, so the time of receipt was added"]);
}

#[test]
fn what_no_route_takes_goes_to_the_catch_all_or_nowhere() {
    let frame = br#"{"type":"x"}"#;
    let Fate::Routed(caught) = fate(None, frame) else { panic!() };
    assert_eq!((caught.stops.len(), caught.is_unrouted()), (1, false));
    assert_eq!(caught.routes[2], RouteFate::Takes(Vec::new()));
    let without = CONFIGURATION.replace("unrouted = true", "match = { type = \"y\" }");
    let Fate::Routed(lost) = fate_with(&without, None, frame) else { panic!() };
    assert!(lost.is_unrouted() && lost.stops.is_empty());
}

#[test]
fn an_input_decides_how_a_frame_is_read() {
    let journey = journey(Some("lines"), "{not json");
    let text = String::from_utf8(journey.text.clone()).unwrap();
    assert!(
        text.starts_with(r#"{"type":"oldstyle","logger":"app","severity":4,"payload":"{not json""#),
        "{text}"
    );
    assert!(matches!(fate(None, b"{not json"), Fate::Rejected { .. }), "inputs differ, so JSON is assumed");
    let named = b"\0json::{\"type\":\"x\"}";
    assert!(matches!(fate(Some("udp"), named), Fate::Routed(_)));
    assert!(matches!(fate(Some("udp"), b"\0msgpack::\x81\xa4type\xa1x"), Fate::Routed(_)));
    assert!(matches!(fate(Some("bridge"), named), Fate::Rejected { .. }), "a stream has no named frames");
    assert!(matches!(fate(Some("udp"), b" \r"), Fate::Blank));
}

#[test]
fn a_meta_message_is_obeyed_only_where_its_input_allows_it() {
    let meta = r#"{"type":"x","severity":1,"fields":{"meta":"metlog::file::close"}}"#;
    let first = |input| journey(input, meta).stops.remove(0).preview;
    assert_eq!(first(Some("bridge")), Preview::Obeys { order: "close its files" });
    assert!(matches!(first(Some("udp")), Preview::Sends { .. }));
}

#[test]
fn a_rejected_frame_says_where_and_who_is_told() {
    let Fate::Rejected { rejection, told } = fate(Some("udp"), b"\0json::{\"type\":x}") else { panic!() };
    assert_eq!((rejection.reason, rejection.position, told), (Reason::InvalidJson, Some(15), vec![2]));
    let Fate::Rejected { rejection, .. } = fate(Some("udp"), b"\0protobuf::\x81") else { panic!() };
    assert_eq!(rejection.reason, Reason::UnknownDecoder);
    let Fate::Rejected { rejection, .. } = fate(Some("udp"), b"\0msgpack::\x81\xc1") else { panic!() };
    assert_eq!((rejection.reason, rejection.position), (Reason::InvalidMsgpack, Some(11)));
}

#[test]
fn what_the_slow_path_changed_is_said() {
    let changes = |frame: &str| journey(None, frame).changes;
    assert_eq!(
        changes("\u{FEFF}{\"type\":\"x\",\"timestamp\":\"2026-11-22T00:00:00Z\"}\r"),
        Vec::<&str>::new()
    );
    assert_eq!(changes("{\"type\":\"x\",\"n\":NaN}").len(), 2);
    assert!(changes("{\"type\":\"x\",\"timestamp\":\"yesterday\"}")[0].contains("no date"));
}
