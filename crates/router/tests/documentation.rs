//! What the documentation says is true: every configuration in it can be run, and the reference page is what the code says.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use metlog_router::{
    config::{Source, load_with_environment, reference},
    endpoints, inputs,
};

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
