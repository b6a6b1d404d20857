//! The folder that a demo runs in: its configuration, and the files that the router writes.

use std::{
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// The configuration, as the user finds it in the folder.
pub const CONFIGURATION: &str = include_str!("metlog.toml");

/// How much of a file's end is read to find its last line.
const TAIL_BYTES: u64 = 8 * 1024;

/// Where a demo runs.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Removes it at the end; `None` for a folder that the user named.
    temporary: Option<tempfile::TempDir>,
}

impl Folder {
    /// Makes the folder: `keep`, which must be new or empty, or one that is removed at the end.
    pub fn create(keep: Option<&Path>) -> anyhow::Result<Folder> {
        let folder = match keep {
            Some(path) => {
                fs::create_dir_all(path)
                    .with_context(|| format!("cannot make the folder {}", path.display()))?;
                let path = path.canonicalize().with_context(|| path.display().to_string())?;
                if path.read_dir().with_context(|| path.display().to_string())?.next().is_some() {
                    bail!("{} is not empty: give a folder that is, or a new one", path.display());
                }
                Folder { path, temporary: None }
            }
            None => {
                let temporary = tempfile::Builder::new().prefix("metlog-demo-").tempdir();
                let temporary = temporary.context("cannot make a temporary folder")?;
                Folder { path: temporary.path().to_owned(), temporary: Some(temporary) }
            }
        };
        fs::write(folder.configuration(), CONFIGURATION).context("cannot write the configuration")?;
        Ok(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration file in it.
    pub fn configuration(&self) -> PathBuf {
        self.path.join("metlog.toml")
    }

    /// The router's own log in it.
    pub fn router_log(&self) -> PathBuf {
        self.path.join("router.log")
    }

    /// What the service beside the shop writes to standard error.
    pub fn service_log(&self) -> PathBuf {
        self.path.join("service.log")
    }

    /// Every file below one of its folders, or the file itself.
    pub fn files(&self, below: &str) -> Vec<PathBuf> {
        let path = self.path.join(below);
        if path.is_file() {
            return vec![path];
        }
        let entries = path.read_dir().into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        files.sort();
        files
    }

    /// A path as seen from the folder.
    pub fn relative<'p>(&self, path: &'p Path) -> std::path::Display<'p> {
        path.strip_prefix(&self.path).unwrap_or(path).display()
    }

    /// Leaves the folder where it is, for the user to look at.
    pub fn keep(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = temporary.keep();
        }
    }

    /// Whether it is removed at the end.
    pub fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }
}

/// How many lines a file has.
pub fn count_lines(path: &Path) -> io::Result<u64> {
    let mut file = fs::File::open(path)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(lines),
            Ok(length) => lines += buffer[..length].iter().filter(|byte| **byte == b'\n').count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The last whole line of a file; `None` if it has none, or one of an unusual length.
pub fn last_line(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail).ok()?;
    let end = tail.iter().rposition(|byte| *byte == b'\n')?;
    let line = match tail[..end].iter().rposition(|byte| *byte == b'\n') {
        Some(before) => &tail[before + 1..end],
        None if start == 0 => &tail[..end],
        None => return None,
    };
    Some(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_a_whole_one() {
        let folder = Folder::create(None).unwrap();
        let path = folder.path().join("log");
        for (text, last) in [
            ("", None),
            ("half", None),
            ("one\n", Some("one")),
            ("one\ntwo\nthr", Some("two")),
            ("\n", Some("")),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(last_line(&path).as_deref(), last, "{text:?}");
        }
        fs::write(&path, format!("one\n{}\n", "x".repeat(10_000))).unwrap();
        assert_eq!((last_line(&path), count_lines(&path).unwrap()), (None, 2));
    }

    #[test]
    fn a_folder_of_the_users_own_is_left_alone() {
        let outside = tempfile::tempdir().unwrap();
        let mine = outside.path().join("mine");
        let folder = Folder::create(Some(&mine)).unwrap();
        assert!(!folder.is_temporary());
        drop(folder);
        assert_eq!(fs::read_to_string(mine.join("metlog.toml")).unwrap(), CONFIGURATION);
        let error = Folder::create(Some(&mine)).unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");

        let temporary = Folder::create(None).unwrap().path().to_owned();
        assert!(!temporary.exists());
    }
}
