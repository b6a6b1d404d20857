//! Tests of the endpoint as a whole.

mod meta;
mod rotation;

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    clock::{Clock, SystemClock},
    endpoints::Then,
    testing::{lines, work_of},
};

fn endpoint(body: &str) -> Box<dyn Endpoint> {
    endpoint_at(Arc::new(SystemClock::new()), body)
}

fn endpoint_at(clock: Arc<dyn Clock>, body: &str) -> Box<dyn Endpoint> {
    let kind = super::super::registry::KINDS.iter().find(|kind| kind.name == "file").unwrap();
    let context = EndpointContext { name: "test".to_owned(), clock, counters: Arc::default(), open_files: 2 };
    match kind.read_body(body).unwrap().open(context).unwrap() {
        Opened::Blocking(endpoint) => endpoint,
        _ => panic!("a file endpoint blocks"),
    }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn json_is_written_byte_for_byte_as_it_was_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.jsonl");
    let mut endpoint = endpoint(&format!("path = \"{}\"", path.display()));
    let sent = lines(1000);
    assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(1000));
    assert_eq!(endpoint.deliver(&work_of(&sent[..3])), Answer::delivered(3));
    assert_eq!(read(&path), sent.concat() + &sent[..3].concat());
}

#[test]
fn text_follows_the_template_one_line_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let mut endpoint = endpoint(&format!("path = \"{}\"\nformat = \"text\"", path.display()));
    let message = r#"{"type":"oldstyle","timestamp":"2012-07-18T21:13:25Z","payload":"one\ntwo"}"#;
    assert_eq!(endpoint.deliver(&work_of(&[message])), Answer::delivered(1));
    assert_eq!(read(&path), "2012-07-18T21:13:25Z one\\ntwo\n");
}

#[test]
fn a_template_of_two_lines_counts_its_messages_not_its_lines() {
    let template = Template::parse("BEGIN {payload}\nEND").unwrap();
    assert!(!LineFormat::new(Format::Text, &template, Multiline::Escape).is_one_line());
    assert!(
        LineFormat::new(Format::Text, &Template::timestamp_and_payload(), Multiline::Escape).is_one_line()
    );
}

#[test]
fn a_path_of_the_message_stays_in_its_folder_whatever_the_message_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut endpoint = endpoint(&format!("path = \"{}/logs/{{logger}}.log\"", folder.path().display()));
    let long = "x".repeat(5000);
    let loggers = ["shop", "../../evil", "/etc/passwd", "", "..", "a\\u0000b", &long];
    let sent: Vec<String> = loggers
        .iter()
        .map(|logger| {
            format!("{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"logger\":\"{logger}\"}}")
        })
        .collect();
    assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(loggers.len()));
    let logs: Vec<_> = std::fs::read_dir(folder.path().join("logs")).unwrap().collect();
    assert_eq!(logs.len(), loggers.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside the folder");
    assert_eq!(read(folder.path().join("logs/_.log")).trim_end(), sent[3]);
}

#[test]
fn a_path_that_can_never_be_written_refuses_its_message_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b.log")).unwrap();
    let mut endpoint = endpoint(&format!("path = \"{}/{{logger}}.log\"", folder.path().display()));
    let sent = ["a", "b", "c"].map(|logger| {
        format!("{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"logger\":\"{logger}\"}}")
    });
    let answer = endpoint.deliver(&work_of(&sent));
    assert_eq!((answer.settled, answer.refused.total(), answer.then), (3, 1, Then::Done));
    assert!(folder.path().join("a.log").is_file() && folder.path().join("c.log").is_file());
}

#[test]
fn a_file_that_cannot_be_opened_now_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in-the-way"), "").unwrap();
    let mut endpoint = endpoint(&format!("path = \"{}/in-the-way/log\"", folder.path().display()));
    let answer = endpoint.deliver(&work_of(&lines(2)));
    assert_eq!(answer.settled, 0);
    assert!(matches!(answer.then, Then::Retry { error, .. } if error.contains("in-the-way/log")));
    std::fs::remove_file(folder.path().join("in-the-way")).unwrap();
    assert_eq!(endpoint.deliver(&work_of(&lines(2))), Answer::delivered(2));
}

#[test]
fn reopen_leaves_the_renamed_file_and_begins_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut endpoint = endpoint(&format!("path = \"{}\"", path.display()));
    let sent = lines(2);
    endpoint.deliver(&work_of(&sent[..1]));
    std::fs::rename(&path, folder.path().join("log.1")).unwrap();
    endpoint.reopen().unwrap();
    assert_eq!(read(&path), "", "the new file is there before anything is written");
    endpoint.deliver(&work_of(&sent[1..]));
    assert_eq!((read(folder.path().join("log.1")), read(&path)), (sent[0].clone(), sent[1].clone()));
}
