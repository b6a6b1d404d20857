//! From msgpack to JSON text, in one pass, without a tree and without recursion.
//!
//! Nothing is allocated because a length says so: containers are counted down as their elements come, and text is copied
//! when its bytes are there. What JSON does not have becomes:
//!
//! - binary data: base64; as a key, the text that it must be;
//! - NaN and the infinities: `null`;
//! - a timestamp (extension -1): RFC 3339 in UTC;
//! - a key that is no string: its JSON text, as a string.
//!
//! Any other extension, and an array or map as a key, is no message.

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::{
    Limits, Reason, Timestamp,
    encode::{write_float, write_integer, write_string, write_unsigned},
};

/// Why bytes are no message in msgpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: Reason,
    /// The offset of the value in which it shows.
    pub position: usize,
}

/// Appends the JSON text of the one value that `frame` holds.
///
/// The limits hold for `frame` and for what is appended. After a fault, what was appended is of no use.
///
/// ```
/// use metlog_message::{Limits, msgpack};
///
/// let mut json = Vec::new();
/// msgpack::to_json(b"\x81\xa4type\xa7counter", &Limits::default(), &mut json).unwrap();
/// assert_eq!(json, br#"{"type":"counter"}"#);
/// ```
pub fn to_json(frame: &[u8], limits: &Limits, json: &mut Vec<u8>) -> Result<(), Fault> {
    let too_large = Fault { reason: Reason::TooLarge, position: 0 };
    if frame.len() > limits.message_bytes {
        return Err(too_large);
    }
    let most = json.len().saturating_add(limits.message_bytes);
    let mut reader = Reader { frame, at: 0 };
    let mut open: Vec<Container> = Vec::new();
    loop {
        let start = reader.at;
        let fault = |reason| Fault { reason, position: start };
        let token = reader.token().map_err(fault)?;
        let is_key = open.last().is_some_and(Container::awaits_key);
        if let Some(container) = open.last_mut() {
            container.count_down(json);
        }
        match token {
            Token::Open(_) if is_key => return Err(fault(Reason::InvalidMsgpack)),
            Token::Open(_) if open.len() >= limits.depth => return Err(fault(Reason::TooDeep)),
            Token::Open(container) => {
                json.push(container.brackets()[0]);
                open.push(container);
            }
            Token::Scalar(scalar) if is_key => scalar.write_key(json).map_err(fault)?,
            Token::Scalar(scalar) => scalar.write(json),
        }
        while let Some(container) = open.pop_if(|container| container.left == 0) {
            json.push(container.brackets()[1]);
        }
        if json.len() > most {
            return Err(too_large);
        }
        if open.is_empty() {
            let whole = reader.at == frame.len();
            let behind = Fault { reason: Reason::InvalidMsgpack, position: reader.at };
            return if whole { Ok(()) } else { Err(behind) };
        }
    }
}

/// An array or a map of which something is still to come.
struct Container {
    is_map: bool,
    /// Elements, or keys and values.
    left: u64,
    is_begun: bool,
}

impl Container {
    fn awaits_key(&self) -> bool {
        self.is_map && self.left.is_multiple_of(2)
    }

    /// One element is there: what stands before it goes to `json`.
    fn count_down(&mut self, json: &mut Vec<u8>) {
        if self.is_map && !self.awaits_key() {
            json.push(b':');
        } else if self.is_begun {
            json.push(b',');
        }
        self.is_begun = true;
        self.left = self.left.saturating_sub(1);
    }

    fn brackets(&self) -> [u8; 2] {
        if self.is_map { *b"{}" } else { *b"[]" }
    }
}

enum Token<'f> {
    Open(Container),
    Scalar(Scalar<'f>),
}

enum Scalar<'f> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'f str),
    Binary(&'f [u8]),
    Time(Timestamp),
}

impl Scalar<'_> {
    fn write(&self, json: &mut Vec<u8>) {
        match *self {
            Scalar::Nil => json.extend_from_slice(b"null"),
            Scalar::Bool(truth) => json.extend_from_slice(if truth { b"true" } else { b"false" }),
            Scalar::Unsigned(number) => write_unsigned(json, number),
            Scalar::Signed(number) => write_integer(json, number),
            Scalar::Float(number) => write_float(json, number),
            Scalar::Text(text) => write_string(json, text),
            Scalar::Binary(bytes) => write_string(json, &BASE64_STANDARD.encode(bytes)),
            Scalar::Time(time) => write_time(json, time),
        }
    }

    /// A JSON key is a string. Nothing that is written without quotes needs an escape within them.
    fn write_key(&self, json: &mut Vec<u8>) -> Result<(), Reason> {
        match *self {
            Scalar::Text(text) => write_string(json, text),
            Scalar::Binary(bytes) => {
                write_string(json, std::str::from_utf8(bytes).map_err(|_| Reason::InvalidUtf8)?)
            }
            Scalar::Time(time) => write_time(json, time),
            _ => {
                json.push(b'"');
                self.write(json);
                json.push(b'"');
            }
        }
        Ok(())
    }
}

