//! Whatever happens to a log: appended to, rotated, emptied, deleted, while routers come and go.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestCaseResult};

use super::{World, append};

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    Append { lines: usize, is_cut: bool },
    Rename { is_beside_look: bool },
    Truncate,
    Delete,
    Read,
    Deliver,
    Wait,
    Restart,
    Kill,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1usize..30, any::<bool>()).prop_map(|(lines, is_cut)| Event::Append { lines, is_cut }),
        1 => any::<bool>().prop_map(|is_beside_look| Event::Rename { is_beside_look }),
        1 => Just(Event::Truncate),
        1 => Just(Event::Delete),
        4 => Just(Event::Read),
        3 => Just(Event::Deliver),
        3 => Just(Event::Wait),
        1 => Just(Event::Restart),
        1 => Just(Event::Kill),
    ];
    prop::collection::vec(event, 1..60)
}

/// A program that writes numbered lines to its log, whoever moves that about, and the routers that read it.
struct Model {
    world: World,
    path: PathBuf,
    written: usize,
    rotations: usize,
    /// The end of the last line, when its beginning is in the file already.
    rest: String,
    /// The positions that a router finds which is killed now.
    kept: Option<Vec<u8>>,
    /// The file was emptied, or is a new one, since the positions were written that are written each second.
    was_emptied: bool,
    was_killed: bool,
}

impl Model {
    fn new(buffer_bytes: usize) -> Model {
        let mut world = World::with_buffer("path = '@/app.log'", buffer_bytes);
        world.open();
        let path = world.path("app.log");
        Model {
            world,
            path,
            written: 0,
            rotations: 0,
            rest: String::new(),
            kept: None,
            was_emptied: false,
            was_killed: false,
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Append { lines, is_cut } => self.append(*lines, *is_cut),
            // Between two lines, as log rotation does it.
            Event::Rename { .. } | Event::Truncate | Event::Delete if !self.rest.is_empty() => {}
            Event::Rename { is_beside_look } => self.rename(*is_beside_look),
            Event::Truncate => self.lose_content(|model| {
                if let Ok(file) = OpenOptions::new().write(true).open(&model.path) {
                    file.set_len(0).unwrap();
                }
            }),
            Event::Delete => self.lose_content(|model| {
                let _ = fs::remove_file(&model.path);
            }),
            Event::Read => self.world.round_beside_look(),
            Event::Deliver => self.world.deliver(),
            Event::Wait => {
                self.world.pass(Duration::from_millis(700));
                self.world.read_all();
                self.kept = Some(self.world.kept());
            }
            Event::Restart => {
                // A router that stops delivers what it has, or withholds it.
                self.world.stop();
                self.world.open();
            }
            Event::Kill => {
                let Some(kept) = self.kept.clone() else { return };
                self.was_killed = true;
                self.world.kill(&kept);
                self.world.open();
            }
        }
    }

    fn append(&mut self, lines: usize, is_cut: bool) {
        let mut text = std::mem::take(&mut self.rest);
        for _ in 0..lines {
            text.push_str(&format!("line {:06}\n", self.written));
            self.written += 1;
        }
        if is_cut {
            self.rest = text.split_off(text.len() - 4);
        }
        append(&self.path, &text);
    }

    fn rename(&mut self, is_beside_look: bool) {
        // It was there long enough to be seen. That is on the disk when the look is over, whatever is written each second; but
        // that a file was emptied is on the disk only then.
        self.world.finish_looks();
        self.world.round();
        self.world.pass(Duration::from_secs(1));
        self.world.round();
        if std::mem::take(&mut self.was_emptied) {
            self.world.write_positions();
        }
        self.kept = Some(self.world.written());
        if is_beside_look {
            self.world.pass(Duration::from_secs(1));
            self.world.round_beside_look();
        }
        self.rotations += 1;
        let _ = fs::rename(&self.path, self.world.path(&format!("app.log.{}", self.rotations)));
    }

    fn lose_content(&mut self, lose: impl FnOnce(&Model)) {
        // What was not read is gone for good, so all of it is read and delivered first.
        self.world.settle();
        lose(self);
        self.world.settle();
        self.kept = None;
        self.was_emptied = true;
    }

    /// Lets everything arrive, and compares it with what was written.
    fn ends(mut self) -> TestCaseResult {
        append(&self.path, &self.rest);
        self.world.settle();
        let expected: Vec<String> = (0..self.written).map(|number| format!("line {number:06}")).collect();
        let mut arrived = std::mem::take(&mut self.world.delivered);
        if self.was_killed {
            // What was delivered since the positions were kept comes again: the order is that of first arrivals.
            let mut seen = std::collections::HashSet::new();
            arrived.retain(|line| seen.insert(line.clone()));
        }
        prop_assert_eq!(arrived, expected);
        prop_assert!(self.world.counters.read().balances());
        Ok(())
    }
}

fn check(events: &[Event], buffer_bytes: usize) -> TestCaseResult {
    let mut model = Model::new(buffer_bytes);
    for event in events {
        model.happens(event);
    }
    model.ends()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Each line arrives in order, and once as long as the router is not killed.
    #[test]
    fn every_line_arrives_in_order(events in events(), buffer_bytes in prop_oneof![Just(1usize), Just(1 << 20)]) {
        check(&events, buffer_bytes)?;
    }
}

/// Found by the property, and kept here in short.
mod found {
    use super::{Event::*, *};

    const RENAME: Event = Rename { is_beside_look: false };

    fn lines(lines: usize) -> Event {
        Append { lines, is_cut: false }
    }

    fn check(events: &[Event]) {
        super::check(events, 1).unwrap();
    }

    #[test]
    fn a_file_that_was_emptied_and_renamed_between_two_restarts() {
        check(&[lines(1), Truncate, Restart, lines(1), RENAME, Restart]);
    }

    #[test]
    fn two_files_that_went_within_a_second_before_a_crash() {
        // The router that is started after the first crash misses the second file in the second in which the first was missed.
        // Without the order in which they were seen it would be left to chance which one is read first.
        for _ in 0..20 {
            check(&[lines(10), RENAME, lines(20), RENAME, Wait, Kill, Read, Wait, Kill]);
        }
    }

    #[test]
    fn a_file_that_was_emptied_and_renamed_before_a_crash() {
        check(&[lines(1), Truncate, lines(1), RENAME, Kill]);
    }
}
