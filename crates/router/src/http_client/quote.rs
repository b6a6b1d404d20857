//! What a server says about its answer, made fit for a log and a terminal.

/// The beginning of `text` on one line: runs of white space and of control characters become one space, and `…` stands
/// for what is behind `most` characters.
pub fn quote(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split(is_harmful).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Besides control characters these are what ends a line for some programs, and the marks that change the direction of writing,
/// with which a line can be made to read as something that it does not say.
fn is_harmful(character: char) -> bool {
    character.is_whitespace()
        || character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_quoted_on_one_line_and_briefly() {
        assert_eq!(quote("", 10), "");
        assert_eq!(quote(" no such\r\n\tindex\x1b[31m\n", 50), "no such index [31m");
        assert_eq!(quote(&"ä".repeat(5000), 200), "ä".repeat(200) + "…");
        assert_eq!(quote("ab", 2), "ab");
    }

    #[test]
    fn no_character_in_it_turns_the_line_around_or_breaks_it() {
        assert_eq!(quote("a\u{202e}b\u{2066}c\u{2028}d\u{2029}e\u{85}f", 50), "a b c d e f");
        assert_eq!(quote("\u{200f}שלום\u{200e}", 50), "שלום", "letters have their own direction");
    }
}
