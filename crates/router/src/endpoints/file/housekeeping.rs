//! Looks after rotated files on a thread of its own, at low priority: compresses them, and removes those that are too many
//! or too old.
//!
//! What is to be done is always found on disk, so nothing is forgotten over a restart: at its start, and every hour, the
//! thread looks at all files that the endpoint's path can lead to, and cleans up what a killed router has left.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::tidying::Rules;
use crate::sys;

/// Between two looks at everything.
const SWEEP_PAUSE: Duration = Duration::from_secs(3600);

/// After something went wrong, a full disk for example.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Rotated files that are remembered one by one; of more, all is looked at.
const MOST_REMEMBERED: usize = 1024;

/// What is to be looked at, and when. All times are on the monotonic clock.
#[derive(Debug, Default)]
struct Schedule {
    rotated: BTreeSet<PathBuf>,
    next_sweep: Duration,
}

/// What is to be looked at now.
#[derive(Debug, PartialEq, Eq)]
struct Job {
    /// The past of these files.
    rotated: BTreeSet<PathBuf>,
    everything: bool,
}

impl Schedule {
    /// The file at `path` has given way to a new one.
    fn has_rotated(&mut self, path: &Path) {
        if self.rotated.len() < MOST_REMEMBERED {
            self.rotated.insert(path.to_owned());
        } else {
            self.next_sweep = Duration::ZERO;
        }
    }

    /// Something could not be done. It is found on disk again; what succeeds meanwhile does not put that off.
    fn has_failed(&mut self, now: Duration) {
        self.next_sweep = self.next_sweep.min(now + RETRY_PAUSE);
    }

    /// What there is to do now; otherwise how long to wait for more.
    fn next(&mut self, now: Duration) -> Result<Job, Duration> {
        let everything = now >= self.next_sweep;
        if everything {
            self.next_sweep = now + SWEEP_PAUSE;
        } else if self.rotated.is_empty() {
            return Err(self.next_sweep - now);
        }
        Ok(Job { rotated: std::mem::take(&mut self.rotated), everything })
    }
}

/// The thread that does it, and how to reach it. Stops when dropped, within a moment.
#[derive(Debug)]
pub struct Housekeeper {
    shared: Arc<Shared>,
    thread: OnceLock<Option<JoinHandle<()>>>,
    /// It has been said that files cannot be marked.
    is_markless: AtomicBool,
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
    schedule: Schedule,
    /// Found, and not taken yet.
    expired: Vec<PathBuf>,
}

impl Housekeeper {
    /// A housekeeper that has not started yet.
    pub fn new(rules: Rules) -> Housekeeper {
        let shared =
            Shared { rules, notes: Mutex::default(), noted: Condvar::new(), stop: AtomicBool::new(false) };
        Housekeeper { shared: Arc::new(shared), thread: OnceLock::new(), is_markless: AtomicBool::new(false) }
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
        self.shared.notes().schedule.has_rotated(path);
        self.shared.noted.notify_all();
    }

    /// The endpoint has just made this file. It is told from those of others by a mark, where old ones are removed.
    pub fn has_made(&self, file: &File, path: &Path) {
        if self.finds_old_files()
            && let Err(error) = self.shared.rules.mark(file)
            && !self.is_markless.swap(true, Ordering::Relaxed)
        {
            let (endpoint, path) = (&self.shared.rules.endpoint, path.display());
            tracing::warn!(
                endpoint,
                "cannot mark {path} as a file of this endpoint: {error}; `max_age` removes rotated files only"
            );
        }
    }

    /// Whether it looks for files that are not written to any more.
    pub fn finds_old_files(&self) -> bool {
        self.shared.rules.max_idle().is_some()
    }

    /// Removes what it has found and nothing was written to since. `is_open` files are in use.
    pub fn remove_old_files(&self, is_open: impl Fn(&Path) -> bool) {
        let rules = &self.shared.rules;
        let expired = std::mem::take(&mut self.shared.notes().expired);
        for path in expired.iter().filter(|path| !is_open(path) && rules.is_expired(path)) {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    rules.failed("remove", path, &error);
                    self.shared.notes().schedule.has_failed(rules.clock.monotonic());
                    self.shared.noted.notify_all();
                }
                _ => {}
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
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(job) = self.next_job() {
            let mut is_done = true;
            for path in job.rotated {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                is_done &= self.rules.tidy(&path, &self.stop);
            }
            if job.everything {
                let (swept, expired) = self.rules.sweep(&self.stop);
                is_done &= swept;
                self.notes().expired = expired;
            }
            if !is_done {
                self.notes().schedule.has_failed(self.rules.clock.monotonic());
            }
        }
    }

