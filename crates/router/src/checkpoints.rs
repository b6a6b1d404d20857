//! What inputs keep over a restart: how far they have come, one small file for each in `data_dir/checkpoints`.
//!
//! An input hands over a [`Keeper`], which is asked about every second, whenever the input says so, and once more at the end, for
//! the text to keep. A file is replaced as a whole (temporary file, fsync, rename), so that a crash leaves the old text or the new
//! one.
//!
//! `data_dir` is made for its owner alone, and locked for as long as the router runs, whether or not anything is kept there: two
//! routers that kept their positions in one folder would each undo what the other wrote, and two that run with the same
//! configuration would write the same files.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt::Debug,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often positions are written. After a crash, what was delivered since the last time is delivered again.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Knows what an input keeps.
pub trait Keeper: Any + Debug + Send + Sync {
    /// The text to keep, as of now.
    fn text(&self) -> String;
}

/// The checkpoints of one router.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    shared: Arc<Shared>,
}

/// Why positions cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A folder or file cannot be made or read.
    #[error("cannot keep anything in {}: {error}; `data_dir` must be a folder that the router may write to", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has the lock.
    #[error("{} is in use by another router{}; give each router a `data_dir` of its own", path.display(), process_named(owner))]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The other's process number, if it left it.
        owner: String,
    },
}

fn process_named(number: &str) -> String {
    if number.is_empty() { String::new() } else { format!(" (process {number})") }
}

#[derive(Debug)]
struct Shared {
    data_dir: PathBuf,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Holds the lock on `data_dir` while it is open.
    lock: Option<File>,
    writer: Option<JoinHandle<()>>,
    kept: BTreeMap<String, Kept>,
    is_ending: bool,
}

#[derive(Debug)]
struct Kept {
    keeper: Arc<dyn Keeper>,
    /// What its file holds.
    written: String,
}

impl Checkpoints {
    /// Checkpoints below `data_dir`, which is not touched before [`Checkpoints::lock`] or [`Checkpoints::open`].
    pub fn new(data_dir: &Path) -> Self {
        let shared = Shared { data_dir: data_dir.to_owned(), state: Mutex::default(), ended: Condvar::new() };
        Checkpoints { shared: Arc::new(shared) }
    }

    /// Makes the folder and locks it, so that no other router runs with it.
    pub fn lock(&self) -> Result<(), CheckpointError> {
        self.shared.lock_folder(&mut self.shared.lock())
    }

    /// The keeper of the input with this name: the one that it has already in this process, or what `read` makes of the text that
    /// was kept last, if there is one. A text that `read` cannot use is set aside.
    pub fn open<K: Keeper>(
        &self,
        name: &str,
        read: impl Fn(Option<&str>) -> Result<K, String>,
    ) -> Result<Arc<K>, CheckpointError> {
        let mut state = self.shared.lock();
        self.shared.lock_folder(&mut state)?;
        self.shared.start_writing(&mut state)?;
        if let Some(kept) = state.kept.get(name) {
            let keeper: Arc<dyn Any + Send + Sync> = kept.keeper.clone();
            if let Ok(keeper) = keeper.downcast::<K>() {
                return Ok(keeper);
            }
        }
        let path = self.shared.path_of(name);
        let failed = |error| CheckpointError::Io { path: path.clone(), error };
        let written = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        let keeper = match read((!written.is_empty()).then_some(&written)) {
            Ok(keeper) => keeper,
            Err(problem) => {
                let aside = path.with_extension("unreadable");
                fs::rename(&path, &aside).map_err(failed)?;
                tracing::warn!(
                    input = name,
                    problem,
                    "the kept positions cannot be read; they are set aside as {}, and the input begins anew",
                    aside.display()
                );
                read(None).map_err(|problem| failed(io::Error::other(problem)))?
            }
        };
        let keeper = Arc::new(keeper);
        state.kept.insert(name.to_owned(), Kept { keeper: keeper.clone(), written });
        Ok(keeper)
    }

    /// Writes what the input with this name keeps now. It returns when that is on the disk, or cannot be and that was said: not for
    /// threads that others wait for.
    pub fn write(&self, name: &str) {
        let mut state = self.shared.lock();
        // Without the lock the folder may be another router's.
        if state.lock.is_some()
            && let Some(kept) = state.kept.get_mut(name)
        {
            self.shared.write(name, kept);
        }
    }

