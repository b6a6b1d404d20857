//! What the command line makes of its own description: the schema, completions, manual pages.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use crate::support::router::METLOG;

fn metlog(arguments: &[&str]) -> Output {
    Command::new(METLOG).args(arguments).output().expect("run metlog")
}

/// Every command, as `metlog --help` lists them.
fn commands() -> Vec<String> {
    let help = String::from_utf8(metlog(&["--help"]).stdout).expect("text");
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command_says_more_than_its_name() {
    for command in commands() {
        let help = String::from_utf8(metlog(&[&command, "--help"]).stdout).expect("text");
        let about = help.split("\nUsage:").next().expect("what it is for");
        let summary = about.lines().next().unwrap_or_default();
        assert!(summary.len() > 10 && summary.len() < 100, "{command}: {summary}");
        // `config` has commands of its own, which say it.
        assert!(command == "config" || about.trim().lines().count() > 1, "{command}:\n{help}");
    }
}

#[test]
fn the_schema_is_a_json_document() {
    let output = metlog(&["config", "schema"]);
    assert!(output.status.success());
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$defs"]["endpoints.file"]["properties"]["path"]["description"].is_string());
}

#[test]
fn every_shell_gets_completions_that_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = metlog(&["completions", shell]);
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).expect("text");
        for command in commands() {
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
    }
    let bash = metlog(&["completions", "bash"]).stdout;
    let folder = tempfile::tempdir().expect("make a folder");
    fs::write(folder.path().join("metlog"), bash).expect("write");
    let checked =
        Command::new("bash").arg("-n").arg(folder.path().join("metlog")).status().expect("run bash");
    assert!(checked.success(), "bash reads it");
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let page = String::from_utf8(metlog(&["man"]).stdout).expect("text");
    assert!(page.contains(".TH metlog 1") && page.contains("metlog\\-check(1)"), "{page:.500}");
    let folder = tempfile::tempdir().expect("make a folder");
    let pages = folder.path().join("man1");
    assert!(metlog(&["man", "--dir", pages.to_str().expect("a path")]).status.success());
    for command in commands() {
        assert!(pages.join(format!("metlog-{command}.1")).exists(), "{command}");
    }
    assert!(pages.join("metlog-config-from-logstash.1").exists());
}

#[test]
fn who_reads_only_the_beginning_is_not_told_off() {
    for arguments in [["config", "schema"].as_slice(), &["man"], &["completions", "zsh"]] {
        let mut child = Command::new(METLOG)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run metlog");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("wait");
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
    }
}
