//! Globs over strings: `*` any run of characters, `?` one character, `[a-z]` a class, `{a,b}` alternatives.
//!
//! `[!a-z]` and `[^a-z]` are the characters outside a class, a `]` that comes first in a class stands for
//! itself, `\` takes the next character literally, and alternatives may nest and may be empty. A glob matches
//! the whole string, and nothing is special about slashes, dots or line breaks.
//!
//! Most globs are plain text with stars in it; these run on substring search. Whatever else there is becomes
//! a regular expression, whose engine takes linear time: no pattern can make a message expensive.

use std::fmt::Write;

use memchr::memmem::Finder;
use regex::bytes::Regex;

/// A compiled glob.
#[derive(Debug, Clone)]
pub struct Glob {
    /// What every matching string begins with.
    start: Box<[u8]>,
    shape: Shape,
}

#[derive(Debug, Clone)]
enum Shape {
    /// No wildcard: `start` is the whole string.
    Exact,
    /// `start*middle*middle*end`.
    Pieces { middles: Box<[Finder<'static>]>, end: Box<[u8]> },
    /// Everything else.
    Pattern(Regex),
}

/// What is wrong with a glob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {position}")]
pub struct GlobError {
    /// What was found.
    pub problem: &'static str,
    /// Byte offset in the glob.
    pub position: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyRun,
    AnyOne,
    Class { negated: bool, ranges: Vec<(char, char)> },
    Open,
    Separator,
    Close,
}

impl Glob {
    /// Compiles a glob.
    pub fn compile(glob: &str) -> Result<Glob, GlobError> {
        let tokens = tokens(glob)?;
        let simple = tokens.iter().all(|token| matches!(token, Token::Literal(_) | Token::AnyRun));
        if simple {
            return Ok(from_pieces(&tokens));
        }
        let start = literal_start(&tokens).into_bytes().into();
        // Validated by the tokens, so only its size can be wrong: too many alternatives, nested too deep.
        let pattern = Regex::new(&regular_expression(&tokens))
            .map_err(|_| GlobError { problem: "the glob is too large or nested too deep", position: 0 })?;
        Ok(Glob { start, shape: Shape::Pattern(pattern) })
    }

    /// Whether the whole of `text` (UTF-8) matches.
    #[inline]
    pub fn matches(&self, text: &[u8]) -> bool {
        match &self.shape {
            Shape::Exact => *text == *self.start,
            Shape::Pieces { middles, end } => self.matches_pieces(text, middles, end),
            Shape::Pattern(pattern) => pattern.is_match(text),
        }
    }

    /// The leftmost place for each piece leaves the most room for the next, so no backtracking is needed.
    fn matches_pieces(&self, text: &[u8], middles: &[Finder<'static>], end: &[u8]) -> bool {
        let inside = text.strip_prefix(&*self.start).and_then(|rest| rest.strip_suffix(end));
        let Some(mut inside) = inside else { return false };
        for middle in middles {
            let Some(position) = middle.find(inside) else { return false };
            inside = &inside[position + middle.needle().len()..];
        }
        true
    }

    /// What every matching string begins with; empty where nothing is known.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// Whether exactly the string `start` matches.
    pub fn is_exact(&self) -> bool {
        matches!(self.shape, Shape::Exact)
    }

    /// Whether every string that begins with `start` matches.
    pub fn is_prefix(&self) -> bool {
        matches!(&self.shape, Shape::Pieces { middles, end } if middles.is_empty() && end.is_empty())
    }
}

fn from_pieces(tokens: &[Token]) -> Glob {
    let mut pieces: Vec<String> = vec![String::new()];
    for token in tokens {
        match (token, pieces.last_mut()) {
            (Token::Literal(character), Some(piece)) => piece.push(*character),
            _ => pieces.push(String::new()),
        }
    }
    let end = if pieces.len() > 1 { pieces.pop() } else { None };
    let start = pieces.remove(0).into_bytes().into();
    let shape = match end {
        None => Shape::Exact,
        Some(end) => Shape::Pieces {
            middles: pieces
                .iter()
                .filter(|piece| !piece.is_empty())
                .map(|piece| Finder::new(piece.as_bytes()).into_owned())
                .collect(),
            end: end.into_bytes().into(),
        },
    };
    Glob { start, shape }
}

fn literal_start(tokens: &[Token]) -> String {
    tokens
        .iter()
        .map_while(|token| match token {
            Token::Literal(character) => Some(*character),
            _ => None,
        })
        .collect()
}

/// Characters are written as code points, so that none of them can be taken for syntax.
fn regular_expression(tokens: &[Token]) -> String {
    let mut pattern = String::from(r"\A(?s:");
    for token in tokens {
        // Writing to a string cannot fail.
        let _ = match token {
            Token::Literal(character) => write!(pattern, r"\x{{{:X}}}", *character as u32),
            Token::AnyRun => write!(pattern, ".*"),
            Token::AnyOne => write!(pattern, "."),
            Token::Open => write!(pattern, "(?:"),
            Token::Separator => write!(pattern, "|"),
            Token::Close => write!(pattern, ")"),
            Token::Class { negated, ranges } => {
                pattern.push_str(if *negated { "[^" } else { "[" });
                for (low, high) in ranges {
                    let _ = write!(pattern, r"\x{{{:X}}}-\x{{{:X}}}", *low as u32, *high as u32);
                }
                write!(pattern, "]")
            }
        };
    }
    pattern.push_str(r")\z");
    pattern
}

type Characters<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn tokens(glob: &str) -> Result<Vec<Token>, GlobError> {
    let mut tokens = Vec::new();
    let mut open = Vec::new();
    let mut characters = glob.char_indices().peekable();
    while let Some((position, character)) = characters.next() {
        tokens.push(match character {
            '*' => Token::AnyRun,
            '?' => Token::AnyOne,
            '[' => class(&mut characters, position)?,
            '\\' => Token::Literal(escaped(&mut characters, position)?),
            '{' => {
                open.push(position);
                Token::Open
            }
            ',' if !open.is_empty() => Token::Separator,
            '}' if open.pop().is_some() => Token::Close,
            literal => Token::Literal(literal),
        });
    }
    match open.pop() {
        Some(position) => Err(GlobError { problem: "`{` without its `}`", position }),
        None => Ok(tokens),
    }
}

fn class(characters: &mut Characters<'_>, start: usize) -> Result<Token, GlobError> {
    let unclosed = GlobError { problem: "`[` without its `]`", position: start };
    let negated = characters.next_if(|(_, character)| matches!(character, '!' | '^')).is_some();
    let mut ranges = Vec::new();
    loop {
        let Some((position, character)) = characters.next() else { return Err(unclosed) };
        let low = match character {
            ']' if !ranges.is_empty() => return Ok(Token::Class { negated, ranges }),
            '\\' => escaped(characters, position)?,
            literal => literal,
        };
        let mut high = low;
        // A `-` that comes last stands for itself.
        let is_range = matches!(characters.peek(), Some((_, '-')))
            && !matches!(characters.clone().nth(1), Some((_, ']')) | None);
        if is_range {
            characters.next();
            high = match characters.next() {
                Some((position, '\\')) => escaped(characters, position)?,
                Some((_, literal)) => literal,
                None => return Err(unclosed),
            };
        }
        if low > high {
            return Err(GlobError { problem: "a range that ends before it begins", position });
        }
        ranges.push((low, high));
    }
}

fn escaped(characters: &mut Characters<'_>, position: usize) -> Result<char, GlobError> {
    match characters.next() {
        Some((_, character)) => Ok(character),
        None => Err(GlobError { problem: "`\\` with nothing after it", position }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(glob: &str, text: &str) -> bool {
        Glob::compile(glob).unwrap().matches(text.as_bytes())
    }

    #[test]
    fn a_glob_matches_the_whole_string() {
        for (glob, text, expected) in [
            ("sync", "sync", true),
            ("sync", "syncstorage", false),
            ("sync*", "syncstorage", true),
            ("sync*", "sync", true),
            ("sync*", "my-sync", false),
            ("*sync", "my-sync", true),
            ("*sync*", "a sync b", true),
            ("a*b*c", "a--b--b--c", true),
            ("a*b*c", "a--c--b", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("**", "\n", true),
            ("?", "é", true),
            ("?", "", false),
            ("?", "\n", true),
            ("web[1-3]", "web2", true),
            ("web[1-3]", "web4", false),
            ("web[!1-3]", "web4", true),
            ("web[^1-3]", "web3", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[.*]", "x", false),
            ("{sync,addons}*", "addons-market", true),
            ("{sync,addons}*", "market", false),
            ("a{b,c{d,e}}f", "acef", true),
            ("a{,b}", "a", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"[\]]", "]", true),
            ("a,b}", "a,b}", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(glob, text), expected, "{glob:?} on {text:?}");
        }
    }

    #[test]
    fn a_broken_glob_says_what_is_wrong_and_where() {
        for (glob, expected) in [
            ("sync[", "`[` without its `]` at character 4"),
            ("a{b,c", "`{` without its `}` at character 1"),
            ("[z-a]", "a range that ends before it begins at character 1"),
            ("ab\\", "`\\` with nothing after it at character 2"),
        ] {
            assert_eq!(Glob::compile(glob).unwrap_err().to_string(), expected, "{glob:?}");
        }
    }

    #[test]
    fn what_a_glob_begins_with_is_known_to_the_table() {
        let known = |glob: &str| {
            let glob = Glob::compile(glob).unwrap();
            (String::from_utf8(glob.start().to_vec()).unwrap(), glob.is_exact(), glob.is_prefix())
        };
        assert_eq!(known("sync"), ("sync".into(), true, false));
        assert_eq!(known("sync*"), ("sync".into(), false, true));
        assert_eq!(known("sync**"), ("sync".into(), false, true));
        assert_eq!(known("sync*x"), ("sync".into(), false, false));
        assert_eq!(known("sync?"), ("sync".into(), false, false));
        assert_eq!(known("*"), (String::new(), false, true));
    }

    #[test]
    fn many_stars_stay_linear() {
        let glob = format!("{}b", "a*".repeat(60));
        assert!(!matches(&glob, &"a".repeat(60_000)));
        assert!(!matches(&format!("{}[b]", "a*".repeat(60)), &"a".repeat(20_000)));
    }

    /// The obvious recursive matcher: each token in turn, every length of a star tried.
    fn naive(glob: &[char], text: &[char]) -> bool {
        match glob {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|length| naive(rest, &text[length..])),
            ['?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            ['[', low, '-', high, ']', rest @ ..] => {
                text.first().is_some_and(|character| (low..=high).contains(&character))
                    && naive(rest, &text[1..])
            }
            ['{', rest @ ..] => {
                let close = rest.iter().position(|character| *character == '}').unwrap();
                rest[..close]
                    .split(|character| *character == ',')
                    .any(|alternative| naive(&[alternative, &rest[close + 1..]].concat(), text))
            }
            [literal, rest @ ..] => text.first() == Some(literal) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(
            parts in prop::collection::vec(
                prop::sample::select(
                    vec!["a", "b", "é", "ab", "*", "*", "?", "[a-b]", "[b-é]", "{a,b}", "{ab,*é,}"]), 0..8),
            text in "[abé]{0,10}",
        ) {
            let glob = parts.concat();
            let characters: Vec<char> = glob.chars().collect();
            let expected = naive(&characters, &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches(&glob, &text), expected, "{:?} on {:?}", glob, text);
        }
    }
}
