//! Which files are meant: paths with wildcards, less those that are excluded.

use std::{
    fmt, fs, io,
    path::{Component, Path, PathBuf},
};

use glob::{MatchOptions, Pattern};
use toml::de::DeValue;

use super::{Links, identity::FileId};
use crate::config::{Diagnostics, FromConfig, Schema, reader::Value, types};

/// As in a shell: `*` stays within a folder and does not find hidden files.
const AS_IN_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Paths with wildcards: a text or a list of texts in the file.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Pattern>);

impl FromConfig for Patterns {
    fn expected() -> String {
        "a path such as \"/var/log/app/*.log\", or a list of them".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Patterns> {
        match value.get_ref() {
            DeValue::Array(items) if items.is_empty() => {
                diagnostics.invalid::<Patterns>(value, "this is empty");
                None
            }
            DeValue::Array(items) => {
                let read: Vec<Option<Pattern>> =
                    items.iter().map(|item| pattern(item, diagnostics)).collect();
                read.into_iter().collect::<Option<_>>().map(Patterns)
            }
            _ => pattern(value, diagnostics).map(|pattern| Patterns(vec![pattern])),
        }
    }

    fn schema() -> Schema {
        Schema::OneOrMany(Box::new(Schema::String))
    }

    fn to_toml(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            [pattern] => types::quoted(pattern.as_str()),
            patterns => {
                let texts: Vec<String> =
                    patterns.iter().map(|pattern| types::quoted(pattern.as_str())).collect();
                format!("[{}]", texts.join(", "))
            }
        }
    }
}

fn pattern(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Pattern> {
    let text = types::text::<Patterns>(value, diagnostics)?;
    types::warn_of_tilde(text, value.span(), diagnostics);
    let problem = match Pattern::new(text) {
        _ if text.is_empty() => "this is empty".to_owned(),
        Ok(pattern) => return Some(pattern),
        Err(error) => format!("{} at character {}", error.msg, error.pos + 1),
    };
    diagnostics.invalid::<Patterns>(value, problem);
    None
}

impl Patterns {
    /// The real path of a file if it is no link, and none of the folders is that a wildcard stands for.
    pub fn without_links(&self, path: &Path) -> io::Result<PathBuf> {
        let folder = self.named_folder(path);
        let rest = path.strip_prefix(folder).unwrap_or(path);
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Ok(fs::canonicalize(folder)?.join(rest))
    }

    /// The folder that is named in the configuration: what lies before a pattern's first wildcard. Otherwise the file's own.
    fn named_folder<'p>(&self, path: &'p Path) -> &'p Path {
        let own = path.parent().unwrap_or(Path::new(""));
        let has_no_wildcard = |part: &Component<'_>| {
            !part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[".contains(byte))
        };
        let named = self.0.iter().filter_map(|pattern| {
            let fixed: PathBuf =
                Path::new(pattern.as_str()).components().take_while(has_no_wildcard).collect();
            own.ancestors().find(|folder| **folder == fixed)
        });
        named.max_by_key(|folder| folder.as_os_str().len()).unwrap_or(own)
    }

    fn is_behind_link(&self, path: &Path) -> bool {
        let without = self.without_links(path);
        without.is_ok_and(|without| fs::canonicalize(path).is_ok_and(|real| real != without))
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(Pattern::as_str).collect();
        f.write_str(&texts.join(", "))
    }
}

/// A file that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub path: PathBuf,
    /// Which file that is at the moment.
    pub id: FileId,
    /// How large it is.
    pub size: u64,
}

/// What could not be looked at.
#[derive(Debug)]
pub struct Unreadable {
    /// A folder or a file.
    pub path: PathBuf,
    /// Why.
    pub error: io::Error,
}

/// What an input looks for.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Which names.
    pub path: Patterns,
    /// Which of them not.
    pub exclude: Patterns,
    /// Whether links count.
    pub links: Links,
}

impl Scope {
    /// Whether a look would have found a file with this name, had it been there.
    pub fn covers(&self, path: &Path) -> bool {
        let tidy: PathBuf = path.components().collect();
        let matches = |pattern: &Pattern| {
            // Names are found without the slashes that a pattern has too many.
            let tidied: PathBuf = Path::new(pattern.as_str()).components().collect();
            let tidied = Pattern::new(&tidied.to_string_lossy());
            tidied.as_ref().unwrap_or(pattern).matches_path_with(&tidy, AS_IN_A_SHELL)
        };
        self.path.0.iter().any(matches)
            && !self.exclude.0.iter().any(|pattern| excludes(pattern, path))
            && !(self.links == Links::Refuse && self.path.is_behind_link(path))
    }
}

