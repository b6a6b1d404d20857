//! Any bytes read as msgpack are rejected, or are JSON on one line within the limits; what was read can be written again and
//! means the same. Any message in JSON that can be written as msgpack means the same when it is read.
#![no_main]

use metlog_message::{Decoded, Decoder, Limits, Timestamp, msgpack};
const LIMITS: Limits = Limits { message_bytes: 4096, depth: 16 };

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let mut json = Vec::new();
    if msgpack::to_json(frame, &LIMITS, &mut json).is_ok() {
        assert!(json.len() <= LIMITS.message_bytes && !json.contains(&b'\n'));
        check(&json);
    }
    let decoder = Decoder::new(LIMITS);
    if let Ok(Decoded::InPlace { start, end, .. }) = decoder.decode(frame, Timestamp { seconds: 0, nanoseconds: 0 }) {
        check(&frame[start..end]);
    }
});

/// There, back, and there again, which must come out the same.
fn check(json: &[u8]) {
    let (mut packed, mut back, mut again) = (Vec::new(), Vec::new(), Vec::new());
    if msgpack::from_json(json, &mut packed) {
        let limits = Limits { message_bytes: 1 << 20, ..LIMITS };
        assert_eq!(msgpack::to_json(&packed, &limits, &mut back), Ok(()));
        assert!(msgpack::from_json(&back, &mut again));
        assert_eq!(packed, again);
    }
}
