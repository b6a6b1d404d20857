//! The lines of messages, good and bad.

use super::*;
use crate::{endpoints::Work, testing::work_of};

/// The lines of one message, or why it has none.
fn lines_of(message: &str) -> Result<String, &'static str> {
    lines_with_prefix("", message)
}

fn lines_with_prefix(prefix: &str, message: &str) -> Result<String, &'static str> {
    encode(&Lines::new(prefix).unwrap(), &work_of(&[message]))
}

fn encode(lines: &Lines, work: &Work) -> Result<String, &'static str> {
    let mut text = b"before\n".to_vec();
    let outcome = work.messages().try_for_each(|message| lines.append(&message, &mut text));
    let text = String::from_utf8(text).unwrap();
    let appended = text.strip_prefix("before\n").unwrap().to_owned();
    assert!(outcome.is_ok() || appended.is_empty(), "a refused message leaves nothing: {appended}");
    outcome.map(|()| appended)
}

/// A message of type `kind` with this payload and these fields, both as JSON.
fn message(kind: &str, payload: &str, fields: &str) -> String {
    format!(
        r#"{{"type":"{kind}","timestamp":"2012-07-18T21:13:25Z","logger":"shop","payload":{payload},"fields":{fields}}}"#
    )
}

fn line(kind: &str, payload: &str, fields: &str) -> Result<String, &'static str> {
    lines_of(&message(kind, payload, fields))
}

/// The line of a counter with this name, as JSON.
fn named(name: &str) -> Result<String, &'static str> {
    line("counter", "\"1\"", &format!("{{\"name\":{name}}}"))
}

/// What a message of this type with this payload, as JSON, has behind its name.
fn value(kind: &str, payload: &str) -> Result<String, &'static str> {
    line(kind, payload, r#"{"name":"n"}"#).map(|line| line.replace("shop.n", ""))
}

