//! What an operator is told: how far each file is behind, and what it waits for.

use std::{fs, time::Duration};

use super::World;
use crate::ledger::{FilesLedger, Standing};

impl World {
    fn files(&self) -> FilesLedger {
        self.counters.files().expect("an input that reads files")
    }

    /// What each file does, by its name.
    fn standings(&self) -> Vec<(String, u64, Standing)> {
        let mut standings: Vec<_> = self
            .files()
            .list
            .into_iter()
            .map(|file| {
                let name = file.path.file_name().unwrap().to_string_lossy().into_owned();
                (name, file.behind_bytes(), file.standing)
            })
            .collect();
        standings.sort_by(|one, other| one.0.cmp(&other.0));
        standings
    }
}

fn standing(name: &str, behind_bytes: u64, standing: Standing) -> (String, u64, Standing) {
    (name.to_owned(), behind_bytes, standing)
}

#[test]
fn a_file_that_was_delivered_is_at_its_end_and_one_without_a_line_break_says_so() {
    let world = World::new("path = '@/*.log'");
    world.append("a.log", "one\n");
    world.append("b.log", "one\nhalf a line");
    let world = world.start();
    let expected = [standing("a.log", 0, Standing::AtEnd), standing("b.log", 11, Standing::UnfinishedLine)];
    assert_eq!(world.standings(), expected);
    let files = world.files();
    assert_eq!((files.followed, files.behind_bytes, files.held_up), (2, 11, 0));
}

#[test]
fn what_was_read_and_not_delivered_is_behind() {
    let mut world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    world.open();
    world.read_all();
    let file = world.files().list.remove(0);
    assert_eq!((file.read_bytes, file.acknowledged_bytes, file.behind_bytes()), (4, 0, 4));
    world.deliver();
    assert_eq!(world.files().behind_bytes, 0);
}

#[test]
fn a_file_that_a_full_buffer_holds_up_names_the_endpoint_and_its_successor_waits_for_it() {
    let mut world = World::with_buffer("path = '@/app.log'", 1);
    world.open();
    for line in ["one\n", "two\n"] {
        world.append("app.log", line);
        world.read_all();
    }
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "three\n");
    world.pass(Duration::from_secs(1));
    world.read_all();
    world.pass(Duration::from_secs(60));
    // Both are listed under the name that they had when they were found.
    let mut files = world.files().list;
    files.sort_by_key(|file| !file.is_gone);
    let endpoint = Standing::Endpoint("endpoint".into());
    assert_eq!((files[0].is_gone, &files[0].standing, files[0].behind_bytes()), (true, &endpoint, 8));
    assert_eq!(files[0].standing_for, Duration::from_secs(61));
    assert_eq!(
        (files[1].is_gone, &files[1].standing, files[1].behind_bytes()),
        (false, &Standing::OlderFile, 6)
    );
    assert_eq!(world.files().held_up, 2);
    world.settle();
    assert_eq!((world.files().held_up, world.files().behind_bytes), (0, 0));
}

#[test]
fn a_file_that_grows_while_it_is_held_up_is_seen_to_grow() {
    let mut world = World::with_buffer("path = '@/app.log'", 1);
    world.open();
    for line in ["one\n", "two\n", "three\n"] {
        world.append("app.log", line);
        world.read_all();
    }
    world.pass(Duration::from_secs(1));
    world.read_all();
    assert_eq!(world.files().behind_bytes, 14);
}

#[test]
fn a_file_that_waits_to_be_opened_says_so() {
    let world = World::new("path = '@/*.log'\nmax_open = 1");
    world.append("a.log", "one\n");
    world.append("b.log", "one\n");
    let world = world.start_without_waiting();
    let waiting: Vec<_> =
        world.standings().into_iter().filter(|file| file.2 == Standing::OpenFiles).collect();
    assert_eq!((waiting.len(), world.files().held_up), (1, 1), "{waiting:?}");
    assert_eq!(waiting[0].1, 4);
}

#[test]
fn what_is_left_alone_is_listed_with_the_reason_until_it_goes() {
    let world = World::new("path = '@/*.log'");
    fs::write(world.path("packed.log"), b"\x1f\x8b\x08 packed").unwrap();
    let mut world = world.start();
    let left_alone = world.files().left_alone;
    assert!(left_alone[0].path.ends_with("packed.log") && left_alone[0].why.contains("compressed (gzip)"));
    fs::remove_file(world.path("packed.log")).unwrap();
    world.run();
    assert_eq!(world.files(), FilesLedger::default());
}

#[test]
fn an_input_that_was_closed_has_no_files() {
    let mut world = World::new("path = '@/app.log'").start();
    assert!(world.counters.files().is_some());
    world.stop();
    assert_eq!(world.counters.files(), None);
}
