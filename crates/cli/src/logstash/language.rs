//! The configuration language of logstash, as it was when logstash-metlog was written.
//!
//! A file has sections (`input`, `filter`, `output`), a section has plug-ins, and a plug-in has settings, `name => value`. A value is
//! a text, a bare word, a number, a list or a hash. Conditionals came later; they are told apart and stepped over.

use std::ops::Range;

/// One plug-in of one section.
#[derive(Debug, PartialEq)]
pub struct Plugin {
    /// `input`, `filter` or `output`.
    pub section: String,
    /// Its name.
    pub name: String,
    /// Where its name stands, in bytes.
    pub span: Range<usize>,
    /// In the order of the file.
    pub settings: Vec<Setting>,
}

/// `name => value`.
#[derive(Debug, PartialEq)]
pub struct Setting {
    /// The name.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
    /// The value.
    pub value: Value,
    /// Where the value stands.
    pub value_span: Range<usize>,
}

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text, a bare word, or a number as it is written.
    Text(String),
    /// `[ … ]`
    List(Vec<Value>),
    /// `{ a => b }`
    Hash(Vec<(String, Value)>),
}

impl Value {
    /// Every text in it, the keys of hashes included.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Value::Text(text) => vec![text.clone()],
            Value::List(items) => items.iter().flat_map(Value::texts).collect(),
            Value::Hash(entries) => entries
                .iter()
                .flat_map(|(key, value)| std::iter::once(key.clone()).chain(value.texts()))
                .collect(),
        }
    }
}

/// What a file holds.
#[derive(Debug, Default, PartialEq)]
pub struct File {
    /// Every plug-in, in the order of the file.
    pub plugins: Vec<Plugin>,
    /// Every conditional, in the order of the file.
    pub conditionals: Vec<Conditional>,
}

/// `if … { … }` or `else { … }`, of which only that it is there is known, and what it may do to tags.
#[derive(Debug, PartialEq)]
pub struct Conditional {
    /// Where its first word stands.
    pub span: Range<usize>,
    /// The tags that something in it puts on messages.
    pub added_tags: Vec<String>,
}

/// Why a text is not in this language.
#[derive(Debug, PartialEq)]
pub struct SyntaxError {
    /// What would have been right.
    pub expected: &'static str,
    /// Where.
    pub span: Range<usize>,
}

/// Lists within lists; more are no configuration.
const DEEPEST: usize = 32;

