//! Text that is safe in a syslog message: header fields of allowed characters and bounded length, and content in which no
//! character controls anything.

use std::net::Ipv6Addr;

use metlog_message::Timestamp;

/// What a header field may contain, and how long it may be.
#[derive(Debug)]
pub(super) struct Field {
    allowed: [bool; 256],
    limit: usize,
}

/// The host in RFC 5424, unless it is an address: syslog-ng throws away a message with brackets or a port there.
pub(super) static HOST: Field = Field::printable(255, b":[]");
/// The program in RFC 5424.
pub(super) static APP_NAME: Field = Field::printable(48, b"");
/// The kind of message in RFC 5424.
pub(super) static MESSAGE_ID: Field = Field::printable(32, b"");
/// The name of a structured element or of its parameters.
pub(super) static NAME: Field = Field::printable(32, b"=]\"");
/// The program in RFC 3164, where `:` or `[` ends it. Servers take slashes, dots and dashes.
pub(super) static TAG: Field = Field::printable(32, b":[]");
/// The host in RFC 3164, where servers take anything but the characters of a host's name for the program.
pub(super) static LEGACY_HOST: Field = Field::host(255);

impl Field {
    /// Visible ASCII characters, except these.
    const fn printable(limit: usize, except: &[u8]) -> Field {
        let mut allowed = [false; 256];
        let mut byte = 33;
        while byte < 127 {
            allowed[byte] = true;
            byte += 1;
        }
        let mut number = 0;
        while number < except.len() {
            allowed[except[number] as usize] = false;
            number += 1;
        }
        Field { allowed, limit }
    }

    const fn host(limit: usize) -> Field {
        let mut allowed = [false; 256];
        let mut byte = 0u8;
        while byte < 128 {
            allowed[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            byte += 1;
        }
        Field { allowed, limit }
    }

    /// Makes what was appended to `out` from `start` on a field of this kind: every character that is not allowed becomes
    /// `_`, what is too long is cut off, and nothing becomes `-`.
    #[inline]
    pub(super) fn finish(&self, out: &mut Vec<u8>, start: usize) {
        let appended = out.get_mut(start..).unwrap_or_default();
        if appended.is_empty() {
            out.push(b'-');
            return;
        }
        if !self.takes(appended) {
            let length = self.replace(appended);
            out.truncate(start + length);
        }
    }

    /// Appends a field with this content.
    pub(super) fn append(&self, content: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(content);
        self.finish(out, start);
    }

    /// Whether content becomes a field as it is.
    #[inline]
    pub(super) fn takes(&self, content: &[u8]) -> bool {
        content.len() <= self.limit && content.iter().all(|&byte| self.allowed[usize::from(byte)])
    }

    /// Returns the length of what is left.
    #[cold]
    fn replace(&self, text: &mut [u8]) -> usize {
        let mut length = 0;
        for position in 0..text.len() {
            let byte = text[position];
            // The second and further bytes of a character went with the first.
            if byte & 0xC0 == 0x80 {
                continue;
            }
            if length == self.limit {
                break;
            }
            text[length] = if self.allowed[usize::from(byte)] { byte } else { b'_' };
            length += 1;
        }
        length
    }
}

/// Appends the host as RFC 5424 has it.
pub(super) fn host(name: &[u8], out: &mut Vec<u8>) {
    let is_address = || str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv6Addr>().is_ok());
    if !name.is_empty() && (HOST.takes(name) || is_address()) {
        out.extend_from_slice(name);
    } else {
        HOST.append(name, out);
    }
}

/// Appends a value that may not fill `out` much beyond `end`. Line breaks are written as `\n` and `\r`, other control
/// characters except tabs as `\u001B`, so that a message stays one line and a terminal that shows it stays as it is.
#[inline]
pub(super) fn safe(value: &[u8], out: &mut Vec<u8>, end: usize) {
    // One byte too many tells that something is missing.
    let room = end.saturating_sub(out.len()) + 1;
    let value = value.get(..room).unwrap_or(value);
    // Without an early exit, many bytes are compared at once.
    let is_suspicious = value.iter().fold(false, |found, &byte| {
        found | (byte < b' ') | (byte == 0x7F) | (byte == FIRST_BYTE_OF_LATIN_1_CONTROLS)
    });
    if is_suspicious { escape(value, out) } else { out.extend_from_slice(value) }
}

/// U+0080 to U+009F are this byte and one from 0x80 to 0x9F.
const FIRST_BYTE_OF_LATIN_1_CONTROLS: u8 = 0xC2;

fn escape(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some((&byte, behind)) = rest.split_first() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.push(byte),
            0..b' ' | 0x7F => escape_code(byte, out),
            FIRST_BYTE_OF_LATIN_1_CONTROLS => match behind.split_first() {
                Some((&second @ 0x80..0xA0, behind)) => {
                    escape_code(second, out);
                    rest = behind;
                    continue;
                }
                _ => out.push(byte),
            },
            _ => out.push(byte),
        }
        rest = behind;
    }
}