/// With as many digits as the time has, but at least the six that every message has.
fn write_time(json: &mut Vec<u8>, time: Timestamp) {
    json.push(b'"');
    time.write_to(json);
    let behind_microseconds = time.nanoseconds % 1000;
    if behind_microseconds > 0 && json.pop_if(|last| *last == b'Z').is_some() {
        for digit in [100, 10, 1] {
            json.push(b'0' + (behind_microseconds / digit % 10) as u8);
        }
        json.push(b'Z');
    }
    json.push(b'"');
}

/// The seconds of the years 0 to 9999, which RFC 3339 can write.
const WRITABLE_SECONDS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;

struct Reader<'f> {
    frame: &'f [u8],
    at: usize,
}

impl<'f> Reader<'f> {
    /// The next value that is no container, or the beginning of one.
    fn token(&mut self) -> Result<Token<'f>, Reason> {
        let [marker] = self.array()?;
        Ok(Token::Scalar(match marker {
            0x00..=0x7F => Scalar::Unsigned(marker.into()),
            0x80..=0x8F => return Ok(map((marker & 0x0F).into())),
            0x90..=0x9F => return Ok(array((marker & 0x0F).into())),
            0xA0..=0xBF => self.text((marker & 0x1F).into())?,
            0xC0 => Scalar::Nil,
            // The one byte that has no meaning.
            0xC1 => return Err(Reason::InvalidMsgpack),
            0xC2 => Scalar::Bool(false),
            0xC3 => Scalar::Bool(true),
            0xC4..=0xC6 => {
                let length = self.length(marker - 0xC4)?;
                Scalar::Binary(self.bytes(length)?)
            }
            0xC7..=0xC9 => {
                let length = self.length(marker - 0xC7)?;
                self.extension(length)?
            }
            0xCA => Scalar::Float(f32::from_be_bytes(self.array()?).into()),
            0xCB => Scalar::Float(f64::from_be_bytes(self.array()?)),
            0xCC => Scalar::Unsigned(u8::from_be_bytes(self.array()?).into()),
            0xCD => Scalar::Unsigned(u16::from_be_bytes(self.array()?).into()),
            0xCE => Scalar::Unsigned(u32::from_be_bytes(self.array()?).into()),
            0xCF => Scalar::Unsigned(u64::from_be_bytes(self.array()?)),
            0xD0 => Scalar::Signed(i8::from_be_bytes(self.array()?).into()),
            0xD1 => Scalar::Signed(i16::from_be_bytes(self.array()?).into()),
            0xD2 => Scalar::Signed(i32::from_be_bytes(self.array()?).into()),
            0xD3 => Scalar::Signed(i64::from_be_bytes(self.array()?)),
            0xD4..=0xD8 => self.extension(1 << (marker - 0xD4))?,
            0xD9..=0xDB => {
                let length = self.length(marker - 0xD9)?;
                self.text(length)?
            }
            0xDC..=0xDD => return Ok(array(self.length(marker - 0xDC + 1)? as u64)),
            0xDE..=0xDF => return Ok(map(self.length(marker - 0xDE + 1)? as u64)),
            0xE0..=0xFF => Scalar::Signed((marker as i8).into()),
        }))
    }

    /// A length of 1, 2 or 4 bytes.
    fn length(&mut self, size: u8) -> Result<usize, Reason> {
        Ok(match size {
            0 => u8::from_be_bytes(self.array()?).into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn text(&mut self, length: usize) -> Result<Scalar<'f>, Reason> {
        std::str::from_utf8(self.bytes(length)?).map(Scalar::Text).map_err(|_| Reason::InvalidUtf8)
    }

    fn extension(&mut self, length: usize) -> Result<Scalar<'f>, Reason> {
        let kind = i8::from_be_bytes(self.array()?);
        let content = self.bytes(length)?;
        let time = if kind == -1 { timestamp(content) } else { None };
        time.map(Scalar::Time).ok_or(Reason::InvalidMsgpack)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let rest = self.frame.get(self.at..).and_then(<[u8]>::first_chunk);
        self.at += N;
        rest.copied().ok_or(Reason::InvalidMsgpack)
    }

    fn bytes(&mut self, length: usize) -> Result<&'f [u8], Reason> {
        let end = self.at.saturating_add(length);
        let bytes = self.frame.get(self.at..end).ok_or(Reason::InvalidMsgpack)?;
        self.at = end;
        Ok(bytes)
    }
}

