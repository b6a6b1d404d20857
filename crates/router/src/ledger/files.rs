//! How far an input has come that reads files: which they are, how much of them is still to be delivered, and what stands in
//! the way.

use std::{path::PathBuf, sync::Arc, time::Duration};

/// Files that are listed by name. The sums are over all.
pub const MOST_LISTED: usize = 1000;

/// An input's files at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesLedger {
    /// How many it follows.
    pub followed: u64,
    /// How many bytes of them are not acknowledged: still in the file, or on their way.
    pub behind_bytes: u64,
    /// How many cannot be read on although there may be more in them.
    pub held_up: u64,
    /// The files, those furthest behind first; no more than [`MOST_LISTED`].
    pub list: Vec<FileLedger>,
    /// What the patterns match and is not read; no more than [`MOST_LISTED`].
    pub left_alone: Vec<LeftAlone>,
}

/// One file that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLedger {
    /// Its name, or the last one that it was found under.
    pub path: PathBuf,
    /// Whether it was renamed or deleted, and is read to its end.
    pub is_gone: bool,
    /// How large it was when it was last looked at.
    pub size_bytes: u64,
    /// How far it was read.
    pub read_bytes: u64,
    /// How far it is acknowledged: a restart goes on from here.
    pub acknowledged_bytes: u64,
    /// What it does.
    pub standing: Standing,
    /// For how long it has been doing that.
    pub standing_for: Duration,
}

impl FileLedger {
    /// How many of its bytes are not acknowledged.
    pub fn behind_bytes(&self) -> u64 {
        self.size_bytes.saturating_sub(self.acknowledged_bytes)
    }
}

/// A file that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Its name.
    pub path: PathBuf,
    /// The name under which it is counted in `noticed`.
    pub reason: &'static str,
    /// Why, in words.
    pub why: String,
}

/// What a file that is followed does, or waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Standing {
    /// There is more, and it is being read.
    #[default]
    Reading,
    /// All of it was read.
    AtEnd,
    /// What is left is no whole line yet, or no whole message.
    UnfinishedLine,
    /// This endpoint's buffer is full.
    Endpoint(Arc<str>),
    /// A file that had its name before is read first.
    OlderFile,
    /// As many files are open as may be.
    OpenFiles,
    /// The memory for batches that wait is used up.
    Memory,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

impl Standing {
    /// The name that the API uses.
    pub fn name(&self) -> &'static str {
        match self {
            Standing::Reading => "reading",
            Standing::AtEnd => "at-end",
            Standing::UnfinishedLine => "unfinished-line",
            Standing::Endpoint(_) => "waits-for-endpoint",
            Standing::OlderFile => "waits-for-older-file",
            Standing::OpenFiles => "waits-to-be-opened",
            Standing::Memory => "waits-for-memory",
            Standing::Unreadable(_) => "unreadable",
        }
    }

    /// The endpoint that is waited for, or the error.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Standing::Endpoint(name) => Some(name),
            Standing::Unreadable(error) => Some(error),
            _ => None,
        }
    }

    /// Whether it cannot be read on.
    pub fn is_held_up(&self) -> bool {
        !matches!(self, Standing::Reading | Standing::AtEnd | Standing::UnfinishedLine)
    }
}
