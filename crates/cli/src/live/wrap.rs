//! Lines of a bounded width, broken between words.

use std::io::{self, IsTerminal};

/// How many columns standard output has, where it is a terminal.
pub fn terminal_columns() -> Option<usize> {
    let is_terminal = io::stdout().is_terminal();
    is_terminal.then(crossterm::terminal::size)?.ok().map(|(columns, _)| usize::from(columns))
}

/// The text in lines of at most so many characters; all but the first begin with `indent`. A word that is longer by itself
/// stays whole, for it may be a path or an address that somebody wants to copy.
pub fn wrapped(text: &str, columns: usize, indent: &str) -> Vec<String> {
    let begin = text.len() - text.trim_start().len();
    let mut lines = Vec::new();
    let mut line = text[..begin].to_owned();
    let mut is_empty = true;
    for word in text[begin..].split(' ') {
        let room = columns.saturating_sub(line.chars().count());
        if !is_empty && word.chars().count() + 1 > room {
            lines.push(std::mem::replace(&mut line, indent.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words() {
        let text = "  endpoint `stats` fails: nobody listens at 127.0.0.1:8125";
        assert_eq!(
            wrapped(text, 30, "    "),
            ["  endpoint `stats` fails:", "    nobody listens at", "    127.0.0.1:8125"]
        );
        assert_eq!(wrapped(text, 80, "    "), [text]);
        assert_eq!(wrapped("", 80, "    "), [""]);
    }

    #[test]
    fn a_word_without_a_place_to_break_stays_whole() {
        let path = "/a/very/long/path/to/a/file";
        assert_eq!(
            wrapped(&format!("files: {path} end"), 12, "  "),
            ["files:", &format!("  {path}"), "  end"]
        );
    }
}
