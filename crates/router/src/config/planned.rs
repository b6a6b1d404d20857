//! Keys and words that the design has and this version has not: they get a better answer than "unknown key".

/// What to do instead, where `key` of this section is planned. A kind that has the key already asks for it, and
/// then nobody asks here.
pub(super) fn instead(section: &str, key: &str) -> Option<&'static str> {
    let mut parts = section.split('.');
    match (parts.next().unwrap_or_default(), parts.nth(1), key) {
        ("inputs", None, "tls" | "auth") => {
            Some("listen on 127.0.0.1, or on a network that only trusted machines reach")
        }
        ("endpoints", None, "tls" | "auth") => {
            Some("remove it; connect over a trusted network or a local proxy")
        }
        ("endpoints", Some("buffer"), "disk" | "fsync") => Some("remove it; buffers are in memory only"),
        _ => None,
    }
}

/// What to do instead, where `word` is planned as a value of this key, of a section's.
pub(super) fn instead_of_word(key: &str, word: &str) -> Option<&'static str> {
    match (key, word) {
        ("transport", "tls" | "ssl" | "tcp+tls" | "dtls") => {
            Some("take \"tcp\" over a trusted network, or to a local proxy that encrypts")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planned_keys_are_known_by_their_section() {
        for (section, key, planned) in [
            ("endpoints.stats", "tls", true),
            ("endpoints.stats.buffer", "disk", true),
            ("endpoints.stats", "disk", false),
            ("inputs.udp", "ack", false),
            ("limits", "tests", false),
        ] {
            assert_eq!(instead(section, key).is_some(), planned, "{section} {key}");
        }
    }

    #[test]
    fn planned_words_are_known_by_their_key() {
        assert!(instead_of_word("transport", "tls").is_some());
        assert!(instead_of_word("format", "tls").is_none());
        assert!(instead_of_word("transport", "sctp").is_none());
    }
}
