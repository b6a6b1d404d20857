//! Any msgpack is read as `rmpv` reads it, and any JSON that is written as msgpack means the same to it.

#![allow(clippy::expect_used, reason = "a test ends where something is missing")]

use metlog_message::{Limits, Reason, msgpack};
use proptest::prelude::*;
use rmpv::Value;
use serde_json::{Map, Number, Value as Tree};

/// What JSON makes of a value; `None` where it has no place in a message.
fn expected(value: &Value) -> Option<Tree> {
    Some(match value {
        Value::Nil => Tree::Null,
        Value::Boolean(truth) => Tree::Bool(*truth),
        Value::Integer(number) => match number.as_u64() {
            Some(number) => number.into(),
            None => number.as_i64()?.into(),
        },
        Value::F32(number) => Number::from_f64(f64::from(*number)).map_or(Tree::Null, Tree::Number),
        Value::F64(number) => Number::from_f64(*number).map_or(Tree::Null, Tree::Number),
        Value::String(text) => text.as_str()?.into(),
        Value::Binary(bytes) => {
            use base64::{Engine, prelude::BASE64_STANDARD};
            BASE64_STANDARD.encode(bytes).into()
        }
        Value::Array(elements) => Tree::Array(elements.iter().map(expected).collect::<Option<_>>()?),
        Value::Map(members) => {
            let member = |(key, value): &(Value, Value)| Some((key_of(key)?, expected(value)?));
            Tree::Object(members.iter().map(member).collect::<Option<Map<_, _>>>()?)
        }
        // Timestamps have tests of their own.
        Value::Ext(..) => return None,
    })
}

fn key_of(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => text.as_str().map(str::to_owned),
        Value::Binary(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::Array(_) | Value::Map(_) => None,
        scalar => expected(scalar).map(|tree| tree.to_string()),
    }
}

fn holds_an_extension(value: &Value) -> bool {
    match value {
        Value::Ext(..) => true,
        Value::Array(elements) => elements.iter().any(holds_an_extension),
        Value::Map(members) => {
            members.iter().any(|(key, value)| holds_an_extension(key) || holds_an_extension(value))
        }
        _ => false,
    }
}

fn read(frame: &[u8]) -> Result<Tree, Reason> {
    let mut json = Vec::new();
    msgpack::to_json(frame, &Limits::default(), &mut json).map_err(|fault| fault.reason)?;
    assert!(!json.contains(&b'\n'), "a message is one line");
    Ok(serde_json::from_slice(&json).expect("what is written is JSON"))
}

/// Floats whose shortest text serde_json reads back to the same bits; its parser is exact only with a feature.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i32>().prop_map(|number| f64::from(number) / 64.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(0.1),
        Just(12345.678),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        float().prop_map(Value::from),
        float().prop_map(|number| Value::from(number as f32)),
        ".{0,40}".prop_map(|text| Value::from(text.as_str())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::from),
    ];
    scalar.prop_recursive(5, 100, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let scalar = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        any::<u64>().prop_map(Tree::from),
        float().prop_map(Tree::from),
        ".{0,40}".prop_map(Tree::from),
        "[\"\\\\/\u{0}-\u{1f}é😀]{0,40}".prop_map(Tree::from),
    ];
    scalar.prop_recursive(5, 100, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::from),
            prop::collection::hash_map(".{0,4}", inner, 0..20)
                .prop_map(|members| Tree::Object(members.into_iter().collect())),
        ]
    })
}

/// Bytes that begin like msgpack more often than chance would have it.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), 0x80..0xE0_u8, 0..4_u8];
    prop::collection::vec(byte, 0..60)
}

proptest! {
    #[test]
    fn any_value_is_read_as_what_it_is(value in value()) {
        let mut frame = Vec::new();
        rmpv::encode::write_value(&mut frame, &value).unwrap();
        match (read(&frame), expected(&value)) {
            (Ok(tree), Some(expected)) => prop_assert_eq!(tree, expected),
            (Err(Reason::InvalidMsgpack | Reason::InvalidUtf8), None) => {}
            (found, expected) => prop_assert!(false, "{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn any_bytes_are_judged_as_rmpv_does(frame in bytes()) {
        let mut rest = &frame[..];
        match (read(&frame), rmpv::decode::read_value(&mut rest)) {
            (Ok(tree), Ok(value)) => {
                prop_assert!(rest.is_empty());
                prop_assert!(holds_an_extension(&value) || expected(&value) == Some(tree));
            }
            (Ok(tree), Err(error)) => prop_assert!(false, "{error}, and yet {tree}"),
            (Err(_), Ok(value)) => prop_assert!(
                !rest.is_empty() || holds_an_extension(&value) || expected(&value).is_none()
            ),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn any_json_is_written_as_what_it_is(tree in tree()) {
        let mut frame = Vec::new();
        prop_assert!(msgpack::from_json(tree.to_string().as_bytes(), &mut frame));
        let mut rest = &frame[..];
        let value = rmpv::decode::read_value(&mut rest).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(expected(&value), Some(tree.clone()));
        prop_assert_eq!(read(&frame), Ok(tree.clone()));
        let mut pretty = Vec::new();
        msgpack::from_json(serde_json::to_string_pretty(&tree).unwrap().as_bytes(), &mut pretty);
        prop_assert_eq!(pretty, frame);
    }
}
