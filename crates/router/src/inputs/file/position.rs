//! One file's place: how far it was read, how far it is acknowledged, and what is known of it besides.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::identity::{FileId, Fingerprint};
use crate::{
    acknowledgement::Acknowledged,
    ledger::{FileLedger, Standing},
};

/// One file's place.
#[derive(Debug)]
pub struct FilePosition {
    /// Which file.
    pub id: FileId,
    state: Mutex<State>,
}

#[derive(Debug, Clone)]
struct State {
    path: PathBuf,
    /// Which file of all that were seen it is, counted from the first one.
    number: u64,
    fingerprint: Fingerprint,
    read: u64,
    acknowledged: u64,
    /// Behind `acknowledged`, in order: where a read ended, and what it waits for.
    pending: VecDeque<(u64, Option<Acknowledged>)>,
    is_followed: bool,
    is_gone: bool,
    is_at_end: bool,
    gone_since: Option<i64>,
    is_deleted: bool,
    /// How large it was when it was last looked at.
    size: u64,
    standing: Standing,
    /// On the monotonic clock.
    standing_since: Duration,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn settle(&mut self) {
        while matches!(self.pending.front(), Some((_, waits)) if waits.as_ref().is_none_or(Acknowledged::is_complete))
        {
            if let Some((end, _)) = self.pending.pop_front() {
                self.acknowledged = end;
            }
        }
    }
}

impl FilePosition {
    /// A file that nobody reads yet.
    pub fn new(
        id: FileId,
        path: PathBuf,
        number: u64,
        position: u64,
        fingerprint: Fingerprint,
    ) -> FilePosition {
        let state = State {
            path,
            number,
            fingerprint,
            read: position,
            acknowledged: position,
            pending: VecDeque::new(),
            is_followed: false,
            is_gone: false,
            is_at_end: false,
            gone_since: None,
            is_deleted: false,
            size: position,
            standing: Standing::Reading,
            standing_since: Duration::ZERO,
        };
        FilePosition { id, state: Mutex::new(state) }
    }

    /// What [`FilePosition::to_json`] gave, read back.
    pub fn from_json(file: &Value, number: u64) -> Option<FilePosition> {
        let id = FileId { device: file["device"].as_u64()?, inode: file["inode"].as_u64()? };
        let bytes = file["fingerprint"]["bytes"].as_u64()?;
        let hash = u64::from_str_radix(file["fingerprint"]["hash"].as_str()?, 16).ok()?;
        let path = PathBuf::from(file["path"].as_str()?);
        let fingerprint = Fingerprint { bytes, hash };
        let position = FilePosition::new(id, path, number, file["position"].as_u64()?, fingerprint);
        lock(&position.state).gone_since = file["gone_since"].as_i64();
        Some(position)
    }

    /// Its number, and what is kept of it. `None` for a file that does not exist any more and of which everything is acknowledged.
    pub fn to_json(&self) -> Option<(u64, Value)> {
        let mut state = lock(&self.state);
        state.settle();
        if state.is_deleted && !state.is_followed && state.pending.is_empty() {
            return None;
        }
        let Fingerprint { bytes, hash } = state.fingerprint;
        let mut file = json!({
            "path": state.path.to_string_lossy(),
            "device": self.id.device,
            "inode": self.id.inode,
            "position": state.acknowledged,
            "fingerprint": { "bytes": bytes, "hash": format!("{hash:016x}") },
        });
        if let Some(since) = state.gone_since {
            file["gone_since"] = since.into();
        }
        Some((state.number, file))
    }

    /// The same place under another identity.
    pub fn under(&self, id: FileId) -> FilePosition {
        FilePosition { id, state: Mutex::new(lock(&self.state).clone()) }
    }

    /// Its last known name.
    pub fn path(&self) -> PathBuf {
        lock(&self.state).path.clone()
    }

    /// How it begins.
    pub fn fingerprint(&self) -> Fingerprint {
        lock(&self.state).fingerprint
    }

    /// It was found to begin like this.
    pub fn set_fingerprint(&self, fingerprint: Fingerprint) {
        lock(&self.state).fingerprint = fingerprint;
    }

    /// How far it was read.
    pub fn read(&self) -> u64 {
        lock(&self.state).read
    }

    /// Read up to `end`; `acknowledged` tells when that is done with, if there is anything to be done with it.
    pub fn advance(&self, end: u64, acknowledged: Option<Acknowledged>) {
        let mut state = lock(&self.state);
        state.read = end;
        state.is_at_end = false;
        let is_done = |waits: &Option<Acknowledged>| waits.as_ref().is_none_or(Acknowledged::is_complete);
        match state.pending.back_mut() {
            // Runs of what nobody waits for take one entry, however long something before them is waited for.
            Some((last, waits)) if is_done(waits) && is_done(&acknowledged) => *last = end,
            _ => state.pending.push_back((end, acknowledged)),
        }
        state.settle();
    }

