//! How messages lie in the body of a request, and how it is compressed.

use std::io::{self, Write};

use flate2::write::GzEncoder;

use super::Compression;
use crate::{
    batch::Message,
    config::choices,
    line_format::{LineFormat, Multiline},
    template::Template,
};

/// gzip's fastest level: telemetry repeats itself so much that the others gain little.
const GZIP_LEVEL: u32 = 1;

choices! {
    /// How messages lie in a body.
    pub enum Format {
        /// One message a line, as JSON (`application/x-ndjson`).
        Ndjson = "ndjson",
        /// A JSON array of messages (`application/json`).
        Array = "array",
        /// One message a line, as the `template` says (`text/plain`).
        Text = "text",
    }
}

/// How bodies are made.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    format: Format,
    lines: LineFormat,
    /// The most messages in one body.
    messages: usize,
}

/// The body of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// How many messages are in it.
    pub(super) messages: usize,
}

impl Layout {
    pub(super) fn new(format: Format, template: &Template, messages: usize) -> Layout {
        let lines = match format {
            Format::Ndjson | Format::Array => LineFormat::Json,
            Format::Text => LineFormat::Text { template: template.clone(), multiline: Multiline::Escape },
        };
        Layout { format, lines, messages: messages.max(1) }
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self.format {
            Format::Ndjson => "application/x-ndjson",
            Format::Array => "application/json",
            Format::Text => "text/plain; charset=utf-8",
        }
    }

    /// A body of the first messages: as many as fit into `most_bytes`, but at least one.
    pub(super) fn body(&self, messages: &[Message<'_>], most_bytes: usize) -> Body {
        let mut bytes = Vec::new();
        let mut count = 0;
        for message in messages.iter().take(self.messages) {
            let end = bytes.len();
            match self.format {
                Format::Ndjson | Format::Text => self.lines.write(message, &mut bytes),
                Format::Array => {
                    bytes.push(if count == 0 { b'[' } else { b',' });
                    bytes.extend_from_slice(message.bytes);
                }
            }
            let closing = usize::from(self.format == Format::Array);
            if count > 0 && bytes.len() + closing > most_bytes {
                bytes.truncate(end);
                break;
            }
            count += 1;
        }
        if self.format == Format::Array {
            bytes.push(b']');
        }
        Body { bytes, messages: count }
    }
}

/// The body as it travels.
pub(super) fn compress(body: Vec<u8>, compression: Compression) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(body),
        Compression::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(GZIP_LEVEL));
            encoder.write_all(&body)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::bulk::compress(&body, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::testing::{lines, work_of};

    fn layout(format: Format, messages: usize) -> Layout {
        Layout::new(format, &Template::parse("{type}: {payload}").unwrap(), messages)
    }

    fn body(format: Format, count: usize, most_bytes: usize) -> (String, usize) {
        let lines = lines(count);
        let work = work_of(&lines);
        let messages: Vec<Message<'_>> = work.messages().collect();
        let body = layout(format, 1000).body(&messages, most_bytes);
        (String::from_utf8(body.bytes).unwrap(), body.messages)
    }

    #[test]
    fn each_format_holds_whole_messages_in_order() {
        let lines = lines(3);
        assert_eq!(body(Format::Ndjson, 3, 1 << 20), (lines.concat(), 3));
        assert_eq!(body(Format::Text, 2, 1 << 20), ("t: message 0000\nt: message 0001\n".to_owned(), 2));
        let (array, count) = body(Format::Array, 3, 1 << 20);
        let read: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
        assert_eq!((read.len(), count), (3, 3));
        assert_eq!(read[2]["payload"], "message 0002");
    }

    #[test]
    fn a_body_is_never_larger_than_it_may_be_unless_one_message_is() {
        let length = lines(1)[0].len();
        for format in [Format::Ndjson, Format::Array] {
            for most_bytes in 1..length * 4 {
                let (text, count) = body(format, 5, most_bytes);
                assert!(count >= 1 && (count == 1 || text.len() <= most_bytes), "{most_bytes}: {text}");
            }
            let (text, _) = body(format, 3, usize::MAX);
            assert_eq!(body(format, 3, text.len()).1, 3, "what just fits is not left out");
        }
    }

    #[test]
    fn the_number_of_messages_is_bounded_too() {
        let lines = lines(10);
        let work = work_of(&lines);
        let messages: Vec<Message<'_>> = work.messages().collect();
        assert_eq!(layout(Format::Ndjson, 4).body(&messages, usize::MAX).messages, 4);
    }

    #[test]
    fn what_is_compressed_is_what_was_given() {
        let body = lines(100).concat().into_bytes();
        assert_eq!(compress(body.clone(), Compression::None).unwrap(), body);
        let gzip = compress(body.clone(), Compression::Gzip).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, body);
        let zstd = compress(body.clone(), Compression::Zstd).unwrap();
        assert_eq!(zstd::stream::decode_all(&zstd[..]).unwrap(), body);
        assert!(gzip.len() < body.len() / 2 && zstd.len() < body.len() / 2);
    }
}
