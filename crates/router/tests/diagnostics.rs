//! What an operator reads about a broken configuration: each `tests/diagnostics/NAME.toml` of the repository is
//! checked, and what is said about it compared with `NAME.expected`.
//!
//! `METLOG_UPDATE_EXPECTED=1` writes the expected texts anew. Read them before committing: they are the product.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use metlog_router::{
    config::{Kind, Source, load_with_environment},
    endpoints, inputs,
};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/diagnostics");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    cases.sort();
    cases
}

/// The variables that the cases use; no case depends on the environment of whoever runs the test.
fn variable(name: &str) -> Option<String> {
    match name {
        "STATSD_PORT" => Some("sesame-open".to_owned()),
        "ROUTE_TO" => Some("sesame-street".to_owned()),
        "LETTER" => Some("i".to_owned()),
        "PATTERN" => Some("(sesame".to_owned()),
        _ => None,
    }
}

/// Everything that is said about a file, shown as if its folder were the working directory.
fn said_about(path: &Path) -> String {
    // Included files are found from there; their names are the same everywhere.
    std::env::set_current_dir(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let source = Source::new(name, fs::read_to_string(path).unwrap());
    let (configuration, diagnostics) =
        load_with_environment(&source, inputs::registry::KINDS, endpoints::registry::KINDS, &variable);
    assert_eq!(configuration.is_none(), diagnostics.has_errors(), "{}", path.display());
    diagnostics.render(false)
}

#[test]
fn every_broken_file_says_what_is_wrong() {
    let update = std::env::var_os("METLOG_UPDATE_EXPECTED").is_some();
    let mut different = Vec::new();
    for case in cases() {
        let said = said_about(&case);
        let expected = case.with_extension("expected");
        if update {
            fs::write(&expected, said).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(said.as_str()) {
            different.push(format!("{}:\n{said}", expected.display()));
        }
    }
    assert!(different.is_empty(), "not as expected:\n\n{}", different.join("\n\n"));
}

/// What is said of a sample with one key that cannot be read.
fn said_with_one_unreadable_key<S: ?Sized>(kind: &Kind<S>, key: &str) -> String {
    let is_of_key = |line: &&str| line.split_once('=').is_some_and(|(name, _)| name.trim() == key);
    let others: Vec<&str> = kind.sample.lines().filter(|line| !is_of_key(line)).collect();
    // Nothing takes a date.
    kind.read_body(&format!("{}\n{key} = 1979-05-27\n", others.join("\n"))).err().unwrap_or_default()
}

fn problems_with_each_key_unreadable<S: ?Sized>(kinds: &[Kind<S>]) {
    for kind in kinds {
        for key in (kind.docs)() {
            let said = said_with_one_unreadable_key(kind, key.name);
            let problems =
                said.lines().filter(|line| line.starts_with("error") || line.starts_with("warning"));
            assert_eq!(problems.count(), 1, "{} with a wrong `{}`:\n{said}", kind.name, key.name);
        }
    }
}

#[test]
fn a_key_that_cannot_be_read_is_the_only_problem_where_the_others_are_right() {
    problems_with_each_key_unreadable(inputs::registry::KINDS);
    problems_with_each_key_unreadable(endpoints::registry::KINDS);
}

#[test]
fn there_are_enough_cases_and_none_is_silent() {
    let cases = cases();
    assert!(cases.len() >= 60, "{} cases", cases.len());
    for case in cases {
        assert!(!said_about(&case).is_empty(), "{}: nothing is wrong with it", case.display());
    }
}

#[test]
fn no_secret_is_shown() {
    for case in cases() {
        assert!(!said_about(&case).contains("sesame"), "{}", case.display());
    }
}
