//! What the documentation says is true: every configuration in it can be run, the reference page is what the code
//! says, and every reason that is counted is explained.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use metlog_message::Reason;
use metlog_router::{
    config::{Source, load_with_environment, reference},
    endpoints, inputs,
    ledger::DropReason,
};
use regex::Regex;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<PathBuf> {
    let root = repository();
    let mut pages: Vec<PathBuf> = fs::read_dir(root.join("docs"))
        .unwrap()
        .chain(fs::read_dir(&root).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

/// Tokens come from the environment; everything else has a default.
fn variable(name: &str) -> Option<String> {
    name.ends_with("_TOKEN").then(|| "example".to_owned())
}

/// What a section that is shown by itself needs to be a configuration.
fn whole(block: &str) -> String {
    let mut text = block.to_owned();
    if !block.contains("[inputs.") {
        text.push_str("\n[inputs.example]\nkind = \"stdin\"\n");
    }
    if !block.contains("[[routes]]") {
        let endpoint = block.split("[endpoints.").nth(1).and_then(|rest| rest.split([']', '.']).next());
        if endpoint.is_none() {
            text.push_str("\n[endpoints.example]\nkind = \"null\"\n");
        }
        text.push_str(&format!("\n[[routes]]\nto = [\"{}\"]\n", endpoint.unwrap_or("example")));
    }
    text
}

#[test]
fn every_configuration_in_the_documentation_can_be_run() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            let source = Source::new(page.display().to_string(), whole(block));
            let (configuration, diagnostics) = load_with_environment(
                &source,
                inputs::registry::KINDS,
                endpoints::registry::KINDS,
                &variable,
            );
            assert!(configuration.is_some(), "{}", diagnostics.render(false));
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} found");
}

#[test]
fn the_reference_page_says_what_the_code_says() {
    let page = repository().join("docs/reference.md");
    let expected = reference::markdown(inputs::registry::KINDS, endpoints::registry::KINDS);
    if std::env::var_os("METLOG_UPDATE_EXPECTED").is_some() {
        fs::write(&page, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&page).unwrap() == expected,
        "docs/reference.md is not what the code says; METLOG_UPDATE_EXPECTED=1 writes it anew"
    );
}

#[test]
fn every_kind_is_documented_has_a_sample_that_is_read_and_its_own_name() {
    fn check<S: ?Sized>(kinds: &[metlog_router::config::Kind<S>]) {
        assert!(kinds.is_sorted_by(|a, b| a.name < b.name), "sorted, and no name twice");
        for kind in kinds {
            assert!((kind.docs)().iter().all(|key| !key.doc.trim().is_empty()), "{}", kind.name);
            if let Err(problem) = kind.read_body(kind.sample) {
                panic!("the sample of {}: {problem}", kind.name);
            }
        }
    }
    check(inputs::registry::KINDS);
    check(endpoints::registry::KINDS);
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: {target}", page.display());
        }
    }
}

/// A name as the ledger has it: lower case, in parts joined by hyphens.
const NAME: &str = "[a-z0-9]+(?:-[a-z0-9]+)+";

/// What the log calls a count that has no reason in the ledger.
const ONLY_IN_THE_LOG: &str = "receive-buffer-full";

/// Every name that the router counts something under: from the types that have a list, and otherwise from the sources.
///
/// In the sources a reason is a text in the shape of a [`NAME`], or a constant `REFUSED_…` or `NOTICE_…`, or what is handed
/// to a counter as it is. Headers begin with `x-`.
fn reasons_in_the_code() -> BTreeSet<String> {
    let mut reasons: BTreeSet<String> =
        DropReason::ALL.iter().map(|reason| reason.name().to_owned()).collect();
    for reason in Reason::all() {
        let reason = reason.to_string();
        reasons.insert(reason.split_once(':').map_or(reason.clone(), |(check, _)| format!("{check}:KEY")));
    }
    let in_sources = Regex::new(&format!(
        r#"(?:REFUSED|NOTICE)_\w+: &str = "(?<constant>[^"]+)"|(?:refuse|notice|refused\.add)\("(?<counted>[^"]+)"|"(?<shape>{NAME})""#
    ))
    .unwrap();
    for file in sources(&repository().join("crates/router/src")) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let found =
                in_sources.captures_iter(line).filter_map(|found| found.iter().skip(1).flatten().next());
            let names = found.map(|name| name.as_str().to_owned());
            reasons.extend(names.filter(|name| !name.starts_with("x-") && name != ONLY_IN_THE_LOG));
        }
    }
    reasons
}

/// Names what a followed file does, which is no reason.
const STATES_OF_FILES: &str = "ledger/files.rs";

#[test]
fn every_state_of_a_followed_file_is_on_the_page_about_them() {
    let page = fs::read_to_string(repository().join("docs/following-files.md")).unwrap();
    let source = fs::read_to_string(repository().join("crates/router/src").join(STATES_OF_FILES)).unwrap();
    let states = Regex::new(r#"Standing::\w+(?:\(_\))? => "(?<name>[^"]+)""#).unwrap();
    let states: Vec<&str> =
        states.captures_iter(&source).map(|found| found.name("name").unwrap().as_str()).collect();
    assert!(states.contains(&"waits-for-endpoint"), "{states:?}");
    for state in states {
        assert!(page.contains(&format!("`{state}`")), "{state}");
    }
}

/// The files of the rooms that count, without their tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(OsStr::to_str) {
            // Names in configurations are no reasons.
            Some("config" | "tests" | "tests.rs" | "testing.rs") => {}
            _ if path.is_dir() => files.extend(sources(&path)),
            _ if path.ends_with(STATES_OF_FILES) => {}
            _ => files.push(path),
        }
    }
    files
}

#[test]
fn every_reason_that_is_counted_is_on_its_page_and_no_other() {
    let page = fs::read_to_string(repository().join("docs/reasons.md")).unwrap();
    let (_, of_reasons) = page.split_once("\n## Rejected").unwrap();
    let (of_reasons, _) = of_reasons.split_once("\n## Counted without a reason").unwrap();
    // The names in the first column of every table.
    let mut explained = BTreeSet::new();
    for cell in
        of_reasons.lines().filter(|line| line.starts_with("| `")).filter_map(|row| row.split(" | ").next())
    {
        explained.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let counted = reasons_in_the_code();
    let missing: Vec<_> = counted.difference(&explained).collect();
    assert!(missing.is_empty(), "docs/reasons.md does not say what these mean: {missing:?}");
    let unknown: Vec<_> = explained.difference(&counted).collect();
    assert!(unknown.is_empty(), "docs/reasons.md has what nothing counts: {unknown:?}");
}
