//! What is wrong with a configuration file: collected while reading, shown all at once.

use std::{fmt, io, ops::Range, path::Path};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

use super::masking::Mask;

/// The text of a configuration file and the name it is shown under.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the operator wrote it.
    pub path: String,
    /// The whole file.
    pub text: String,
}

impl Source {
    /// A source that is already in memory.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> io::Result<Source> {
        Ok(Source { path: path.display().to_string(), text: std::fs::read_to_string(path)? })
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but probably does not do what was meant.
    Warning,
}

/// One problem and its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one line. Quotes keys and names, never values: those go into the label.
    pub message: String,
    /// Where, in bytes of the source. Empty at 0: the file as a whole.
    pub span: Range<usize>,
    /// Said beside the caret.
    pub label: Option<String>,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    /// Says something beside the caret.
    pub fn label(&mut self, label: impl Into<String>) -> &mut Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Says what would be right.
    pub fn help(&mut self, help: impl Into<String>) -> &mut Diagnostic {
        self.help = Some(help.into());
        self
    }

    fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(&self.message).elements(None::<Origin<'_>>);
        if self.span == (0..0) {
            group = group.element(Origin::path(&source.path));
        } else {
            let annotation = AnnotationKind::Primary.span(on_one_line(&self.span, &source.text));
            let snippet = Snippet::source(&source.text).path(&source.path);
            group = group.element(snippet.annotation(annotation.label(self.label.as_deref())));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// A value that goes over many lines is shown by its first: the caret marks a place, not an extent.
fn on_one_line(span: &Range<usize>, text: &str) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    let first_line = text.get(start..end).and_then(|part| part.find('\n')).map(|length| start + length);
    start..first_line.unwrap_or(end)
}

/// A string into which environment variables were filled in. Their values may be secrets.
#[derive(Clone)]
pub(super) struct Substituted {
    pub span: Range<usize>,
    /// The string as it stands in the file, and what it became.
    pub written: String,
    pub filled: String,
    /// Names and values of the variables.
    pub variables: Vec<(String, String)>,
    /// A variable was missing: what is said about the rest of this string is noise.
    pub unusable: bool,
}

/// Collects problems while a file is read.
#[derive(Default)]
pub struct Diagnostics {
    items: Vec<Diagnostic>,
    /// The value being read, such as `endpoints.stats.address`.
    context: String,
    substituted: Vec<Substituted>,
    mask: Mask,
    /// Strings are read as they stand in the file: for showing, not for use.
    as_written: bool,
    /// The file is not whole TOML, so that what is missing may only be unreadable.
    incomplete: bool,
}

impl Diagnostics {
    /// Nothing wrong so far.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// Adds an error; the result takes a label and a help.
    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, span, message.into())
    }

    /// Adds a warning; the result takes a label and a help.
    pub fn warning(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, span, message.into())
    }

    fn push(&mut self, severity: Severity, span: Range<usize>, message: String) -> &mut Diagnostic {
        let position = self.items.len();
        self.items.push(Diagnostic { severity, message, span, label: None, help: None });
        &mut self.items[position]
    }

    /// Whether the configuration cannot be used.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.items.iter().filter(|item| item.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    pub fn warnings(&self) -> usize {
        self.items.len() - self.errors()
    }

    /// All of them; in the order of the file once [`load`](super::load) has returned.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.items.iter()
    }

    /// The text that an operator reads: each problem with its line, a blank line between two. Secrets are masked.
    pub fn render(&self, source: &Source, color: bool) -> String {
        let source =
            &Source { path: source.path.clone(), text: self.mask.apply(&source.text, !self.incomplete) };
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let shown: Vec<String> =
            self.items.iter().map(|item| item.render(source, &renderer) + "\n").collect();
        shown.join("\n")
    }

    /// Names the value that is read next, and returns the name before it for [`Diagnostics::leave`].
    pub(super) fn enter(&mut self, context: String) -> String {
        std::mem::replace(&mut self.context, context)
    }

    pub(super) fn leave(&mut self, outer: String) {
        self.context = outer;
    }

    /// The full name of the value being read: `endpoints.stats.address`.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The key of the value being read: `address`.
    pub fn key(&self) -> &str {
        self.context.rsplit('.').next().unwrap_or_default()
    }

    /// Reports that the file is not TOML here. What is said later about the same line is a consequence, and so may
    /// be whatever seems to be missing from the file.
    pub(super) fn syntax_error(&mut self, span: Range<usize>, message: &str, source: &Source) {
        let text = &source.text;
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let end = text
            .get(span.start..)
            .and_then(|after| after.find('\n'))
            .map_or(text.len(), |at| span.start + at);
        let line = self.mask.apply_to_line(text.get(start..end).unwrap_or_default());
        let what = message.trim_end_matches(", expected nothing");
        if what == "duplicate key" {
            let key = text.get(span.clone()).unwrap_or_default();
            self.error(span, format!("`{key}` is given twice")).help("remove one of the two");
        } else {
            let problem = self.error(span, format!("this is not TOML: {what}"));
            if what.starts_with("missing comma") {
                problem.help("a comma is missing, or what was opened before this is not closed");
            } else if let Some(line) = with_quotes(&line) {
                problem.help(format!("text goes in quotes: {line}"));
            }
        }
        self.substituted.push(Substituted {
            span: start..end,
            written: String::new(),
            filled: String::new(),
            variables: Vec::new(),
            unusable: true,
        });
        self.incomplete = true;
    }

    /// Shows `*` in place of the value at this place wherever the file is quoted.
    pub fn conceal(&mut self, value: Range<usize>) {
        self.mask().add_value(value);
    }

    /// What is not shown of the file.
    pub(super) fn mask(&mut self) -> &mut Mask {
        &mut self.mask
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    pub(super) fn substituted(&mut self, substituted: Substituted) {
        self.substituted.push(substituted);
    }

    /// Diagnostics with which the same values are read once more, to be shown: with `${NAME}` for what is from the environment.
    pub(super) fn for_showing(&self) -> Diagnostics {
        Diagnostics { substituted: self.substituted.clone(), as_written: true, ..Diagnostics::new() }
    }

    /// The string at this place, of which `filled` is the value.
    pub(super) fn string(&self, span: &Range<usize>, filled: &str) -> String {
        let written =
            self.substituted.iter().find(|substituted| self.as_written && substituted.span == *span);
        written.map_or(filled, |substituted| &substituted.written).to_owned()
    }

    /// Whether the string at this place came, in whole or in part, from the environment.
    pub fn is_from_environment(&self, span: &Range<usize>) -> bool {
        self.substituted.iter().any(|substituted| substituted.span == *span)
    }

    /// Brings the list into its final state: in file order, without repetitions and consequences of what was
    /// already said, and without the values of environment variables.
    pub(super) fn settle(&mut self) {
        for substituted in std::mem::take(&mut self.substituted) {
            let mut said = false;
            self.items.retain_mut(|item| {
                if item.span.start < substituted.span.start || item.span.end > substituted.span.end {
                    return true;
                }
                let keep = !(substituted.unusable && said);
                said = true;
                // Where all variables are empty, what is shown stands in the file.
                let hidden = substituted.variables.iter().any(|(_, value)| !value.is_empty());
                if hidden {
                    conceal(item, &substituted);
                }
                keep
            });
        }
        if self.incomplete {
            // The parser stands values without a place in for what it could not read.
            self.items.retain(|item| item.span != (0..0));
        }
        self.items.sort_by_key(|item| (item.span.start, item.span.end));
        self.items.dedup();
    }
}

