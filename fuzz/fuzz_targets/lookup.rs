//! Any path looked up in any message leads to a value that serde_json finds there too, and never panics; the first
//! line of the input is the path. Numbers read from the input compare consistently.
#![no_main]

use metlog_message::{Decoded, Decoder, Number, Path, Timestamp, Value, lookup};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let (line, message) = match input.iter().position(|&byte| byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => return,
    };
    let Ok(line) = std::str::from_utf8(line) else { return };
    if let Some((left, right)) = line.split_once(' ')
        && let (Some(left), Some(right)) = (Number::parse(left), Number::parse(right))
    {
        assert_eq!(left.compare(right), right.compare(left).reverse());
    }
    let Ok(path) = Path::parse(line) else { return };
    assert_eq!(Path::parse(&path.to_string()).as_ref(), Ok(&path));
    let received = Timestamp { seconds: 0, nanoseconds: 0 };
    match Decoder::default().decode(message, received) {
        Ok(Decoded::InPlace { start, end, index }) => {
            check(lookup(&message[start..end], &index, &path), &message[start..end], &path);
        }
        Ok(Decoded::Rewritten { text, index }) => check(lookup(&text, &index, &path), &text, &path),
        _ => {}
    }
});

fn check(found: Option<Value<'_>>, message: &[u8], path: &Path) {
    let Ok(tree) = serde_json::from_slice::<serde_json::Value>(message) else { return };
    let mut expected = Some(&tree);
    for part in path.parts() {
        expected = match expected {
            Some(serde_json::Value::Array(elements)) => match part.parse::<usize>() {
                Ok(number) if number.to_string() == *part => elements.get(number),
                _ => None,
            },
            Some(value) => value.get(part),
            None => None,
        };
    }
    match (found, expected) {
        (Some(found), Some(expected)) if !expected.is_null() => {
            let found: serde_json::Value = serde_json::from_slice(found.raw()).expect("a value is JSON");
            assert_eq!(found, *expected);
        }
        // What is missing or null may have a default.
        (_, None) => assert!(found.is_none() || path.key().is_some()),
        (_, Some(_)) => {}
    }
}
