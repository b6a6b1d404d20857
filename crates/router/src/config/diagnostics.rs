//! What is wrong with a configuration file: collected while reading, shown all at once.

use std::{fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{
    masking::Mask,
    sources::{Placed, Source, Sources},
};

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
    /// Where, in bytes of the main file; included files lie behind it. Empty at 0: the configuration as a whole.
    pub span: Range<usize>,
    /// Said beside the caret.
    pub label: Option<String>,
    /// Another place that this is about, and what is said beside it.
    pub related: Option<(Range<usize>, String)>,
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

    /// Shows another place that this is about.
    pub fn related(&mut self, span: Range<usize>, label: impl Into<String>) -> &mut Diagnostic {
        self.related = Some((span, label.into()));
        self
    }

    /// Whether it speaks of something with this name.
    pub(super) fn names(&self, name: &str) -> bool {
        let texts = [Some(&self.message), self.label.as_ref(), self.help.as_ref()];
        let mut words = texts
            .into_iter()
            .flatten()
            .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
        words.any(|word| word == name)
    }

    fn render(&self, sources: &Sources, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level.primary_title(&self.message).elements(None::<Origin<'_>>);
        if let Some(placed) = sources.of(&self.span) {
            group = self.shown_in(placed, sources, group);
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    /// The line that this is about, and the related one: in one picture where both are in one file.
    fn shown_in<'g>(&'g self, placed: &'g Placed, sources: &'g Sources, group: Group<'g>) -> Group<'g> {
        if self.span == (0..0) {
            return group.element(Origin::path(&placed.source.path));
        }
        let annotate = |kind: AnnotationKind, placed: &Placed, span: &Range<usize>, label| {
            kind.span(on_one_line(&placed.within(span), &placed.source.text)).label(label)
        };
        let snippet = |placed: &'g Placed| Snippet::source(&placed.source.text).path(&placed.source.path);
        let mut shown = snippet(placed).annotation(annotate(
            AnnotationKind::Primary,
            placed,
            &self.span,
            self.label.as_deref(),
        ));
        let Some((span, label)) = &self.related else { return group.element(shown) };
        let Some(other) = sources.of(span) else { return group.element(shown) };
        let annotation = annotate(AnnotationKind::Context, other, span, Some(label.as_str()));
        if other.begin == placed.begin {
            shown = shown.annotation(annotation);
            return group.element(shown);
        }
        group.element(shown).element(snippet(other).annotation(annotation))
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
    sources: Sources,
    /// The value being read, such as `endpoints.stats.address`.
    context: String,
    substituted: Vec<Substituted>,
    mask: Mask,
    /// Strings are read as they stand in the file: for showing, not for use.
    as_written: bool,
    /// A file is not whole TOML, so that what is missing may only be unreadable.
    incomplete: bool,
    /// A file could not be read at all, and whatever is not known may be in it.
    file_missing: bool,
    /// Lists that were told to be written in double brackets.
    lists_told: Vec<String>,
    /// Names that are defined under a misspelt heading, which is reported there.
    misplaced: Vec<String>,
}

impl Diagnostics {
    /// Nothing wrong so far.
    pub fn new() -> Diagnostics {
        Diagnostics::default()
    }

    /// The same, for a file that is no configuration of ours; places are bytes of its text.
    pub fn about(source: &Source) -> Diagnostics {
        let mut diagnostics = Diagnostics::new();
        diagnostics.add_source(Arc::new(source.clone()));
        diagnostics
    }

    /// What stands at this place is a secret: it is shown as `*`.
    pub fn hide(&mut self, span: Range<usize>) {
        self.mask.add_value(span);
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
        self.items.push(Diagnostic { severity, message, span, label: None, related: None, help: None });
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

    /// Takes back what `keep` does not keep of everything behind the first `said` ones.
    pub(super) fn retain_behind(&mut self, said: usize, keep: impl FnMut(&Diagnostic) -> bool) {
        let mut later = self.items.split_off(said.min(self.items.len()));
        later.retain(keep);
        self.items.append(&mut later);
    }

    /// The text that an operator reads: each problem with its line, a blank line between two. Secrets are masked.
    pub fn render(&self, color: bool) -> String {
        if self.items.is_empty() {
            return String::new();
        }
        let mut masked = Sources::default();
        for placed in self.sources.iter() {
            let text = self.mask.apply(&placed.source.text, placed.begin, !self.incomplete);
            masked.add(Arc::new(Source::new(&placed.source.path, text)));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let shown: Vec<String> =
            self.items.iter().map(|item| item.render(&masked, &renderer) + "\n").collect();
        shown.join("\n")
    }

    /// Adds a file; places in it are ranges behind those of the files before it.
    pub(super) fn add_source(&mut self, source: Arc<Source>) -> Placed {
        self.sources.add(source)
    }

    /// Where a problem is: file, line and column, or the file alone where it is about the configuration as a whole.
    pub fn place_of(&self, diagnostic: &Diagnostic) -> Option<String> {
        let placed = self.sources.of(&diagnostic.span)?;
        let is_whole = diagnostic.span == (0..0);
        Some(if is_whole { placed.source.path.clone() } else { self.place(&diagnostic.span) })
    }

    /// A place as it is shown: file, line and column.
    pub(super) fn place(&self, span: &Range<usize>) -> String {
        let Some(placed) = self.sources.of(span) else { return String::new() };
        let before = placed.source.text.get(..placed.within(span).start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
        format!("{}:{line}:{column}", placed.source.path)
    }

    /// What the file says at a place.
    pub(super) fn text(&self, span: &Range<usize>) -> Option<&str> {
        self.sources.text(span)
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

    /// Says that a file is not whole TOML (why is said elsewhere): what is missing from it may only be unreadable.
    pub(super) fn is_not_toml(&mut self) {
        self.incomplete = true;
    }

    /// Shows `*` in place of the value at this place wherever the file is quoted.
    pub fn conceal(&mut self, value: Range<usize>) {
        self.mask().add_value(value);
    }

    /// Reports that a file could not be read (which is said elsewhere).
    pub(super) fn a_file_is_missing(&mut self) {
        self.file_missing = true;
    }

    /// Whether a name that nothing defines may be defined in a file that could not be read, or is under a misspelt heading.
    pub(super) fn may_be_elsewhere(&self, name: &str) -> bool {
        self.file_missing || self.misplaced.iter().any(|misplaced| misplaced == name)
    }

    /// Says that these are defined under a heading that is misspelt (which is said elsewhere).
    pub(super) fn are_misplaced(&mut self, names: impl IntoIterator<Item = String>) {
        self.misplaced.extend(names);
    }

    /// Says that somebody was told to write this list in double brackets; returns whether that is news.
    pub(super) fn tell_list(&mut self, list: &str) -> bool {
        let is_news = !self.is_list_told(list);
        if is_news {
            self.lists_told.push(list.to_owned());
        }
        is_news
    }

    /// Whether somebody was told to write this list in double brackets.
    pub(super) fn is_list_told(&self, list: &str) -> bool {
        self.lists_told.iter().any(|told| told == list)
    }

    /// What is not shown of the file.
    pub(super) fn mask(&mut self) -> &mut Mask {
        &mut self.mask
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete || self.file_missing
    }

    pub(super) fn substituted(&mut self, substituted: Substituted) {
        self.substituted.push(substituted);
    }

    /// Whether anything came from the environment: otherwise what is shown is what is used.
    pub(super) fn has_variables(&self) -> bool {
        !self.substituted.is_empty()
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
        diagnostics.add_source(Arc::new(Source::new("metlog.toml", text)));
        diagnostics.error(span, "wrong").label("here").help("right");
        diagnostics.render(false)
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
        diagnostics.add_source(Arc::new(Source::new("f", "a = \"${TOKEN}\"\n")));
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
        let shown = diagnostics.render(false);
        assert!(!shown.contains("hunter") && !shown.contains("unte"), "{shown}");
        assert!(shown.contains("bad \"${TOKEN}\""), "{shown}");
    }
}
