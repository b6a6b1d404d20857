//! What stands in the file but is not shown: the copy of the text that diagnostics quote has `*` in place of secrets.
//!
//! Which these are is known by their keys: those of the parameters of type [`Secret`](super::Secret), whatever section they
//! stand in and however the key is misspelt, and names that speak for themselves (`words.rs`). In a section that can hold secrets, whatever
//! its kind does not know is one (`sections.rs`), and of a URL only scheme and host are shown anywhere (`urls.rs`). Where the file is not
//! whole TOML nobody can say where a value ends, so there everything behind the key of a secret is masked, to the end of its line.

mod sections;
mod urls;
mod words;

use std::{cell::RefCell, collections::HashMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::sections::Kinds;
use super::{file::Kind, parameters::ParameterDoc, reader::Schema, suggest};

/// Keys of secrets, whether or not a parameter is called so, and however they are misspelt.
const ALWAYS: [&str; 3] = ["token", "password", "secret"];

/// The secrets of one file.
#[derive(Debug, Clone)]
pub(super) struct Mask {
    keys: Vec<&'static str>,
    kinds: Kinds,
    values: Vec<Range<usize>>,
    /// Whether words are keys of secrets: files say few words, and some of them a thousand times.
    known: RefCell<HashMap<String, bool>>,
}

impl Default for Mask {
    fn default() -> Mask {
        Mask { keys: ALWAYS.to_vec(), kinds: Kinds::default(), values: Vec::new(), known: RefCell::default() }
    }
}

impl Mask {
    /// Adds the keys of secrets among these parameters.
    pub(super) fn add_keys(&mut self, docs: &[ParameterDoc]) {
        for doc in docs {
            self.add_key(doc.name, &doc.schema);
        }
    }

    fn add_key(&mut self, name: &'static str, schema: &Schema) {
        match schema {
            Schema::Secret if !self.keys.contains(&name) => {
                self.keys.push(name);
                self.known.get_mut().clear();
            }
            Schema::List(item) | Schema::OneOrMany(item) | Schema::Map(item) => self.add_key(name, item),
            Schema::Table(docs) => self.add_keys(docs),
            _ => {}
        }
    }

    /// Adds the keys of secrets of these kinds. What one of them that has any does not know is a secret in its sections.
    pub(super) fn add_kinds<S: ?Sized>(
        &mut self,
        group: &'static str,
        kinds: &[Kind<S>],
        common: &[ParameterDoc],
    ) {
        for kind in kinds {
            let mut docs = (kind.docs)();
            self.add_keys(&docs);
            docs.extend_from_slice(common);
            self.kinds.add(group, kind.name, docs);
        }
    }

    /// Adds the keys of secrets of a section that has no kind, and what it does not know.
    pub(super) fn add_section(&mut self, heading: &'static str, docs: Vec<ParameterDoc>) {
        self.add_keys(&docs);
        self.kinds.add_section(heading, docs);
    }

    /// Adds the value at this place.
    pub(super) fn add_value(&mut self, span: Range<usize>) {
        self.values.push(span);
    }

    /// Adds what is secret in a whole file: the values of all keys of secrets, known to their sections or not, and what stands in
    /// sections that can hold secrets and do not know it.
    pub(super) fn add_file(&mut self, table: &DeTable<'_>) {
        self.add_values(table);
        self.values.extend(self.kinds.unknown_values(table));
    }

    fn add_values(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            self.add_value_of(key.get_ref(), value);
        }
    }

    fn add_value_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_values(table),
            DeValue::Array(items) => items.iter().for_each(|item| self.add_value_of(key, item)),
            _ if self.is_secret(key) => self.add_value(value.span()),
            _ => {}
        }
    }

    fn is_secret(&self, key: &str) -> bool {
        if let Some(known) = self.known.borrow().get(key) {
            return *known;
        }
        let is_secret =
            words::speaks_for_itself(key) || suggest::nearest(key, self.keys.iter().copied()).is_some();
        self.known.borrow_mut().insert(key.to_owned(), is_secret);
        is_secret
    }

    /// A copy, of equal length and without the secrets, of the text of a file that begins at this position.
    pub(super) fn apply(&self, text: &str, begin: usize, is_whole: bool) -> String {
        let within = |span: &Range<usize>| Some(span.start.checked_sub(begin)?..span.end.checked_sub(begin)?);
        let mut hidden: Vec<Range<usize>> = self.values.iter().filter_map(within).collect();
        hidden.extend(urls::beyond_hosts(text));
        if !is_whole {
            hidden.extend(self.behind_keys(text));
        }
        let mut masked = text.as_bytes().to_vec();
        for span in hidden {
            let Some(value) = text.get(span.clone()) else { continue };
            if is_reference(value) {
                continue;
            }
            for (byte, shown) in value.bytes().zip(&mut masked[span]) {
                if !matches!(byte, b'"' | b'\'' | b'\n' | b'\r') {
                    *shown = b'*';
                }
            }
        }
        // Whole characters were replaced by ASCII.
        String::from_utf8(masked).unwrap_or_default()
    }

    /// As [`apply`](Self::apply), of a line that is not TOML.
    pub(super) fn apply_to_line(&self, line: &str) -> String {
        Mask { keys: self.keys.clone(), ..Mask::default() }.apply(line, 0, false)
    }

    /// What stands behind a word that is the key of a secret, to the end of the line, or of the text over several lines
    /// that begins there.
    fn behind_keys(&self, text: &str) -> Vec<Range<usize>> {
        let is_of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let mut found = Vec::new();
        let mut start = 0;
        while let Some(offset) = text[start..].find(is_of_word) {
            let word = start + offset;
            let end = text[word..].find(|c| !is_of_word(c)).map_or(text.len(), |length| word + length);
            start = end;
            if self.is_secret(&text[word..end]) {
                let value = text[end..].find(|c| !matches!(c, ' ' | '\t' | '"' | '\'' | '=' | ':'));
                let value = value.map_or(text.len(), |length| end + length);
                start = end_of_value(text, end);
                found.push(value.min(start)..start);
            }
        }
        found
    }
}

