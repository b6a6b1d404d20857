//! What is said about conditions, in an operator's words.

use super::*;
use crate::routes::explanation::Explanation;

const FRAME: &str = r#"{"type":"oldstyle","logger":"shop","payload":"payment took 3 s","fields":{"code":"500","load":2.5,"tags":["a"]}}"#;

#[track_caller]
fn check(condition: Condition, holds: bool, expected: &[&str]) {
    let message = Message::new(FRAME);
    let explanation = Explanation::of(&condition, &condition, &message.text, &message.index);
    assert_eq!(
        (explanation.holds, explanation.because),
        (holds, expected.iter().map(|text| (*text).to_owned()).collect())
    );
}

#[test]
fn the_value_and_what_it_was_compared_with_are_named() {
    check(equals("type", "oldstyle"), true, &[r#"type = "oldstyle""#]);
    check(equals("type", "timer"), false, &[r#"type = "oldstyle" is not "timer""#]);
    check(any_of("type", &["a", "oldstyle"]), true, &[r#"type = "oldstyle" is one of "a", "oldstyle""#]);
    check(any_of("type", &["a", "b"]), false, &[r#"type = "oldstyle" is none of "a", "b""#]);
    check(prefix("logger", "sh"), true, &[r#"logger = "shop" begins with "sh""#]);
    check(glob("logger", "sync*"), false, &[r#"logger = "shop" does not fit the glob "sync*""#]);
    check(
        regex("payload", "time(d )?out"),
        false,
        &[r#"payload = "payment took 3 s", in which the regex "time(d )?out" finds nothing"#],
    );
}

#[test]
fn bounds_say_which_of_them_is_not_kept() {
    check(range("severity", None, Some("4")), false, &["severity = 6 (the default) is above max = 4"]);
    check(range("fields.load", Some("3"), Some("4")), false, &["fields.load = 2.5 is below min = 3"]);
    check(range("fields.load", Some("1"), Some("2")), false, &["fields.load = 2.5 is above max = 2"]);
    check(
        range("fields.load", Some("1"), Some("4")),
        true,
        &["fields.load = 2.5 is within min = 1, max = 4"],
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_said() {
    check(exists("fields.user.id", true), false, &["fields.user.id is missing"]);
    check(exists("fields.load", false), false, &["fields.load = 2.5 is there"]);
    check(equals("metlog_hostname", "web1"), false, &["metlog_hostname is missing"]);
    check(
        number("fields.code", "500"),
        false,
        &[r#"fields.code = "500" is not 500: a string is never equal to a number"#],
    );
    check(
        range("fields.code", Some("500"), None),
        false,
        &[r#"fields.code = "500" is a string, not a number"#],
    );
    check(prefix("fields.tags", "a"), false, &[r#"fields.tags = ["a"] is a list, not a string"#]);
}

#[test]
fn of_several_conditions_the_one_that_decides_is_named() {
    let all = Condition::All(vec![equals("type", "oldstyle"), equals("logger", "x"), exists("no", true)]);
    check(all, false, &[r#"logger = "shop" is not "x""#]);
    let any = Condition::Any(vec![equals("type", "x"), equals("logger", "shop")]);
    check(any, true, &[r#"logger = "shop""#]);
    let none = Condition::Any(vec![equals("type", "x"), exists("no", true)]);
    check(none, false, &[r#"type = "oldstyle" is not "x""#, "no is missing"]);
    check(not(equals("logger", "shop")), false, &[r#"excluded by `not`: logger = "shop""#]);
    check(not(equals("logger", "x")), true, &[r#"not excluded: logger = "shop" is not "x""#]);
    check(Condition::All(Vec::new()), true, &[]);
}

#[test]
fn values_of_variables_are_said_by_their_names() {
    let message = Message::new(FRAME);
    let (condition, written) = (not(equals("logger", "sesame")), not(equals("logger", "${NAME}")));
    let explanation = Explanation::of(&condition, &written, &message.text, &message.index);
    assert_eq!(explanation.because, [r#"not excluded: logger = "shop" is not "${NAME}""#]);
}
