//! Looks after rotated files on a thread of its own, at low priority: compresses them, and removes those that are too many
//! or too old.
//!
//! What is to be done is always found on disk, so nothing is forgotten over a restart: at its start, and every hour, the
//! thread looks at all files that the endpoint's path can lead to, and cleans up what a killed router has left.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use regex::bytes::Regex;

use super::{
    compression,
    rotated::{self, Form},
    rotation::{Compress, Rotate},
};
use crate::{clock::Clock, ledger::EndpointCounters, sys, template::Template};

/// Between two looks at everything.
const SWEEP_PAUSE: Duration = Duration::from_secs(3600);

/// After something went wrong, a full disk for example.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Rotated files that are remembered one by one; of more, all is looked at.
const MOST_REMEMBERED: usize = 1024;

/// Old files that are handed to the endpoint at once.
const MOST_EXPIRED: usize = 1024;

/// What a placeholder in a path can become; see [`crate::template::path_part`] and `open_files::shorten_parts`.
const PATH_PART: &str = "[A-Za-z0-9._%~-]+";

/// What to do with rotated files.
#[derive(Debug)]
pub struct Rules {
    /// The endpoint's name.
    pub endpoint: String,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where failures are counted.
    pub counters: Arc<EndpointCounters>,
    keep: Option<usize>,
    max_age: Option<Duration>,
    compress: Compress,
    place: Place,
}

/// Which files are the endpoint's.
#[derive(Debug)]
enum Place {
    /// This one.
    File(PathBuf),
    /// All below `folder`, at most `depth` folders deep, whose path from there on is as `pattern` says.
    Below { folder: PathBuf, depth: usize, pattern: Regex },
    /// Not to be told from others'.
    Unknown,
}

impl Place {
    fn of(path: &Template) -> Place {
        let start = path.fixed_start();
        if path.is_fixed() {
            return Place::File(PathBuf::from(start));
        }
        let behind_folder = start.rfind('/').map_or(0, |slash| slash + 1);
        let folder = if behind_folder == 0 { "." } else { &start[..behind_folder] };
        let pattern = path.pattern(behind_folder, PATH_PART);
        // A double slash is one on disk.
        let pattern = pattern.replace("//", "/");
        let depth = pattern.matches('/').count();
        match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(pattern) => Place::Below { folder: PathBuf::from(folder), depth, pattern },
            Err(_) => Place::Unknown,
        }
    }
}

impl Rules {
    /// The rules for files at `path`.
    pub fn new(
        rotate: &Rotate,
        path: &Template,
        endpoint: &str,
        clock: Arc<dyn Clock>,
        counters: Arc<EndpointCounters>,
    ) -> Rules {
        Rules {
            endpoint: endpoint.to_owned(),
            clock,
            counters,
            keep: rotate.keep.map(|keep| keep as usize),
            max_age: rotate.max_age,
            compress: rotate.compress,
            place: Place::of(path),
        }
    }