/// The line `key = some text` with its value in quotes; `None` where that is not the problem.
fn with_quotes(line: &str) -> Option<String> {
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next().unwrap_or_default().trim();
    let quotable = !value.is_empty() && !value.contains(['"', '\'', '[', '{', '\\']);
    quotable.then(|| format!("{} = \"{value}\"", key.trim()))
}

/// A value of so many bytes stands in prose only because it was put there.
const TELLING_BYTES: usize = 6;

/// Takes the values of variables out of what is said about a string that they became part of.
///
/// What is said quotes the string whole, if at all, so it is put back as it was written. A value that is long enough not to
/// be a part of any word is looked for everywhere all the same.
fn conceal(item: &mut Diagnostic, substituted: &Substituted) {
    let variables = &substituted.variables;
    for text in std::iter::once(&mut item.message).chain(item.help.as_mut()) {
        let escaped = substituted.filled.escape_debug().to_string();
        *text = unquoted(text, &substituted.filled, &substituted.written);
        *text = unquoted(text, &escaped, &substituted.written);
    }
    for (name, value) in variables.iter().filter(|(_, value)| value.len() >= TELLING_BYTES) {
        let escaped = value.escape_debug().to_string();
        let placeholder = format!("${{{name}}}");
        for text in std::iter::once(&mut item.message).chain(item.help.as_mut()) {
            *text = text.replace(value.as_str(), &placeholder).replace(&escaped, &placeholder);
        }
    }
    // A label may quote any part of the value, so none of it is shown.
    let names: Vec<String> = variables.iter().map(|(name, _)| format!("`{name}`")).collect();
    item.label = Some(format!("with the value of {} filled in (not shown)", names.join(" and ")));
}

