//! Which files are read, and which are left alone.

use std::{fs, time::Duration};

use super::{PATIENCE, World, append};
use crate::inputs::file::positions::Positions;

#[test]
fn what_cannot_be_read_does_not_stop_the_others_and_is_noticed_once() {
    let world = World::new("path = '@/*.log'");
    world.append("good.log", "one\n");
    fs::write(world.path("packed.log"), b"\x1f\x8b\x08 packed").unwrap();
    std::os::unix::fs::symlink("loop.log", world.path("loop.log")).unwrap();
    fs::create_dir(world.path("folder.log")).unwrap();
    let mut world = world.start();
    world.run();
    world.assert_delivered(&["one"]);
    assert_eq!((world.noticed("file-compressed"), world.noticed("file-unreadable")), (1, 1));
    fs::remove_file(world.path("loop.log")).unwrap();
    world.append("loop.log", "two\n");
    world.run();
    world.assert_delivered(&["two"]);
}

#[test]
fn links_are_followed_or_refused_also_where_a_folder_is_one() {
    use std::os::unix::fs::symlink;
    for (links, expected) in [("follow", &["in", "secret"][..]), ("refuse", &["in"])] {
        let outside = tempfile::tempdir().unwrap();
        let world = World::new(&format!("path = '@/logs/**/*.log'\nlinks = '{links}'"));
        append(&outside.path().join("secret.log"), "secret\n");
        fs::create_dir_all(world.path("real")).unwrap();
        // The folder that the configuration names may be a link itself.
        symlink(world.path("real"), world.path("logs")).unwrap();
        world.append("real/in.log", "in\n");
        symlink(outside.path().join("secret.log"), world.path("real/a.log")).unwrap();
        symlink(outside.path(), world.path("real/folder")).unwrap();
        let mut world = world.start();
        world.delivered.sort();
        world.assert_delivered(expected);
        assert_eq!(world.noticed("file-unreadable") > 0, links == "refuse");
    }
}

#[test]
fn a_named_pipe_in_the_place_of_a_closed_file_holds_nothing_up() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::new("path = '@/*.log'\nmax_open = 1");
        world.append("a.log", "one\n");
        let mut world = world.start();
        // The only open file makes way for this one.
        world.append("b.log", "two\n");
        world.run();
        fs::create_dir(world.path("elsewhere")).unwrap();
        fs::rename(world.path("a.log"), world.path("elsewhere/a.log")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(world.path("a.log")).status();
        assert!(made.unwrap().success());
        world.run();
        world.append("b.log", "three\n");
        world.run();
        world.assert_delivered(&["one", "two", "three"]);
        assert_eq!(world.noticed("file-lost"), 1);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(PATIENCE).expect("it comes to its end");
}

#[test]
fn more_files_than_may_be_open_are_read_in_turn() {
    let world = World::new("path = '@/*.log'\nmax_open = 3");
    for number in 0..20 {
        world.append(&format!("{number:02}.log"), "first\n");
    }
    let mut world = world.start();
    for _ in 0..40 {
        world.run();
    }
    assert_eq!(std::mem::take(&mut world.delivered).len(), 20);
    let open = fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok);
    let ours =
        open.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.starts_with(world.folder.path())));
    assert!(ours.count() <= 4, "three files and the lock");
    for number in 0..20 {
        world.append(&format!("{number:02}.log"), "second\n");
    }
    for _ in 0..40 {
        world.run();
    }
    world.assert_delivered(&["second"; 20]);
}

#[test]
fn a_look_that_takes_long_holds_nobody_up_and_its_files_come_later() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let world = World::new("path = '@/*.log'");
        world.append("old.log", "one\n");
        let mut world = world.start();
        world.append("old.log", "two\n");
        world.append("new.log", "new\n");
        let positions = world.checkpoints.open("file", Positions::read).unwrap();
        let slow_disk = positions.hold_looks();
        for _ in 0..3 {
            world.pass(Duration::from_secs(1));
            world.round_beside_look();
        }
        world.deliver();
        world.assert_delivered(&["one", "two"]);
        drop(slow_disk);
        world.settle();
        world.assert_delivered(&["new"]);
        done.send(()).unwrap();
    });
    is_done.recv_timeout(PATIENCE).expect("it comes to its end");
}

#[test]
fn a_look_is_followed_by_a_rest_of_at_least_its_own_length() {
    let mut world = World::new("path = '@/*.log'").start();
    let positions = world.checkpoints.open("file", Positions::read).unwrap();
    world.pass(Duration::from_secs(1));
    let slow_disk = positions.hold_looks();
    world.round_beside_look();
    world.pass(Duration::from_secs(10));
    drop(slow_disk);
    world.finish_looks();
    world.round();
    world.append("new.log", "one\n");
    world.pass(Duration::from_secs(9));
    world.read_all();
    world.deliver();
    world.assert_delivered(&[]);
    world.pass(Duration::from_secs(1));
    world.read_all();
    world.deliver();
    world.assert_delivered(&["one"]);
}