    /// Looks after the rotated files of the file at `path`. `false` if something went wrong and is to be tried again.
    fn tidy(&self, path: &Path, stop: &AtomicBool) -> bool {
        let mut all = match rotated::find(path) {
            Ok(found) => found,
            // Its folder may be gone with everything in it.
            Err(error) => {
                return error.kind() == io::ErrorKind::NotFound || self.failed("look at", path, &error);
            }
        };
        let mut is_done = true;
        let mut remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                is_done = false;
                self.failed("remove", path, &error);
            }
            _ => {}
        };
        all.retain(|rotated| {
            // Only this thread compresses, so this is what a killed router has left.
            let is_left_over = rotated.form == Form::Unfinished;
            if is_left_over {
                remove(&rotated.path);
            }
            !is_left_over
        });
        let mut position = 0;
        while let (Some(plain), Some(compressed)) = (all.get(position), all.get(position + 1)) {
            // A compressed file has its name only when it is whole.
            if plain.stamp == compressed.stamp
                && (plain.form, compressed.form) == (Form::Plain, Form::Compressed)
            {
                remove(&plain.path);
                all.remove(position);
            }
            position += 1;
        }
        let too_many = self.keep.map_or(0, |keep| all.len().saturating_sub(keep));
        let now = self.clock.wall();
        let mut number = 0;
        all.retain(|rotated| {
            let is_old = self.max_age.is_some_and(|age| rotated.stamp.age_seconds(now) > age.as_secs());
            let goes = number < too_many || is_old;
            if goes {
                remove(&rotated.path);
            }
            number += 1;
            !goes
        });
        for rotated in all.iter().filter(|rotated| rotated.form == Form::Plain) {
            match compression::compress(&rotated.path, self.compress, stop) {
                Ok(true) => {}
                Ok(false) => return true,
                // Somebody has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return self.failed("compress", &rotated.path, &error),
            }
        }
        is_done
    }

    #[cold]
    fn failed(&self, what: &str, path: &Path, error: &io::Error) -> bool {
        self.counters.notice("housekeeping-failed", 1);
        let path = path.display();
        tracing::warn!(endpoint = self.endpoint, "cannot {what} {path}: {error}; trying again");
        false
    }

    /// Looks after everything that is the endpoint's. Returns what was not written to for too long, which only the
    /// endpoint itself can remove: it may be about to write to it.
    fn sweep(&self, stop: &AtomicBool) -> (bool, Vec<PathBuf>) {
        let mut expired = Vec::new();
        let is_done = match &self.place {
            Place::File(path) => self.tidy(path, stop),
            Place::Below { folder, depth, pattern } => {
                let mut walk = Walk { rules: self, pattern, stop, expired: &mut expired, is_done: true };
                walk.folder(folder, &mut Vec::new(), *depth);
                walk.is_done
            }
            Place::Unknown => true,
        };
        (is_done, expired)
    }
}

/// A look at all files below a folder.
struct Walk<'a> {
    rules: &'a Rules,
    pattern: &'a Regex,
    stop: &'a AtomicBool,
    expired: &'a mut Vec<PathBuf>,
    is_done: bool,
}

impl Walk<'_> {
    /// `relative` is the path of this folder as the pattern knows it, with a slash at its end.
    fn folder(&mut self, folder: &Path, relative: &mut Vec<u8>, deeper: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut rotated = BTreeSet::new();
        for entry in entries.flatten() {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let (path, name) = (joined(folder, &entry.file_name()), entry.file_name());
            let length = relative.len();
            if kind.is_dir() && deeper > 0 {
                relative.extend_from_slice(name.as_bytes());
                relative.push(b'/');
                self.folder(&path, relative, deeper - 1);
            } else if kind.is_file() && deeper == 0 {
                let past = rotated::split(name.as_bytes());
                relative.extend_from_slice(past.map_or(name.as_bytes(), |(base, ..)| base));
                if self.pattern.is_match(relative) {
                    match past {
                        Some((base, ..)) => drop(rotated.insert(base.to_vec())),
                        None if self.expired.len() < MOST_EXPIRED && self.is_expired(&path) => {
                            self.expired.push(path)
                        }
                        None => {}
                    }
                }
            }
            relative.truncate(length);
        }
        for base in rotated {
            self.is_done &= self.rules.tidy(&joined(folder, std::ffi::OsStr::from_bytes(&base)), self.stop);
        }
    }

    fn is_expired(&self, path: &Path) -> bool {
        self.rules.max_age.is_some_and(|age| is_older(path, age))
    }
}

/// A path as the endpoint writes it: without `./` in front.
fn joined(folder: &Path, name: &std::ffi::OsStr) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Whether nothing was written to a file for so long.
pub fn is_older(path: &Path, age: Duration) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| SystemTime::now().duration_since(written).is_ok_and(|passed| passed > age))
}

/// The thread that does it, and how to reach it. Stops when dropped, within a moment.
#[derive(Debug)]
pub struct Housekeeper {
    shared: Arc<Shared>,
    thread: OnceLock<Option<JoinHandle<()>>>,
    /// How long a file may lie untouched, where such files are looked for.
    max_idle: Option<Duration>,
}

#[derive(Debug)]
struct Shared {
    rules: Rules,
    notes: Mutex<Notes>,
    noted: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Notes {
    rotated: BTreeSet<PathBuf>,
    /// Look at everything.
    everything: bool,
    /// Found, and not taken yet.
    expired: Vec<PathBuf>,
}

impl Housekeeper {
    /// A housekeeper that has not started yet.
    pub fn new(rules: Rules) -> Housekeeper {
        let max_idle = rules.max_age.filter(|_| matches!(rules.place, Place::Below { .. }));
        let notes = Mutex::new(Notes { everything: true, ..Notes::default() });
        let shared = Arc::new(Shared { rules, notes, noted: Condvar::new(), stop: AtomicBool::new(false) });
        Housekeeper { shared, thread: OnceLock::new(), max_idle }
    }

