//! Reads one file: from its position to its end, and from then on what is appended.
//!
//! Between two reads nothing is held but the position behind what was handed over. What is not a whole line yet (or, with
//! `multiline`, not a whole message) stays in the file and is read again with the rest of it. So a file costs no memory while
//! nothing happens, it can be closed and opened again at any time, and its position is always one that a restart can go on from.

mod taking;

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use mio::{Registry, Token};

use self::taking::Take;
use super::{
    Mode, Shared,
    identity::{self, FileId},
    open_bound::Seat,
    position::FilePosition,
};
use crate::{
    acknowledgement::Acknowledged,
    batch::BATCH_BYTES,
    inputs::{Flow, Progress, Source, parked::ParkedShare},
    ledger::Standing,
    pipeline::Parked,
};

/// A file that was idle for so long makes way for one that waits to be opened.
const IDLE: Duration = Duration::from_secs(1);

/// So much of a file is read at a time while others wait to be opened.
const TURN_BYTES: u64 = 64 * 1024 * 1024;

/// One file on its reader thread.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
    place: Arc<FilePosition>,
    /// The files that had the name before and are read to their ends first.
    predecessors: Vec<Arc<FilePosition>>,
    file: Option<Arc<File>>,
    seat: Seat,
    /// Behind the last line that was handed over, or within one that is skipped.
    position: u64,
    /// The file as it was when its beginning was last compared with its fingerprint.
    compared: Option<Stamp>,
    /// How far it had been read when it was opened.
    opened_at: u64,
    /// How much is looked at in one go; grows until a whole line fits.
    window: usize,
    skipped: Option<Skipped>,
    end: Option<End>,
    parked: ParkedShare,
    /// Why it cannot be read.
    failure: Option<String>,
    /// What its place was last told of it.
    standing: Option<Standing>,
    is_finished: bool,
    is_stopping: bool,
}

/// A line of which nothing is wanted up to its line break.
#[derive(Debug, Default)]
struct Skipped {
    /// Of its reject, where it is one that is too long.
    acknowledged: Option<Acknowledged>,
}

/// The file as it was when its end was reached.
#[derive(Debug, Clone, Copy)]
struct End {
    stamp: Stamp,
    since: Duration,
    /// There are lines of a message that may go on.
    has_lines: bool,
}

/// Changes when the file's content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp { bytes: metadata.len(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

impl Follower {
    /// Reads the file of `place`, whose turn to be read it is, once `predecessors` are read to their ends.
    pub fn new(shared: Arc<Shared>, place: Arc<FilePosition>, predecessors: Vec<Arc<FilePosition>>) -> Self {
        Follower {
            seat: shared.open.seat(),
            parked: shared.context.parked.share(),
            position: place.read(),
            compared: None,
            opened_at: 0,
            window: BATCH_BYTES,
            skipped: None,
            end: None,
            failure: None,
            standing: None,
            is_finished: false,
            is_stopping: false,
            file: None,
            predecessors,
            place,
            shared,
        }
    }

    /// The same, but what is left of the line at its position is not wanted.
    pub fn skipping_to_next_line(mut self) -> Self {
        self.skipped = Some(Skipped::default());
        self
    }

    fn step(&mut self, flow: &mut Flow<'_>) -> io::Result<Progress> {
        let Some(file) = self.open()? else { return Ok(Progress::Stalled) };
        let now = self.shared.context.clock.monotonic();
        let metadata = file.metadata()?;
        let stamp = Stamp::of(&metadata);
        if let Some(end) = self.end
            && end.stamp == stamp
        {
            return self.wait(flow, &file, &metadata, end, now);
        }
        self.place.measured(stamp.bytes);
        if self.has_new_content(&file, stamp)? {
            self.restart();
        }
        self.end = None;
        let progress = self.take(flow, &file, stamp, Take::Messages, now)?;
        let has_had_its_turn = self.position.saturating_sub(self.opened_at) >= TURN_BYTES;
        if progress == Progress::More
            && has_had_its_turn
            && self.skipped.is_none()
            && self.makes_way(&metadata)
        {
            return Ok(Progress::Stalled);
        }
        Ok(progress)
    }