#[test]
fn every_type_has_its_line() {
    for (kind, payload, fields, expected) in [
        ("counter", "\"1\"", r#"{"name":"hits","rate":1.0}"#, "shop.hits:1|c\n"),
        ("counter", "\"3\"", r#"{"name":"hits","rate":0.25}"#, "shop.hits:3|c|@0.25\n"),
        ("timer", "\"12\"", r#"{"name":"render","rate":1}"#, "shop.render:12|ms\n"),
        ("timer", "\"0.5\"", r#"{"name":"render","rate":0.1}"#, "shop.render:0.5|ms|@0.1\n"),
        ("gauge", "\"42\"", r#"{"name":"depth"}"#, "shop.depth:42|g\n"),
        ("gauge", "42", r#"{"name":"depth","rate":0.5}"#, "shop.depth:42|g\n"),
        ("set", "\"ann\"", r#"{"name":"users","rate":0.5}"#, "shop.users:ann|s\n"),
        (
            "procinfo",
            "0.12",
            r#"{"logger":"psutil.cpu","name":"user","rate":"1"}"#,
            "psutil.cpu.user:0.12|g\n",
        ),
    ] {
        assert_eq!(line(kind, payload, fields).as_deref(), Ok(expected));
    }
}

#[test]
fn what_is_no_metric_is_refused() {
    for kind in ["oldstyle", "sentry", "", "Counter", "counters", "metlog.dropped"] {
        assert_eq!(line(kind, "\"1\"", r#"{"name":"n"}"#), Err(REFUSED_TYPE), "{kind}");
    }
    assert_eq!(line("co\\u0075nter", "\"1\"", r#"{"name":"n"}"#).as_deref(), Ok("shop.n:1|c\n"));
}

#[test]
fn the_namespace_is_the_logger_unless_the_fields_name_another() {
    let namespace = |logger: &str, fields: &str| {
        lines_of(&format!(
            r#"{{"type":"counter","timestamp":"2012-07-18T21:13:25Z","payload":"1",{logger}"fields":{fields}}}"#
        ))
        .unwrap()
    };
    assert_eq!(namespace("", r#"{"name":"n"}"#), "n:1|c\n");
    assert_eq!(namespace(r#""logger":"","#, r#"{"name":"n"}"#), "n:1|c\n");
    assert_eq!(namespace(r#""logger":null,"#, r#"{"name":"n"}"#), "n:1|c\n");
    assert_eq!(namespace(r#""logger":"a.b","#, r#"{"name":"n"}"#), "a.b.n:1|c\n");
    assert_eq!(namespace(r#""logger":"a","#, r#"{"name":"n","logger":"b"}"#), "b.n:1|c\n");
    assert_eq!(namespace(r#""logger":"a","#, r#"{"logger":"","name":"n"}"#), "n:1|c\n");
    assert_eq!(namespace(r#""logger":"a","#, r#"{"logger":null,"name":"n"}"#), "a.n:1|c\n");
    assert_eq!(namespace(r#""logger":"Se\u00f1or|c","#, r#"{"name":"n"}"#), "Se_or_c.n:1|c\n");
}

#[test]
fn a_prefix_stands_in_front_of_everything() {
    let message = message("counter", "\"1\"", r#"{"name":"n"}"#);
    for (prefix, expected) in [
        ("", "shop.n"),
        ("prod", "prod.shop.n"),
        ("a.b.", "a.b.shop.n"),
        ("a:b\n", "a_b_.shop.n"),
        (".", "shop.n"),
    ] {
        assert_eq!(lines_with_prefix(prefix, &message).unwrap(), format!("{expected}:1|c\n"));
    }
    let negative = message.replace("counter", "gauge").replace("\"1\"", "-1");
    assert_eq!(lines_with_prefix("p", &negative).unwrap(), "p.shop.n:0|g\np.shop.n:-1|g\n");
}

#[test]
fn a_name_keeps_what_every_server_accepts() {
    for (name, expected) in [
        (r#""a.b-c_D9""#, "a.b-c_D9"),
        (r#""with space""#, "with_space"),
        (r#""slash/ed""#, "slash-ed"),
        (r#""tab\tname""#, "tab_name"),
        (r#""a:b|c@d#e""#, "a_b_c_d_e"),
        (r#""name=1,b=2;c""#, "name_1_b_2_c"),
        (r#""0_0_0_0:41349.NONE""#, "0_0_0_0_41349.NONE"),
        (r#""ダチヂ""#, "___"),
        (r#""\u30c0x\ud83d\ude00""#, "_x_"),
        (r#""\ud800""#, "_"),
        (r#""\u0000\u007f\u0085\u2028""#, "____"),
        ("7", "7"),
    ] {
        assert_eq!(named(name).unwrap(), format!("shop.{expected}:1|c\n"));
    }
}

#[test]
fn without_a_name_there_is_no_line() {
    for name in [r#""""#, "null", "true", "[]", r#"{"name":"x"}"#] {
        assert_eq!(named(name), Err(REFUSED_NAME), "{name}");
    }
    assert_eq!(line("counter", "\"1\"", "{}"), Err(REFUSED_NAME));
    assert_eq!(line("counter", "\"1\"", r#"{"name":"first","name":""}"#), Err(REFUSED_NAME));
    assert_eq!(
        line("counter", "\"1\"", r#"{"name":"first","n\u0061me":"last"}"#).unwrap(),
        "shop.last:1|c\n"
    );
}

#[test]
fn numbers_are_sent_digit_by_digit() {
    for number in [
        "0",
        "1",
        "-1",
        "2147483648",
        "9223372036854775808",
        "-9223372036854775808",
        "0.5",
        "1.250",
        "9007199254740993",
        "1000000000000000000000000000000",
    ] {
        assert_eq!(value("counter", &format!("\"{number}\"")).unwrap(), format!(":{number}|c\n"));
        assert_eq!(value("counter", number).unwrap(), format!(":{number}|c\n"));
        if !number.starts_with('-') {
            assert_eq!(value("timer", number).unwrap(), format!(":{number}|ms\n"));
        }
    }
}

#[test]
fn a_timer_below_zero_is_refused() {
    for number in ["-1", "\"-3\"", "-0.001", "-1e-9", "-9223372036854775808"] {
        assert_eq!(value("timer", number), Err(REFUSED_VALUE), "{number}");
    }
    assert_eq!(value("timer", "-0").unwrap(), ":-0|ms\n");
    assert_eq!(value("timer", "\"-0.0\"").unwrap(), ":-0.0|ms\n");
}

#[test]
fn an_exponent_is_written_out() {
    for (number, expected) in [
        ("1e3", "1000"),
        ("1E+3", "1000"),
        ("-12.5e1", "-125"),
        ("1e-09", "0.000000001"),
        ("1e22", "10000000000000000000000"),
        ("1e-999", "0"),
    ] {
        assert_eq!(value("counter", &format!("\"{number}\"")).unwrap(), format!(":{expected}|c\n"));
    }
    let largest = value("timer", "1.7976931348623157e308").unwrap();
    assert!(largest.len() < 320 && !largest.contains(['e', 'E']), "{largest}");
    assert_eq!(value("counter", "1e999"), Err(REFUSED_VALUE));
}

#[test]
fn digits_that_would_be_infinite_are_refused() {
    let zeros = |count| format!("1{}", "0".repeat(count));
    let largest = format!("{}", f64::MAX);
    for number in [zeros(307), zeros(308), largest.clone(), "9".repeat(308), format!("0.{}", zeros(400))] {
        assert_eq!(value("counter", &format!("\"{number}\"")).unwrap(), format!(":{number}|c\n"));
        assert_eq!(value("gauge", &format!("-{number}")).unwrap(), format!(":0|g\n:-{number}|g\n"));
    }
    for number in [zeros(309), zeros(400), "9".repeat(309), format!("{largest}0"), zeros(400) + ".5"] {
        for kind in ["counter", "timer", "gauge", "procinfo"] {
            assert_eq!(value(kind, &format!("\"{number}\"")), Err(REFUSED_VALUE), "{kind}");
            assert_eq!(value(kind, &format!("-{number}")), Err(REFUSED_VALUE), "{kind}");
        }
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for payload in [
        "\"\"",
        "null",
        "true",
        "\"one\"",
        "\"+1\"",
        "\" 1\"",
        "\"1 \"",
        "\"1,5\"",
        "\"0x10\"",
        "\"NaN\"",
        "\"Infinity\"",
        "\"inf\"",
        "\".5\"",
        "\"5.\"",
        "\"--1\"",
        "\"١\"",
        "[1]",
        "{}",
    ] {
        for kind in ["counter", "timer", "gauge", "procinfo"] {
            assert_eq!(value(kind, payload), Err(REFUSED_VALUE), "{kind} {payload}");
        }
    }
}

#[test]
fn a_negative_gauge_is_no_change_by() {
    assert_eq!(value("gauge", "\"-5\"").unwrap(), ":0|g\n:-5|g\n");
    assert_eq!(value("procinfo", "-0.5").unwrap(), ":0|g\n:-0.5|g\n");
    assert_eq!(value("gauge", "0").unwrap(), ":0|g\n");
    assert_eq!(value("gauge", "\"-five\""), Err(REFUSED_VALUE));
}

#[test]
fn different_members_of_a_set_stay_different() {
    for (member, expected) in [
        (r#""joe@example.org""#, "joe@example.org"),
        (r#""a b""#, "a%20b"),
        (r#""a:b|c""#, "a%3Ab%7Cc"),
        (r#""100%""#, "100%25"),
        (r#""é""#, "%C3%A9"),
        (r#""x\ny:1|c""#, "x%0Ay%3A1%7Cc"),
        ("17", "17"),
        ("[1,2]", "[1,2]"),
    ] {
        assert_eq!(value("set", member).unwrap(), format!(":{expected}|s\n"));
    }
    assert_eq!(value("set", "\"\""), Err(REFUSED_VALUE));
    assert_eq!(value("set", "null"), Err(REFUSED_VALUE));
}

#[test]
fn a_rate_is_sent_where_it_says_something() {
    for (rate, expected) in [
        ("0.5", "|@0.5"),
        ("0.999999", "|@0.999999"),
        ("\"0.1\"", "|@0.1"),
        ("0.10", "|@0.1"),
        ("1e-7", "|@0.0000001"),
        ("1", ""),
        ("1.0", ""),
        ("\"1\"", ""),
        ("10e-1", ""),
        ("0", ""),
        ("-0.5", ""),
        ("7", ""),
        ("1.0000001", ""),
        ("null", ""),
        ("true", ""),
        ("\"\"", ""),
        ("\"nan\"", ""),
        ("\"inf\"", ""),
        ("\"0.5|c\\nevil:1\"", ""),
        ("[0.5]", ""),
        ("1e-999", ""),
    ] {
        let fields = format!(r#"{{"name":"n","rate":{rate}}}"#);
        assert_eq!(line("counter", "1", &fields).unwrap(), format!("shop.n:1|c{expected}\n"), "{rate}");
        assert_eq!(line("timer", "1", &fields).unwrap(), format!("shop.n:1|ms{expected}\n"), "{rate}");
    }
}

#[test]
fn no_message_gets_a_line_past_its_own() {
    let attacks = [
        r"x:1|c\nevil:1|c",
        r"x\r\nevil:1|c",
        r"x|g",
        r"x:1|c|@0.1",
        r"x:1|c|#tag:1",
        r"\nevil:1|c\n",
        "Ċevil:1|c",
        r"\u010aevil\u017c",
        "\u{85}evil:1|c",
        r"x\u0000evil",
        r"x\u2028evil:1|c",
        ":",
        "|",
        r"\n",
    ];
    for attack in attacks {
        let fields = format!(r#"{{"name":"{attack}","logger":"{attack}","rate":"{attack}"}}"#);
        for (kind, suffix) in [("counter", "|c\n"), ("timer", "|ms\n"), ("procinfo", "|g\n"), ("set", "|s\n")]
        {
            let text = line(kind, "1", &fields).unwrap();
            let name = text.strip_suffix(suffix).unwrap().strip_suffix(":1").unwrap();
            let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            assert!(name.chars().all(harmless), "{kind} {attack}: {text}");
        }
        let payload = format!("\"{attack}\"");
        let set = value("set", &payload).unwrap();
        let member = set.strip_prefix(':').unwrap().strip_suffix("|s\n").unwrap();
        assert!(member.chars().all(|c| c.is_ascii_graphic() && c != ':' && c != '|'), "{set}");
        for kind in ["counter", "timer", "gauge"] {
            assert_eq!(value(kind, &payload), Err(REFUSED_VALUE), "{kind} {attack}");
        }
    }
}

#[test]
fn the_messages_of_the_old_clients_have_the_lines_that_they_should() {
    let data = include_str!("../../../../../../tests/data/metlog-0.8.jsonl");
    let expected = include_str!("../../../../../../tests/data/metlog-0.8.statsd");
    let mut lines = String::new();
    for message in data.lines() {
        match lines_of(message) {
            Ok(text) => lines.push_str(&text),
            Err(REFUSED_TYPE) => {}
            Err(reason) => lines.push_str(&format!("refused: {reason}\n")),
        }
    }
    assert_eq!(lines, expected);
}
