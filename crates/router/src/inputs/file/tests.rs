//! The scanner and its followers with real files, driven without threads and with a clock that the test moves.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use metlog_buffer::Buffer;
use metlog_message::Limits;
use proptest::prelude::*;
use tempfile::TempDir;

use super::SAMPLE;
use crate::{
    acknowledgement::Ack,
    batch::Handover,
    checkpoints::Checkpoints,
    config::Kind,
    decoders::{FrameDecoder, line::LineDecoder},
    inputs::{
        ConnectionLimit, Flow, InputContext, InputSettings, Progress, Source, parked::ParkedMemory, registry,
        sockets::Inherited,
    },
    ledger::{DropReason, InputCounters},
    pipeline::{Outlet, Outlets, Parked, Pipeline},
    rejects::Rejects,
    routes::{
        condition::Condition,
        table::{RouteSpec, RouteTable},
    },
    slab_pool::SlabPool,
    testing::{self, ManualClock},
    unfinished::UnfinishedLines,
};

/// The longest line, so that a test of a line over the limit is short.
const MESSAGE_BYTES: usize = 300_000;

/// A source, and what of it did not fit into the endpoint's buffer.
type Running = (Box<dyn Source>, Vec<Parked>);

/// A folder with log files, and the input that reads them into an endpoint's buffer.
struct World {
    folder: TempDir,
    clock: Arc<ManualClock>,
    settings: String,
    running: Vec<Running>,
    pipeline: Pipeline,
    buffer: Arc<Buffer<Handover>>,
    counters: Arc<InputCounters>,
    checkpoints: Checkpoints,
    delivered: Vec<String>,
    now: Duration,
}

fn kind() -> &'static Kind<dyn InputSettings> {
    registry::KINDS.iter().find(|kind| kind.name == "file").unwrap()
}

impl World {
    /// An input with these settings, `@` being the folder.
    fn new(settings: &str) -> World {
        World::with_buffer(settings, 64 << 20)
    }

    fn with_buffer(settings: &str, buffer_bytes: usize) -> World {
        let folder = tempfile::tempdir().unwrap();
        let counters = Arc::new(InputCounters::default());
        let buffer = testing::buffer(buffer_bytes);
        let outlet = Outlet {
            name: "endpoint".into(),
            buffer: buffer.clone(),
            counters: Arc::default(),
            ack: Ack::Durable,
        };
        let everything = RouteSpec {
            condition: Condition::All(Vec::new()),
            to: vec![0],
            is_final: false,
            unrouted: false,
        };
        let outlets = Arc::new(Outlets {
            table: RouteTable::compile(vec![everything], 1).unwrap(),
            outlets: vec![outlet],
            rejects: Rejects::new(Vec::new(), 0),
            tap: Arc::default(),
        });
        let limits = Limits { message_bytes: MESSAGE_BYTES, ..Limits::default() };
        let decoder = FrameDecoder::Line(LineDecoder::new("", 6, limits));
        let clock = Arc::new(ManualClock::default());
        let pipeline =
            Pipeline::new("file", decoder, outlets, counters.clone(), clock.clone(), SlabPool::new(1 << 20));
        let checkpoints = Checkpoints::new(&folder.path().join("data"));
        World {
            settings: settings.replace('@', folder.path().to_str().unwrap()),
            folder,
            clock,
            running: Vec::new(),
            pipeline,
            buffer,
            counters,
            checkpoints,
            delivered: Vec::new(),
            now: Duration::ZERO,
        }
    }

    fn start(mut self) -> World {
        self.open();
        self.run();
        self
    }

    fn open(&mut self) {
        let context = InputContext {
            name: "file".to_owned(),
            threads: 1,
            message_bytes: MESSAGE_BYTES,
            unfinished: UnfinishedLines::new(1 << 20),
            parked: ParkedMemory::new(1 << 30),
            connections: ConnectionLimit::new(1),
            counters: self.counters.clone(),
            inherited: Inherited::default(),
            clock: self.clock.clone(),
            checkpoints: self.checkpoints.clone(),
        };
        let opened = kind().read_body(&self.settings).unwrap().open(&context).unwrap();
        self.running = opened.sources.into_iter().map(|source| (source, Vec::new())).collect();
    }

    /// One round over all sources, as a reader thread goes; whether one of them has more to read. The newest comes first,
    /// because it is the one that would overtake others.
    fn round(&mut self) -> bool {
        let mut has_more = false;
        let mut accepted = Vec::new();
        let (pipeline, running) = (&mut self.pipeline, std::mem::take(&mut self.running));
        for (mut source, mut parked) in running.into_iter().rev() {
            pipeline.unpark(Waker::noop(), &mut parked);
            let mut progress = Progress::Stalled;
            if parked.is_empty() {
                let (waker, accepted) = (Waker::noop(), &mut accepted);
                progress = source.read(&mut Flow { pipeline, waker, parked: &mut parked, accepted });
            }
            has_more |= progress == Progress::More;
            if progress != Progress::Ended || !parked.is_empty() {
                self.running.push((source, parked));
            }
        }
        self.running.reverse();
        has_more |= !accepted.is_empty();
        self.running.extend(accepted.into_iter().map(|source| (source, Vec::new())));
        has_more
    }

    /// Reads all that is there.
    fn read_all(&mut self) {
        for _ in 0..10_000 {
            if !self.round() {
                return;
            }
        }
        panic!("it reads on and on");
    }

