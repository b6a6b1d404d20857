//! Messages that close the files and open them again.

use super::*;
use crate::{
    batch::Handover,
    testing::{ManualClock, batch_of},
};

const CLOSE: &str =
    r#"{"type":"m","timestamp":"2012-07-18T21:13:25Z","fields":{"meta":"metlog::file::close"}}"#;
const OPEN: &str =
    r#"{"type":"m","timestamp":"2012-07-18T21:13:25Z","fields":{"meta":"metlog::file::open"}}"#;

/// Work of one batch whose input may send meta messages.
fn allowed<S: AsRef<str>>(lines: &[S]) -> Work {
    Work::new(vec![Handover::all(&Arc::new(batch_of(lines).allowing_meta(true)))], 0)
}

struct Setup {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    endpoint: Box<dyn Endpoint>,
}

fn setup() -> Setup {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::default());
    let endpoint = endpoint_at(clock.clone(), &format!("path = '{}/log'", folder.path().display()));
    Setup { folder, clock, endpoint }
}

fn waits(answer: &Answer) -> Option<usize> {
    matches!(answer.then, Then::Wait { .. }).then_some(answer.settled)
}

#[test]
fn between_close_and_open_nothing_is_written_and_nothing_is_lost() {
    let Setup { folder, mut endpoint, .. } = setup();
    let sent = lines(4);
    let (old, new) = (folder.path().join("old"), folder.path().join("log"));
    let answer = endpoint.deliver(&allowed(&[&*sent[0], CLOSE, &sent[1]]));
    assert_eq!(waits(&answer), Some(2), "the message and the order are done with");
    std::fs::rename(&new, &old).unwrap();
    assert_eq!(waits(&endpoint.deliver(&allowed(&[&sent[1], &sent[2]]))), Some(0));
    assert!(!new.exists(), "not even opened");
    let answer = endpoint.deliver(&allowed(&[&*sent[1], &sent[2], OPEN, &sent[3]]));
    assert_eq!(answer, Answer::delivered(4));
    assert_eq!((read(&old), read(&new)), (sent[0].clone(), sent[1..].concat()));
}

#[test]
fn when_both_have_come_already_the_files_are_opened_anew_in_between() {
    let Setup { folder, mut endpoint, .. } = setup();
    let sent = lines(3);
    endpoint.deliver(&allowed(&sent[..1]));
    let answer = endpoint.deliver(&allowed(&[&*sent[1], CLOSE, OPEN, &sent[2]]));
    assert_eq!(answer, Answer::delivered(4));
    assert_eq!(read(folder.path().join("log")), sent.concat());
}

#[test]
fn an_input_that_may_not_sends_messages_like_any_other() {
    let Setup { folder, mut endpoint, .. } = setup();
    assert_eq!(endpoint.deliver(&work_of(&[CLOSE, OPEN])), Answer::delivered(2));
    assert_eq!(read(folder.path().join("log")), format!("{CLOSE}\n{OPEN}\n"));
}

#[test]
fn a_message_of_an_input_that_may_not_does_not_open_what_is_closed() {
    let Setup { mut endpoint, .. } = setup();
    assert_eq!(waits(&endpoint.deliver(&allowed(&[CLOSE]))), Some(1));
    assert_eq!(waits(&endpoint.deliver(&work_of(&[OPEN]))), Some(0));
    endpoint.reopen().unwrap();
    assert_eq!(endpoint.deliver(&work_of(&[OPEN])), Answer::delivered(1), "the operator has");
}

#[test]
fn files_that_nobody_opens_are_opened_after_a_while() {
    let Setup { folder, clock, mut endpoint } = setup();
    let sent = lines(1);
    assert_eq!(waits(&endpoint.deliver(&allowed(&[CLOSE]))), Some(1));
    clock.set(CLOSED_LONGEST - Duration::from_millis(1));
    assert_eq!(waits(&endpoint.deliver(&allowed(&sent))), Some(0));
    clock.set(CLOSED_LONGEST);
    assert_eq!(endpoint.deliver(&allowed(&sent)), Answer::delivered(1));
    assert_eq!(read(folder.path().join("log")), sent[0]);
}

#[test]
fn a_fixed_path_is_the_same_file_with_and_without_meta_messages() {
    let folder = tempfile::tempdir().unwrap();
    // Longer than a name that leaves room for what a rotation adds.
    let path = folder.path().join("x".repeat(250));
    let body = format!("path = '{}'\nrotate = {{ size = '1MiB' }}", path.display());
    let mut endpoint = endpoint(&body);
    let sent = lines(2);
    endpoint.deliver(&allowed(&sent[..1]));
    endpoint.deliver(&work_of(&sent[1..]));
    assert_eq!(read(&path), sent.concat());
}
