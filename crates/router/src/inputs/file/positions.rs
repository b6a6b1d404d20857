//! How far each file was read and, behind that, how far it was acknowledged: the second is what a restart goes on from.
//!
//! The text that is kept is JSON: `{"version":1,"files":[{"path":…,"device":…,"inode":…,"position":…,"fingerprint":{"bytes":…,
//! "hash":…},"gone_since":…}]}`, in the order in which the files were first seen. `position` is a byte offset behind a line
//! break; `hash` is 16 hexadecimal digits.

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    identity::{FileId, Fingerprint},
    patterns::Scope,
    position::FilePosition,
};
use crate::{
    checkpoints::Keeper,
    ledger::{FileLedger, FilesLedger, MOST_LISTED},
};

/// How long the position of a file that is not there any more is kept, in seconds: it may be on a disk that comes back.
const KEEP_GONE_SECONDS: i64 = 7 * 24 * 3600;

/// How many of them are kept.
const KEEP_GONE_FILES: usize = 1000;

/// Every file that an input knows.
#[derive(Debug, Default)]
pub struct Positions {
    files: Mutex<HashMap<FileId, Arc<FilePosition>>>,
    /// How many were seen so far.
    seen: AtomicU64,
    /// Whoever reads them now: an input that was opened anew waits until its predecessor has let go.
    turn: Mutex<Weak<()>>,
    /// What was looked for last in this process. A reload opens the input anew, and what appeared since then is no old file.
    scanned: Mutex<Option<Scope>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Positions {
    /// What [`Keeper::text`] gave, read back.
    pub fn read(text: Option<&str>) -> Result<Positions, String> {
        let Some(text) = text else { return Ok(Positions::default()) };
        let kept: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if kept["version"] != 1 {
            return Err(format!("version {} is not known", kept["version"]));
        }
        let files = kept["files"].as_array().ok_or("there is no list of files")?;
        let seen = AtomicU64::new(files.len() as u64);
        let files = (0..)
            .zip(files)
            .map(|(number, file)| {
                let position =
                    FilePosition::from_json(file, number).ok_or_else(|| format!("cannot use {file}"))?;
                Ok((position.id, Arc::new(position)))
            })
            .collect::<Result<_, String>>()?;
        Ok(Positions { files: Mutex::new(files), seen, ..Positions::default() })
    }

    /// Takes the turn for whoever holds `token`; `false` while somebody else has it.
    pub fn take_turn(&self, token: &Arc<()>) -> bool {
        let mut turn = lock(&self.turn);
        if turn.upgrade().is_some_and(|holder| !Arc::ptr_eq(&holder, token)) {
            return false;
        }
        *turn = Arc::downgrade(token);
        true
    }

    /// There was a look at all files in this scope.
    pub fn has_scanned(&self, scope: Scope) {
        *lock(&self.scanned) = Some(scope);
    }

    /// Whether a file with this name, had it been there, would have been found in this process before.
    pub fn would_know(&self, path: &Path) -> bool {
        lock(&self.scanned).as_ref().is_some_and(|scope| scope.covers(path))
    }

    /// The place in the file with this identity, if it is known.
    pub fn get(&self, id: FileId) -> Option<Arc<FilePosition>> {
        lock(&self.files).get(&id).cloned()
    }

    /// Holds up every look for files, as a slow disk does.
    #[cfg(test)]
    pub fn hold_looks(&self) -> impl Sized + '_ {
        lock(&self.files)
    }

    /// Every file, in no order.
    pub fn all(&self) -> Vec<Arc<FilePosition>> {
        lock(&self.files).values().cloned().collect()
    }

    /// The files that are followed, and what each of them does; `now` is the monotonic clock.
    pub fn ledger(&self, now: Duration) -> FilesLedger {
        let mut files: Vec<_> = self.all().iter().filter_map(|file| file.ledger(now)).collect();
        let is_held_up = |file: &&FileLedger| file.standing.is_held_up();
        let ledger = FilesLedger {
            followed: files.len() as u64,
            behind_bytes: files.iter().map(FileLedger::behind_bytes).sum(),
            held_up: files.iter().filter(is_held_up).count() as u64,
            ..FilesLedger::default()
        };
        files.sort_by(|one, other| {
            other.behind_bytes().cmp(&one.behind_bytes()).then_with(|| one.path.cmp(&other.path))
        });
        files.truncate(MOST_LISTED);
        FilesLedger { list: files, ..ledger }
    }

    /// Knows a file from now on, read up to `position`, in place of any other with the same identity.
    pub fn add(&self, id: FileId, path: &Path, position: u64) -> Arc<FilePosition> {
        let number = self.next_number();
        let added = Arc::new(FilePosition::new(id, path.to_owned(), number, position, Fingerprint::NOTHING));
        lock(&self.files).insert(id, added.clone());
        added
    }

    /// There is a new file with the identity of `file`.
    pub fn replaced(&self, file: &FilePosition) {
        file.restart();
        file.set_number(self.next_number());
    }

    fn next_number(&self) -> u64 {
        self.seen.fetch_add(1, Ordering::Relaxed)
    }

    /// Goes on with the place of `file`, which nobody reads, under another identity: its file system has another number now.
    pub fn renumber(&self, file: &FilePosition, id: FileId) {
        let mut files = lock(&self.files);
        files.remove(&file.id);
        files.insert(id, Arc::new(file.under(id)));
    }

