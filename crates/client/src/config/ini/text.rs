//! The text of an INI file, as the original client read it: sections, keys in any case, values that go on in indented
//! lines, comments.

use std::ops::Range;

use super::super::section::Fault;

/// A section, from its header to the next one. One that comes again goes on.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    /// In small letters.
    pub(super) key: String,
    pub(super) span: Range<usize>,
    /// The lines of its value that are not blank.
    pub(super) lines: Vec<Line>,
}

/// A line of a value.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// Splits a file into its sections.
pub(super) fn sections(text: &str) -> Result<Vec<Section>, Fault> {
    let mut sections: Vec<Section> = Vec::new();
    let mut current: Option<usize> = None;
    // How far the key is indented whose value may go on. A line that is indented further belongs to it.
    let mut key_indent: Option<usize> = None;
    let mut place = 0;
    for line in text.split_inclusive('\n') {
        let start = place;
        place += line.len();
        let content = line.trim_start_matches('\u{feff}').trim_start();
        let indent = line.len() - content.len();
        let content = content.trim_end();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let span = start + indent..start + indent + content.len();
        if let (Some(key_indent), Some(section)) = (key_indent, current)
            && indent > key_indent
            && let Some(entry) = sections[section].entries.last_mut()
        {
            entry.lines.push(Line { text: content.to_owned(), span });
        } else if let Some(header) = content.strip_prefix('[') {
            let name = header.split_once(']').map(|(name, _)| name).filter(|name| !name.is_empty());
            let name = name.ok_or_else(|| Fault::at(&span, "expected a section such as [metlog]"))?;
            current = sections.iter().position(|section| section.name == name).or_else(|| {
                sections.push(Section { name: name.to_owned(), span, entries: Vec::new() });
                Some(sections.len() - 1)
            });
            key_indent = None;
        } else {
            let section =
                current.ok_or_else(|| Fault::at(&span, "expected a section such as [metlog] first"))?;
            sections[section].add(entry(content, span)?);
            key_indent = Some(indent);
        }
    }
    Ok(sections)
}

impl Section {
    /// Adds an entry. Of two with one key, the later one counts.
    fn add(&mut self, entry: Entry) {
        self.entries.retain(|present| present.key != entry.key);
        self.entries.push(entry);
    }
}

/// `key = value` or `key: value`.
fn entry(content: &str, span: Range<usize>) -> Result<Entry, Fault> {
    let parts = content.split_once(['=', ':']).filter(|(key, _)| !key.trim().is_empty());
    let (key, rest) = parts.ok_or_else(|| Fault::at(&span, "expected `key = value`"))?;
    // A semicolon behind white space begins a comment.
    let comment = rest.find(';').filter(|place| rest[..*place].ends_with(char::is_whitespace));
    let value = rest[..comment.unwrap_or(rest.len())].trim();
    let begin = span.start + content.len() - rest.trim_start().len();
    let mut lines = Vec::new();
    if !value.is_empty() && value != "\"\"" {
        lines.push(Line { text: value.to_owned(), span: begin..begin + value.len() });
    }
    let key = key.trim();
    Ok(Entry { span: span.start..span.start + key.len(), key: key.to_lowercase(), lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key and the lines of its value.
    type Pair = (String, Vec<String>);

    fn read(text: &str) -> Vec<(String, Vec<Pair>)> {
        let sections = sections(text).unwrap_or_else(|fault| panic!("{}: {text}", fault.problem));
        let lines = |entry: &Entry| entry.lines.iter().map(|line| line.text.clone()).collect();
        let entries = |section: &Section| section.entries.iter().map(|e| (e.key.clone(), lines(e))).collect();
        sections.iter().map(|section| (section.name.clone(), entries(section))).collect()
    }

    fn one(text: &str) -> Vec<Pair> {
        read(text).remove(0).1
    }

    fn of(key: &str, lines: &[&str]) -> Pair {
        (key.to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn a_value_goes_on_in_lines_that_are_indented_further_than_its_key() {
        assert_eq!(
            one("[m]\ntypes = a\n\n        b\n# no\n  # nor this\n  c\nnext: d\n"),
            [of("types", &["a", "b", "c"]), of("next", &["d"])]
        );
        assert_eq!(one("  [m]\n  a = 1\n  b =\n     2\n"), [of("a", &["1"]), of("b", &["2"])]);
    }

    #[test]
    fn keys_have_no_case_and_the_last_value_counts() {
        assert_eq!(one("[m]\nLogger = a\nlogger = b"), [of("logger", &["b"])]);
        let sections = read("[a]\nx=1\n[b]\ny=2\n[a]\nz=3");
        assert_eq!(sections.len(), 2);
        assert_eq!(sections[0].1, [of("x", &["1"]), of("z", &["3"])]);
    }

    #[test]
    fn comments_begin_at_a_line_or_behind_a_space() {
        assert_eq!(
            one("\u{feff}; head\r\n[m]\r\na = 1 ; one\r\nb = x;y\r\nc = ;\r\nd = \"\"\r\n"),
            [of("a", &["1"]), of("b", &["x;y"]), of("c", &[]), of("d", &[])]
        );
        assert_eq!(one("[m]\nurl = http://x:1/#a"), [of("url", &["http://x:1/#a"])]);
    }

    #[test]
    fn any_text_is_read_or_refused() {
        for text in [
            "[",
            "[]",
            "[m",
            "=1",
            "[m]\n=1",
            "[m]\nword",
            "a = 1",
            "\u{feff}",
            "[é]\né = é\n é",
            "[m]\n \u{a0}x",
        ] {
            let _ = sections(text);
        }
    }
}
