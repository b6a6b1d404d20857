//! What is known of a file after the router was stopped or killed.

use std::{fs, time::Duration};

use super::World;

#[test]
fn a_restart_goes_on_where_it_was_also_in_a_file_that_was_renamed_meanwhile() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    world.stop();
    world.append("app.log", "two\n");
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "three\n");
    let mut world = world.start();
    world.assert_delivered(&["one", "two", "three"]);
    world.stop();
    let mut world = world.start();
    world.assert_delivered(&[]);
}

#[test]
fn files_that_were_renamed_one_after_the_other_are_read_in_that_order_after_a_restart() {
    let world = World::with_buffer("path = '@/app.log'", 1);
    world.append("app.log", "one\n");
    let mut world = world.start_without_waiting();
    // The endpoint takes nothing any more: one line waits in its buffer, and the files after it are not begun.
    world.append("app.log", "two\n");
    world.read_all();
    for (number, line) in ["three\n", "four\n", "five\n"].into_iter().enumerate() {
        fs::rename(world.path("app.log"), world.path(&format!("app.log.{number}"))).unwrap();
        world.append("app.log", line);
        world.pass(Duration::from_secs(1));
        world.round();
    }
    world.end();
    let mut world = world.start();
    for _ in 0..5 {
        world.run();
    }
    world.assert_delivered(&["one", "two", "three", "four", "five"]);
}

#[test]
fn what_was_not_delivered_is_read_again_after_a_crash() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    world.append("app.log", "two\n");
    world.read_all();
    let kept = world.kept();
    world.kill(&kept);
    let mut world = world.start();
    world.assert_delivered(&["one", "two"]);
}

#[test]
fn a_file_that_was_found_just_before_a_crash_and_renamed_after_it_is_read_to_its_end() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start_without_waiting();
    let written = world.written();
    world.kill(&written);
    world.append("app.log", "two\n");
    fs::rename(world.path("app.log"), world.path("app.log.1")).unwrap();
    world.append("app.log", "three\n");
    let mut world = world.start();
    world.assert_delivered(&["one", "one", "two", "three"]);
}

#[test]
fn an_inode_that_was_given_to_a_new_file_is_not_taken_for_the_old_one() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\ntwo\n");
    let mut world = world.start();
    world.stop();
    // The same inode, and more in it than before.
    fs::write(world.path("app.log"), "other\nlines\nthan\nbefore\n").unwrap();
    let mut world = world.start();
    world.assert_delivered(&["one", "two", "other", "lines", "than", "before"]);
}

/// Lets the positions that were kept look as if the file system had had another device number then.
fn renumber_device(world: &World) {
    let kept = world.path("data/checkpoints/file.json");
    let mut positions: serde_json::Value = serde_json::from_str(&fs::read_to_string(&kept).unwrap()).unwrap();
    for file in positions["files"].as_array_mut().unwrap() {
        file["device"] = (file["device"].as_u64().unwrap() + 1_000_000).into();
    }
    fs::write(&kept, positions.to_string()).unwrap();
}

#[test]
fn a_file_is_known_again_when_its_file_system_has_got_another_device_number() {
    for settings in ["path = '@/*.log'", "path = '@/*.log'\nstart = 'end'"] {
        let mut world = World::new(settings).start();
        world.append("app.log", "one\n");
        world.run();
        world.assert_delivered(&["one"]);
        world.stop();
        renumber_device(&world);
        world.append("app.log", "two\n");
        let mut world = world.start();
        world.assert_delivered(&["two"]);
        world.stop();
        // The old number is forgotten, so there is nothing to be taken for a file of it.
        let kept = fs::read_to_string(world.path("data/checkpoints/file.json")).unwrap();
        assert_eq!(kept.matches("app.log").count(), 1, "{kept}");
    }
}

#[test]
fn a_file_with_another_beginning_on_another_device_is_a_new_one() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", "one\n");
    let mut world = world.start();
    world.stop();
    renumber_device(&world);
    fs::write(world.path("app.log"), "other\nlines\n").unwrap();
    let mut world = world.start();
    world.assert_delivered(&["one", "other", "lines"]);
}