    /// Its content is gone and there is a new one: nothing of it was read.
    pub fn restart(&self) {
        let mut state = lock(&self.state);
        state.pending.clear();
        (state.read, state.acknowledged) = (0, 0);
        state.fingerprint = Fingerprint::NOTHING;
    }

    /// A source begins to read it; `false` if one does already. What an earlier one had read and could not deliver before its
    /// input was closed is read again.
    pub fn begin(&self) -> bool {
        let mut state = lock(&self.state);
        if std::mem::replace(&mut state.is_followed, true) {
            return false;
        }
        state.is_at_end = false;
        state.is_deleted = false;
        state.standing = Standing::Reading;
        state.settle();
        let is_withheld =
            |waits: &Option<Acknowledged>| waits.as_ref().is_some_and(Acknowledged::is_withheld);
        if let Some(first) = state.pending.iter().position(|(_, waits)| is_withheld(waits)) {
            state.pending.truncate(first);
            state.read = state.pending.back().map_or(state.acknowledged, |(end, _)| *end);
        }
        true
    }

    /// Nobody reads it any more.
    pub fn end(&self) {
        let mut state = lock(&self.state);
        state.is_followed = false;
    }

    /// Whether a source reads it.
    pub fn is_followed(&self) -> bool {
        lock(&self.state).is_followed
    }

    /// It was found under this name, with so many bytes.
    pub fn found_at(&self, path: &Path, size: u64) {
        let mut state = lock(&self.state);
        state.size = size;
        state.is_gone = false;
        state.is_deleted = false;
        state.gone_since = None;
        if state.path != path {
            state.path = path.to_owned();
        }
    }

    /// It has so many bytes.
    pub fn measured(&self, size: u64) {
        lock(&self.state).size = size;
    }

    /// Who reads it does or waits for this from now on, on the monotonic clock.
    pub fn stands(&self, standing: Standing, now: Duration) {
        let mut state = lock(&self.state);
        (state.standing, state.standing_since) = (standing, now);
    }

    /// How far it has come; `None` if nobody reads it.
    pub fn ledger(&self, now: Duration) -> Option<FileLedger> {
        let mut state = lock(&self.state);
        state.settle();
        state.is_followed.then(|| FileLedger {
            path: state.path.clone(),
            is_gone: state.is_gone,
            size_bytes: state.size,
            read_bytes: state.read,
            acknowledged_bytes: state.acknowledged,
            standing: state.standing.clone(),
            standing_for: now.saturating_sub(state.standing_since),
        })
    }

    /// No path of the input leads to it any more.
    pub fn gone(&self, now_seconds: i64) {
        let mut state = lock(&self.state);
        state.is_gone = true;
        state.gone_since.get_or_insert(now_seconds);
    }

    /// Since when it is gone, in seconds of the wall clock; `None` for one that is there, or was when the router ended.
    pub fn gone_since(&self) -> Option<i64> {
        lock(&self.state).gone_since
    }

    /// Which file of all that were seen it is: the larger one of two is the younger file.
    pub fn number(&self) -> u64 {
        lock(&self.state).number
    }

    /// It is the file with this number.
    pub fn set_number(&self, number: u64) {
        lock(&self.state).number = number;
    }

    /// Whether it is gone.
    pub fn is_gone(&self) -> bool {
        lock(&self.state).is_gone
    }

    /// It has no name any more: when the last one closes it, another file can have its identity.
    pub fn deleted(&self) {
        lock(&self.state).is_deleted = true;
    }

    /// Whether it has no name any more.
    pub fn is_deleted(&self) -> bool {
        lock(&self.state).is_deleted
    }

    /// Whether nobody reads it, and everything that was read is acknowledged.
    pub fn is_done_with(&self) -> bool {
        let mut state = lock(&self.state);
        state.settle();
        !state.is_followed && state.pending.is_empty()
    }

    /// Everything that it holds at the moment was handed over.
    pub fn at_end(&self) {
        lock(&self.state).is_at_end = true;
    }

    /// It has a successor under its name, and is to be found at its end once more before that one is read.
    pub fn look_again(&self) {
        lock(&self.state).is_at_end = false;
    }

    /// Whether its successor under the same name may be read: everything was handed over, or nobody reads it.
    pub fn lets_successor_begin(&self) -> bool {
        let state = lock(&self.state);
        !state.is_followed || state.is_at_end
    }
}