/// The regular files that `included` matches and `excluded` does not, each pattern's in the order of their names.
pub fn scan(included: &Patterns, excluded: &Patterns, links: Links) -> (Vec<Found>, Vec<Unreadable>) {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    for pattern in &included.0 {
        // Was checked when it was read.
        let Ok(paths) = glob::glob_with(pattern.as_str(), AS_IN_A_SHELL) else { continue };
        for path in paths {
            let path = match path {
                Ok(path) => path,
                Err(error) => {
                    let path = error.path().to_owned();
                    unreadable.push(Unreadable { path, error: error.into() });
                    continue;
                }
            };
            if excluded.0.iter().any(|pattern| excludes(pattern, &path)) {
                continue;
            }
            if links == Links::Refuse && included.is_behind_link(&path) {
                let error =
                    io::Error::other("it is a symbolic link, or lies behind one, and `links` is \"refuse\"");
                unreadable.push(Unreadable { path, error });
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => {
                    found.push(Found { id: FileId::of(&metadata), size: metadata.len(), path });
                }
                Ok(_) => {}
                // It was renamed or deleted since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push(Unreadable { path, error }),
            }
        }
    }
    (found, unreadable)
}

fn excludes(pattern: &Pattern, path: &Path) -> bool {
    if pattern.as_str().contains('/') {
        return pattern.matches_path_with(path, AS_IN_A_SHELL);
    }
    path.file_name().is_some_and(|name| pattern.matches(&name.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns_of(text: &str) -> Patterns {
        if text.is_empty() { Patterns::default() } else { patterns(&format!("'{text}'")).unwrap() }
    }

    fn patterns(text: &str) -> Result<Patterns, String> {
        let value = DeValue::parse(text).unwrap();
        let mut diagnostics = Diagnostics::new();
        let read = Patterns::from_config(&value, &mut diagnostics);
        let problem = diagnostics.iter().next();
        read.ok_or_else(|| problem.and_then(|problem| problem.label.clone()).unwrap_or_default())
    }

    #[test]
    fn a_pattern_is_a_text_or_a_list_of_texts() {
        assert_eq!(patterns("'/var/log/*.log'").unwrap().to_toml(), "\"/var/log/*.log\"");
        assert_eq!(patterns("['a', 'b*']").unwrap().to_toml(), "[\"a\", \"b*\"]");
        assert_eq!(patterns("[]").unwrap_err(), "this is empty");
        assert_eq!(patterns("''").unwrap_err(), "this is empty");
        assert_eq!(patterns("'a[b'").unwrap_err(), "invalid range pattern at character 2");
        assert!(patterns("3").is_err());
    }

    #[test]
    fn files_are_found_as_in_a_shell_less_those_that_are_excluded() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.log", "b.log", "b.log.1", ".hidden.log", "in/c.log", "in/deep/d.log"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let find = |included: &str, excluded: &str| {
            let within = |text: &str| patterns_of(&text.replace("@", folder.path().to_str().unwrap()));
            let scope = Scope { path: within(included), exclude: within(excluded), links: Links::Follow };
            let (found, unreadable) = scan(&scope.path, &scope.exclude, scope.links);
            assert!(unreadable.is_empty());
            // Whoever was found is covered, and nobody else.
            let (all, _) = scan(&within("@/**/*"), &Patterns::default(), Links::Follow);
            let covered = all.iter().filter(|found| scope.covers(&found.path)).count();
            assert_eq!(covered, found.len(), "{included} {excluded}");
            assert!(found.iter().all(|found| scope.covers(&found.path)));
            let relative = |found: Found| found.path.strip_prefix(folder.path()).unwrap().to_owned();
            found.into_iter().map(relative).map(|path| path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(find("@/*", ""), ["a.log", "b.log", "b.log.1"]);
        assert_eq!(find("@/*.log", "b*"), ["a.log"]);
        assert_eq!(find("@/**/*.log", "@/in/*"), ["a.log", "b.log", "in/deep/d.log"]);
        assert_eq!(find("@/b.log", ""), ["b.log"]);
        assert_eq!(find("@//in//*.log", ""), ["in/c.log"]);
        assert_eq!(find("@/nothing/*", ""), Vec::<String>::new());
    }
}
