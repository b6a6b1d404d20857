//! Renamed, deleted and emptied files.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    time::Duration,
};

use super::{MESSAGE_BYTES, World};

#[test]
fn a_renamed_file_is_read_to_its_end_before_its_successor() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    let writer = OpenOptions::new().append(true).open(world.path("app.log")).unwrap();
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "three\n");
    (&writer).write_all(b"two\n").unwrap();
    world.run();
    world.assert_delivered(&["one", "two", "three"]);
    (&writer).write_all(b"late\n").unwrap();
    world.run();
    world.assert_delivered(&["late"]);
    world.pass(Duration::from_secs(31));
    world.run();
    assert_eq!(world.running.len(), 2, "the scanner and the follower of the new file");
}

#[test]
fn a_file_that_others_crowd_out_is_read_to_its_end_before_its_successor() {
    let world = World::with_buffer("path = '@/app.log'", 1);
    world.append("app.log", "one\n");
    let mut world = world.start();
    world.append("app.log", "two\n");
    world.read_all();
    world.append("app.log", "three\n");
    world.read_all();
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "four\n");
    world.run();
    world.run();
    world.assert_delivered(&["one", "two", "three", "four"]);
}

#[test]
fn a_batch_that_waits_for_room_is_not_overtaken_by_one_of_the_successor() {
    let mut world = World::with_buffer("path = '@/app.log'", 1);
    world.open();
    // One line fits into the buffer, one waits, and one is still in the file when it is renamed.
    for line in ["one\n", "two\n"] {
        world.append("app.log", line);
        world.read_all();
    }
    world.append("app.log", "three\n");
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "four\n");
    world.pass(Duration::from_secs(1));
    for _ in 0..5 {
        for _ in 0..3 {
            world.round();
        }
        world.deliver();
    }
    world.assert_delivered(&["one", "two", "three", "four"]);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_its_last_line_needs_no_end_then() {
    let world = World::new("path = '@/*.log'\nrotate_wait = '5s'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    let writer = OpenOptions::new().append(true).open(world.path("app.log")).unwrap();
    fs::remove_file(world.path("app.log")).unwrap();
    (&writer).write_all(b"two\nthree").unwrap();
    world.run();
    world.assert_delivered(&["one", "two"]);
    world.pass(Duration::from_secs(5));
    world.run();
    world.assert_delivered(&["three"]);
    assert_eq!(world.running.len(), 1, "only the scanner is left");
    world.stop();
    assert_eq!(
        fs::read_to_string(world.path("data/checkpoints/file.json")).unwrap(),
        "{\"files\":[],\"version\":1}\n"
    );
}

#[test]
fn a_file_that_is_emptied_is_read_from_its_beginning() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\ntwo\n");
    let mut world = world.start();
    fs::write(world.path("app.log"), "three\n").unwrap();
    world.run();
    // Emptied and filled with more than before, between two looks.
    fs::write(world.path("app.log"), "four\nfive\nsix\nseven\n").unwrap();
    world.run();
    world.assert_delivered(&["one", "two", "three", "four", "five", "six", "seven"]);
    assert_eq!(world.noticed("file-truncated"), 2);
}

#[test]
fn a_file_that_is_emptied_and_filled_again_while_a_full_buffer_holds_it_up_is_read_from_its_beginning() {
    let mut world = World::with_buffer("path = '@/app.log'", 1);
    let lines = |what: &str, count: usize| -> Vec<String> {
        (0..count).map(|number| format!("{what} {number:05} {}", "x".repeat(100))).collect()
    };
    world.append("app.log", &format!("{}\n", lines("old", 10_000).join("\n")));
    world.open();
    world.read_all();
    // More than before, and of another length, so that a position in the old content lies within a line of the new one.
    let new = lines("newer", 20_000);
    fs::write(world.path("app.log"), format!("{}\n", new.join("\n"))).unwrap();
    world.settle();
    let is_old = |line: &&String| line.starts_with("old ");
    assert!(world.delivered.iter().take_while(is_old).count() < 10_000);
    let from_the_new: Vec<&String> = world.delivered.iter().skip_while(is_old).collect();
    assert!(from_the_new.iter().copied().eq(&new), "{:?}", from_the_new.first());
    assert_eq!(world.noticed("file-truncated"), 1);
}

#[test]
fn a_file_that_begins_with_a_line_over_the_limit_is_known_by_its_beginning_too() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "");
    let mut world = world.start();
    world.append("app.log", &format!("{}\none\n", "x".repeat(2 * MESSAGE_BYTES)));
    world.run();
    world.assert_delivered(&["one"]);
    let lines = "two\n".repeat(MESSAGE_BYTES);
    fs::write(world.path("app.log"), &lines).unwrap();
    world.settle();
    assert_eq!(world.delivered.len(), MESSAGE_BYTES);
}