    /// Writes everything a last time and lets the folder go. To be called when every endpoint is done.
    pub fn finish(&self) {
        let mut state = self.shared.lock();
        state.is_ending = true;
        let writer = state.writer.take();
        drop(state);
        self.shared.ended.notify_all();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that writes positions has panicked");
        }
        self.shared.lock().lock = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.data_dir.join("checkpoints").join(format!("{name}.json"))
    }

    /// Makes and locks the folder, at the first call.
    fn lock_folder(&self, state: &mut State) -> Result<(), CheckpointError> {
        if state.lock.is_some() {
            return Ok(());
        }
        make_folder(&self.data_dir)?;
        let failed = |path: &Path, error| CheckpointError::Io { path: path.to_owned(), error };
        let path = self.data_dir.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                return Err(CheckpointError::InUse { path: self.data_dir.clone(), owner });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        // For whoever asks who has it; the lock itself does not depend on it.
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(|error| failed(&path, error))?;
        state.lock = Some(lock);
        Ok(())
    }

    /// Starts the writer, at the first call.
    fn start_writing(self: &Arc<Self>, state: &mut State) -> Result<(), CheckpointError> {
        if state.writer.is_some() {
            return Ok(());
        }
        let folder = self.data_dir.join("checkpoints");
        make_folder(&folder)?;
        let shared = self.clone();
        let writer = thread::Builder::new().name("checkpoints".to_owned()).spawn(move || shared.write_on());
        state.writer = Some(writer.map_err(|error| CheckpointError::Io { path: folder, error })?);
        Ok(())
    }

    fn write_on(&self) {
        let mut state = self.lock();
        loop {
            (state, _) = self
                .ended
                .wait_timeout_while(state, WRITE_EVERY, |state| !state.is_ending)
                .unwrap_or_else(PoisonError::into_inner);
            let is_last = state.is_ending;
            for (name, kept) in &mut state.kept {
                self.write(name, kept);
            }
            if is_last {
                return;
            }
        }
    }

    /// Writes what an input keeps now, unless that is what its file holds.
    fn write(&self, name: &str, kept: &mut Kept) {
        let text = kept.keeper.text();
        if text == kept.written {
            return;
        }
        let path = self.path_of(name);
        match replace(&path, text.as_bytes()) {
            Ok(()) => kept.written = text,
            Err(error) => {
                tracing::warn!(input = name, %error, "cannot write {}; trying again", path.display());
            }
        }
    }
}

/// Makes a folder, for its owner alone, and those above it.
fn make_folder(path: &Path) -> Result<(), CheckpointError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| CheckpointError::Io { path: path.to_owned(), error })
}

/// Replaces a file as a whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    // The rename itself has to reach the disk, too.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Debug)]
    struct Word(Mutex<String>);

    impl Keeper for Word {
        fn text(&self) -> String {
            self.0.lock().unwrap().clone()
        }
    }

    fn word(found: Option<&str>) -> Result<Word, String> {
        match found {
            Some(text) if text.starts_with('?') => Err("not a word".to_owned()),
            found => Ok(Word(Mutex::new(found.unwrap_or("nothing").to_owned()))),
        }
    }

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_is_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("a/data");
        let first = Checkpoints::new(&data_dir);
        let keeper = first.open("app", word).unwrap();
        assert_eq!(keeper.text(), "nothing");
        *keeper.0.lock().unwrap() = "something".to_owned();
        first.finish();
        let second = Checkpoints::new(&data_dir);
        assert_eq!(second.open("app", word).unwrap().text(), "something");
        assert_eq!(second.open("other", word).unwrap().text(), "nothing");
        second.finish();
        let mode = |path: &str| fs::metadata(data_dir.join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(""), mode("checkpoints"), mode("checkpoints/app.json")], [0o700, 0o700, 0o600]);
        assert!(!data_dir.join("checkpoints/app.json.new").exists());
    }

    #[test]
    fn what_an_input_wants_to_be_written_is_on_the_disk_at_once_and_never_after_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        let keeper = checkpoints.open("app", word).unwrap();
        // The writer waits, as it does for most of each second.
        let path = folder.path().join("checkpoints/app.json");
        for text in ["one", "two"] {
            *keeper.0.lock().unwrap() = text.to_owned();
            checkpoints.write("app");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        checkpoints.finish();
        *keeper.0.lock().unwrap() = "three".to_owned();
        checkpoints.write("app");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    }

    #[test]
    fn an_input_that_is_opened_again_in_the_same_process_meets_its_own_keeper() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        let first = checkpoints.open("app", word).unwrap();
        assert!(Arc::ptr_eq(&first, &checkpoints.open("app", word).unwrap()));
        checkpoints.finish();
    }

    #[test]
    fn a_second_router_is_told_that_the_folder_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let first = Checkpoints::new(folder.path());
        first.open("app", word).unwrap();
        let second = Checkpoints::new(folder.path());
        let error = second.open("app", word).unwrap_err().to_string();
        let expected = format!(
            "{} is in use by another router (process {}); give each router a `data_dir` of its own",
            folder.path().display(),
            std::process::id()
        );
        assert_eq!(error, expected);
        first.finish();
        assert!(second.open("app", word).is_ok());
        second.finish();
    }

    #[test]
    fn the_folder_is_in_use_although_nothing_is_kept_there() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [Checkpoints::new(folder.path()), Checkpoints::new(folder.path())];
        first.lock().unwrap();
        assert!(matches!(second.lock(), Err(CheckpointError::InUse { .. })));
        assert!(matches!(second.open("app", word), Err(CheckpointError::InUse { .. })));
        first.finish();
        second.lock().unwrap();
        second.finish();
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_and_does_not_stop_the_start() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("checkpoints")).unwrap();
        fs::write(folder.path().join("checkpoints/app.json"), "???").unwrap();
        let checkpoints = Checkpoints::new(folder.path());
        assert_eq!(checkpoints.open("app", word).unwrap().text(), "nothing");
        checkpoints.finish();
        assert_eq!(fs::read(folder.path().join("checkpoints/app.unreadable")).unwrap(), b"???");
        assert_eq!(fs::read(folder.path().join("checkpoints/app.json")).unwrap(), b"nothing");
    }
}
