//! Text from a router, made harmless for a terminal: what a message says must not steer it.
//!
//! Besides control characters these are the marks that change the direction of writing, with which a line can be made to
//! read as something that it does not say.

use std::fmt::Write;

fn is_harmful(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// The text with what is harmful as `\n`, `\t` or `\u{1b}`, of at most so many characters; `…` stands for the rest.
pub fn shown(text: &str, most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    for (position, character) in text.chars().enumerate() {
        if position >= most {
            shown.push('…');
            break;
        }
        if is_harmful(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// JSON text that means the same, with what is harmful as `\u001b`. Valid JSON has it inside of strings only, apart from
/// white space between tokens.
pub fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' | '\r' | '\n' => safe.push(' '),
            _ if is_harmful(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into a string cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            _ => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_steer_a_terminal_is_spelled_out() {
        assert_eq!(shown("a\x1b[2Jb\nc\u{9b}d\u{202e}é", 100), "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}é");
        assert_eq!(shown("abcdef", 3), "abc…");
        assert_eq!(shown("abc", 3), "abc");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let text = "{\"a\":\t\"x\u{7f}\u{9b}\u{202e}é\"}";
        let safe = json(text);
        assert_eq!(safe, "{\"a\": \"x\\u007f\\u009b\\u202eé\"}");
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&safe), parse(text));
    }
}
