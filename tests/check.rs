//! `metlog check`: what it says, where, and its exit status.

use std::{
    fs,
    process::{Command, Output},
};

use crate::support::router::METLOG;

const VALID: &str = r#"
[inputs.in]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.all]
kind = "file"
path = "all.jsonl"

[[routes]]
to = ["all"]
"#;

fn check(configuration: &str) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::write(folder.path().join("metlog.toml"), configuration).expect("write");
    let Output { status, stdout, stderr } = Command::new(METLOG)
        .args(["check", "--config", "metlog.toml"])
        .current_dir(folder.path())
        .output()
        .expect("run metlog");
    assert_eq!(fs::read_dir(folder.path()).expect("look").count(), 1, "it only looks, and makes no file");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn a_valid_file_is_called_valid() {
    let (status, out, errors) = check(VALID);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert_eq!(out, "metlog.toml is valid (inputs: 1, routes: 1, endpoints: 1)\n");
}

#[test]
fn warnings_are_shown_and_do_not_fail() {
    let (status, _, errors) =
        check(&VALID.replace("[[routes]]", "[endpoints.spare]\nkind = \"null\"\n\n[[routes]]"));
    assert_eq!(status, Some(0));
    assert!(errors.contains("warning") && errors.contains("spare"), "{errors}");
}

#[test]
fn every_error_is_shown_at_once_with_its_place() {
    let broken = VALID.replace("\"tcp\"", "\"tpc\"").replace("to = [\"all\"]", "to = [\"al\"]");
    let (status, out, errors) = check(&broken);
    assert_eq!((status, out.as_str()), (Some(1), ""));
    for words in
        ["metlog.toml:3:8", "did you mean \"tcp\"?", "metlog.toml:11:7", "did you mean \"all\"?", "2 errors"]
    {
        assert!(errors.contains(words), "`{words}` is missing in:\n{errors}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output =
        Command::new(METLOG).args(["check", "--config", "nowhere.toml"]).output().expect("run metlog");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot read nowhere.toml"), "{said}");
}

#[test]
fn what_is_no_configuration_file_is_said_in_words() {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::write(folder.path().join("archive.gz"), [0x1f, 0x8b, 8, 0]).expect("write");
    for (path, words) in [
        (".", "it is a folder"),
        ("archive.gz", "it is not text: byte 2 is not UTF-8"),
        ("/dev/zero", "it is larger than 4 MiB"),
    ] {
        let output = Command::new(METLOG)
            .args(["check", "--config", path])
            .current_dir(folder.path())
            .output()
            .expect("run metlog");
        assert_eq!(output.status.code(), Some(1), "{path}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&format!("cannot read {path}: {words}")), "{said}");
    }
}

#[test]
fn a_configuration_in_several_files_is_checked_whole() {
    let folder = tempfile::tempdir().expect("make a folder");
    fs::create_dir(folder.path().join("conf.d")).expect("make a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write");
    write("metlog.toml", &format!("include = [\"conf.d/*.toml\"]\n{VALID}"));
    write("conf.d/more.toml", "[[routes]]\nmatch = { type = \"x\" }\nto = [\"all\", \"moer\"]\n");
    // From another folder: what is included is found from the main file.
    let check = || {
        let output = Command::new(METLOG)
            .arg("check")
            .arg("--config")
            .arg(folder.path().join("metlog.toml"))
            .output()
            .expect("run metlog");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = check();
    assert_eq!(status, Some(1));
    assert!(said.contains("conf.d/more.toml:3:14") && said.contains("`moer`"), "{said}");
    write("conf.d/names.toml", "[endpoints.moer]\nkind = \"null\"\n");
    assert_eq!(check(), (Some(0), String::new()));
}
