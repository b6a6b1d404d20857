//! A message as a line for people.

use serde_json::Value;

use super::safe_text;

/// Characters of a payload that are shown, and of all fields.
const PAYLOAD: usize = 2000;
const FIELDS: usize = 300;

/// Characters of everything else: a name, a timestamp.
const NAME: usize = 80;

/// One line, without a line break: time, severity, type, logger, payload, fields, and where its routes sent it.
pub fn line(event: &str, color: bool) -> String {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let message = &event["message"];
    let paint = Paint { color };
    let severity = message["severity"].as_u64().unwrap_or(6);
    let input = safe_text::shown(event["input"].as_str().unwrap_or_default(), NAME);
    let to: Vec<&str> = event["to"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let to = if to.is_empty() { "nowhere".to_owned() } else { safe_text::shown(&to.join(", "), FIELDS) };
    let way = format!("({input} → {to})");
    if let Some(reason) = event["reason"].as_str() {
        let reason = format!("rejected: {}", safe_text::shown(reason, NAME));
        let frame = safe_text::shown(&frame(message), PAYLOAD);
        let origin = ["peer", "file"].iter().find_map(|key| message["fields"][key].as_str());
        let origin = origin.map(|origin| format!(" from {}", safe_text::shown(origin, FIELDS)));
        return format!(
            "{} {} {frame} {}",
            time(message),
            paint.with("1;31", &reason),
            paint.with("2", &format!("({input}{})", origin.unwrap_or_default()))
        );
    }
    let mut line = format!(
        "{} {} {}",
        time(message),
        paint.with(code(severity), &format!("{:<7}", word(severity))),
        paint.with("36", &text(&message["type"], NAME))
    );
    let logger = text(&message["logger"], NAME);
    if !logger.is_empty() {
        line += &format!(" {}", paint.with("1", &logger));
    }
    let payload = text(&message["payload"], PAYLOAD);
    if !payload.is_empty() {
        line += &format!(" {payload}");
    }
    let fields = match &message["fields"] {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| match value {
                Value::String(value) => format!("{key}={value}"),
                value => format!("{key}={value}"),
            });
            safe_text::shown(&fields.collect::<Vec<_>>().join(" "), FIELDS)
        }
        _ => String::new(),
    };
    if !fields.is_empty() {
        line += &format!(" {}", paint.with("2", &fields));
    }
    line + " " + &paint.with("2", &way)
}

struct Paint {
    color: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.color && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A string as it is, a missing value as nothing, anything else as JSON.
fn text(value: &Value, most: usize) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => safe_text::shown(text, most),
        other => safe_text::shown(&other.to_string(), most),
    }
}

/// The time of day, where the timestamp has the usual shape.
fn time(message: &Value) -> String {
    let timestamp = message["timestamp"].as_str().unwrap_or_default();
    let time = timestamp.split_once('T').map_or(timestamp, |(_, time)| time);
    let is_time = time.len() >= 8 && time.chars().take(8).all(|c| c.is_ascii_digit() || c == ':');
    let shown: String = if is_time {
        time.chars().take(12).take_while(|c| c.is_ascii_digit() || matches!(c, ':' | '.')).collect()
    } else {
        safe_text::shown(timestamp, 12)
    };
    format!("{shown:<12}")
}

/// How the frame of a reject began.
fn frame(message: &Value) -> String {
    use metlog_router::rejects::frame;
    frame(message["fields"]["frame"].as_str().unwrap_or_default())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn word(severity: u64) -> &'static str {
    match severity {
        0 => "EMERG",
        1 => "ALERT",
        2 => "CRIT",
        3 => "error",
        4 => "warning",
        5 => "notice",
        7 => "debug",
        _ => "info",
    }
}

fn code(severity: u64) -> &'static str {
    match severity {
        0..=2 => "1;31",
        3 => "31",
        4 => "33",
        7 => "2",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"input":"tcp","to":["log","rest"],"message":{"type":"oldstyle","timestamp":"2026-11-22T09:05:24.123456Z","logger":"shop","severity":3,"payload":"time\u001b[2Jout\n","fields":{"user":"ann","n":1.5}}}"#;

    #[test]
    fn a_message_is_one_line_that_cannot_steer_the_terminal() {
        assert_eq!(
            line(EVENT, false),
            "09:05:24.123 error   oldstyle shop time\\u{1b}[2Jout\\n n=1.5 user=ann (tcp → log, rest)"
        );
        let colored = line(EVENT, true);
        assert!(colored.contains("\x1b[31merror  \x1b[0m"), "{colored:?}");
        assert!(!colored.contains("\x1b[2J"), "{colored:?}");
    }

    #[test]
    fn what_no_route_took_and_what_is_missing_is_seen() {
        let event = r#"{"input":"udp","to":[],"message":{"type":"x","payload":{"a":1}}}"#;
        assert_eq!(line(event, false), "             info    x {\"a\":1} (udp → nowhere)");
        assert_eq!(line("no json", false).trim(), "info     ( → nowhere)");
    }

    #[test]
    fn a_reject_shows_why_and_how_the_frame_began() {
        let event = r#"{"input":"udp","to":[],"reason":"invalid-json","message":{"type":"metlog.reject","timestamp":"2026-11-22T09:05:24Z","fields":{"frame":"eyJhIBs="}}}"#;
        assert_eq!(line(event, false), "09:05:24     rejected: invalid-json {\"a \\u{1b} (udp)");
        let event = event.replace("{\"frame\"", "{\"peer\":\"192.0.2.7:40312\",\"frame\"");
        let expected = "09:05:24     rejected: invalid-json {\"a \\u{1b} (udp from 192.0.2.7:40312)";
        assert_eq!(line(&event, false), expected);
    }
}