    /// Forgets files that were deleted, or have not been seen for a long time, once all of their content is acknowledged.
    pub fn forget(&self, now_seconds: i64) {
        let mut files = lock(&self.files);
        let mut gone: Vec<i64> = files.values().filter_map(|file| file.gone_since()).collect();
        gone.sort_unstable();
        let surplus = gone.len().checked_sub(KEEP_GONE_FILES + 1);
        let too_old = surplus.and_then(|last| gone.get(last)).copied().unwrap_or(i64::MIN);
        files.retain(|_, file| {
            let is_old = file
                .gone_since()
                .is_some_and(|since| now_seconds - since > KEEP_GONE_SECONDS || since <= too_old);
            !(file.is_done_with() && (is_old || file.is_deleted()))
        });
    }
}

impl Keeper for Positions {
    fn text(&self) -> String {
        let mut files: Vec<(u64, Value)> = self.all().iter().filter_map(|file| file.to_json()).collect();
        files.sort_unstable_by_key(|(number, _)| *number);
        let files: Vec<Value> = files.into_iter().map(|(_, file)| file).collect();
        let mut text = json!({ "version": 1, "files": files }).to_string();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::acknowledgement::Acknowledgement;

    const ID: FileId = FileId { device: 1, inode: 2 };

    fn kept(positions: &Positions) -> Value {
        serde_json::from_str(&positions.text()).unwrap()
    }

    #[test]
    fn the_kept_position_moves_when_everything_before_it_is_acknowledged() {
        let positions = Positions::default();
        let file = positions.add(ID, Path::new("app.log"), 0);
        let mut handles = Vec::new();
        for end in [10, 20, 30] {
            let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
            handles.push(handle);
            file.advance(end, Some(acknowledged));
        }
        handles.pop();
        handles.swap_remove(0);
        assert_eq!(kept(&positions)["files"][0]["position"], 10);
        handles.clear();
        assert_eq!(kept(&positions)["files"][0]["position"], 30);
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let positions = Positions::default();
        let file = positions.add(ID, Path::new("app.log"), 77);
        file.set_fingerprint(Fingerprint { bytes: 77, hash: u64::MAX });
        let again = Positions::read(Some(&positions.text())).unwrap();
        assert_eq!(again.text(), positions.text());
        assert_eq!(
            (again.get(ID).unwrap().read(), again.get(ID).unwrap().fingerprint().hash),
            (77, u64::MAX)
        );
        for broken in ["", "{}", "{\"version\":2}", "{\"version\":1,\"files\":[{}]}"] {
            assert!(Positions::read(Some(broken)).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_deleted_file_is_forgotten_once_its_last_line_is_acknowledged() {
        let positions = Positions::default();
        let file = positions.add(ID, Path::new("app.log"), 0);
        let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
        file.advance(10, Some(acknowledged));
        file.deleted();
        positions.forget(0);
        assert_eq!(kept(&positions)["files"][0]["position"], 0);
        drop(handle);
        positions.forget(0);
        assert_eq!(kept(&positions)["files"], json!([]));
        assert!(positions.get(ID).is_none());
    }

    #[test]
    fn a_new_file_with_the_inode_of_a_deleted_one_keeps_its_position() {
        for is_found_at_once in [false, true] {
            let positions = Positions::default();
            let file = positions.add(ID, Path::new("app.log"), 0);
            file.deleted();
            if is_found_at_once {
                file.found_at(Path::new("new.log"), 0);
            } else {
                assert!(file.begin());
                file.advance(10, None);
                file.end();
            }
            assert_eq!(kept(&positions)["files"].as_array().map(Vec::len), Some(1));
        }
    }

    #[test]
    fn a_file_that_is_not_found_is_remembered_for_a_week() {
        let positions = Positions::default();
        positions.add(ID, Path::new("app.log"), 5).gone(1000);
        positions.forget(1000 + KEEP_GONE_SECONDS);
        assert!(positions.get(ID).is_some());
        positions.forget(1001 + KEEP_GONE_SECONDS);
        assert!(positions.get(ID).is_none());
    }

    #[test]
    fn of_many_files_that_are_gone_the_latest_are_remembered() {
        let positions = Positions::default();
        let id = |number: i64| FileId { device: 1, inode: number as u64 };
        for number in 0..1_010 {
            positions.add(id(number), Path::new("app.log"), 5).gone(number);
        }
        positions.forget(2_000);
        assert_eq!(positions.all().len(), KEEP_GONE_FILES);
        assert!(positions.get(id(9)).is_none() && positions.get(id(10)).is_some());
    }

    #[test]
    fn what_an_input_had_to_give_up_is_read_again_by_its_successor() {
        let positions = Positions::default();
        let file = positions.add(ID, Path::new("app.log"), 0);
        assert!(file.begin() && !file.begin());
        let mut handles = Vec::new();
        for end in [10, 20, 30] {
            let (handle, acknowledged) = Acknowledgement::new(Waker::noop().clone());
            handles.push(handle);
            file.advance(end, Some(acknowledged));
        }
        handles[1].withhold();
        file.end();
        assert!(file.begin());
        assert_eq!(file.read(), 10);
        drop(handles);
        assert_eq!(kept(&positions)["files"][0]["position"], 10);
    }

    #[test]
    fn an_input_that_is_opened_anew_waits_for_its_predecessor() {
        let positions = Positions::default();
        let (old, new) = (Arc::new(()), Arc::new(()));
        assert!(positions.take_turn(&old) && positions.take_turn(&old));
        assert!(!positions.take_turn(&new));
        drop(old);
        assert!(positions.take_turn(&new));
    }
}
