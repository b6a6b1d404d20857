//! The files that a configuration is made of.
//!
//! Their texts lie side by side in one space of positions, so that a place is one range of bytes whatever file it is in:
//! what is read from several files is sorted, compared and reported as if it were one.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The text of a configuration file and the name it is shown under.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the operator wrote it.
    pub path: String,
    /// The whole file.
    pub text: String,
}

/// What is longer is no configuration. A thousand routes are a tenth of this.
const LARGEST_BYTES: u64 = 4 * 1024 * 1024;

/// Why the text of a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The path is a folder.
    #[error("it is a folder")]
    Folder,
    /// The operating system refused.
    #[error("{}", in_words(.0))]
    Io(io::Error),
    /// It is larger than any configuration.
    #[error("it is larger than 4 MiB")]
    TooLarge,
    /// It holds something else than text.
    #[error("it is not text: byte {0} is not UTF-8")]
    NotText(usize),
}

// By hand: an error whose words are already in the text is no source as well, or it would be said twice.
impl From<io::Error> for SourceError {
    fn from(error: io::Error) -> SourceError {
        SourceError::Io(error)
    }
}

/// Without the number that the standard library puts behind it.
fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

impl SourceError {
    /// What would be right, for a file that was to be a configuration.
    pub(super) fn help(&self, path: &str) -> Option<String> {
        match self {
            SourceError::Folder => {
                Some(format!("name a file in it, or include its files: include = [\"{path}/*.toml\"]"))
            }
            SourceError::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("the user that runs the router needs to read it".to_owned())
            }
            SourceError::TooLarge | SourceError::NotText(_) => Some("is it the right file?".to_owned()),
            SourceError::Io(_) => None,
        }
    }
}

impl Source {
    /// A source that is already in memory.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// Reads a file. It may be a pipe, and is not read further than any configuration is long.
    pub fn read(path: &Path) -> Result<Source, SourceError> {
        if path.is_dir() {
            return Err(SourceError::Folder);
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(LARGEST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_BYTES {
            return Err(SourceError::TooLarge);
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| SourceError::NotText(error.utf8_error().valid_up_to() + 1))?;
        Ok(Source::new(path.display().to_string(), text))
    }
}

/// One file and where its text begins in the space of positions.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub begin: usize,
    pub source: Arc<Source>,
}

impl Placed {
    /// A place in this file as a range of its text.
    pub fn within(&self, span: &Range<usize>) -> Range<usize> {
        let at = |position: usize| position.saturating_sub(self.begin).min(self.source.text.len());
        at(span.start)..at(span.end)
    }

    /// Moves every place in a table that was read from this file's text to where the file stands.
    pub fn place<'t>(&self, table: DeTable<'t>) -> DeTable<'t> {
        if self.begin == 0 {
            return table;
        }
        table
            .into_iter()
            .map(|(key, mut value)| {
                self.place_value(&mut value);
                (Spanned::new(self.moved(key.span()), key.into_inner()), value)
            })
            .collect()
    }

    fn place_value(&self, value: &mut Spanned<DeValue<'_>>) {
        let span = self.moved(value.span());
        // Its type stands in for a moment: a span cannot be changed in place.
        let inner = match std::mem::replace(value.get_mut(), DeValue::Boolean(false)) {
            DeValue::Table(table) => DeValue::Table(self.place(table)),
            DeValue::Array(mut items) => {
                items.iter_mut().for_each(|item| self.place_value(item));
                DeValue::Array(items)
            }
            other => other,
        };
        *value = Spanned::new(span, inner);
    }

    /// What the parser stands in for a value that it could not read has no place.
    pub fn moved(&self, span: Range<usize>) -> Range<usize> {
        if span == (0..0) { span } else { span.start + self.begin..span.end + self.begin }
    }
}

/// All files of one configuration, in the order in which they are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources(Vec<Placed>);

impl Sources {
    /// Adds a file behind the others.
    pub fn add(&mut self, source: Arc<Source>) -> Placed {
        // One position lies between two files, so that the end of one is not the beginning of the next.
        let begin = self.0.last().map_or(0, |last| last.begin + last.source.text.len() + 1);
        let placed = Placed { begin, source };
        self.0.push(placed.clone());
        placed
    }

    /// The file that a place is in.
    pub fn of(&self, span: &Range<usize>) -> Option<&Placed> {
        let behind = self.0.partition_point(|placed| placed.begin <= span.start);
        self.0.get(behind.checked_sub(1)?)
    }

    /// What stands at a place.
    pub fn text(&self, span: &Range<usize>) -> Option<&str> {
        let placed = self.of(span)?;
        placed.source.text.get(placed.within(span))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lead_to_their_file() {
        let mut sources = Sources::default();
        for text in ["one", "", "three = 3"] {
            sources.add(Arc::new(Source::new(text, text)));
        }
        let named = |span: Range<usize>| sources.of(&span).map(|placed| placed.source.path.as_str());
        assert_eq!(named(0..3), Some("one"));
        assert_eq!(named(3..3), Some("one"), "its end belongs to a file");
        assert_eq!(named(4..4), Some(""));
        assert_eq!(named(5..9), Some("three = 3"));
        assert_eq!(sources.text(&(13..14)), Some("3"));
        assert_eq!(Sources::default().text(&(0..0)), None);
    }

    #[test]
    fn a_table_is_moved_whole() {
        let mut sources = Sources::default();
        sources.add(Arc::new(Source::new("a", "12345")));
        let placed = sources.add(Arc::new(Source::new("b", "a = [1, { b = 'c' }]")));
        let text = placed.source.text.clone();
        let table = placed.place(DeTable::parse(&text).unwrap().into_inner());
        let (key, value) = table.iter().next().unwrap();
        assert_eq!(sources.text(&key.span()), Some("a"));
        assert_eq!(sources.text(&value.span()), Some("[1, { b = 'c' }]"));
        let inner = value.get_ref().get(1).unwrap().get_ref().get("b").unwrap();
        assert_eq!(sources.text(&inner.span()), Some("'c'"));
    }

    #[test]
    fn what_is_no_configuration_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str| Source::read(&folder.path().join(name)).unwrap_err().to_string();
        assert_eq!(said("none.toml"), "there is no such file");
        let missing = Source::read(Path::new("/nonexistent/none.toml")).unwrap_err();
        assert!(std::error::Error::source(&missing).is_none(), "its words are in the text already");
        assert_eq!(said(""), "it is a folder");
        std::fs::write(folder.path().join("binary"), b"ab\xff").unwrap();
        assert_eq!(said("binary"), "it is not text: byte 3 is not UTF-8");
        let endless = Source::read(Path::new("/dev/zero")).unwrap_err();
        assert!(matches!(endless, SourceError::TooLarge));
    }
}
