//! One story for each operator of a route's `match`.

use serde_json::Value;

use super::*;

/// Checks a condition on every real message against the same question asked of the parsed JSON, and returns how
/// many hold.
fn on_real_messages(condition: &Condition, expected: impl Fn(&Value) -> bool) -> usize {
    let matcher = Matcher::compile(condition).unwrap();
    let mut count = 0;
    for line in real_messages() {
        let message = Message::new(line);
        let holds = matcher.matches(&message.text, &message.index);
        assert_eq!(holds, expected(&serde_json::from_str(line).unwrap()), "{condition:?} on {line}");
        count += usize::from(holds);
    }
    count
}

#[test]
fn a_list_is_any_of() {
    let condition = any_of("type", &["counter", "timer"]);
    let count = on_real_messages(&condition, |json| json["type"] == "counter" || json["type"] == "timer");
    assert!(count > 20, "{count}");
}

#[test]
fn keys_are_all_of_and_severity_has_a_range() {
    let condition = Condition::All(vec![equals("type", "oldstyle"), range("severity", None, Some("4"))]);
    let count = on_real_messages(&condition, |json| {
        json["type"] == "oldstyle" && json["severity"].as_u64().unwrap() <= 4
    });
    assert!(count > 10, "{count}");
}

#[test]
fn globs_take_a_logger_by_its_beginning() {
    let condition = Condition::All(vec![glob("logger", "sync*"), exists("fields.name", true)]);
    let count = on_real_messages(&condition, |json| {
        json["logger"].as_str().unwrap().starts_with("sync") && json["fields"].get("name").is_some()
    });
    assert!(count > 0);
}

#[test]
fn prefixes_and_dotted_paths_reach_into_fields() {
    let condition = prefix("fields.headers.path", "/1.0/11224/");
    let count = on_real_messages(&condition, |json| {
        json["fields"]["headers"]["path"].as_str().is_some_and(|path| path.starts_with("/1.0/11224/"))
    });
    assert!(count > 10, "{count}");
}

#[test]
fn a_quoted_part_may_hold_dots() {
    let condition = number("fields.\"a.b.c\"", "1");
    assert!(on_real_messages(&condition, |json| json["fields"]["a.b.c"] == 1) > 0);
}

#[test]
fn not_turns_a_test_around() {
    let condition = not(equals("metlog_hostname", "sync17"));
    let count = on_real_messages(&condition, |json| json["metlog_hostname"] != "sync17");
    assert!(count > 100, "{count}");
}

#[test]
fn any_joins_tests_of_different_keys() {
    let condition = Condition::Any(vec![equals("type", "wsgi"), prefix("fields.msg", "")]);
    let count =
        on_real_messages(&condition, |json| json["type"] == "wsgi" || json["fields"]["msg"].is_string());
    assert!(count > 100, "{count}");
}

