//! Properties that hold for any input, with serde_json as the judge of grammar and values.

mod oracle;

use metlog_message::{Decoded, Number, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value as Tree, json};

/// Any JSON value, not very deep.
fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<u64>().prop_map(Tree::from),
        any::<f64>().prop_map(Tree::from),
        ".{0,40}".prop_map(Tree::from),
        "[\"\\\\/a-c\u{0}-\u{1f}é😀]{0,40}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
            prop::collection::hash_map("[a-c\"\\\\é]{0,3}", inner, 0..6)
                .prop_map(|members| Tree::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An envelope of which any key may be missing or hold any value.
fn envelope() -> impl Strategy<Value = Tree> {
    let key = |usual: Tree| prop_oneof![6 => Just(Some(usual)), 1 => tree().prop_map(Some), 1 => Just(None)];
    let severity = prop_oneof![(0..10i32).prop_map(|number| Some(json!(number))), Just(None)];
    (
        prop_oneof![4 => ".{0,20}".prop_map(Tree::from), 1 => tree()],
        key(json!("2012-08-29T12:00:00.123456Z")),
        key(json!("logger")),
        severity,
        tree(),
        prop::collection::hash_map("[a-z]{1,6}", tree(), 0..5),
        key(json!("0.8")),
        key(json!(77)),
        key(json!("host")),
    )
        .prop_map(|(kind, timestamp, logger, severity, payload, fields, version, pid, host)| {
            let mut object = json!({"type": kind, "payload": payload, "fields": fields});
            for (name, value) in [
                ("timestamp", timestamp),
                ("logger", logger),
                ("severity", severity),
                ("env_version", version),
                ("metlog_pid", pid),
                ("metlog_hostname", host),
            ] {
                if let Some(value) = value {
                    object[name] = value;
                }
            }
            object
        })
}

/// Text made of the tokens of JSON, mostly not JSON.
fn tokens() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", " ", "\"", "\"a\"", "\"type\"", "1", "-", "0", ".5", "e3", "null",
        "true", "\\", "\n", "\"\\u00", "é", "\"\\\"",
    ]);
    prop::collection::vec(token, 0..20).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_envelope_is_judged_and_read_as_serde_json_does(tree in envelope()) {
        let _ = oracle::check(tree.to_string().as_bytes());
        let _ = oracle::check(serde_json::to_string_pretty(&tree).unwrap().as_bytes());
    }

    #[test]
    fn any_value_that_is_no_object_is_judged_as_serde_json_does(tree in tree()) {
        let _ = oracle::check(tree.to_string().as_bytes());
    }

    #[test]
    fn any_row_of_tokens_is_judged_as_serde_json_does(text in tokens(), inside in tokens()) {
        let _ = oracle::check(text.as_bytes());
        let _ = oracle::check(format!(r#"{{"type":"t","timestamp":"","a":{inside}}}"#).as_bytes());
    }

    #[test]
    fn any_bytes_are_judged_as_serde_json_does(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = oracle::check(&bytes);
    }

    #[test]
    fn white_space_between_tokens_changes_no_value(tree in envelope(), spaces in 0..3usize) {
        let spaced = tree.to_string().replace("\":", &format!("\"{}:{}", " ".repeat(spaces), "\t".repeat(spaces)));
        let _ = oracle::check(spaced.as_bytes());
    }

    #[test]
    fn numbers_compare_like_integers(left in any::<i64>(), right in any::<i64>(), zeros in 0..5usize) {
        let spelled = format!("{right}{}.{}e-{zeros}", "0".repeat(zeros), "0".repeat(zeros + 1));
        let compare = |text: i64| {
            Number::parse(&text.to_string()).unwrap().compare(Number::parse(&spelled).unwrap())
        };
        prop_assert_eq!(compare(left), left.cmp(&right));
        prop_assert_eq!(compare(right), std::cmp::Ordering::Equal);
    }

    #[test]
    fn numbers_compare_like_floats_where_these_differ(left in any::<f64>(), right in any::<f64>()) {
        prop_assume!(left.is_finite() && right.is_finite());
        let (text_left, text_right) = (format!("{left:e}"), format!("{right}"));
        let order = Number::parse(&text_left).unwrap().compare(Number::parse(&text_right).unwrap());
        prop_assert_eq!(Some(order), left.partial_cmp(&right));
    }

    #[test]
    fn a_timestamp_survives_writing_and_reading(seconds in -62_167_219_200..253_402_300_800i64, micro in 0..1_000_000u32) {
        let timestamp = Timestamp { seconds, nanoseconds: micro * 1000 };
        let mut text = Vec::new();
        timestamp.write_to(&mut text);
        prop_assert_eq!(Timestamp::parse(&text), Some(timestamp));
    }

    #[test]
    fn a_rewritten_message_is_a_message_in_place(tree in envelope()) {
        let pretty = serde_json::to_string_pretty(&tree).unwrap();
        if let Ok(Decoded::Rewritten { text, index }) = oracle::check(pretty.as_bytes()) {
            let again = Decoded::InPlace { start: 0, end: text.len(), index };
            prop_assert_eq!(oracle::check(&text), Ok(again));
        }
    }
}