/// Reads a file.
pub fn parse(text: &str) -> Result<File, SyntaxError> {
    let mut reader = Reader { text, at: 0 };
    let mut file = File::default();
    loop {
        reader.skip_blanks();
        if reader.at == text.len() {
            return Ok(file);
        }
        let (section, span) = reader.word("`input`, `filter` or `output`")?;
        if !matches!(section.as_str(), "input" | "filter" | "output") {
            return Err(SyntaxError { expected: "a section is `input`, `filter` or `output`", span });
        }
        reader.require('{', "a `{` behind the name of the section")?;
        while !reader.take('}') {
            reader.plugin(&section, &mut file)?;
        }
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, expected: &'static str) -> SyntaxError {
        let length = self.peek().map_or(0, char::len_utf8);
        SyntaxError { expected, span: self.at..self.at + length }
    }

    /// Steps over blanks and comments.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blanks = rest.len() - rest.trim_start().len();
            let comment = match rest[blanks..].starts_with('#') {
                true => rest[blanks..].find('\n').unwrap_or(rest.len() - blanks),
                false => 0,
            };
            if blanks + comment == 0 {
                return;
            }
            self.at += blanks + comment;
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn require(&mut self, wanted: char, expected: &'static str) -> Result<(), SyntaxError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(expected)) }
    }

    fn word(&mut self, expected: &'static str) -> Result<(String, Range<usize>), SyntaxError> {
        self.skip_blanks();
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_-.@".contains(c))).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error(expected));
        }
        let (word, span) = (rest[..length].to_owned(), self.at..self.at + length);
        self.at += length;
        Ok((word, span))
    }

    fn plugin(&mut self, section: &str, file: &mut File) -> Result<(), SyntaxError> {
        let (name, span) = self.word("the name of a plug-in, or the `}` that ends the section")?;
        if name == "if" || name == "else" {
            let added_tags = self.step_over_conditional()?;
            file.conditionals.push(Conditional { span, added_tags });
            return Ok(());
        }
        self.require('{', "a `{` behind the name of the plug-in")?;
        let mut settings = Vec::new();
        while !self.take('}') {
            let name_begins = self.at;
            let (name, span) = match self.peek() {
                Some('"' | '\'') => (self.quoted()?, name_begins..self.at),
                _ => self.word("a setting, `name => value`, or the `}` that ends the plug-in")?,
            };
            self.skip_blanks();
            if !self.rest().starts_with("=>") {
                return Err(self.error("a `=>` behind the name of the setting"));
            }
            self.at += 2;
            self.skip_blanks();
            let begin = self.at;
            let value = self.value(0)?;
            settings.push(Setting { name, span, value, value_span: begin..self.at });
            // Some files have commas here.
            self.take(',');
        }
        file.plugins.push(Plugin { section: section.to_owned(), name, span, settings });
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        if depth > DEEPEST {
            return Err(self.error("fewer lists within lists"));
        }
        self.skip_blanks();
        match self.peek() {
            Some('"' | '\'') => Ok(Value::Text(self.quoted()?)),
            Some('[') => {
                self.at += 1;
                let mut items = Vec::new();
                while !self.take(']') {
                    items.push(self.value(depth + 1)?);
                    if !self.take(',') {
                        self.require(']', "a `,` or the `]` that ends the list")?;
                        break;
                    }
                }
                Ok(Value::List(items))
            }
            Some('{') => {
                self.at += 1;
                let mut entries = Vec::new();
                while !self.take('}') {
                    let Value::Text(key) = self.value(depth + 1)? else {
                        return Err(self.error("a text as the key of a hash"));
                    };
                    self.skip_blanks();
                    if !self.rest().starts_with("=>") {
                        return Err(self.error("a `=>` behind the key"));
                    }
                    self.at += 2;
                    entries.push((key, self.value(depth + 1)?));
                    self.take(',');
                }
                Ok(Value::Hash(entries))
            }
            _ => {
                Ok(Value::Text(self.word("a value: a text in quotes, a word, a number, a list or a hash")?.0))
            }
        }
    }

    /// A text in quotes. A backslash keeps the quote behind it; before anything else it is an ordinary character.
    fn quoted(&mut self) -> Result<String, SyntaxError> {
        let begin = self.at;
        let unclosed = SyntaxError { expected: "the quote that ends this text", span: begin..begin + 1 };
        let Some(quote) = self.peek() else { return Err(unclosed) };
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1).peekable();
        while let Some((offset, letter)) = letters.next() {
            match letter {
                '\\' if letters.peek().is_some_and(|(_, next)| *next == quote) => {
                    text.push(quote);
                    letters.next();
                }
                letter if letter == quote => {
                    self.at = begin + offset + letter.len_utf8();
                    return Ok(text);
                }
                letter => text.push(letter),
            }
        }
        Err(unclosed)
    }

    /// Steps over the condition and what stands in its braces, of which it returns the tags that are added.
    fn step_over_conditional(&mut self) -> Result<Vec<String>, SyntaxError> {
        let mut depth = 0usize;
        let mut added_tags = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest().starts_with("add_tag") {
                self.at += "add_tag".len();
                self.skip_blanks();
                if self.rest().starts_with("=>") {
                    self.at += 2;
                    added_tags.extend(self.value(0)?.texts());
                }
                continue;
            }
            match self.peek() {
                None => return Err(self.error("the `}` that ends the conditional")),
                Some('"' | '\'') => {
                    self.quoted()?;
                    continue;
                }
                Some('{') => depth += 1,
                Some('}') if depth <= 1 => {
                    self.at += 1;
                    return Ok(added_tags);
                }
                Some('}') => depth -= 1,
                Some(_) => {}
            }
            self.at += self.peek().map_or(0, char::len_utf8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn plug_ins_have_settings_of_every_type() {
        let file = parse(
            "# a comment\ninput {\n udp { port => 5565 host => '0.0.0.0' # why\n } }\n\
             filter { tagger { pattern => [ \"type\", 'a\\'b', ] more => { \"k\" => [1], b => true } } }\noutput { stdout { } }",
        )
        .unwrap();
        let names: Vec<_> =
            file.plugins.iter().map(|plugin| (plugin.section.as_str(), plugin.name.as_str())).collect();
        assert_eq!(names, [("input", "udp"), ("filter", "tagger"), ("output", "stdout")]);
        let values = |plugin: usize| -> Vec<_> {
            file.plugins[plugin].settings.iter().map(|setting| &setting.value).collect()
        };
        assert_eq!(values(0), [&text("5565"), &text("0.0.0.0")]);
        let hash =
            Value::Hash(vec![("k".to_owned(), Value::List(vec![text("1")])), ("b".to_owned(), text("true"))]);
        assert_eq!(values(1), [&Value::List(vec![text("type"), text("a'b")]), &hash]);
    }

    #[test]
    fn conditionals_are_stepped_over() {
        let file =
            parse("output { if [type] == \"}\" { stdout { } } else { file { path => 'x' } } null { } }")
                .unwrap();
        assert_eq!((file.plugins.len(), file.conditionals.len()), (1, 2));
        assert_eq!(file.plugins[0].name, "null");
        let file = parse(
            "filter { if \"add_tag\" in [x] { mutate { add_tag => [\"a\", b] } grok { add_tag=>c } } }",
        )
        .unwrap();
        assert_eq!(file.conditionals[0].added_tags, ["a", "b", "c"]);
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, at) in [
            ("inputs { }", 0),
            ("input udp", 6),
            ("input { udp }", 12),
            ("input { udp { port 5565 } }", 19),
            ("input { udp { port => } }", 22),
            ("input { udp { host => \"x } }", 22),
            ("input { udp { a => [1 2] } }", 22),
            ("input { udp { } ", 16),
            ("output { if x { ", 16),
        ] {
            assert_eq!(parse(text).unwrap_err().span.start, at, "{text}");
        }
        let deep = format!("input {{ a {{ b => {} }} }}", "[".repeat(100_000));
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn no_text_makes_it_panic() {
        let whole = "input { udp { a => \"é\\\"\" b => [ {c=>1} ] } } # end";
        for (end, _) in whole.char_indices() {
            let _ = parse(&whole[..end]);
            let _ = parse(&whole[end..]);
        }
    }
}