#[test]
fn a_regular_expression_finds_something_anywhere_in_the_text() {
    let message = Message::new(r#"{"type":"oldstyle","payload":"request timed out after 3 s"}"#);
    assert!(message.matches(&regex("payload", "time(d )?out")));
    assert!(!message.matches(&regex("payload", "^time(d )?out")));
    assert!(message.matches(&regex("payload", r"\d s$")));
}

#[test]
fn escapes_are_decoded_before_anything_is_compared() {
    let message = Message::new(
        r#"{"type":"\u0063ounter","logger":"se\u00f1or\n\"x\"","payload":"\ud83d\ude00","fields":{"k\u0065y":"v\u0061l"}}"#,
    );
    assert!(message.matches(&equals("type", "counter")));
    assert!(message.matches(&any_of("type", &["timer", "counter", "gauge"])));
    assert!(message.matches(&prefix("type", "count")));
    assert!(message.matches(&equals("logger", "señor\n\"x\"")));
    assert!(message.matches(&glob("logger", "se?or*x\"")));
    assert!(message.matches(&regex("logger", "^señor\n")));
    assert!(message.matches(&equals("payload", "😀")));
    assert!(message.matches(&glob("payload", "?")));
    assert!(message.matches(&equals("fields.key", "val")));
    let lone = Message::new(r#"{"type":"t","payload":"a\ud800b"}"#);
    assert!(lone.matches(&equals("payload", "a\u{FFFD}b")));
}

#[test]
fn numbers_equal_by_value_however_they_are_spelled() {
    for spelled in ["1", "1.0", "10e-1", "0.1E1"] {
        let message = Message::new(&format!(r#"{{"type":"t","fields":{{"n":{spelled}}}}}"#));
        assert!(message.matches(&number("fields.n", "1")), "{spelled}");
        assert!(message.matches(&number("fields.n", "1.000")), "{spelled}");
        assert!(!message.matches(&number("fields.n", "1.0000000000000000001")), "{spelled}");
        assert!(message.matches(&range("fields.n", Some("1"), Some("1"))), "{spelled}");
        assert!(!message.matches(&range("fields.n", Some("1.0000000000000000001"), None)), "{spelled}");
    }
    let message = Message::new(r#"{"type":"t","fields":{"n":9007199254740993,"zero":-0.0}}"#);
    assert!(message.matches(&number("fields.n", "9007199254740993")));
    assert!(!message.matches(&number("fields.n", "9007199254740992")));
    assert!(!message.matches(&range("fields.n", None, Some("9007199254740992"))));
    assert!(message.matches(&number("fields.zero", "0")));
}

#[test]
fn types_never_mix() {
    let message =
        Message::new(r#"{"type":"t","fields":{"n":5,"s":"5","b":true,"bs":"true","null":null,"a":["5"]}}"#);
    let five = || equals("fields.s", "5");
    assert!(message.matches(&five()));
    for other in ["fields.n", "fields.b", "fields.null", "fields.a", "fields", "severity", "metlog_pid"] {
        assert!(!message.matches(&equals(other, "5")), "{other}");
        assert!(!message.matches(&prefix(other, "")), "{other}");
        assert!(!message.matches(&glob(other, "*")), "{other}");
        assert!(!message.matches(&regex(other, "")), "{other}");
    }
    for other in ["fields.s", "fields.b", "fields.null", "fields.a", "type", "logger", "payload"] {
        assert!(!message.matches(&number(other, "5")), "{other}");
        assert!(!message.matches(&range(other, None, None)), "{other}");
    }
    assert!(message.matches(&boolean("fields.b", true)));
    assert!(!message.matches(&boolean("fields.b", false)));
    assert!(!message.matches(&boolean("fields.bs", true)));
    assert!(!message.matches(&boolean("fields.n", true)));
    let mixed = |path: &str| {
        let scalars = vec![Scalar::String("5".into()), Scalar::Number("5".into()), Scalar::Bool(true)];
        test(path, Test::OneOf(scalars))
    };
    for (path, expected) in [("fields.n", true), ("fields.s", true), ("fields.b", true), ("fields.bs", false)]
    {
        assert_eq!(message.matches(&mixed(path)), expected, "{path}");
    }
}

#[test]
fn a_missing_key_matches_only_its_absence_and_not() {
    let message = Message::new(r#"{"type":"t","metlog_hostname":null}"#);
    for missing in
        ["fields.x", "fields.x.y", "metlog_hostname", "metlog_pid", "env_version", "other", "type.x"]
    {
        assert!(message.matches(&exists(missing, false)), "{missing}");
        assert!(!message.matches(&exists(missing, true)), "{missing}");
        assert!(!message.matches(&equals(missing, "")), "{missing}");
        assert!(!message.matches(&prefix(missing, "")), "{missing}");
        assert!(!message.matches(&glob(missing, "*")), "{missing}");
        assert!(!message.matches(&regex(missing, "")), "{missing}");
        assert!(!message.matches(&range(missing, None, None)), "{missing}");
        assert!(message.matches(&not(equals(missing, "x"))), "{missing}");
    }
}

#[test]
fn a_null_inside_fields_is_there() {
    let message = Message::new(r#"{"type":"t","fields":{"x":null}}"#);
    assert!(message.matches(&exists("fields.x", true)));
    assert!(!message.matches(&exists("fields.x", false)));
    assert!(!message.matches(&equals("fields.x", "null")));
}

#[test]
fn defaults_count_as_present() {
    for frame in
        [r#"{"type":"t"}"#, r#"{"type":"t","logger":null,"severity":null,"payload":null,"fields":null}"#]
    {
        let message = Message::new(frame);
        for present in ["type", "timestamp", "logger", "severity", "payload", "fields"] {
            assert!(message.matches(&exists(present, true)), "{present} in {frame}");
            assert!(!message.matches(&exists(present, false)), "{present} in {frame}");
        }
        assert!(message.matches(&equals("logger", "")));
        assert!(message.matches(&equals("payload", "")));
        assert!(message.matches(&number("severity", "6")));
        assert!(!message.matches(&range("severity", None, Some("5"))));
    }
}

#[test]
fn severity_is_a_number() {
    let message = Message::new(r#"{"type":"t","severity":3}"#);
    assert!(message.matches(&number("severity", "3")));
    assert!(message.matches(&number("severity", "3.0")));
    assert!(message.matches(&range("severity", Some("2.5"), Some("3e0"))));
    assert!(!message.matches(&range("severity", Some("3.5"), None)));
    assert!(message.matches(&not(range("severity", Some("4"), None))));
    assert!(!message.matches(&equals("severity", "3")));
    assert!(!message.matches(&boolean("severity", true)));
}

#[test]
fn a_payload_that_is_no_string_is_seen_as_its_json_text() {
    let message = Message::new(r#"{"type":"t","payload":{"a": [1, null]}}"#);
    assert!(message.matches(&equals("payload", r#"{"a": [1, null]}"#)));
    assert!(message.matches(&prefix("payload", r#"{"a"#)));
    assert!(message.matches(&glob("payload", "*[[]1,*")));
    assert!(message.matches(&regex("payload", r"null\]")));
    assert!(!message.matches(&number("payload.a", "1")));
    let message = Message::new(r#"{"type":"t","payload":1.50}"#);
    assert!(message.matches(&equals("payload", "1.50")));
    assert!(!message.matches(&equals("payload", "1.5")));
    assert!(message.matches(&number("payload", "1.5")));
    assert!(message.matches(&range("payload", Some("1"), Some("2"))));
    let text = Message::new(r#"{"type":"t","payload":"1.5"}"#);
    assert!(!text.matches(&number("payload", "1.5")));
}

#[test]
fn empty_lists_hold_and_fail_as_logic_has_it() {
    let message = Message::new(r#"{"type":"t"}"#);
    assert!(message.matches(&Condition::All(vec![])));
    assert!(!message.matches(&Condition::Any(vec![])));
    assert!(!message.matches(&test("type", Test::OneOf(vec![]))));
}

#[test]
fn what_can_be_decided_at_load_is() {
    let compiled = |condition| Matcher::compile(&condition).unwrap();
    assert!(compiled(Condition::All(vec![exists("type", true), prefix("logger", "")])).is_always());
    assert!(compiled(range("severity", Some("0"), None)).is_always());
    assert!(compiled(not(equals("severity", "6"))).is_always());
    assert!(compiled(number("type", "1")).is_never());
    assert!(compiled(range("severity", Some("8"), None)).is_never());
    assert!(compiled(Condition::All(vec![equals("type", "x"), Condition::Any(vec![])])).is_never());
    assert!(!compiled(exists("metlog_pid", true)).is_always());
}

#[test]
fn a_condition_that_cannot_be_compiled_says_why() {
    let problem = |condition| Matcher::compile(&condition).unwrap_err().to_string();
    assert_eq!(problem(glob("type", "a[")), "glob \"a[\": `[` without its `]` at character 1");
    assert!(problem(regex("type", "a(")).starts_with("regular expression \"a(\": "));
    assert_eq!(problem(number("fields.x", "1.")), "\"1.\" is not a number");
    assert_eq!(problem(range("severity", Some("low"), None)), "\"low\" is not a number");
}