/// Puts `written` in place of `filled` wherever that stands in quotes, or at the end of a section's name.
fn unquoted(text: &str, filled: &str, written: &str) -> String {
    let mut replaced = text.to_owned();
    for (open, close) in [("`", "`"), ("\"", "\""), (".", "]")] {
        let quoted = format!("{open}{filled}{close}");
        replaced = replaced.replace(&quoted, &format!("{open}{written}{close}"));
    }
    replaced
}

impl fmt::Debug for Diagnostics {
    // Only the problems: the values of environment variables stay out of logs and test output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.items).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(span: Range<usize>, text: &str) -> String {
        let mut diagnostics = Diagnostics::new();
        diagnostics.error(span, "wrong").label("here").help("right");
        diagnostics.render(&Source::new("metlog.toml", text), false)
    }

    #[test]
    fn shows_file_line_and_column() {
        let text = rendered(9..14, "one = 1\nt = [2, 3]\n");
        assert!(text.contains("metlog.toml:2:2"), "{text}");
        assert!(text.contains("here") && text.contains("right"), "{text}");
    }

    #[test]
    fn spans_at_the_end_and_beyond_are_shown() {
        for span in [6..8, 7..7, 8..8, 100..200] {
            assert!(rendered(span, "one = 1\n").contains("wrong"));
        }
        assert!(rendered(0..0, "").contains("metlog.toml"));
    }

    #[test]
    fn a_value_over_many_lines_is_shown_by_its_first() {
        let text = rendered(4..14, "a = [\n1,\n2,\n]\n");
        assert!(text.contains("a = [") && !text.contains("2,"), "{text}");
    }

    #[test]
    fn values_of_variables_are_never_shown() {
        let mut diagnostics = Diagnostics::new();
        let variables = vec![("TOKEN".to_owned(), "hunter\n2".to_owned())];
        diagnostics.substituted(Substituted {
            span: 4..14,
            written: "${TOKEN}".to_owned(),
            filled: "hunter\n2".to_owned(),
            variables,
            unusable: false,
        });
        diagnostics
            .error(4..14, format!("bad {:?}", "hunter\n2"))
            .label("`unte` is wrong")
            .help("not hunter\n2");
        diagnostics.settle();
        let shown = diagnostics.render(&Source::new("f", "a = \"${TOKEN}\"\n"), false);
        assert!(!shown.contains("hunter") && !shown.contains("unte"), "{shown}");
        assert!(shown.contains("bad \"${TOKEN}\""), "{shown}");
    }
}