    /// The endpoint delivers everything that waits for it.
    fn deliver(&mut self) {
        let mut work = Vec::new();
        loop {
            self.buffer.begin(usize::MAX, &mut work, Waker::noop());
            if work.is_empty() {
                return;
            }
            for handover in work.drain(..) {
                for position in 0..handover.len() {
                    let message = handover.message(position).unwrap();
                    let message: serde_json::Value = serde_json::from_slice(message.bytes).unwrap();
                    self.delivered.push(message["payload"].as_str().unwrap().to_owned());
                }
                self.buffer.settle(handover.len());
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.clock.set(self.now);
    }

    /// Long enough for a scan; reads and delivers everything.
    fn run(&mut self) {
        for _ in 0..3 {
            self.read_all();
            self.deliver();
            self.pass(Duration::from_secs(1));
        }
        self.read_all();
        self.deliver();
    }

    /// Ends as a router does when it is told to.
    fn stop(&mut self) {
        self.deliver();
        self.end();
    }

    /// Gives up what is still under way.
    fn end(&mut self) {
        for (_, mut parked) in self.running.drain(..) {
            self.pipeline.abandon(&mut parked, DropReason::Shutdown);
        }
        self.buffer.abandon().1.iter().for_each(Handover::withhold);
        self.checkpoints.finish();
        self.checkpoints = Checkpoints::new(&self.folder.path().join("data"));
    }

    /// Ends without a chance to do anything; what was written last is `kept`.
    fn kill(&mut self, kept: &[u8]) {
        self.end();
        fs::write(self.folder.path().join("data/checkpoints/file.json"), kept).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn noticed(&self, what: &str) -> u64 {
        self.counters.read().noticed.get(what).copied().unwrap_or(0)
    }

    #[track_caller]
    fn assert_delivered(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.delivered), expected);
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn the_sample_is_read() {
    assert!(kind().read_body(SAMPLE).is_ok());
    assert!(kind().read_body("path = 'x'\nmax_open = 0\n").is_err());
    assert!(kind().read_body("path = 'x'\nmode = 'once'\nstart = 'end'\n").is_err());
}

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
    settle(&mut world);
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
    settle(&mut world);
    assert_eq!(world.delivered.len(), MESSAGE_BYTES);
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
    is_done.recv_timeout(Duration::from_secs(60)).expect("it comes to its end");
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
    let kept = keep(&world);
    world.kill(&kept);
    let mut world = world.start();
    world.assert_delivered(&["one", "two"]);
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

impl World {
    fn start_without_waiting(mut self) -> World {
        self.open();
        self.read_all();
        self.deliver();
        self
    }
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

/// What happens to the files of the property test.
#[derive(Debug, Clone)]
enum Event {
    Append { lines: usize, is_cut: bool },
    Rename,
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
        1 => Just(Event::Rename),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whatever happens to a file: each line arrives in order, once as long as the router is not killed, and at least once
    /// after that.
    #[test]
    fn no_line_is_lost(events in events(), buffer_bytes in prop_oneof![Just(1usize), Just(1 << 20)]) {
        let mut world = World::with_buffer("path = '@/app.log'", buffer_bytes);
        world.open();
        let (mut written, mut rotations, mut was_killed) = (0usize, 0, false);
        // The end of the last line, when its beginning is in the file already.
        let mut rest = String::new();
        let mut kept: Option<Vec<u8>> = None;
        let path = world.path("app.log");
        for event in events {
            match event {
                Event::Append { lines, is_cut } => {
                    let mut text = std::mem::take(&mut rest);
                    for _ in 0..lines {
                        text.push_str(&format!("line {written:06}\n"));
                        written += 1;
                    }
                    if is_cut {
                        rest = text.split_off(text.len() - 4);
                    }
                    append(&path, &text);
                }
                // Between two lines, as log rotation does it.
                Event::Rename | Event::Truncate | Event::Delete if !rest.is_empty() => {}
                Event::Rename => {
                    // It was there long enough to be seen, and for that to be kept.
                    world.pass(Duration::from_secs(1));
                    world.round();
                    kept = Some(keep(&world));
                    rotations += 1;
                    let _ = fs::rename(&path, world.path(&format!("app.log.{rotations}")));
                }
                Event::Truncate | Event::Delete => {
                    // What was not read is gone for good, so all of it is read and delivered first.
                    settle(&mut world);
                    if matches!(event, Event::Delete) {
                        let _ = fs::remove_file(&path);
                    } else if let Ok(file) = OpenOptions::new().write(true).open(&path) {
                        file.set_len(0).unwrap();
                    }
                    settle(&mut world);
                    kept = None;
                }
                Event::Read => { world.round(); }
                Event::Deliver => world.deliver(),
                Event::Wait => {
                    world.pass(Duration::from_millis(700));
                    world.read_all();
                    kept = Some(keep(&world));
                }
                Event::Restart => {
                    // A router that stops delivers what it has, or withholds it.
                    world.stop();
                    world.open();
                }
                Event::Kill => {
                    let Some(kept) = kept.clone() else { continue };
                    was_killed = true;
                    world.kill(&kept);
                    world.open();
                }
            }
        }
        append(&path, &rest);
        settle(&mut world);
        let expected: Vec<String> = (0..written).map(|number| format!("line {number:06}")).collect();
        if was_killed {
            let mut arrived = world.delivered.clone();
            arrived.sort();
            arrived.dedup();
            prop_assert_eq!(arrived, expected);
        } else {
            prop_assert_eq!(&world.delivered, &expected);
        }
        prop_assert!(world.counters.read().balances());
    }
}

/// Until everything that is there was read and delivered.
fn settle(world: &mut World) {
    for _ in 0..200 {
        let before = world.counters.read().received;
        world.run();
        if world.counters.read().received == before {
            return;
        }
    }
    panic!("it never comes to rest");
}

/// The positions that a router which is killed now would find.
fn keep(world: &World) -> Vec<u8> {
    use crate::checkpoints::Keeper;
    let positions = world.checkpoints.open("file", super::Positions::read).unwrap();
    positions.text().into_bytes()
}