    /// Whether the file was emptied since its last read. It may hold more than before by now, in particular where a full
    /// buffer held the reading up.
    fn has_new_content(&mut self, file: &File, stamp: Stamp) -> io::Result<bool> {
        if stamp.bytes < self.position {
            return Ok(true);
        }
        if self.position == 0 || self.compared == Some(stamp) {
            return Ok(false);
        }
        self.compared = Some(stamp);
        Ok(!self.place.fingerprint().fits(file)?)
    }

    /// The open file; `None` if it cannot be opened now, or does not have to be.
    fn open(&mut self) -> io::Result<Option<Arc<File>>> {
        if let Some(file) = &self.file {
            return Ok(Some(file.clone()));
        }
        let path = self.place.path();
        if let Some(end) = self.end
            && !self.place.is_gone()
            && fs::metadata(&path)
                .is_ok_and(|found| FileId::of(&found) == self.place.id && Stamp::of(&found) == end.stamp)
        {
            self.place.at_end();
            return Ok(None);
        }
        if !self.seat.take() {
            return Ok(None);
        }
        let opened = open_by_identity(&self.shared, &path, self.place.id);
        let Some(file) = opened.inspect_err(|_| self.seat.release())? else {
            self.lost(&path);
            return Ok(None);
        };
        self.opened_at = self.position;
        self.compared = None;
        self.failure = None;
        Ok(Some(self.file.insert(Arc::new(file)).clone()))
    }

    /// It went away while it was closed.
    fn lost(&mut self, path: &Path) {
        self.shared.context.counters.notice("file-lost", 1);
        tracing::warn!(
            input = self.shared.context.name,
            path = %path.display(),
            "the file went away while it was closed; raise `max_open` to keep more files open"
        );
        self.place.deleted();
        self.is_finished = true;
    }

    /// Nothing has changed since its end was reached.
    fn wait(
        &mut self,
        flow: &mut Flow<'_>,
        file: &Arc<File>,
        metadata: &Metadata,
        end: End,
        now: Duration,
    ) -> io::Result<Progress> {
        let waited = now.saturating_sub(end.since);
        let is_gone = self.place.is_gone();
        let is_over = self.shared.settings.mode == Mode::Once
            || (is_gone && waited >= self.shared.settings.rotate_wait);
        if is_over {
            if self.position < end.stamp.bytes || self.skipped.is_some() {
                self.take(flow, file, end.stamp, Take::All, now)?;
            }
            if self.position < end.stamp.bytes {
                return Ok(Progress::More);
            }
            if metadata.nlink() == 0 {
                self.place.deleted();
            }
            self.is_finished = true;
            return Ok(Progress::Ended);
        }
        if end.has_lines {
            let timeout = self.shared.joiner.as_ref().map_or(Duration::ZERO, |joiner| joiner.timeout);
            return if waited >= timeout {
                self.take(flow, file, end.stamp, Take::Lines, now)
            } else {
                Ok(Progress::Stalled)
            };
        }
        // Not before it was looked at again: what was read last may have been parked, and a successor would overtake it.
        self.place.at_end();
        if waited >= IDLE {
            self.makes_way(metadata);
        }
        Ok(Progress::Stalled)
    }

    /// Closes the file if another one waits to be opened and this one can be opened again.
    fn makes_way(&mut self, metadata: &Metadata) -> bool {
        let id = FileId::of(metadata);
        let is_there = !self.place.is_gone() && FileId::at(&self.place.path()).is_ok_and(|found| found == id);
        if is_there && self.seat.is_wanted() {
            self.file = None;
            self.seat.release();
            return true;
        }
        false
    }