    /// Starts with a look at everything, if it has not started yet. Two must never look after the same files.
    pub fn start(&self) {
        self.thread.get_or_init(|| {
            let shared = self.shared.clone();
            let name = format!("rotated-{}", shared.rules.endpoint);
            let thread = thread::Builder::new().name(name).spawn(move || {
                sys::lower_priority();
                shared.run();
            });
            let no_thread = |error: &io::Error| {
                let endpoint = &self.shared.rules.endpoint;
                tracing::warn!(endpoint, %error, "no thread to look after rotated files");
            };
            thread.inspect_err(no_thread).ok()
        });
    }

    /// A file has given way to a new one at `path`.
    pub fn has_rotated(&self, path: &Path) {
        let mut notes = self.shared.notes();
        if notes.rotated.len() < MOST_REMEMBERED {
            notes.rotated.insert(path.to_owned());
        } else {
            notes.everything = true;
        }
        self.shared.noted.notify_all();
    }

    /// Whether it looks for files that are not written to any more.
    pub fn finds_old_files(&self) -> bool {
        self.max_idle.is_some()
    }

    /// Removes what it has found and nothing was written to since. `is_open` files are in use.
    pub fn remove_old_files(&self, is_open: impl Fn(&Path) -> bool) {
        let Some(age) = self.max_idle else { return };
        let expired = std::mem::take(&mut self.shared.notes().expired);
        for path in expired.iter().filter(|path| !is_open(path) && is_older(path, age)) {
            if let Err(error) = fs::remove_file(path) {
                self.shared.rules.failed("remove", path, &error);
            }
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        {
            // While the notes are held, so that the thread does not miss it between its look and its sleep.
            let _notes = self.shared.notes();
            self.shared.stop.store(true, Ordering::Relaxed);
            self.shared.noted.notify_all();
        }
        if let Some(thread) = self.thread.take().flatten() {
            // A panic in it has ended the process already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn notes(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut pause = SWEEP_PAUSE;
        while !self.stop.load(Ordering::Relaxed) {
            let is_idle = |notes: &mut Notes| {
                !self.stop.load(Ordering::Relaxed) && !notes.everything && notes.rotated.is_empty()
            };
            let (mut notes, waited) = self
                .noted
                .wait_timeout_while(self.notes(), pause, is_idle)
                .unwrap_or_else(PoisonError::into_inner);
            let everything = std::mem::take(&mut notes.everything) || waited.timed_out();
            let rotated = std::mem::take(&mut notes.rotated);
            drop(notes);
            let mut is_done = true;
            for path in rotated {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                is_done &= self.rules.tidy(&path, &self.stop);
            }
            if everything {
                let (swept, expired) = self.rules.sweep(&self.stop);
                is_done &= swept;
                self.notes().expired = expired;
            }
            // What is left to do is found on disk again.
            pause = if is_done { SWEEP_PAUSE } else { RETRY_PAUSE };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ManualClock;

    fn rules(rotate: &str, path: &str) -> Rules {
        let source = crate::config::Source::new("test", rotate);
        let table = toml::de::DeTable::parse(&source.text).unwrap();
        let mut diagnostics = crate::config::Diagnostics::new();
        let rotate =
            Rotate::read(&mut crate::config::Section::new("rotate", 0..1, table.get_ref(), &mut diagnostics))
                .unwrap();
        let path = Template::parse(path).unwrap();
        Rules::new(&rotate, &path, "test", Arc::new(ManualClock::default()), Arc::default())
    }

    fn make(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("content of {name}\n")).unwrap();
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    static GO_ON: AtomicBool = AtomicBool::new(false);

    #[test]
    fn the_oldest_are_removed_and_the_others_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let stamps = ["20120718T000000.000Z", "20120718T000001.000Z.gz", "20120718T000002.000Z"];
        let files = stamps.map(|stamp| format!("log.{stamp}"));
        make(folder.path(), &files.each_ref().map(String::as_str));
        make(folder.path(), &["log", "other.20120718T000000.000Z"]);
        let rules =
            rules("size = 1\nkeep = 2\ncompress = 'zstd'", &folder.path().join("log").display().to_string());
        assert!(rules.sweep(&GO_ON).0);
        assert_eq!(
            names(folder.path()),
            [
                "log",
                "log.20120718T000001.000Z.gz",
                "log.20120718T000002.000Z.zst",
                "other.20120718T000000.000Z"
            ]
        );
        let compressed = folder.path().join("log.20120718T000002.000Z.zst");
        assert_eq!(compression::content(&compressed), b"content of log.20120718T000002.000Z\n");
    }

    #[test]
    fn what_a_killed_router_has_left_is_cleaned_up() {
        let folder = tempfile::tempdir().unwrap();
        make(
            folder.path(),
            &[
                "log",
                "log.20120718T000000.000Z",
                "log.20120718T000000.000Z.zst",
                "log.20120718T000001.000Z",
                "log.20120718T000001.000Z.zst.part",
            ],
        );
        let rules = rules("size = 1\ncompress = 'gzip'", &folder.path().join("log").display().to_string());
        assert!(rules.sweep(&GO_ON).0);
        assert_eq!(
            names(folder.path()),
            ["log", "log.20120718T000000.000Z.zst", "log.20120718T000001.000Z.gz"]
        );
    }

    #[test]
    fn what_is_too_old_goes_whatever_path_it_belongs_to_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        // The test's clock says 2012-07-18T21:13:25Z.
        make(
            folder.path(),
            &[
                "a/x.log",
                "a/x.log.20120717T000000.000Z",
                "a/x.log.20120718T210000.000Z",
                "b/y.log.20120717T000000.000Z.gz",
                "b/deeper/z.log.20120717T000000.000Z",
                "b/y.txt.20120717T000000.000Z",
                "c.log.20120717T000000.000Z",
            ],
        );
        let path = format!("{}/{{logger}}/{{type}}.log", folder.path().display());
        let rules = rules("size = 1\nmax_age = '1h'", &path);
        let (is_done, expired) = rules.sweep(&GO_ON);
        assert!(is_done && expired.is_empty(), "{expired:?}");
        assert_eq!(names(&folder.path().join("a")), ["x.log", "x.log.20120718T210000.000Z"]);
        assert_eq!(names(&folder.path().join("b")), ["deeper", "y.txt.20120717T000000.000Z"]);
        assert_eq!(names(&folder.path().join("b/deeper")).len(), 1);
        assert!(folder.path().join("c.log.20120717T000000.000Z").is_file());
    }

    #[test]
    fn files_that_nothing_is_written_to_are_found_for_the_endpoint_to_remove() {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), &["2012-07-16.log", "2012-07-17.log", "2012-07-18.log", "readme.txt"]);
        for name in ["2012-07-16.log", "2012-07-17.log", "readme.txt"] {
            let file = fs::File::options().append(true).open(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
        }
        let rules = rules("max_age = '1h'", &format!("{}/{{date}}.log", folder.path().display()));
        let housekeeper = Housekeeper::new(rules);
        housekeeper.start();
        let deadline = SystemTime::now() + Duration::from_secs(20);
        while housekeeper.shared.notes().expired.len() < 2 {
            assert!(SystemTime::now() < deadline);
            thread::yield_now();
        }
        housekeeper.remove_old_files(|path| path.ends_with("2012-07-17.log"));
        assert_eq!(names(folder.path()), ["2012-07-17.log", "2012-07-18.log", "readme.txt"]);
    }

    #[test]
    fn paths_are_told_from_others_by_the_template() {
        let matches = |template: &str, path: &str| match Place::of(&Template::parse(template).unwrap()) {
            Place::Below { folder, pattern, depth } => {
                (folder.display().to_string(), pattern.is_match(path.as_bytes()), depth)
            }
            place => panic!("{place:?}"),
        };
        assert_eq!(matches("logs/{logger}.log", "shop.log"), ("logs/".to_owned(), true, 0));
        assert_eq!(matches("logs/app-{logger}/x", "app-shop/x"), ("logs/".to_owned(), true, 1));
        assert_eq!(matches("{logger}.log", "shop%2Fa.log"), (".".to_owned(), true, 0));
        assert!(!matches("logs/{logger}.log", "shopxlog").1, "a dot is a dot");
        assert!(!matches("logs/{logger}.log", "a/b.log").1);
    }
}
