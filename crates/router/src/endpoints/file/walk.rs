//! A look at all files that an endpoint's path can lead to.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use regex::bytes::Regex;

use super::{rotated, tidying::Rules};

/// Old files that are handed to the endpoint at once.
const MOST_EXPIRED: usize = 1024;

/// A look at all files below a folder.
pub struct Walk<'a> {
    rules: &'a Rules,
    pattern: &'a Regex,
    stop: &'a AtomicBool,
    /// What the endpoint has made and nothing was written to for too long.
    pub expired: Vec<PathBuf>,
    /// Whether nothing went wrong.
    pub is_done: bool,
}

impl<'a> Walk<'a> {
    /// A look that has not begun. `pattern` is what the endpoint's paths look like from its folder on.
    pub fn new(rules: &'a Rules, pattern: &'a Regex, stop: &'a AtomicBool) -> Walk<'a> {
        Walk { rules, pattern, stop, expired: Vec::new(), is_done: true }
    }

    /// Tidies everything in `folder`, and so many folders `deeper`.
    ///
    /// `relative` is the path of this folder as the pattern knows it, with a slash at its end.
    pub fn folder(&mut self, folder: &Path, relative: &mut Vec<u8>, deeper: usize) {
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
                        None if self.expired.len() < MOST_EXPIRED && self.rules.is_expired(&path) => {
                            self.expired.push(path)
                        }
                        None => {}
                    }
                }
            }
            relative.truncate(length);
        }
        for base in rotated {
            self.is_done &= self.rules.tidy(&joined(folder, OsStr::from_bytes(&base)), self.stop);
        }
    }
}

/// A path as the endpoint writes it: without `./` in front.
fn joined(folder: &Path, name: &OsStr) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}
