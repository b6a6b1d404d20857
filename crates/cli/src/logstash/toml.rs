//! Texts as TOML writes them.

/// A text in quotes. A dollar sign is doubled, so that nothing of it is taken for an environment variable.
pub fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '$' => quoted.push_str("$$"),
            letter if letter.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// A text that a template repeats as it is.
pub fn literal(path: &str) -> String {
    path.replace('{', "{{").replace('}', "}}")
}

/// One line of a comment.
pub fn comment(words: &str) -> String {
    let shown: String = words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("# {shown}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive() {
        assert_eq!(text("a\"b\\c\n${X}\u{1}"), "\"a\\\"b\\\\c\\n$${X}\\u0001\"");
        assert_eq!(literal("/var/{x}"), "/var/{{x}}");
    }
}
