//! Names on the wire: what every server accepts, and nothing that could end a line or begin another.

/// What each ASCII character of a name becomes.
const CLEAN: [u8; 128] = {
    let mut clean = [b'_'; 128];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.') {
            clean[byte] = byte as u8;
        }
        byte += 1;
    }
    clean[b'/' as usize] = b'-';
    clean
};

/// Appends a part of a name, with one `_` for each character that may not stand there.
pub(super) fn push_clean(text: &[u8], lines: &mut Vec<u8>) {
    if text.is_ascii() {
        lines.extend(text.iter().map(|&byte| CLEAN[usize::from(byte & 0x7F)]));
    } else {
        // The bytes behind the first of a character begin with the bits 10.
        let first_bytes = text.iter().filter(|&&byte| byte & 0xC0 != 0x80);
        lines.extend(first_bytes.map(|&byte| CLEAN.get(usize::from(byte)).copied().unwrap_or(b'_')));
    }
}

/// Appends what stands in front of a name, and the dot; of nothing, nothing.
pub(super) fn push_part(text: &[u8], lines: &mut Vec<u8>) {
    if !text.is_empty() {
        push_clean(text, lines);
        lines.push(b'.');
    }
}
