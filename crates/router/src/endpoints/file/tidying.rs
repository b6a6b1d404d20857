//! What is to be done with rotated files, and which files are an endpoint's: compresses those that have given way, and removes
//! those that are too many or too old.
//!
//! Somebody else may keep files in the same folder, with names that the endpoint's path could lead to as well. Nothing is
//! touched but what bears the name of a rotated file, and what the endpoint has marked as its own when it made it.

use std::{
    ffi::CStr,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, UNIX_EPOCH},
};

use metlog_message::Timestamp;
use regex::bytes::Regex;

use super::{
    compression,
    rotated::{self, Form},
    rotation::{Compress, Rotate},
    walk::Walk,
};
use crate::{clock::Clock, ledger::EndpointCounters, sys, template::Template};

/// The extended attribute by which an endpoint knows the files that it has made; its value is the endpoint's name.
const MARK: &CStr = c"user.metlog.endpoint";

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
        let pattern = path.path_pattern(behind_folder);
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
    pub fn tidy(&self, path: &Path, stop: &AtomicBool) -> bool {
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

    /// Says and counts that something went wrong, and is to be tried again. Always `false`.
    #[cold]
    pub fn failed(&self, what: &str, path: &Path, error: &io::Error) -> bool {
        self.counters.notice("housekeeping-failed", 1);
        let path = path.display();
        tracing::warn!(endpoint = self.endpoint, "cannot {what} {path}: {error}; trying again");
        false
    }

    /// How long a file may lie untouched, where such files are looked for.
    pub fn max_idle(&self) -> Option<Duration> {
        self.max_age.filter(|_| matches!(self.place, Place::Below { .. }))
    }

    /// Marks a file that the endpoint has just made as its own.
    pub fn mark(&self, file: &File) -> io::Result<()> {
        sys::set_attribute(file, MARK, self.endpoint.as_bytes())
    }

    /// Whether the endpoint has made the file at `path`, and nothing was written to it for too long.
    pub fn is_expired(&self, path: &Path) -> bool {
        self.max_idle().is_some_and(|age| is_older(path, age, self.clock.wall()))
            && sys::has_attribute(path, MARK, self.endpoint.as_bytes())
    }

    /// Looks after everything that is the endpoint's. Returns what was not written to for too long, which only the
    /// endpoint itself can remove: it may be about to write to it.
    pub fn sweep(&self, stop: &AtomicBool) -> (bool, Vec<PathBuf>) {
        let mut expired = Vec::new();
        let is_done = match &self.place {
            Place::File(path) => self.tidy(path, stop),
            Place::Below { folder, depth, pattern } => {
                let mut walk = Walk::new(self, pattern, stop);
                walk.folder(folder, &mut Vec::new(), *depth);
                expired = walk.expired;
                walk.is_done
            }
            Place::Unknown => true,
        };
        (is_done, expired)
    }
}

/// Whether nothing was written to a file for so long.
fn is_older(path: &Path, age: Duration, now: Timestamp) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    let now = Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds);
    written.is_ok_and(|written| {
        let written = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        now.checked_sub(written).is_some_and(|passed| passed > age)
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::testing::ManualClock;

    pub fn rules(rotate: &str, path: &str) -> Rules {
        rules_at(Arc::new(ManualClock::default()), rotate, path)
    }

    pub fn rules_at(clock: Arc<ManualClock>, rotate: &str, path: &str) -> Rules {
        let source = crate::config::Source::new("test", rotate);
        let table = toml::de::DeTable::parse(&source.text).unwrap();
        let mut diagnostics = crate::config::Diagnostics::new();
        let rotate =
            Rotate::read(&mut crate::config::Section::new("rotate", 0..1, table.get_ref(), &mut diagnostics))
                .unwrap();
        let path = Template::parse(path).unwrap();
        Rules::new(&rotate, &path, "test", clock, Arc::default())
    }

    pub fn make(folder: &Path, names: &[&str]) {
        for name in names {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("content of {name}\n")).unwrap();
        }
    }

    pub fn names(folder: &Path) -> Vec<String> {
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