fn end_of_value(text: &str, key_end: usize) -> usize {
    let end_of_line = |from: usize| text[from..].find('\n').map_or(text.len(), |length| from + length);
    let mut end = end_of_line(key_end);
    for quotes in ["\"\"\"", "'''"] {
        if text[key_end..end].matches(quotes).count() % 2 == 1 {
            end = text[end..].find(quotes).map_or(text.len(), |length| end_of_line(end + length));
        }
    }
    end
}

/// `"${NAME}"`, of which nothing is secret in the file.
fn is_reference(value: &str) -> bool {
    let name = value.trim_matches(['"', '\'']).strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut mask = Mask::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        mask.add_values(table.get_ref());
        let masked = mask.apply(text, 0, errors.is_empty());
        assert_eq!(masked.len(), text.len(), "{text}");
        masked
    }

    #[test]
    fn values_are_masked_by_their_keys_wherever_they_stand() {
        for (text, expected) in [
            ("api = { token = \"abc\", b = \"c\" }", "api = { token = \"***\", b = \"c\" }"),
            ("[apy]\ntokn = 'abc'\nto = ['a']", "[apy]\ntokn = '***'\nto = ['a']"),
            ("[endpoints.token]\nkind = 'null'", "[endpoints.token]\nkind = 'null'"),
            ("[[a]]\nTOKEN = [\"a\", 'b']", "[[a]]\nTOKEN = [\"*\", '*']"),
            ("password = \"\"\"a\nb\"\"\"", "password = \"\"\"*\n*\"\"\""),
            ("token = \"ä\"", "token = \"**\""),
            ("token = 123", "token = ***"),
            ("token = \"${TOKEN}\"", "token = \"${TOKEN}\""),
            ("token = \"${TOKEN:-abc}\"", "token = \"*************\""),
            ("token = \"${T}a${T}\"", "token = \"*********\""),
            ("api_key = \"abc\"", "api_key = \"***\""),
            ("[e]\nauth = \"abc\"", "[e]\nauth = \"***\""),
            ("[e]\nsentry_dsn = \"abc\"", "[e]\nsentry_dsn = \"***\""),
            ("[e]\nurl = \"https://a.b/c\" # d", "[e]\nurl = \"https://a.b/*\" # d"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn where_there_is_no_value_the_rest_of_the_line_is_masked() {
        for (text, expected) in [
            ("token = abc\na = 1", "token = ***\na = 1"),
            ("token: abc", "token: ***"),
            ("token abc", "token ***"),
            ("a = { \"token\" = 'abc', b", "a = { \"token\" = '***'***"),
            ("token = \"abc\nb = 1", "token = \"***\nb = 1"),
            ("token = \"\"\"a\nb\nc = 1", "token = \"\"\"*\n*\n*****"),
            ("token = 'a' b'\n", "token = '*'**'\n"),
            ("token =", "token ="),
            ("token", "token"),
            ("= \ntoken = \"${TOKEN}\"\n", "= \ntoken = \"${TOKEN}\"\n"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }
}
