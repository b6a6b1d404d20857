//! Long lines, and lines that are joined.

use std::time::Duration;

use super::{MESSAGE_BYTES, World};

#[test]
fn lines_are_joined_by_how_a_message_begins() {
    let world = World::new("path = '@/app.log'\nmultiline = { start = '^\\d', timeout = '2s' }");
    world.append("app.log", "1 error\n  at x\n2 fine\n3 error\n");
    let mut world = world.start_without_waiting();
    world.assert_delivered(&["1 error\n  at x", "2 fine"]);
    world.append("app.log", "  at y\n  at");
    world.read_all();
    world.pass(Duration::from_secs(2));
    world.read_all();
    world.deliver();
    world.assert_delivered(&["3 error\n  at y"]);
    world.append("app.log", " z\n4\n");
    world.read_all();
    world.pass(Duration::from_secs(2));
    world.read_all();
    world.deliver();
    world.assert_delivered(&["  at z", "4"]);
}

#[test]
fn a_message_of_many_lines_may_be_larger_than_one_read() {
    let world = World::new("path = '@/app.log'\nmultiline = { start = '^>', max_bytes = 290000 }");
    let line = "x".repeat(999);
    let long = format!(">\n{}", format!("{line}\n").repeat(280));
    world.append("app.log", &long);
    world.append("app.log", ">\n");
    world.append("app.log", &format!("{line}\n").repeat(600));
    let mut world = world.start();
    assert_eq!(
        world.delivered.concat().replace('\n', ""),
        format!("{long}>{}", line.repeat(600)).replace('\n', "")
    );
    assert_eq!(world.delivered[0], long.trim_end());
    assert!(world.delivered.iter().all(|message| message.len() <= 290_000));
    world.delivered.clear();
}

#[test]
fn many_small_messages_of_one_read_go_in_several_batches() {
    let world = World::new("path = '@/app.log'\nmultiline = { start = '.' }");
    world.append("app.log", &"x\n".repeat(10_000));
    let world = world.start();
    assert_eq!(world.delivered.len(), 10_000);
}

#[test]
fn a_line_over_the_limit_is_rejected_and_the_file_goes_on() {
    let world = World::new("path = '@/app.log'");
    world.append("app.log", &format!("one\n{}\ntwo\n", "x".repeat(3 * MESSAGE_BYTES)));
    world.append("app.log", &"y".repeat(MESSAGE_BYTES));
    let mut world = world.start();
    world.assert_delivered(&["one", "two"]);
    assert_eq!(world.counters.read().rejected_total(), 1);
    world.append("app.log", "\n");
    world.run();
    assert_eq!(std::mem::take(&mut world.delivered), ["y".repeat(MESSAGE_BYTES)]);
    assert!(world.counters.read().balances());
}
