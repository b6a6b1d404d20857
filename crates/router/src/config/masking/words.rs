//! Keys that speak for themselves: `api_key`, `X-Auth-Token`, `sentry_dsn`. They are known by the words that they consist of.

/// What makes a key one of a secret.
const WORDS: [&str; 17] = [
    "apikey",
    "auth",
    "authentication",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "dsn",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "sig",
    "token",
];

/// Words in front of `key` with which it is one that opens something.
const KINDS_OF_KEYS: [&str; 5] = ["access", "api", "license", "private", "secret"];

/// Whether this can only be the key of a secret.
pub(super) fn speaks_for_itself(key: &str) -> bool {
    let key = key.to_lowercase();
    let words: Vec<&str> = key.split(|c: char| !c.is_alphanumeric()).collect();
    words.iter().any(|word| WORDS.contains(word))
        || words.windows(2).any(|pair| pair[1] == "key" && KINDS_OF_KEYS.contains(&pair[0]))
        || ["apikey", "password", "secret", "token"].iter().any(|end| key.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_key_say_what_it_is_for() {
        for key in
            ["api_key", "X-Api-Key", "apiKey", "accessToken", "sentry_dsn", "Authorization", "auth", "pass"]
        {
            assert!(speaks_for_itself(key), "{key}");
        }
        for key in ["key", "author", "bypass", "path", "address", "keep", "user", ""] {
            assert!(!speaks_for_itself(key), "{key}");
        }
    }
}
