//! `decoder = "line"`: every line is a log line, whatever it says.
//!
//! The message has type `oldstyle`, the line as its payload, and the logger and severity of the input's settings.

use metlog_message::{Decoded, Decoder, Limits, Reason, Timestamp, encode::write_escaped};

/// Turns lines into messages.
#[derive(Debug, Clone)]
pub struct LineDecoder {
    /// Everything before the payload's content.
    before: Vec<u8>,
    limits: Limits,
    json: Decoder,
}

/// An input with this decoder, for the reference page and the tests.
pub const SAMPLE: &str = r#"
decoder = "line"
logger = "nginx"
severity = 5
"#;

/// Everything behind the payload's content.
const BEHIND: &[u8] = b"\",\"fields\":{},\"env_version\":\"0.8\"}";

impl LineDecoder {
    /// A decoder whose messages carry this logger and severity.
    pub fn new(logger: &str, severity: u8, limits: Limits) -> Self {
        let mut before = b"{\"type\":\"oldstyle\",\"logger\":\"".to_vec();
        write_escaped(&mut before, logger);
        before.extend_from_slice(format!("\",\"severity\":{severity},\"payload\":\"").as_bytes());
        // Quotes and control characters grow when they are escaped; the line's own length is what the limit is about.
        let json = Decoder::new(Limits { message_bytes: usize::MAX, ..limits });
        LineDecoder { before, limits, json }
    }

    /// Turns one line into a message; the time of receipt is its timestamp.
    pub fn decode(&self, line: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        if line.len() > self.limits.message_bytes {
            return Err(Reason::TooLarge);
        }
        let line = std::str::from_utf8(line).map_err(|_| Reason::InvalidUtf8)?.trim_end_matches('\r');
        if line.trim().is_empty() {
            return Ok(Decoded::Blank);
        }
        let mut text = Vec::with_capacity(self.before.len() + line.len() + BEHIND.len() + 64);
        text.extend_from_slice(&self.before);
        write_escaped(&mut text, line);
        text.extend_from_slice(BEHIND);
        // The JSON decoder appends the missing timestamp, and is the one place that makes an index.
        self.json.decode(&text, received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::RECEIVED;

    fn decoded(line: &[u8]) -> serde_json::Value {
        let decoder = LineDecoder::new("ap\"p", 4, Limits::default());
        match decoder.decode(line, RECEIVED) {
            Ok(Decoded::Rewritten { text, .. }) => serde_json::from_slice(&text).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_becomes_the_payload_of_a_log_message() {
        let message = decoded(b"GET /\t\"x\\y\" \x1b[0m\r");
        assert_eq!(message["type"], "oldstyle");
        assert_eq!(message["logger"], "ap\"p");
        assert_eq!(message["severity"], 4);
        assert_eq!(message["payload"], "GET /\t\"x\\y\" \u{1b}[0m");
        assert_eq!(message["timestamp"], "2012-07-18T21:13:25.687518Z");
    }

    #[test]
    fn a_line_that_is_not_text_is_rejected() {
        let decoder = LineDecoder::new("", 6, Limits::default());
        assert_eq!(decoder.decode(b"\xff", RECEIVED), Err(Reason::InvalidUtf8));
        assert_eq!(decoder.decode(b"  \r", RECEIVED), Ok(Decoded::Blank));
    }
}
