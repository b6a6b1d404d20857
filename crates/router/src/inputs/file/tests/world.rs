//! A folder with log files and the input that reads them, driven without threads and with a clock that the test moves.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    task::{Wake, Waker},
    time::Duration,
};

use metlog_buffer::Buffer;
use metlog_message::Limits;
use tempfile::TempDir;

use crate::{
    acknowledgement::Ack,
    batch::Handover,
    checkpoints::{Checkpoints, Keeper},
    config::Kind,
    decoders::{FrameDecoder, line::LineDecoder},
    inputs::{
        Flow, InputContext, InputSettings, Progress, Source, connections::ConnectionLimit,
        file::positions::Positions, parked::ParkedMemory, registry, sockets::Inherited,
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
pub const MESSAGE_BYTES: usize = 300_000;

/// How long another thread is waited for before something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A source, and what of it did not fit into the endpoint's buffer.
pub type Running = (Box<dyn Source>, Vec<Parked>);

/// A folder with log files, and the input that reads them into an endpoint's buffer.
pub struct World {
    pub folder: TempDir,
    clock: Arc<ManualClock>,
    settings: String,
    pub running: Vec<Running>,
    pipeline: Pipeline,
    pub buffer: Arc<Buffer<Handover>>,
    pub counters: Arc<InputCounters>,
    pub checkpoints: Checkpoints,
    pub delivered: Vec<String>,
    now: Duration,
    /// Whether a look for files is over when the round is in which it began. Otherwise it goes on beside what comes next.
    waits_for_looks: bool,
    /// Rings of looks that nobody has waited for.
    looks: Vec<Receiver<()>>,
}

/// The kind under test.
pub fn kind() -> &'static Kind<dyn InputSettings> {
    registry::KINDS.iter().find(|kind| kind.name == "file").unwrap()
}

impl World {
    /// An input with these settings, `@` being the folder.
    pub fn new(settings: &str) -> World {
        World::with_buffer(settings, 64 << 20)
    }

    pub fn with_buffer(settings: &str, buffer_bytes: usize) -> World {
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
            waits_for_looks: true,
            looks: Vec::new(),
        }
    }

    pub fn start(mut self) -> World {
        self.open();
        self.run();
        self
    }

    /// Begins, and stops before time passes.
    pub fn start_without_waiting(mut self) -> World {
        self.open();
        self.read_all();
        self.deliver();
        self
    }

    pub fn open(&mut self) {
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

    /// Goes on with these settings as a reload does: in the same process, without a look at the files before.
    pub fn reload(&mut self, settings: &str) {
        self.settings = self.within(settings);
        self.running.clear();
        self.open();
        self.run();
    }

    fn within(&self, settings: &str) -> String {
        settings.replace('@', self.folder.path().to_str().unwrap())
    }

    /// One round over all sources, as a reader thread goes; whether one of them has more to read. The newest comes first,
    /// because it is the one that would overtake others.
    pub fn round(&mut self) -> bool {
        let mut has_more = false;
        let mut accepted = Vec::new();
        let (pipeline, running) = (&mut self.pipeline, std::mem::take(&mut self.running));
        for (mut source, mut parked) in running.into_iter().rev() {
            pipeline.unpark(Waker::noop(), &mut parked);
            let mut progress = Progress::Stalled;
            if parked.is_empty() {
                let (bell, rings) = Bell::new();
                let waker = Waker::from(bell);
                progress = source.read(&mut Flow {
                    pipeline,
                    waker: &waker,
                    parked: &mut parked,
                    accepted: &mut accepted,
                });
                drop(waker);
                if progress == Progress::Stalled && parked.is_empty() {
                    if !self.waits_for_looks {
                        self.looks.push(rings);
                    } else if rings.recv_timeout(PATIENCE).is_ok() {
                        let (waker, accepted) = (Waker::noop(), &mut accepted);
                        progress = source.read(&mut Flow { pipeline, waker, parked: &mut parked, accepted });
                    }
                }
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

    /// One round that leaves a look for files to itself.
    pub fn round_beside_look(&mut self) {
        self.waits_for_looks = false;
        self.round();
        self.waits_for_looks = true;
    }

    /// Waits for the looks that were left to themselves.
    pub fn finish_looks(&mut self) {
        for rings in self.looks.drain(..) {
            // Where nobody has the bell any more there is nothing to wait for.
            assert_ne!(rings.recv_timeout(PATIENCE), Err(RecvTimeoutError::Timeout), "a look never ends");
        }
    }

    /// Reads all that is there.
    pub fn read_all(&mut self) {
        for _ in 0..10_000 {
            if !self.round() {
                return;
            }
        }
        panic!("it reads on and on");
    }

    /// The endpoint delivers everything that waits for it.
    pub fn deliver(&mut self) {
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

    pub fn pass(&mut self, time: Duration) {
        self.now += time;
        self.clock.set(self.now);
    }

    /// Long enough for a scan; reads and delivers everything.
    pub fn run(&mut self) {
        for _ in 0..3 {
            self.read_all();
            self.deliver();
            self.pass(Duration::from_secs(1));
        }
        self.read_all();
        self.deliver();
    }

    /// Until everything that is there was read and delivered.
    pub fn settle(&mut self) {
        self.finish_looks();
        for _ in 0..200 {
            let before = self.counters.read().received;
            self.run();
            if self.counters.read().received == before {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// The positions that are on the disk.
    pub fn written(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("data/checkpoints/file.json")).unwrap_or_default()
    }

    /// What is done each second.
    pub fn write_positions(&self) {
        self.checkpoints.write("file");
    }

    /// The positions that a router would find that is killed just after they were written.
    pub fn kept(&self) -> Vec<u8> {
        self.checkpoints.open("file", Positions::read).unwrap().text().into_bytes()
    }

    /// Ends as a router does when it is told to.
    pub fn stop(&mut self) {
        self.deliver();
        self.end();
    }

    /// Gives up what is still under way.
    pub fn end(&mut self) {
        self.finish_looks();
        for (_, mut parked) in self.running.drain(..) {
            self.pipeline.abandon(&mut parked, DropReason::Shutdown);
        }
        self.buffer.abandon().1.iter().for_each(Handover::withhold);
        self.checkpoints.finish();
        self.checkpoints = Checkpoints::new(&self.folder.path().join("data"));
    }

    /// Ends without a chance to do anything; what was written last is `kept`.
    pub fn kill(&mut self, kept: &[u8]) {
        self.end();
        fs::write(self.folder.path().join("data/checkpoints/file.json"), kept).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    pub fn noticed(&self, what: &str) -> u64 {
        self.counters.read().noticed.get(what).copied().unwrap_or(0)
    }

    #[track_caller]
    pub fn assert_delivered(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.delivered), expected);
    }
}

/// Tells a test that it rang, or that nobody has it any more.
pub struct Bell(Sender<()>);

impl Bell {
    pub fn new() -> (Arc<Bell>, Receiver<()>) {
        let (sender, rings) = mpsc::channel();
        (Arc::new(Bell(sender)), rings)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// As a program that appends to its log does.
pub fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