fn array(length: u64) -> Token<'static> {
    Token::Open(Container { is_map: false, left: length, is_begun: false })
}

fn map(length: u64) -> Token<'static> {
    Token::Open(Container { is_map: true, left: 2 * length, is_begun: false })
}

/// The content of a timestamp: seconds in 32 bits, nanoseconds and seconds in 30 and 34, or in 32 and 64.
fn timestamp(content: &[u8]) -> Option<Timestamp> {
    let (seconds, nanoseconds) = if let Ok(seconds) = content.try_into() {
        (u32::from_be_bytes(seconds).into(), 0)
    } else if let Ok(both) = content.try_into() {
        let both = u64::from_be_bytes(both);
        ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
    } else {
        let (nanoseconds, seconds) = content.split_first_chunk()?;
        (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
    };
    let is_time = WRITABLE_SECONDS.contains(&seconds) && nanoseconds < 1_000_000_000;
    is_time.then_some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { message_bytes: 1000, depth: 4 };

    fn json(frame: &[u8]) -> Result<String, (Reason, usize)> {
        let mut json = Vec::new();
        to_json(frame, &LIMITS, &mut json).map_err(|fault| (fault.reason, fault.position))?;
        Ok(String::from_utf8(json).unwrap())
    }

    #[track_caller]
    fn check(frame: &[u8], expected: &str) {
        assert_eq!(json(frame).as_deref(), Ok(expected));
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        check(b"\xc0", "null");
        check(b"\xc2", "false");
        check(b"\xc3", "true");
        check(b"\x7f", "127");
        check(b"\xe0", "-32");
        check(b"\xcc\xff", "255");
        check(b"\xcd\xff\xff", "65535");
        check(b"\xce\xff\xff\xff\xff", "4294967295");
        check(b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", "18446744073709551615");
        check(b"\xd0\x80", "-128");
        check(b"\xd1\x80\x00", "-32768");
        check(b"\xd2\x80\x00\x00\x00", "-2147483648");
        check(b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", "-9223372036854775808");
        check(b"\xca\x3f\x00\x00\x00", "0.5");
        check(b"\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a", "0.1");
        check(b"\xa3a\"\n", r#""a\"\n""#);
        check(b"\xd9\x01a", r#""a""#);
        check(b"\xda\x00\x01a", r#""a""#);
        check(b"\xdb\x00\x00\x00\x01a", r#""a""#);
        check(b"\xc4\x02\xff\x00", r#""/wA=""#);
        check(b"\xc5\x00\x01\xff", r#""/w==""#);
        check(b"\xc6\x00\x00\x00\x01\xff", r#""/w==""#);
        check(b"\x93\x01\x90\x80", "[1,[],{}]");
        check(b"\xdc\x00\x01\xc0", "[null]");
        check(b"\xdd\x00\x00\x00\x01\xc0", "[null]");
        check(b"\x82\xa1a\x92\x01\x02\xa1b\x81\xa1c\xc3", r#"{"a":[1,2],"b":{"c":true}}"#);
        check(b"\xde\x00\x01\xa1a\x01", r#"{"a":1}"#);
        check(b"\xdf\x00\x00\x00\x01\xa1a\x01", r#"{"a":1}"#);
    }

    #[test]
    fn what_json_does_not_have_is_null() {
        check(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null");
        check(b"\xca\x7f\x80\x00\x00", "null");
        check(b"\xcb\xff\xf0\x00\x00\x00\x00\x00\x00", "null");
    }

    #[test]
    fn a_timestamp_is_written_as_a_date() {
        check(b"\xd6\xff\x50\x3e\x00\x80", r#""2012-08-29T11:44:00.000000Z""#);
        check(b"\xd7\xff\x00\x00\x00\x04\x00\x00\x00\x00", r#""1970-01-01T00:00:00.000000001Z""#);
        check(b"\xd7\xff\x00\x00\x0f\xa0\x00\x00\x00\x00", r#""1970-01-01T00:00:00.000001Z""#);
        let before = [b"\xc7\x0c\xff\x00\x00\x00\x00".as_slice(), &(-1_i64).to_be_bytes()].concat();
        check(&before, r#""1969-12-31T23:59:59.000000Z""#);
        let far = [b"\xc7\x0c\xff\x00\x00\x00\x00".as_slice(), &i64::MAX.to_be_bytes()].concat();
        assert_eq!(json(&far), Err((Reason::InvalidMsgpack, 0)));
        let late = [b"\xc7\x0c\xff\xff\xff\xff\xff".as_slice(), &[0; 8]].concat();
        assert_eq!(json(&late), Err((Reason::InvalidMsgpack, 0)), "more nanoseconds than a second has");
        assert_eq!(json(b"\xd4\xff\x00"), Err((Reason::InvalidMsgpack, 0)), "no timestamp is that short");
        assert_eq!(json(b"\xd6\x01\x50\x3e\x00\x80"), Err((Reason::InvalidMsgpack, 0)), "another extension");
    }

    #[test]
    fn a_key_that_is_no_string_becomes_one() {
        check(b"\x81\x01\x02", r#"{"1":2}"#);
        check(b"\x81\xff\x02", r#"{"-1":2}"#);
        check(b"\x81\xc0\x02", r#"{"null":2}"#);
        check(b"\x81\xc3\x02", r#"{"true":2}"#);
        check(b"\x81\xca\x3f\x00\x00\x00\x02", r#"{"0.5":2}"#);
        check(b"\x81\xc4\x04type\x02", r#"{"type":2}"#);
        check(b"\x81\xd6\xff\x00\x00\x00\x00\x02", r#"{"1970-01-01T00:00:00.000000Z":2}"#);
        assert_eq!(json(b"\x81\xc4\x01\xff\x02"), Err((Reason::InvalidUtf8, 1)));
        assert_eq!(json(b"\x81\x90\x02"), Err((Reason::InvalidMsgpack, 1)));
        assert_eq!(json(b"\x81\x80\x02"), Err((Reason::InvalidMsgpack, 1)));
    }

    #[test]
    fn duplicate_keys_all_stand_in_the_text_and_the_last_one_counts_there() {
        check(b"\x82\xa1a\x01\xa1a\x02", r#"{"a":1,"a":2}"#);
    }

    #[test]
    fn what_is_cut_short_or_goes_on_behind_its_end_is_no_message() {
        let whole = b"\x82\xa1a\x92\x01\xcd\x01\x00\xa1b\xa3abc";
        assert!(json(whole).is_ok());
        for length in 0..whole.len() {
            let outcome = json(&whole[..length]);
            assert!(matches!(outcome, Err((Reason::InvalidMsgpack, _))), "{length}: {outcome:?}");
        }
        assert_eq!(json(b"\x01\x02"), Err((Reason::InvalidMsgpack, 1)));
        assert_eq!(json(b"\xc1"), Err((Reason::InvalidMsgpack, 0)));
        assert_eq!(json(b"\xa1\xff"), Err((Reason::InvalidUtf8, 0)));
    }

    #[test]
    fn a_length_that_is_not_there_allocates_nothing() {
        for marker in [0xC6, 0xC9, 0xDB, 0xDD, 0xDF] {
            let mut out = Vec::new();
            let frame = [&[marker][..], &[0xFF; 4], b"\xa1a"].concat();
            let fault = to_json(&frame, &LIMITS, &mut out).unwrap_err();
            assert_eq!(fault.reason, Reason::InvalidMsgpack, "{marker:x}");
            assert!(out.capacity() < 100);
        }
    }

    #[test]
    fn the_limits_hold_for_what_is_read_and_for_what_is_written() {
        check(b"\x91\x91\x91\x90", "[[[[]]]]");
        assert_eq!(json(b"\x91\x91\x91\x91\x90"), Err((Reason::TooDeep, 4)));
        assert_eq!(json(&[0x91; 1000]), Err((Reason::TooDeep, 4)));
        assert_eq!(json(&[0xC0; 1001]), Err((Reason::TooLarge, 0)));
        // 500 times nil is 500 bytes here and 2,500 there.
        let nils = [b"\xdc\x01\xf4".as_slice(), &[0xC0; 500]].concat();
        assert_eq!(json(&nils), Err((Reason::TooLarge, 0)));
    }
}
