//! The files that an endpoint has open, by path, up to a bound.

use std::{
    collections::HashMap, ffi::OsStr, hash::Hasher, io, os::unix::ffi::OsStrExt, path::Path, sync::Arc,
};

use super::{output::Output, rotated, rotation::Opening};

/// Linux's bound on one part of a path.
const LONGEST_PART_BYTES: usize = 255;

/// Memory for pending lines that is kept for the next delivery, over all files.
const MOST_SPARE_BYTES: usize = 4 * 1024 * 1024;

/// Open files; past the bound the least recently used one is closed.
#[derive(Debug)]
pub struct OpenFiles {
    files: HashMap<Vec<u8>, Used, foldhash::fast::RandomState>,
    limit: usize,
    one_line_each: bool,
    opening: Arc<Opening>,
    /// The span of time that it is now.
    span: i64,
    now: u64,
    /// Why a file that was closed to make room could not be written, until [`OpenFiles::flush_all`] has said so.
    unwritten: Option<String>,
}

#[derive(Debug)]
struct Used {
    output: Output,
    last: u64,
}

impl OpenFiles {
    /// Keeps at most `limit` files open, and at least one. `one_line_each` is as in [`Output::open`].
    pub fn new(limit: usize, one_line_each: bool, opening: Arc<Opening>) -> Self {
        let (files, span) = (HashMap::default(), opening.span_now());
        OpenFiles { files, limit: limit.max(1), one_line_each, opening, span, now: 0, unwritten: None }
    }

    /// The file at `path`, opened if need be.
    pub fn get(&mut self, path: &[u8]) -> io::Result<&mut Output> {
        self.now += 1;
        if !self.files.contains_key(path) {
            if self.files.len() >= self.limit {
                self.close_least_recently_used()?;
            }
            let place = Path::new(OsStr::from_bytes(path));
            let output = Output::open(place, self.one_line_each, &self.opening, self.span)?;
            self.files.insert(path.to_vec(), Used { output, last: 0 });
        }
        match self.files.get_mut(path) {
            Some(used) => {
                used.last = self.now;
                Ok(&mut used.output)
            }
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Closes one file. What is pending in it must be written first, or its messages would be lost; if that fails, the next
    /// [`OpenFiles::flush_all`] fails too.
    fn close_least_recently_used(&mut self) -> io::Result<()> {
        let oldest = self.files.iter().min_by_key(|(_, used)| used.last).map(|(path, _)| path.clone());
        if let Some(mut used) = oldest.and_then(|path| self.files.remove(&path))
            && let Err(error) = used.output.flush()
        {
            self.unwritten = Some(super::cannot("write to", used.output.path(), &error));
            return Err(error);
        }
        Ok(())
    }

    /// Writes everything that is pending. After an error nothing is pending anywhere, and the error says which file failed.
    pub fn flush_all(&mut self) -> Result<(), String> {
        let mut problem = self.unwritten.take();
        for used in self.files.values_mut() {
            if let Err(error) = used.output.flush() {
                problem.get_or_insert_with(|| super::cannot("write to", used.output.path(), &error));
            }
        }
        let spare: usize = self.files.values().map(|used| used.output.spare_bytes()).sum();
        if spare > MOST_SPARE_BYTES {
            self.files.values_mut().for_each(|used| used.output.free_spare());
        }
        problem.map_or(Ok(()), Err)
    }

    /// Looks at the clock: files of a span of time that is over give way to new ones. Nothing may be pending.
    pub fn keep_time(&mut self) {
        let span = self.opening.span_now();
        if span == self.span {
            return;
        }
        self.span = span;
        for used in self.files.values_mut() {
            if let Err(error) = used.output.rotate_older(span) {
                // The next write tries again, and says so if it fails.
                tracing::warn!("{}", super::cannot("open", used.output.path(), &error));
            }
        }
    }

    /// Whether this file is open.
    pub fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path.as_os_str().as_bytes())
    }

    /// Closes everything.
    pub fn close_all(&mut self) {
        self.files.clear();
    }
}

/// Shortens the parts of a rendered path that no file system takes, with the suffixes of a rotated file if it is to have
/// these. A shortened part ends in a hash of the whole, so that two long values that begin alike do not meet in one file.
pub fn shorten_parts(path: &mut Vec<u8>, is_rotated: bool) {
    let longest = if is_rotated { LONGEST_PART_BYTES - rotated::SUFFIX_BYTES } else { LONGEST_PART_BYTES };
    if path.len() <= longest {
        return;
    }
    let parts: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').map(|part| shortened(part, longest)).collect();
    *path = parts.join(&b'/');
}

fn shortened(part: &[u8], longest: usize) -> Vec<u8> {
    if part.len() <= longest {
        return part.to_vec();
    }
    // Seeded with a constant: the same value must lead to the same file after a restart.
    let mut hasher = Fnv1a::default();
    hasher.write(part);
    let hash = format!("~{:016x}", hasher.finish());
    let mut short = part[..longest - hash.len()].to_vec();
    short.extend_from_slice(hash.as_bytes());
    short
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): tiny, and the same on every machine.
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Fnv1a(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening() -> Arc<Opening> {
        Arc::new(Opening { permissions: Default::default(), rotation: None })
    }

    #[test]
    fn past_the_bound_the_least_recently_used_file_is_closed_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).into_os_string().into_encoded_bytes();
        let mut files = OpenFiles::new(2, true, opening());
        for name in ["a", "b", "a", "c", "b"] {
            files.get(&path(name)).unwrap().push(|line| line.extend_from_slice(b"line\n"));
            assert!(files.files.len() <= 2);
        }
        files.flush_all().unwrap();
        let lines = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap().lines().count();
        assert_eq!((lines("a"), lines("b"), lines("c")), (2, 2, 1));
    }

    #[test]
    fn files_that_were_once_busy_do_not_keep_their_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = OpenFiles::new(100, true, opening());
        for number in 0..20 {
            let path = folder.path().join(format!("{number}")).into_os_string().into_encoded_bytes();
            files.get(&path).unwrap().push(|line| line.extend_from_slice(&vec![b'x'; 1 << 20]));
        }
        files.flush_all().unwrap();
        let spare: usize = files.files.values().map(|used| used.output.spare_bytes()).sum();
        assert!(spare <= MOST_SPARE_BYTES, "{spare}");
    }

    #[test]
    fn long_parts_are_shortened_and_stay_distinct() {
        let long = |last: &str| format!("logs/{}{last}/x.log", "a".repeat(300)).into_bytes();
        let (mut one, mut two, mut again) = (long("1"), long("2"), long("1"));
        for path in [&mut one, &mut two, &mut again] {
            shorten_parts(path, false);
            assert!(path.split(|byte| *byte == b'/').all(|part| part.len() <= LONGEST_PART_BYTES));
            assert!(path.ends_with(b"/x.log"));
        }
        assert_ne!(one, two);
        assert_eq!(one, again);
    }
}
