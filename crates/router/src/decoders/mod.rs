//! Decoders: from a frame's bytes to a message in canonical JSON.
//!
//! JSON is validated and indexed where it lies; every other format is transcoded to JSON once, here. Adding a decoder
//! is one file here and a variant of [`FrameDecoder`].

pub mod line;
pub mod msgpack;

use metlog_message::{Decoded, Decoder, Limits, Reason, Timestamp};

use self::{line::LineDecoder, msgpack::MsgpackDecoder};
use crate::config::DecoderSettings;

/// An input's decoder.
#[derive(Debug, Clone)]
pub enum FrameDecoder {
    /// Each frame is a message in JSON.
    Json(Decoder),
    /// Each frame is a log line.
    Line(LineDecoder),
    /// Each frame is a message in msgpack.
    Msgpack(MsgpackDecoder),
}

impl FrameDecoder {
    /// The decoder that these settings ask for.
    pub fn new(settings: &DecoderSettings, limits: Limits) -> FrameDecoder {
        match settings {
            DecoderSettings::Json => FrameDecoder::Json(Decoder::new(limits)),
            DecoderSettings::Line { logger, severity } => {
                FrameDecoder::Line(LineDecoder::new(logger, *severity, limits))
            }
            DecoderSettings::Msgpack => FrameDecoder::Msgpack(MsgpackDecoder::new(Decoder::new(limits))),
        }
    }

    /// Decodes one frame: a line without its line break, or a whole datagram.
    #[inline]
    pub fn decode(&self, frame: &[u8], received: Timestamp) -> Result<Decoded, Reason> {
        match self {
            FrameDecoder::Json(decoder) => decoder.decode(frame, received),
            FrameDecoder::Line(decoder) => decoder.decode(frame, received),
            FrameDecoder::Msgpack(decoder) => decoder.decode(frame, received),
        }
    }

    /// The decoder for a datagram that names it, see [`split_named`]. Where an input takes log lines, there is
    /// none.
    pub fn named(&self, name: &[u8]) -> Option<FrameDecoder> {
        let json = match self {
            FrameDecoder::Json(json) => *json,
            FrameDecoder::Msgpack(msgpack) => msgpack.json(),
            FrameDecoder::Line(_) => return None,
        };
        match name {
            b"json" => Some(FrameDecoder::Json(json)),
            b"msgpack" => Some(FrameDecoder::Msgpack(MsgpackDecoder::new(json))),
            _ => None,
        }
    }

    /// Whether a frame may hold any bytes, so that a line break in it is no boundary.
    pub fn is_binary(&self) -> bool {
        matches!(self, FrameDecoder::Msgpack(_))
    }

    /// Where it shows why `frame` is rejected, as a byte offset; see [`Decoder::locate`].
    pub fn locate(&self, frame: &[u8]) -> Option<usize> {
        match self {
            FrameDecoder::Json(decoder) => decoder.locate(frame),
            FrameDecoder::Line(_) => std::str::from_utf8(frame).err().map(|error| error.valid_up_to()),
            FrameDecoder::Msgpack(decoder) => decoder.locate(frame),
        }
    }
}

/// Splits a datagram that names its decoder, `\0name::content`; `None` for one that does not.
pub fn split_named(frame: &[u8]) -> Option<(&[u8], &[u8])> {
    let behind = frame.strip_prefix(b"\0")?;
    let colons = memchr::memmem::find(behind, b"::")?;
    Some((&behind[..colons], &behind[colons + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_decoder_of_messages_can_be_named_where_messages_are_expected() {
        let limits = Limits::default();
        let json = FrameDecoder::new(&DecoderSettings::Json, limits);
        let msgpack = FrameDecoder::new(&DecoderSettings::Msgpack, limits);
        for decoder in [json, msgpack] {
            assert!(matches!(decoder.named(b"json"), Some(FrameDecoder::Json(_))));
            assert!(matches!(decoder.named(b"msgpack"), Some(FrameDecoder::Msgpack(_))));
            assert!(decoder.named(b"protobuf").is_none());
        }
        let line = DecoderSettings::Line { logger: String::new(), severity: 6 };
        assert!(FrameDecoder::new(&line, limits).named(b"json").is_none());
    }

    #[test]
    fn a_datagram_names_its_decoder_between_a_nul_and_two_colons() {
        assert_eq!(
            split_named(b"\0msgpack::\x81\xa1"),
            Some((b"msgpack".as_slice(), b"\x81\xa1".as_slice()))
        );
        assert_eq!(split_named(b"\0json::{\"a\":\"b::c\"}").unwrap().1, b"{\"a\":\"b::c\"}");
        assert_eq!(split_named(b"{\"type\":\"x::y\"}"), None);
        assert_eq!(split_named(b"\0"), None);
    }
}
