//! The very bytes that an endpoint would send, made visible: any bytes, in lines that a terminal can show.

use crate::live::safe_text;

/// Bytes that are shown of what is longer.
pub const SHOWN: usize = 2000;

/// The bytes in lines, each with its line break as `\n`; what is no text as `\xff`. Of more than `most` bytes the
/// beginning, and how many there are.
pub fn lines(bytes: &[u8], most: usize) -> Vec<String> {
    let mut end = bytes.len().min(most);
    while end < bytes.len() && end > 0 && bytes[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    let mut lines: Vec<String> = bytes[..end].split_inclusive(|byte| *byte == b'\n').map(visible).collect();
    if end < bytes.len() {
        lines.push(format!("… {} bytes in all (--full shows them)", bytes.len()));
    }
    lines
}

fn visible(line: &[u8]) -> String {
    let mut shown = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        shown += &safe_text::shown(chunk.valid(), usize::MAX);
        for byte in chunk.invalid() {
            shown += &format!("\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_lines_that_cannot_steer_a_terminal() {
        assert_eq!(lines(b"a:1|c\nb:\x1b[2J|c\n", 100), ["a:1|c\\n", "b:\\u{1b}[2J|c\\n"]);
        assert_eq!(lines(b"no break \xff\xfe", 100), ["no break \\xff\\xfe"]);
        assert!(lines(b"", 100).is_empty());
    }

    #[test]
    fn what_is_long_is_shortened_between_two_characters() {
        assert_eq!(lines("aéb".as_bytes(), 2), ["a", "… 4 bytes in all (--full shows them)"]);
        assert_eq!(lines("aéb".as_bytes(), 4), ["aéb"]);
    }
}
