//! `include = ["conf.d/*.toml"]`: a configuration in several files.
//!
//! The main file names the others, by path or by pattern, relative to the folder that it lies in; the others include nothing.
//! Their sections are put together as if they stood in one file, the main one first: tables key by key, lists one behind the
//! other. Whatever is said twice is an error that shows both places.

use std::{
    collections::HashSet,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use glob::{MatchOptions, Pattern, glob_with};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Diagnostics, Source,
    reader::{Value, found},
    sources::SourceError,
};

/// More files than this are not a configuration but somebody's home folder.
const MOST_FILES: usize = 1000;

/// Reads the files that the main file includes, each once, in the order in which they are named; what a pattern finds is
/// sorted by name.
pub(super) fn read(main: &Source, table: &DeTable<'_>, diagnostics: &mut Diagnostics) -> Vec<Arc<Source>> {
    let Some(value) = table.get("include") else { return Vec::new() };
    let outer = diagnostics.enter("include".to_owned());
    // What is wrong with the list as a whole is said when the top level is read.
    let items = value.get_ref().as_array().into_iter().flat_map(|items| items.iter());
    let mut includes = Includes {
        folder: Path::new(&main.path).parent().unwrap_or(Path::new("")),
        seen: HashSet::from_iter(std::fs::canonicalize(&main.path)),
        sources: Vec::new(),
        are_too_many: false,
    };
    for item in items {
        if let Some(text) = item.get_ref().as_str() {
            includes.add(text, &item.span(), diagnostics);
        }
    }
    diagnostics.leave(outer);
    includes.sources
}

struct Includes<'m> {
    folder: &'m Path,
    /// The main file and what was included so far, by the path that leads to a file without detours.
    seen: HashSet<PathBuf>,
    sources: Vec<Arc<Source>>,
    are_too_many: bool,
}

impl Includes<'_> {
    fn add(&mut self, text: &str, span: &Range<usize>, diagnostics: &mut Diagnostics) {
        if !text.contains(['*', '?', '[']) {
            self.add_file(&self.folder.join(text), span, diagnostics);
            return;
        }
        for path in self.matching(text, span, diagnostics) {
            self.add_file(&path, span, diagnostics);
        }
    }

    /// The files that fit a pattern. None is fine: a folder for later.
    fn matching(&self, text: &str, span: &Range<usize>, diagnostics: &mut Diagnostics) -> Vec<PathBuf> {
        let pattern = if Path::new(text).is_absolute() || self.folder.as_os_str().is_empty() {
            text.to_owned()
        } else {
            format!("{}/{text}", Pattern::escape(&self.folder.to_string_lossy()))
        };
        // Editors leave hidden files behind.
        let options = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = match glob_with(&pattern, options) {
            Ok(found) => found,
            Err(error) => {
                let problem = diagnostics.error(span.clone(), "this is not a pattern of file names");
                problem
                    .label(error.msg)
                    .help("`*` is any run of characters, `?` one character, [a-z] a class");
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for path in found {
            match path {
                Ok(path) if path.is_dir() => {}
                Ok(path) => paths.push(path),
                Err(error) => {
                    let error =
                        SourceError::from(std::io::Error::new(error.error().kind(), error.to_string()));
                    cannot_include(text, &error, span, diagnostics);
                }
            }
        }
        paths.sort();
        paths
    }

    fn add_file(&mut self, path: &Path, span: &Range<usize>, diagnostics: &mut Diagnostics) {
        // A file that a pattern finds again is a way of saying which comes first.
        if let Ok(real) = std::fs::canonicalize(path)
            && !self.seen.insert(real)
        {
            return;
        }
        if self.sources.len() == MOST_FILES {
            if !std::mem::replace(&mut self.are_too_many, true) {
                let problem =
                    diagnostics.error(span.clone(), format!("more than {MOST_FILES} files are included"));
                problem.help("does the pattern name the right folder?");
            }
            return;
        }
        match Source::read(path) {
            Ok(source) => self.sources.push(Arc::new(source)),
            Err(error) => cannot_include(&path.display().to_string(), &error, span, diagnostics),
        }
    }
}

fn cannot_include(path: &str, error: &SourceError, span: &Range<usize>, diagnostics: &mut Diagnostics) {
    let help = error.help(path);
    let problem = diagnostics.error(span.clone(), format!("cannot include {path}: {error}"));
    if let Some(help) = help {
        problem.help(help);
    }
    diagnostics.a_file_is_missing();
}

/// Puts what an included file says to what the others have said.
pub(super) fn merge<'t>(whole: &mut DeTable<'t>, part: DeTable<'t>, diagnostics: &mut Diagnostics) {
    for (key, value) in part {
        if key.get_ref() == "include" {
            let problem = diagnostics.error(key.span(), "only the main file includes others");
            problem.help("name the file there; what a pattern finds again is read once");
            continue;
        }
        let Some((first, known)) = whole.remove_entry(&**key.get_ref()) else {
            whole.insert(key, value);
            continue;
        };
        let merged = merge_values(&key, known, value, diagnostics);
        whole.insert(first, merged);
    }
}

