//! What is known of a file when a reload has opened the input anew.

use std::fs;

use super::World;

const FROM_THE_END: &str = "path = '@/*.log'\nstart = 'end'";

#[test]
fn what_appeared_between_the_last_look_and_a_reload_is_read_from_its_first_line() {
    let world = World::new(FROM_THE_END);
    world.append("old.log", "before the start\n");
    let mut world = world.start();
    for round in 1..3 {
        world.append(&format!("new{round}.log"), "one\n");
        world.append("old.log", "two\n");
        world.reload(&format!("{FROM_THE_END}\nrescan = '{round}s'"));
        world.settle();
        world.delivered.sort();
        world.assert_delivered(&["one", "two"]);
    }
    // Also where it was to be read from its beginning, and now is not.
    let mut world = World::new("path = '@/*.log'").start();
    world.append("new.log", "one\n");
    world.reload(FROM_THE_END);
    world.assert_delivered(&["one"]);
}

#[test]
fn what_a_reload_brings_into_view_counts_as_there_at_the_start() {
    for (before, after) in [
        (FROM_THE_END, "path = ['@/*.log', '@/in/*']\nstart = 'end'"),
        (
            "path = ['@/*.log', '@/in/*']\nexclude = 'there*'\nstart = 'end'",
            "path = '@/**/*'\nexclude = '@/data/**'\nstart = 'end'",
        ),
        ("path = '@/in/*'\nlinks = 'refuse'\nstart = 'end'", "path = '@/in/*'\nstart = 'end'"),
    ] {
        let world = World::new(before);
        fs::create_dir(world.path("in")).unwrap();
        fs::create_dir(world.path("elsewhere")).unwrap();
        world.append("elsewhere/there", "before\n");
        if before.contains("refuse") {
            std::os::unix::fs::symlink(world.path("elsewhere/there"), world.path("in/there")).unwrap();
        } else {
            fs::rename(world.path("elsewhere/there"), world.path("in/there")).unwrap();
        }
        let mut world = world.start();
        world.reload(after);
        world.assert_delivered(&[]);
        world.append("in/there", "behind\n");
        world.append("in/new", "new\n");
        world.settle();
        world.delivered.sort();
        world.assert_delivered(&["behind", "new"]);
    }
}

#[test]
fn what_appeared_while_the_router_did_not_run_is_there_at_the_start() {
    let mut world = World::new(FROM_THE_END).start();
    world.stop();
    world.append("new.log", "before the start\n");
    let mut world = world.start();
    world.append("new.log", "behind\n");
    world.run();
    world.assert_delivered(&["behind"]);
}
