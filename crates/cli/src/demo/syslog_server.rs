//! A syslog server to look into: RFC 5424 over TCP with octet counting, as security events travel.

use std::collections::BTreeMap;

use super::tcp_receiver::{Listening, TcpReceiver};

/// A running server.
pub type SyslogServer = TcpReceiver<Received>;

/// No record of the demo has a length with more digits.
const MOST_DIGITS: usize = 7;

/// What the records were.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    /// Records that make sense.
    pub records: u64,
    /// What does not.
    pub nonsense: u64,
    /// CEF events by their name.
    pub events: BTreeMap<String, u64>,
    /// The last record's text.
    pub last_text: Option<String>,
}

impl Listening for Received {
    fn hear(&mut self, bytes: &mut Vec<u8>) -> Vec<u8> {
        while let Some((header, length)) = frame(bytes) {
            if bytes.len() < header + length {
                break;
            }
            let record = String::from_utf8_lossy(&bytes[header..header + length]).into_owned();
            bytes.drain(..header + length);
            match self.take(&record) {
                Some(()) => self.records += 1,
                None => self.nonsense += 1,
            }
        }
        if bytes.len() > MOST_DIGITS && frame(bytes).is_none() {
            // Nobody can say where the next record begins.
            bytes.clear();
            self.nonsense += 1;
        }
        Vec::new()
    }
}

/// How long the count and the record behind it are; `None` where there is no whole count.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let digits = bytes.iter().take(MOST_DIGITS + 1).position(|byte| *byte == b' ')?;
    let length = std::str::from_utf8(&bytes[..digits]).ok()?.parse().ok()?;
    Some((digits + 1, length))
}

impl Received {
    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG`, without structured data.
    fn take(&mut self, record: &str) -> Option<()> {
        let (priority, rest) = record.strip_prefix('<')?.split_once(">1 ")?;
        let priority: u8 = priority.parse().ok().filter(|priority| *priority < 192)?;
        let text = rest.splitn(7, ' ').nth(6)?;
        // Some senders of CEF put a time and a host before it. Vendor, product and its version, and the event's class come
        // before its name.
        let (_, event) = text.split_once("CEF:0|")?;
        let name = event.split('|').nth(4)?;
        *self.events.entry(name.to_owned()).or_default() += 1;
        self.last_text = Some(format!("<{priority}> {text}"));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_one_by_one_however_they_arrive() {
        let record =
            "<84>1 2026-01-02T03:04:05Z host shop 7 cef - CEF:0|example|shop|2|4625|login failed|5|suser=ada";
        let stream = format!("{} {record}", record.len()).repeat(3);
        let mut received = Received::default();
        let mut bytes = Vec::new();
        for byte in stream.bytes() {
            bytes.push(byte);
            received.hear(&mut bytes);
        }
        assert!(bytes.is_empty());
        assert_eq!((received.records, received.nonsense, received.events["login failed"]), (3, 0, 3));
        assert!(received.last_text.unwrap().starts_with("<84> CEF:0|example|"));
    }

    #[test]
    fn nonsense_is_counted() {
        let mut received = Received::default();
        received.hear(&mut b"5 hello".to_vec());
        received.hear(&mut b"no count at all".to_vec());
        assert_eq!((received.records, received.nonsense), (0, 2));
    }
}