    /// The content that was read is not there any more: what is there now is new.
    fn restart(&mut self) {
        self.shared.context.counters.notice("file-truncated", 1);
        tracing::info!(
            input = self.shared.context.name,
            path = %self.place.path().display(),
            "the file was emptied; reading it from its beginning"
        );
        self.place.restart();
        self.position = 0;
        self.opened_at = 0;
        self.skipped = None;
        self.window = BATCH_BYTES;
    }

    fn failed(&mut self, error: &io::Error) -> Progress {
        self.file = None;
        self.seat.release();
        self.end = None;
        // Its successor need not wait for it.
        self.place.at_end();
        if self.failure.replace(error.to_string()).is_none() {
            self.shared.context.counters.notice("file-unreadable", 1);
            tracing::warn!(
                input = self.shared.context.name,
                path = %self.place.path().display(),
                %error,
                "cannot read the file"
            );
        }
        // Nobody waits for a file that is gone, and an input that reads once must end; but others' files may be closed soon.
        let is_for_good = self.place.is_gone() || self.shared.settings.mode == Mode::Once;
        if is_for_good && !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
            self.is_finished = true;
            return Progress::Ended;
        }
        Progress::Stalled
    }

    /// Tells its place what it does, where that has changed.
    fn stands(&mut self, standing: Standing) {
        if self.standing.as_ref() != Some(&standing) {
            self.place.stands(standing.clone(), self.shared.context.clock.monotonic());
            self.standing = Some(standing);
        }
    }

    /// What it does after a read that left this parked.
    fn standing(&self, parked: &[Parked]) -> Standing {
        if let Some(parked) = parked.first() {
            return Standing::Endpoint(parked.endpoint().clone());
        }
        match (&self.failure, &self.end) {
            (Some(error), _) => Standing::Unreadable(error.clone()),
            _ if self.seat.waits() => Standing::OpenFiles,
            (_, Some(end)) if self.position < end.stamp.bytes || self.skipped.is_some() => {
                Standing::UnfinishedLine
            }
            (_, Some(_)) => Standing::AtEnd,
            (_, None) => Standing::Reading,
        }
    }
}

/// Opens the file with this identity: under its name, or under the one that it has been given in the same folder.
fn open_by_identity(shared: &Shared, path: &Path, id: FileId) -> io::Result<Option<File>> {
    let is_it = |file: &File| file.metadata().is_ok_and(|metadata| FileId::of(&metadata) == id);
    match shared.open_file(path) {
        Ok(Some(file)) if is_it(&file) => return Ok(Some(file)),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let renamed = path.parent().and_then(|folder| identity::find_in(folder, id));
    let Some(renamed) = renamed else { return Ok(None) };
    shared.open_file(&renamed).map(|file| file.filter(is_it))
}

impl Source for Follower {
    /// A file is always ready, as the operating system sees it; a read at its end says when to try again.
    fn register(&mut self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        if self.is_stopping {
            return Progress::Drained;
        }
        if self.is_finished {
            return Progress::Ended;
        }
        // A source is read only when nothing of it is parked any more.
        self.parked.set(0);
        if self.shared.context.parked.is_used_up() {
            self.stands(Standing::Memory);
            return Progress::Stalled;
        }
        if !self.predecessors.iter().all(|predecessor| predecessor.lets_successor_begin()) {
            self.stands(Standing::OlderFile);
            return Progress::Stalled;
        }
        self.predecessors.clear();
        let progress = match self.step(flow) {
            Ok(_) if self.is_finished => Progress::Ended,
            Ok(progress) => progress,
            Err(error) => self.failed(&error),
        };
        self.parked.set(flow.parked.iter().map(Parked::charged_bytes).sum());
        self.stands(self.standing(flow.parked));
        progress
    }

    /// What was not read yet is read after the next start.
    fn stop(&mut self) {
        self.is_stopping = true;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.place.end();
    }
}
