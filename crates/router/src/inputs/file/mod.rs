//! `kind = "file"`: messages from files, read once or followed as they grow.
//!
//! A `Scanner` has a `Look` taken at which files the patterns match, on a thread of its own, and starts a `Follower` for each that
//! is new; the reader threads drive both. A file is known by its device and inode and by how it begins, not by its name, so a renamed file is read to its end and
//! its successor from the beginning. Positions are kept over a restart and move when the endpoints have acknowledged.

mod follower;
mod identity;
mod look;
mod open_bound;
mod patterns;
mod position;
mod positions;
mod scanner;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::{
    open_bound::OpenBound,
    patterns::{Patterns, Scope},
    positions::Positions,
    scanner::Scanner,
};
use super::{
    InputContext, InputSettings, OpenError, OpenedInput,
    multiline::{Joiner, Multiline},
};
use crate::{
    config::{Section, choices, parameters},
    ledger::{FilesLedger, LeftAlone, MOST_LISTED},
};

choices! {
    /// What happens at the end of a file.
    pub enum Mode {
        /// What is appended later is read as it comes, through log rotation.
        Follow = "follow",
        /// The file is done with. When all files are, the input has ended.
        Once = "once",
    }
}

choices! {
    /// Where reading begins in a file that was never seen before.
    pub enum Start {
        /// At its first line.
        Beginning = "beginning",
        /// Behind its last line, for files that are there when the router starts, or when a reload has the input look for them; what
        /// appears later is read from its first line.
        End = "end",
    }
}

choices! {
    /// What becomes of symbolic links among the files.
    pub enum Links {
        /// The files that they lead to are read.
        Follow = "follow",
        /// They are left alone: files that are links, and files in folders that are links where a wildcard stands for the folder.
        Refuse = "refuse",
    }
}

parameters! {
    /// Reads messages from files, one a line, and keeps its place over a restart.
    pub struct Parameters {
        /// Which files: a path, or a list of paths. `*`, `?`, `[a-z]` and `**` (any folders) stand for what they stand for in a
        /// shell.
        pub path: Patterns,
        /// Which of them not, in the same way. A pattern without `/` is about the file's name alone.
        pub exclude: Patterns = Patterns::default(),
        /// What becomes of symbolic links among the files. Who may write to a folder can make links there, to whatever the router
        /// may read.
        pub links: Links = Links::Follow,
        /// What happens at the end of a file.
        pub mode: Mode = Mode::Follow,
        /// Where reading begins in a file that was never seen before.
        pub start: Start = Start::Beginning,
        /// Joins lines that belong together, such as a stack trace, into one message.
        pub multiline: Option<Multiline>,
        /// How often to look for new and renamed files.
        pub rescan: Duration = Duration::from_secs(1),
        /// How long a file that was renamed or deleted is still read after its last byte came: its writer may not have noticed.
        pub rotate_wait: Duration = Duration::from_secs(30),
        /// How many files are open at once. The others are read in turn, and opened again when they grow.
        pub max_open: usize = 256,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
path = ["/var/log/app/*.log"]
exclude = "debug*"
decoder = "line"
multiline = { start = '^\d{4}-\d\d-\d\d' }
"#;

/// What the scanner and its followers share.
#[derive(Debug)]
struct Shared {
    context: InputContext,
    settings: Parameters,
    positions: Arc<Positions>,
    joiner: Option<Joiner>,
    open: OpenBound,
    /// Held as long as any of them lives; see [`Positions::take_turn`].
    turn: Arc<()>,
    /// What stood in the way of reading a file at the last scan, by its path.
    complaints: Mutex<BTreeMap<PathBuf, Complaint>>,
}

/// What stands in the way of reading a file.
#[derive(Debug)]
struct Complaint {
    /// As it is counted.
    reason: &'static str,
    /// In words.
    problem: String,
}

impl Shared {
    fn complaints(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Complaint>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the files have been read, and which are not.
    fn ledger(&self) -> FilesLedger {
        let left_alone = |(path, complaint): (&PathBuf, &Complaint)| LeftAlone {
            path: path.clone(),
            reason: complaint.reason,
            why: complaint.problem.clone(),
        };
        FilesLedger {
            left_alone: self.complaints().iter().take(MOST_LISTED).map(left_alone).collect(),
            ..self.positions.ledger(self.context.clock.monotonic())
        }
    }

    /// Opens a regular file; `None` if it is something else, or is reached through a link that is refused. That is asked of the
    /// open file, so that nobody can put a link there between the look and the opening.
    fn open_file(&self, path: &Path) -> io::Result<Option<File>> {
        let Some(file) = identity::open_regular(path)? else { return Ok(None) };
        if self.settings.links == Links::Refuse {
            let real = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
            if real != self.settings.path.without_links(path)? {
                return Ok(None);
            }
        }
        Ok(Some(file))
    }
}

impl Parameters {
    fn scope(&self) -> Scope {
        Scope { path: self.path.clone(), exclude: self.exclude.clone(), links: self.links }
    }
}

impl InputSettings for Parameters {
    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let positions =
            context.checkpoints.open(&context.name, Positions::read).map_err(|error| context.error(error))?;
        let shared = Arc::new(Shared {
            context: context.clone(),
            settings: self.clone(),
            positions,
            joiner: self.joiner(context.message_bytes),
            open: OpenBound::new(self.max_open),
            turn: Arc::default(),
            complaints: Mutex::default(),
        });
        let asked = Arc::downgrade(&shared);
        context.counters.watch_files(move || asked.upgrade().map(|shared| shared.ledger()));
        Ok(OpenedInput {
            sources: vec![Box::new(Scanner::new(shared))],
            address: self.path.to_string(),
            sockets: Vec::new(),
        })
    }

    fn joiner(&self, message_bytes: usize) -> Option<Joiner> {
        self.multiline.as_ref().map(|settings| Joiner::new(settings, message_bytes))
    }

    fn check(&self, section: &mut Section<'_>) {
        if self.max_open == 0 {
            let span = section.span_of("max_open");
            let problem = section.diagnostics().error(span, "`max_open` must be more than 0");
            problem.help("leave it out for the default");
        }
        if self.mode == Mode::Once && self.start == Start::End {
            let span = section.span_of("start");
            let problem =
                section.diagnostics().error(span, "`mode = \"once\"` with `start = \"end\"` reads nothing");
            problem.help("remove one of them");
        }
    }
}
