//! `metlog test`: what passes, what fails and how that is said.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::support::{messages::tests_folder, router::METLOG};

/// The configuration that the documentation shows.
fn documented() -> (String, String) {
    let page = fs::read_to_string(tests_folder().join("../docs/testing.md")).expect("the page");
    let configuration = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    (configuration.expect("a configuration").to_owned(), page)
}

fn test_in(folder: &Path, configuration: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    fs::write(folder.join("metlog.toml"), configuration).expect("write");
    let Output { status, stdout, stderr } = Command::new(METLOG)
        .args(["test", "--config", "metlog.toml"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("run metlog");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn test(configuration: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("make a folder");
    let outcome = test_in(folder.path(), configuration, arguments);
    assert_eq!(fs::read_dir(folder.path()).expect("look").count(), 1, "nothing is opened");
    outcome
}

#[test]
fn the_documented_tests_pass_and_fail_as_the_page_says() {
    let (configuration, page) = documented();
    let (status, out, _) = test(&configuration, &[]);
    assert_eq!(status, Some(0), "{out}");
    assert!(page.contains(&out), "the page does not show:\n{out}");
    let (status, out, _) = test(&configuration.replace("max = 4", "max = 2"), &[]);
    assert_eq!(status, Some(1), "{out}");
    assert!(page.contains(&out), "the page does not show:\n{out}");
}

#[test]
fn what_an_unnamed_endpoint_gets_and_what_is_refused_or_rejected_otherwise_fails() {
    let (configuration, _) = documented();
    let changed = configuration
        .replace("expect.archive = { count = 1 }\n", "")
        .replace("refused = [\"statsd-value\"]", "refused = []")
        .replace("\"invalid-json\"", "\"missing-type\"")
        .replace("unrouted = 1", "unrouted = 2");
    let (status, out, _) = test(&changed, &[]);
    assert_eq!(status, Some(1));
    for words in [
        "endpoint `archive`, which the test does not name, gets:\n    + {\"type\":\"oldstyle\"",
        "endpoint `stats` refuses:\n    + statsd-value\n",
        "rejected:\n    - missing-type\n    + invalid-json\n",
        "unrouted:\n    - 2 messages that no route takes\n    + {\"type\":\"oldstyle\"",
        "3 tests fail, 0 tests pass",
    ] {
        assert!(out.contains(words), "`{words}` is missing in:\n{out}");
    }
}

#[test]
fn json_is_compared_by_what_it_means_and_text_by_its_characters() {
    let with = |expected: &str| {
        format!(
            "[inputs.lines]\nkind = \"tcp\"\ndecoder = \"line\"\nlogger = \"app\"\n[inputs.json]\nkind = \"udp\"\n\
             [endpoints.all]\nkind = \"file\"\npath = \"all.jsonl\"\n[[routes]]\nto = [\"all\"]\n[[tests]]\n\
             name = \"lines\"\ninput = \"lines\"\nnow = 2026-11-22T09:05:24Z\nmessages = [\"one\"]\nexpect.all = [{expected}]\n"
        )
    };
    let json = "{ type = \"oldstyle\", payload = \"one\", logger = \"app\", severity = 6, fields = {}, env_version = \"0.8\", \
                timestamp = \"2026-11-22T09:05:24.000000Z\" }";
    let (status, out, _) = test(&with(json), &[]);
    assert_eq!(status, Some(0), "{out}");
    let (status, out, _) = test(&with(&json.replace("severity = 6", "severity = 5")), &[]);
    assert_eq!(status, Some(1), "{out}");
    let text = r#"'{"type":"oldstyle","logger":"app","severity":6,"payload":"one","fields":{},"env_version":"0.8","timestamp":"2026-11-22T09:05:24.000000Z"}'"#;
    assert_eq!(test(&with(text), &[]).0, Some(0));
    assert_eq!(test(&with(&text.replace("\":\"app", "\": \"app")), &[]).0, Some(1));
}

#[test]
fn messages_can_come_from_a_file_beside_the_configuration() {
    let folder = tempfile::tempdir().expect("make a folder");
    let data = tests_folder().join("data/metlog-0.8.jsonl");
    fs::copy(&data, folder.path().join("messages.jsonl")).expect("copy");
    let count = fs::read_to_string(&data).expect("read").lines().count();
    let configuration = format!(
        "[inputs.udp]\nkind = \"udp\"\n[endpoints.all]\nkind = \"null\"\n[[routes]]\nto = [\"all\"]\n\
         [[tests]]\nname = \"all\"\nfile = \"messages.jsonl\"\nexpect.all = {{ count = {count} }}\n"
    );
    let (status, out, _) = test_in(folder.path(), &configuration, &[]);
    assert_eq!(status, Some(0), "{out}");
    let (status, _, errors) = test_in(folder.path(), &configuration.replace("messages.jsonl", "none"), &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("metlog.toml:7:1: cannot read none"), "{errors}");
}

#[test]
fn some_tests_can_be_chosen_and_none_is_an_error() {
    let (configuration, _) = documented();
    let (status, out, _) = test(&configuration, &["--only", "counters"]);
    assert_eq!((status, out.as_str()), (Some(0), "ok    counters go to statsd alone\n1 test passes\n"));
    let (status, _, errors) = test(&configuration, &["--only", "gauges"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("no test has `gauges` in its name"), "{errors}");
    let without = configuration.split("[[tests]]").next().expect("what stands before");
    let (status, _, errors) = test(without, &[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there are no tests in metlog.toml"), "{errors}");
}

#[test]
fn lines_that_a_file_input_joins_are_one_message_in_its_tests_too() {
    let (status, out, errors) = test(
        r#"
[inputs.app]
kind = "file"
path = "app.log"
decoder = "line"
multiline = { start = '^\d' }
[endpoints.all]
kind = "file"
path = "all.log"
format = "text"
template = "{payload}"
[[routes]]
to = ["all"]
[[tests]]
name = "a stack trace belongs to the line above it"
input = "app"
messages = ["1 failed\n  at x\n  at y", "2 fine", "  still the second"]
expect.all = ["1 failed\\n  at x\\n  at y", "2 fine\\n  still the second"]
"#,
        &[],
    );
    assert_eq!(status, Some(0), "{out}{errors}");
}
