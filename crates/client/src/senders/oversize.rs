//! A message that is longer than its transport carries: its payload is cut, with a marker, and it stays JSON.

/// A longer message does not go into a datagram whole: over UDP the largest is 65,507 bytes, and not every system takes it.
pub(crate) const LARGEST_DATAGRAM_BYTES: usize = 60_000;

/// How the marker begins and ends, around the number of bytes.
const MARKER: [&str; 2] = [" [truncated from ", " bytes]"];

/// Writes a form of `message` that is at most `limit` bytes long to `out`, with a marker that says that it was `whole`
/// bytes long. One that was cut before keeps its marker, which tells its first length. `false` where there is none, because it is not the payload that is long; then `out` is of no use.
///
/// A message of ours has its keys in the envelope's order, so the first `,"payload":"` is the real one: in the strings
/// before it a quote has a backslash before it. One that came encoded may have spaces there, as Python writes them, or
/// a `payload` within its fields first; then that one is cut.
pub(crate) fn shorten(message: &[u8], whole: usize, limit: usize, out: &mut Vec<u8>) -> bool {
    const KEYS: [&[u8]; 2] = [b",\"payload\":\"", b", \"payload\": \""];
    out.clear();
    let starts = KEYS.map(|key| find(message, key).map(|place| place + key.len()));
    let Some(start) = starts.into_iter().flatten().min() else { return false };
    let Some(length) = string_length(&message[start..]) else { return false };
    let (payload, rest) = message[start..].split_at(length);
    let marker = match earlier_marker(payload) {
        Some(marker) => marker.to_owned(),
        None => format!("{}{whole}{}", MARKER[0], MARKER[1]),
    };
    let fixed = start + rest.len() + marker.len();
    let Some(room) = limit.checked_sub(fixed) else { return false };
    out.extend_from_slice(&message[..start]);
    out.extend_from_slice(&payload[..cut(payload, room)]);
    out.extend_from_slice(marker.as_bytes());
    out.extend_from_slice(rest);
    true
}

/// The marker at the end of a payload that was cut before.
fn earlier_marker(payload: &[u8]) -> Option<&str> {
    // With the longest number.
    let longest = MARKER[0].len() + 20 + MARKER[1].len();
    let tail = &payload[payload.len().saturating_sub(longest)..];
    let start = find(tail, MARKER[0].as_bytes())?;
    let marker = std::str::from_utf8(&tail[start..]).ok()?;
    let number = marker.strip_prefix(MARKER[0])?.strip_suffix(MARKER[1])?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some(marker)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// How long the inside of a JSON string is that starts here.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        match bytes.get(position)? {
            b'"' => return Some(position),
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
}

/// The last place at or before `room` where the inside of a JSON string can end: not within an escape, and not
/// within a character.
fn cut(text: &[u8], room: usize) -> usize {
    let mut last = 0;
    let mut position = 0;
    while position <= room.min(text.len()) {
        last = position;
        position += match text.get(position) {
            None => break,
            Some(b'\\') if text.get(position + 1) == Some(&b'u') => 6,
            Some(b'\\') => 2,
            Some(0..=0x7f) => 1,
            Some(0x80..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..) => 4,
        };
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_leaves_json_within_the_limit() {
        let payload = "a\u{1}\"\\\\äx\u{20ac}\u{1f600}\n".repeat(20);
        let payload = serde_json::to_string(&payload).unwrap();
        let message =
            format!(r#"{{"type":",\"payload\":\"","payload":{payload},"fields":{{"payload":"x"}}}}"#);
        let mut out = Vec::new();
        let mut fitted = 0;
        for limit in 0..message.len() {
            if !shorten(message.as_bytes(), message.len(), limit, &mut out) {
                assert_eq!(fitted, 0, "{limit}");
                continue;
            }
            fitted += 1;
            assert!(out.len() <= limit, "{} > {limit}", out.len());
            let back: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert!(back["payload"].as_str().unwrap().ends_with(" bytes]"));
            assert_eq!(back["fields"]["payload"], "x");
            assert_eq!(back["type"], ",\"payload\":\"");
        }
        assert!(fitted > 100);
    }

    #[test]
    fn a_message_with_spaces_between_its_tokens_is_cut_as_well() {
        let message = format!(r#"{{"type": "x", "payload": "{}", "fields": {{}}}}"#, "x".repeat(100));
        let mut out = Vec::new();
        assert!(shorten(message.as_bytes(), message.len(), 100, &mut out));
        let back: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let marker = format!(" [truncated from {} bytes]", message.len());
        assert!(back["payload"].as_str().unwrap().ends_with(&marker));
    }

    #[test]
    fn what_is_cut_twice_tells_its_first_length() {
        let message = format!(r#"{{"type":"x","payload":"{}","fields":{{}}}}"#, "x".repeat(1000));
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        assert!(shorten(message.as_bytes(), 3_000_000, 500, &mut once));
        assert!(shorten(&once, once.len(), 100, &mut twice));
        let back: serde_json::Value = serde_json::from_slice(&twice).unwrap();
        let payload = back["payload"].as_str().unwrap();
        assert!(payload.ends_with("x [truncated from 3000000 bytes]"), "{payload}");
    }

    #[test]
    fn long_fields_cannot_be_cut() {
        let message = format!(r#"{{"type":"x","payload":"","fields":{{"a":"{}"}}}}"#, "x".repeat(100));
        assert!(!shorten(message.as_bytes(), message.len(), 80, &mut Vec::new()));
    }
}
