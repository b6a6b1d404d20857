//! What is read, and from where: appended lines, the first look at a file, the end of one that is read once.

use std::fs::{self, OpenOptions};

use super::World;

#[test]
fn what_is_appended_is_read_and_a_line_without_its_end_waits_for_it() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\ntwo\nthr");
    let mut world = world.start();
    world.assert_delivered(&["one", "two"]);
    world.append("app.log", "ee\n");
    world.run();
    world.assert_delivered(&["three"]);
}

#[test]
fn a_line_that_is_taken_back_before_its_end_is_no_truncation() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\nhalf a li");
    let mut world = world.start();
    OpenOptions::new().write(true).open(world.path("app.log")).unwrap().set_len(4).unwrap();
    world.append("app.log", "two\n");
    world.run();
    world.assert_delivered(&["one", "two"]);
    assert_eq!(world.noticed("file-truncated"), 0);
}

#[test]
fn a_full_buffer_holds_a_file_up_and_loses_nothing() {
    let mut world = World::with_buffer("path = '@/app.log'", 1000);
    let lines: Vec<String> = (0..100_000).map(|number| format!("line {number}")).collect();
    world.append("app.log", &format!("{}\n", lines.join("\n")));
    world.open();
    for _ in 0..200 {
        world.round();
    }
    assert!(world.counters.read().received < 100_000, "it waits");
    while world.delivered.len() < lines.len() {
        world.deliver();
        world.round();
    }
    assert_eq!(world.delivered, lines);
}

#[test]
fn reading_begins_at_the_end_only_where_a_file_was_never_seen() {
    let world = World::new("path = '@/*.log'\nstart = 'end'");
    world.append("old.log", "before\nhalf a ");
    let mut world = world.start();
    world.append("old.log", "line\nafter\n");
    world.append("new.log", "from the first line\n");
    world.run();
    world.assert_delivered(&["after", "from the first line"]);
    world.stop();
    // Rotated while the router did not run.
    fs::rename(world.path("old.log"), world.path("old.log.1")).unwrap();
    world.append("old.log", "successor\n");
    world.append("stranger.log", "never seen\n");
    let mut world = world.start();
    world.assert_delivered(&["successor"]);
}

#[test]
fn once_reads_every_file_to_its_end_and_ends() {
    let world = World::new("path = ['@/b.log', '@/a*']\nmode = 'once'\nmax_open = 1");
    world.append("a.log", "one\ntwo");
    world.append("b.log", "three\n");
    world.append("a.empty", "");
    let mut world = world.start();
    assert!(world.running.is_empty());
    world.delivered.sort();
    world.assert_delivered(&["one", "three", "two"]);
    // What was read is not read again.
    world.stop();
    let mut world = world.start();
    world.assert_delivered(&[]);
}

#[test]
fn an_input_that_is_opened_anew_in_the_same_router_goes_on_without_a_gap_or_a_repeat() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    let mut old = std::mem::take(&mut world.running);
    world.open();
    world.append("app.log", "two\n");
    world.run();
    world.assert_delivered(&["one"]);
    for (source, _) in &mut old {
        source.stop();
    }
    drop(old);
    world.run();
    world.assert_delivered(&["two"]);
}
