//! When a file gives way to a new one, and what becomes of the old ones.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use metlog_message::Timestamp;

use super::{housekeeping::Housekeeper, permissions::Permissions};
use crate::{
    clock::Clock,
    config::{ByteSize, Section, choices, parameters},
    ledger::EndpointCounters,
};

choices! {
    /// How rotated files are compressed.
    pub enum Compress {
        /// They stay as they are.
        None = "none",
        /// With Zstandard, as `.zst`: small and fast.
        Zstd = "zstd",
        /// With gzip, as `.gz`: every tool reads it.
        Gzip = "gzip",
    }
}

parameters! {
    /// When a file gives way to a new one, and what becomes of the old ones.
    pub struct Rotate {
        /// Before a file grows beyond this. A message that is larger gets a file of its own.
        pub size: Option<ByteSize>,
        /// At the end of each span of this length, in UTC: `"1d"` at midnight, `"1h"` at every full hour.
        pub every: Option<Duration>,
        /// How many rotated files are kept, for each path; older ones are removed: with 0, all of
        /// them, at once. Without it all are kept.
        pub keep: Option<u32>,
        /// Rotated files that are older are removed, whatever path they belong to; and with placeholders in `path`, files
        /// that this endpoint has made and that nothing was written to for so long.
        pub max_age: Option<Duration>,
        /// How rotated files are compressed, in the background.
        pub compress: Compress = Compress::None,
    }
}

/// Shorter spans are a mistake: a folder full of files that hold nothing.
const SHORTEST_SPAN: Duration = Duration::from_secs(1);

/// While only the clock says when the next span begins, it is looked at again after so long: it may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

impl Rotate {
    /// Reports keys that make no sense together. `is_fixed`: the path has no placeholders.
    pub fn check(&self, is_fixed: bool, section: &mut Section<'_>) {
        let span = section.span_of("rotate");
        let mut error = |message: &str, help: &str| {
            section.diagnostics().error(span.clone(), message).help(help);
        };
        if self.size.is_some_and(|size| size.bytes() == 0) {
            error("`rotate.size` is 0", "remove it, or say how large a file may become");
        }
        if self.every.is_some_and(|every| every < SHORTEST_SPAN || every.subsec_nanos() != 0) {
            error("`rotate.every` is not a whole number of seconds", "take \"1h\" or \"1d\", for example");
        }
        let rotates = self.size.is_some() || self.every.is_some();
        if !rotates && (is_fixed || self.max_age.is_none()) {
            error("`rotate` does not say when", "add `size`, `every`, or both");
        }
        if !rotates && !is_fixed && (self.keep.is_some() || self.compress != Compress::None) {
            let help = "add `size` or `every`, or leave only `max_age`";
            error("nothing is rotated, so there is nothing to keep or compress", help);
        }
        if self.max_age.is_some_and(|age| age.is_zero()) {
            let message = "`rotate.max_age` is 0: every file is old enough to be removed at once";
            let problem = section.diagnostics().warning(span.clone(), message);
            problem.help("say how old a file may become, or leave it out to keep files of any age");
        }
        if rotates && self.keep == Some(0) {
            let problem = section.diagnostics().warning(span, "`rotate.keep` is 0: no rotated file is kept");
            problem.help(
                "what was written is gone at every rotation; say how many to keep, or leave it out to keep all",
            );
        }
    }
}

/// How an endpoint's files are opened, and when they give way to new ones.
#[derive(Debug)]
pub struct Opening {
    /// What new files and folders get.
    pub permissions: Permissions,
    /// Where they are rotated.
    pub rotation: Option<Rotation>,
}

/// When files are rotated, and who looks after them then.
#[derive(Debug)]
pub struct Rotation {
    /// The endpoint's name.
    pub endpoint: String,
    /// Before a file grows beyond so many bytes.
    pub size: Option<u64>,
    /// At the end of each span of so many seconds.
    pub every: Option<i64>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where failures are counted.
    pub counters: Arc<EndpointCounters>,
    /// Compresses and removes.
    pub housekeeper: Housekeeper,
}

impl Opening {
    /// Opens a file for appending, and makes it and its folders if they are missing.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.permissions.open(path, |file| {
            if let Some(rotation) = &self.rotation {
                rotation.housekeeper.has_made(file, path);
            }
        })
    }

    /// The span of time that it is now; always 0 where time does not matter.
    pub fn span_now(&self) -> i64 {
        match &self.rotation {
            Some(rotation) if rotation.every.is_some() => rotation.span_of(rotation.clock.wall()),
            _ => 0,
        }
    }

    /// When to look at the spans again, if ever.
    pub fn next_look(&self) -> Option<Duration> {
        let rotation = self.rotation.as_ref()?;
        let now = rotation.clock.monotonic();
        let every = match rotation.every {
            Some(every) => every,
            None if rotation.housekeeper.finds_old_files() => return Some(now + LONGEST_SLEEP),
            None => return None,
        };
        let wall = rotation.clock.wall();
        let left = u64::try_from(every - wall.seconds.rem_euclid(every)).unwrap_or(0);
        let left = Duration::from_secs(left).saturating_sub(Duration::from_nanos(wall.nanoseconds.into()));
        Some(now + left.min(LONGEST_SLEEP))
    }
}

impl Rotation {
    /// The number of the span that a moment lies in.
    pub fn span_of(&self, moment: Timestamp) -> i64 {
        self.every.map_or(0, |every| moment.seconds.div_euclid(every))
    }

    /// Says and counts that a file could not be moved out of the way.
    #[cold]
    pub fn failed(&self, path: &Path, error: &dyn std::fmt::Display) {
        self.counters.notice("rotation-failed", 1);
        let path = path.display();
        tracing::warn!(endpoint = self.endpoint, "cannot rotate {path}: {error}; going on in the same file");
    }
}
