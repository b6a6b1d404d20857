//! What each way of writing a condition means.

use toml::de::DeValue;

use super::*;

fn condition(text: &str) -> Result<Condition, Vec<String>> {
    let value = DeValue::parse(text).unwrap();
    let mut diagnostics = Diagnostics::new();
    let read = read(&value, &mut diagnostics);
    assert_eq!(read.is_none(), diagnostics.has_errors(), "{text}");
    let problem = |item: &Diagnostic| item.label.clone().unwrap_or_else(|| item.message.clone());
    read.ok_or_else(|| diagnostics.iter().map(problem).collect())
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn test(at: &str, test: Test) -> Condition {
    Condition::Test(path(at), test)
}

fn string(text: &str) -> Scalar {
    Scalar::String(text.to_owned())
}

fn number(text: &str) -> Scalar {
    Scalar::Number(text.to_owned())
}

#[track_caller]
fn check(text: &str, expected: Condition) {
    assert_eq!(condition(text), Ok(expected), "{text}");
}

#[test]
fn scalars_and_lists_are_equality() {
    check("{ type = 'counter' }", test("type", Test::OneOf(vec![string("counter")])));
    check("{ severity = 3 }", test("severity", Test::OneOf(vec![number("3")])));
    check("{ 'fields.ok' = true }", test("fields.ok", Test::OneOf(vec![Scalar::Bool(true)])));
    let both = Test::OneOf(vec![string("a"), number("1.50"), Scalar::Bool(false)]);
    check("{ 'fields.x' = ['a', 1.50, false] }", test("fields.x", both));
}

#[test]
fn numbers_keep_every_digit() {
    for (written, kept) in [
        ("9007199254740993", "9007199254740993"),
        ("1_000", "1000"),
        ("+5", "5"),
        ("-5", "-5"),
        ("0xff", "255"),
        ("0.1", "0.1"),
        ("1e3", "1e3"),
    ] {
        check(&format!("{{ 'fields.n' = {written} }}"), test("fields.n", Test::OneOf(vec![number(kept)])));
    }
    for written in ["inf", "-inf", "nan"] {
        assert!(condition(&format!("{{ 'fields.n' = {written} }}")).is_err(), "{written}");
    }
}

#[test]
fn operators() {
    check("{ logger = { prefix = 'sync' } }", test("logger", Test::Prefix("sync".to_owned())));
    check("{ logger = { glob = 'sync*' } }", test("logger", Test::Glob("sync*".to_owned())));
    check(
        "{ payload = { regex = 'time(d )?out$' } }",
        test("payload", Test::Regex("time(d )?out$".to_owned())),
    );
    check("{ 'fields.a' = { exists = false } }", test("fields.a", Test::Exists(false)));
    let range = Test::Range { min: None, max: Some("4".to_owned()) };
    check("{ severity = { max = 4 } }", test("severity", range));
    let range = Test::Range { min: Some("1.5".to_owned()), max: Some("4".to_owned()) };
    check("{ 'fields.n' = { max = 4, min = 1.5 } }", test("fields.n", range));
}

#[test]
fn several_operators_must_all_hold() {
    let expected =
        vec![test("logger", Test::Prefix("a".to_owned())), test("logger", Test::Glob("*z".to_owned()))];
    check("{ logger = { prefix = 'a', glob = '*z' } }", Condition::All(expected));
}

#[test]
fn several_keys_must_all_hold_in_the_order_of_the_file() {
    let expected =
        vec![test("type", Test::OneOf(vec![string("x")])), test("logger", Test::OneOf(vec![string("y")]))];
    check("{ type = 'x', logger = 'y' }", Condition::All(expected));
    check("{}", Condition::All(Vec::new()));
}

#[test]
fn combinations() {
    let wsgi = || test("type", Test::OneOf(vec![string("wsgi")]));
    let http = || test("fields.kind", Test::OneOf(vec![string("http")]));
    check(
        "{ any = [ { type = 'wsgi' }, { 'fields.kind' = 'http' } ] }",
        Condition::Any(vec![wsgi(), http()]),
    );
    check(
        "{ all = [ { type = 'wsgi' }, { 'fields.kind' = 'http' } ] }",
        Condition::All(vec![wsgi(), http()]),
    );
    check(
        "{ not = { type = 'wsgi', 'fields.kind' = 'http' } }",
        Condition::Not(Box::new(Condition::All(vec![wsgi(), http()]))),
    );
    check(
        "{ not = { not = { type = 'wsgi' } } }",
        Condition::Not(Box::new(Condition::Not(Box::new(wsgi())))),
    );
}

#[test]
fn a_message_key_may_be_called_as_a_combination() {
    check(r#"{ '"any"' = 'x' }"#, test("any", Test::OneOf(vec![string("x")])));
    check("{ 'fields.not' = 'x' }", test("fields.not", Test::OneOf(vec![string("x")])));
    let dotted = r#"{ 'fields."http.status"' = 500 }"#;
    check(dotted, test(r#"fields."http.status""#, Test::OneOf(vec![number("500")])));
}

#[test]
fn tests_that_can_never_hold_are_errors() {
    for (text, reason) in [
        ("{ type = 5 }", "`type` is a string"),
        ("{ type = true }", "`type` is a string"),
        ("{ type = ['a', 5] }", "`type` is a string"),
        ("{ logger = { min = 3 } }", "`logger` is a string"),
        ("{ severity = 'high' }", "`severity` is a number from 0 to 7"),
        ("{ severity = 8 }", "`severity` is a number from 0 to 7"),
        ("{ severity = 2.5 }", "`severity` is a number from 0 to 7"),
        ("{ severity = { glob = '*' } }", "`severity` is a number from 0 to 7"),
        ("{ metlog_pid = '5' }", "`metlog_pid` is a whole number"),
        ("{ fields = 'x' }", "`fields` is an object"),
        ("{ fields = { prefix = 'x' } }", "`fields` is an object"),
        ("{ 'type.x' = 'y' }", "`type` is a string: nothing lies inside it"),
        ("{ logger = { exists = false } }", "every message has `logger`, if only by default"),
        ("{ type = [] }", "the list is empty"),
        ("{ severity = { min = 4, max = 2 } }", "`min` is greater than `max`"),
    ] {
        assert_eq!(condition(text), Err(vec![reason.to_owned()]), "{text}");
    }
}

#[test]
fn a_number_as_payload_is_allowed_but_doubtful() {
    let value = DeValue::parse("{ payload = { min = 5 }, 'payload.size' = 5 }").unwrap();
    let mut diagnostics = Diagnostics::new();
    assert!(read(&value, &mut diagnostics).is_some());
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1), "{diagnostics:?}");
}

#[test]
fn every_problem_of_a_table_is_reported() {
    let problems = condition("{ type = 5, logger = { glbo = 'x', regex = '(' }, any = [] }").unwrap_err();
    assert_eq!(problems, ["`type` is a string", "did you mean `glob`?", "unclosed group", "this is empty"]);
}

#[test]
fn a_condition_that_stands_alone_is_read_or_shown_with_what_is_wrong() {
    let read = super::parse("{ type = 'counter' }");
    assert_eq!(read, Ok(test("type", Test::OneOf(vec![string("counter")]))));
    let problem = super::parse("{ type = 5 }").unwrap_err();
    assert!(problem.contains("never matches") && problem.contains("type = 5"), "{problem}");
    assert!(super::parse("{ type = ").unwrap_err().contains("error"));
    let literal = super::parse("{ logger = '${HOME}' }");
    assert_eq!(literal, Ok(test("logger", Test::OneOf(vec![string("${HOME}")]))), "no variable is looked up");
    let deep = "{not=".repeat(3000) + "{}" + &"}".repeat(3000);
    assert!(super::parse(&deep).is_err(), "nesting is bounded");
}