/// Two values of one key at the top level.
fn merge_values<'t>(
    key: &Spanned<std::borrow::Cow<'t, str>>,
    known: Value<'t>,
    value: Value<'t>,
    diagnostics: &mut Diagnostics,
) -> Value<'t> {
    let (span, other) = (known.span(), value.span());
    let merged = match (known.into_inner(), value.into_inner()) {
        (DeValue::Table(mut known), DeValue::Table(table)) => {
            merge_tables(key.get_ref(), &mut known, table, diagnostics);
            DeValue::Table(known)
        }
        (DeValue::Array(mut known), DeValue::Array(items)) if is_list_of_tables(&known) => {
            items.into_iter().for_each(|item| known.push(item));
            DeValue::Array(known)
        }
        (known, value) if known.same_type(&value) => {
            twice(key.get_ref(), &key.span(), &span, "remove one of the two", diagnostics);
            known
        }
        (known, value) => {
            let message =
                format!("`{}` is {} here, and {} elsewhere", key.get_ref(), found(&value), found(&known));
            let problem = diagnostics.error(if other.is_empty() { key.span() } else { other }, message);
            problem.related(span.clone(), "there").help("write it alike in every file");
            known
        }
    };
    Spanned::new(span, merged)
}

/// `[[routes]]` of several files follow one another; `to = [ … ]` and the like are one value.
fn is_list_of_tables(items: &toml::de::DeArray<'_>) -> bool {
    items.iter().all(|item| item.get_ref().is_table())
}

fn merge_tables<'t>(
    section: &str,
    known: &mut DeTable<'t>,
    table: DeTable<'t>,
    diagnostics: &mut Diagnostics,
) {
    for (key, value) in table {
        let Some((first, first_value)) = known.get_key_value(&**key.get_ref()) else {
            known.insert(key, value);
            continue;
        };
        let name = format!("{section}.{}", key.get_ref());
        if value.get_ref().is_table() && first_value.get_ref().is_table() {
            // A table's place is its header.
            let place = |key: &Spanned<_>, value: &Value<'_>| {
                if value.span().is_empty() { key.span() } else { value.span() }
            };
            let first = place(first, first_value);
            twice(
                &name,
                &place(&key, &value),
                &first,
                "give one of them another name, or remove it",
                diagnostics,
            );
        } else {
            twice(&name, &key.span(), &first.span(), "remove one of the two", diagnostics);
        }
    }
}

fn twice(name: &str, span: &Range<usize>, first: &Range<usize>, help: &str, diagnostics: &mut Diagnostics) {
    let problem = diagnostics.error(span.clone(), format!("`{name}` is given twice"));
    problem.label("here again").related(first.clone(), "given here first").help(help);
}
