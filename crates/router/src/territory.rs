//! Which files a path with placeholders can lead to, and whether two such paths can lead to the same one.
//!
//! Paths are compared as they are written, from the working directory on: `./logs//a` is `logs/a`. What links and `..` lead to
//! is not known without a look at the disk, which may not answer.

use crate::template::{PathBytes, Template};

/// The files that a path can lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Territory {
    /// The names of the folders, and that of the file.
    parts: Vec<Vec<Symbol>>,
}

/// What stands in a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Symbol {
    /// This byte.
    Byte(u8),
    /// One byte of a value.
    One(PathBytes),
    /// Any number of them.
    More(PathBytes),
}

impl Symbol {
    /// Whether there is a byte that both can be.
    fn meets(self, other: Symbol) -> bool {
        match (self, other) {
            (Symbol::Byte(one), Symbol::Byte(two)) => one == two,
            (Symbol::Byte(byte), Symbol::One(value) | Symbol::More(value))
            | (Symbol::One(value) | Symbol::More(value), Symbol::Byte(byte)) => value.contains(byte),
            // Every value may have digits.
            _ => true,
        }
    }

    fn repeats(self) -> bool {
        matches!(self, Symbol::More(_))
    }
}

impl Territory {
    /// What this path can lead to, whatever a message says.
    pub fn of(path: &Template) -> Territory {
        let mut all = Vec::new();
        if !path.fixed_start().starts_with('/')
            && let Ok(folder) = std::env::current_dir()
        {
            let bytes = folder.as_os_str().as_encoded_bytes().iter().chain(b"/");
            all.extend(bytes.map(|byte| Symbol::Byte(*byte)));
        }
        for piece in path.path_pieces() {
            match piece {
                Ok(literal) => all.extend(literal.bytes().map(Symbol::Byte)),
                // A value is never empty.
                Err(value) => all.extend([Symbol::One(value), Symbol::More(value)]),
            }
        }
        let names = all.split(|symbol| *symbol == Symbol::Byte(b'/'));
        let says_something = |name: &&[Symbol]| !matches!(name, [] | [Symbol::Byte(b'.')]);
        Territory { parts: names.filter(says_something).map(<[Symbol]>::to_vec).collect() }
    }

    /// Whether there may be a file that both lead to.
    pub fn overlaps(&self, other: &Territory) -> bool {
        self.parts.len() == other.parts.len()
            && self.parts.iter().zip(&other.parts).all(|(one, two)| can_be_the_same(one, two))
    }
}

/// Whether there is a name that both describe.
fn can_be_the_same(one: &[Symbol], two: &[Symbol]) -> bool {
    // Every pair of places that can be reached with the same bytes, each looked at once.
    let width = two.len() + 1;
    let mut seen = vec![false; (one.len() + 1) * width];
    let mut open = vec![(0, 0)];
    while let Some((at, other_at)) = open.pop() {
        match seen.get_mut(at * width + other_at) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        let (symbol, other) = (one.get(at).copied(), two.get(other_at).copied());
        if symbol.is_none() && other.is_none() {
            return true;
        }
        if symbol.is_some_and(Symbol::repeats) {
            open.push((at + 1, other_at));
        }
        if other.is_some_and(Symbol::repeats) {
            open.push((at, other_at + 1));
        }
        if let (Some(symbol), Some(other)) = (symbol, other)
            && symbol.meets(other)
        {
            let step = |symbol: Symbol| usize::from(!symbol.repeats());
            open.push((at + step(symbol), other_at + step(other)));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlap(one: &str, two: &str) -> bool {
        let [one, two] = [one, two].map(|path| Territory::of(&Template::parse(path).unwrap()));
        assert_eq!(one.overlaps(&two), two.overlaps(&one));
        one.overlaps(&two)
    }

    #[test]
    fn paths_that_can_lead_to_one_file_overlap_however_they_are_written() {
        let here = std::env::current_dir().unwrap();
        for (one, two) in [
            ("logs/a.log", "./logs//a.log"),
            ("logs/a.log", &format!("{}/logs/a.log", here.display())),
            ("logs/{logger}.log", "logs/{fields.name}.log"),
            ("logs/{logger}.log", "logs/a.b.log"),
            ("logs/{logger}.log", "logs/{logger}-{date}.log"),
            ("{logger}/a.log", "b/{type}.log"),
            ("x-{logger}-y", "x-{logger}-z-{type}"),
            ("{logger}{type}", "ab"),
            ("logs/{date}.log", "logs/2026-11-22.log"),
            ("logs/{date}-{hour}.log", "logs/{logger}.log"),
        ] {
            assert!(overlap(one, two), "{one} and {two}");
        }
    }

    #[test]
    fn paths_that_never_lead_to_one_file_do_not() {
        for (one, two) in [
            ("logs/a.log", "logs/b.log"),
            ("logs/a.log", "/logs/a.log"),
            ("logs/a.log", "logs/a.log/a.log"),
            // A value stays in its folder, is never empty, and never has a blank.
            ("logs/{logger}.log", "logs/web/a.log"),
            ("logs/{logger}.log", "logs/.log"),
            ("logs/{logger}.log", "logs/a b.log"),
            ("logs/a-{logger}.log", "logs/b-{logger}.log"),
            ("logs/{logger}.log", "logs/{logger}.jsonl"),
            ("{logger}{type}", "a"),
            ("logs/{date}.log", "logs/errors.log"),
            ("logs/{hour}.log", "logs/2026-11-22.log"),
        ] {
            assert!(!overlap(one, two), "{one} and {two}");
        }
    }
}