fn escape_code(code: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"\\u00");
    out.extend_from_slice(&[DIGITS[usize::from(code >> 4)], DIGITS[usize::from(code & 15)]]);
}

/// Cuts off what is behind `end`, and no character in two. Returns whether there was anything.
pub(super) fn cut(out: &mut Vec<u8>, end: usize) -> bool {
    if out.len() <= end {
        return false;
    }
    let is_inside = |position: usize| out.get(position).is_some_and(|byte| byte & 0xC0 == 0x80);
    let boundary = (0..=end).rev().find(|&position| !is_inside(position)).unwrap_or_default();
    out.truncate(boundary);
    true
}

/// Appends a message's time as RFC 5424 writes it, up to microseconds: what the message says where it says it like that,
/// otherwise the same moment in UTC. `-` where the year has no four digits.
pub(super) fn timestamp(text: Option<&[u8]>, moment: impl FnOnce() -> Timestamp, out: &mut Vec<u8>) {
    // A date of this length that ends in Z is complete. The standard has no leap seconds.
    if let Some(text @ [.., b'Z']) = text
        && text.len() == "2012-07-18T21:13:25.687518Z".len()
        && text[10] == b'T'
        && text[17] != b'6'
    {
        out.extend_from_slice(text);
        return;
    }
    let start = out.len();
    moment().write_to(out);
    let has_usual_length = out.len() - start == "2012-07-18T21:13:25.687518Z".len();
    if !has_usual_length || out.get(start) == Some(&b'-') {
        out.truncate(start);
        out.push(b'-');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(field: &Field, content: &str) -> String {
        let mut out = b"before ".to_vec();
        field.append(content.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    fn made_safe(value: &str) -> String {
        let mut out = Vec::new();
        safe(value.as_bytes(), &mut out, 1000);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_header_field_has_no_character_that_could_end_it() {
        assert_eq!(field(&APP_NAME, "shop"), "shop");
        assert_eq!(field(&APP_NAME, "my shop\n<13>x"), "my_shop_<13>x");
        assert_eq!(field(&APP_NAME, "ünï-ダ\u{7f}"), "_n_-__");
        assert_eq!(field(&APP_NAME, ""), "-");
        assert_eq!(field(&TAG, "a:b[c]/d.e-f"), "a_b_c_/d.e-f");
        assert_eq!(field(&NAME, "a=b]c\"d"), "a_b_c_d");
        assert_eq!(field(&LEGACY_HOST, "[::1]:web/1_x.y-z"), "___1__web_1_x.y-z");
    }

    #[test]
    fn a_header_field_has_its_greatest_length() {
        assert_eq!(field(&APP_NAME, &"a".repeat(48)), "a".repeat(48));
        assert_eq!(field(&APP_NAME, &"a".repeat(49)), "a".repeat(48));
        assert_eq!(field(&MESSAGE_ID, &"ダ".repeat(1000)), "_".repeat(32));
        assert_eq!(field(&HOST, &"h".repeat(300)).len(), 255);
    }

    #[test]
    fn a_host_has_colons_only_in_an_address() {
        for (name, expected) in [
            ("web1", "web1"),
            ("2001:db8::1", "2001:db8::1"),
            ("web1:80", "web1_80"),
            ("[::1]", "___1_"),
            ("", "-"),
        ] {
            let mut out = Vec::new();
            host(name.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_in_a_text_controls_anything() {
        assert_eq!(made_safe("plain ünïcode ダ £"), "plain ünïcode ダ £");
        assert_eq!(
            made_safe("two\r\nlines\ta\0b\u{1b}[31m\u{7f}"),
            "two\\r\\nlines\ta\\u0000b\\u001B[31m\\u007F"
        );
        assert_eq!(made_safe("\u{80}\u{9b}31m\u{9f}\u{a0}é"), "\\u0080\\u009B31m\\u009F\u{a0}é");
    }

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        for (value, end, expected) in [
            ("abcd", 4, "abcd"),
            ("abcd", 3, "abc"),
            ("aé", 2, "a"),
            ("aé", 3, "aé"),
            ("ダ", 2, ""),
            ("éé\n", 4, "éé"),
        ] {
            let mut out = Vec::new();
            safe(value.as_bytes(), &mut out, end);
            assert_eq!(cut(&mut out, end), expected != value, "{value:?} {end}");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_time_is_as_sent_or_the_same_moment_in_utc() {
        for (sent, expected) in [
            ("2012-07-18T21:13:25.687518Z", "2012-07-18T21:13:25.687518Z"),
            ("2012-07-18t21:13:25.687518Z", "2012-07-18T21:13:25.687518Z"),
            ("2012-07-18T23:13:25.5+02:00", "2012-07-18T21:13:25.500000Z"),
            ("2012-07-18 21:13:25", "2012-07-18T21:13:25.000000Z"),
            ("2016-12-31T23:59:60.000000Z", "2017-01-01T00:00:00.000000Z"),
            ("0000-01-01T00:00:00+23:59", "-"),
        ] {
            let mut out = Vec::new();
            timestamp(Some(sent.as_bytes()), || Timestamp::parse(sent.as_bytes()).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{sent}");
        }
    }
}
