//! The files that an endpoint has rotated.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{messages, receivers};

/// The rotated files of the file at `path`, oldest first, and then the file itself.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let prefix = format!("{}.2", path.file_name().and_then(OsStr::to_str).expect("a text"));
    let mut files: Vec<PathBuf> = fs::read_dir(path.parent().expect("a folder"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(&prefix)))
        .collect();
    files.sort();
    files.push(path.to_owned());
    files
}

/// The lines of a file, unpacked by the real gzip if it is packed.
pub fn lines(path: &Path) -> Vec<String> {
    if path.extension() != Some(OsStr::new("gz")) {
        return receivers::lines(path);
    }
    let output = Command::new("gzip").arg("-dc").arg(path).output().expect("run gzip");
    assert!(output.status.success(), "{}: {output:?}", path.display());
    String::from_utf8(output.stdout).expect("a text").lines().map(str::to_owned).collect()
}

/// The numbers of all messages in the file at `path` and its rotated files, in the order in which they were written.
pub fn numbers(path: &Path) -> Vec<usize> {
    files(path).iter().flat_map(|file| messages::numbers(lines(file))).collect()
}
