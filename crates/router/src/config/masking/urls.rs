//! URLs: a webhook has its token in the path, a DSN its key in front of the host. Only scheme and host are for everybody's eye.

use std::ops::Range;

/// What URLs have in front of their hosts, and behind them.
pub(super) fn beyond_hosts(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (position, mark) in text.match_indices("://") {
        let start = position + mark.len();
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).unwrap_or(rest.len());
        let url = &rest[..end];
        // A password may have any of the characters that end a host.
        let host = url.rfind('@').map_or(0, |at| at + 1);
        if host > 0 {
            found.push(start..start + host - 1);
        }
        let behind = url[host..].find(['/', '?', '#']).map_or(end, |length| host + length + 1);
        if behind < end {
            found.push(start + behind..start + end);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scheme_and_host_are_left() {
        for (text, expected) in [
            ("https://a.b", "https://a.b"),
            ("https://a.b:80/", "https://a.b:80/"),
            ("x = 'https://a.b/c/d' # e", "x = 'https://a.b/***' # e"),
            ("https://a.b?c", "https://a.b?*"),
            ("[\"https://k:s@a.b/1\", \"udp://k@a.b:9/2\"]", "[\"https://***@a.b/*\", \"udp://*@a.b:9/*\"]"),
            ("https://u:p/w@a.b", "https://*****@a.b"),
            ("://", "://"),
            ("https:// x", "https:// x"),
        ] {
            let mut shown = text.as_bytes().to_vec();
            for span in beyond_hosts(text) {
                shown[span].fill(b'*');
            }
            assert_eq!(String::from_utf8(shown).unwrap(), expected);
        }
    }
}