    /// Waits for something to do. `None` once it is to stop.
    fn next_job(&self) -> Option<Job> {
        let mut notes = self.notes();
        while !self.stop.load(Ordering::Relaxed) {
            match notes.schedule.next(self.rules.clock.monotonic()) {
                Ok(job) => return Some(job),
                Err(pause) => {
                    let waited = self.noted.wait_timeout(notes, pause);
                    notes = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        endpoints::file::tidying::tests::{make, names, rules_at},
        testing::{ManualClock, RECEIVED},
    };
    use std::time::{Instant, UNIX_EPOCH};

    const SECOND: Duration = Duration::from_secs(1);

    /// Says of a file that it was written to two hours before the test's clock begins.
    fn make_old(path: &Path) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(RECEIVED.seconds as u64 - 7200)).unwrap();
    }

    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + SECOND * 20;
        while !is_so() {
            assert!(Instant::now() < deadline, "waited in vain");
            thread::yield_now();
        }
    }

    #[test]
    fn the_hourly_look_at_everything_comes_however_often_files_rotate() {
        let mut schedule = Schedule::default();
        assert!(schedule.next(SECOND).unwrap().everything, "at the start");
        let looks = (2..7300).filter(|second| {
            schedule.has_rotated(Path::new("log"));
            schedule.next(SECOND * *second).unwrap().everything
        });
        assert_eq!(looks.collect::<Vec<_>>(), [3601, 7201]);
        assert_eq!(schedule.next(SECOND * 7300), Err(SECOND * 3501));
    }

    #[test]
    fn what_failed_is_tried_again_soon_although_other_things_succeed() {
        let mut schedule = Schedule::default();
        assert!(schedule.next(SECOND).is_ok());
        schedule.has_failed(SECOND * 10);
        let looks = (11..100).filter(|second| {
            schedule.has_rotated(Path::new("another"));
            schedule.next(SECOND * *second).unwrap().everything
        });
        assert_eq!(looks.collect::<Vec<_>>(), [40], "once, as it succeeds then");
    }

    #[test]
    fn of_too_many_rotated_files_none_is_forgotten() {
        let mut schedule = Schedule::default();
        assert!(schedule.next(SECOND).is_ok());
        for number in 0..=MOST_REMEMBERED {
            schedule.has_rotated(Path::new(&number.to_string()));
        }
        let job = schedule.next(SECOND).unwrap();
        assert_eq!((job.rotated.len(), job.everything), (MOST_REMEMBERED, true));
    }

    #[test]
    fn an_hour_later_a_busy_housekeeper_finds_what_lies_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let path = format!("{}/{{logger}}.log", folder.path().display());
        let housekeeper = Housekeeper::new(rules_at(clock.clone(), "size = 1\nkeep = 0", &path));
        make(folder.path(), &["first.log.20120718T000000.000Z"]);
        housekeeper.start();
        wait_until(|| names(folder.path()).is_empty());
        make(folder.path(), &["elsewhere.log.20120718T000000.000Z"]);
        clock.set(SWEEP_PAUSE);
        housekeeper.has_rotated(&folder.path().join("busy.log"));
        wait_until(|| names(folder.path()).is_empty());
    }

    #[test]
    fn files_that_nothing_is_written_to_are_removed_unless_they_are_in_use_or_somebody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("{}/{{logger}}.log", folder.path().display());
        let housekeeper = Housekeeper::new(rules_at(Arc::default(), "max_age = '1h'", &path));
        let own = ["gone.log", "in-use.log", "new.log"];
        make(folder.path(), &own);
        make(folder.path(), &["dpkg.log", "nginx.log", "of-another-endpoint.log"]);
        for name in own {
            let path = folder.path().join(name);
            housekeeper.has_made(&File::options().append(true).open(&path).unwrap(), &path);
        }
        let of_another = File::options().append(true).open(folder.path().join("of-another-endpoint.log"));
        sys::set_attribute(&of_another.unwrap(), c"user.metlog.endpoint", b"another").unwrap();
        for name in names(folder.path()).iter().filter(|name| *name != "new.log") {
            make_old(&folder.path().join(name));
        }
        housekeeper.start();
        wait_until(|| !housekeeper.shared.notes().expired.is_empty());
        housekeeper.remove_old_files(|path| path.ends_with("in-use.log"));
        assert_eq!(
            names(folder.path()),
            ["dpkg.log", "in-use.log", "new.log", "nginx.log", "of-another-endpoint.log"]
        );
    }
}
