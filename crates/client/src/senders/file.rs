//! Messages to a file, one per line.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::lines::{Connect, Ending, LineSender};
use super::{Answer, Batch, Sender};

/// Appends messages to a file, one per line.
///
/// When the file is moved away, as log rotation does, the next messages go to a new one at the same path. A last line
/// without an end, as a process leaves it that is killed while it writes, is ended first.
///
/// ```
/// use metlog::Client;
/// use metlog::senders::FileSender;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("messages.jsonl");
/// let client = Client::builder().logger("shop").sender(FileSender::new(&path)).build()?;
/// client.info("open for business");
/// client.close(std::time::Duration::from_secs(5));
/// assert!(std::fs::read_to_string(&path)?.contains("open for business"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileSender {
    lines: LineSender<FileConnect>,
}

#[derive(Debug, Clone)]
struct FileConnect {
    path: PathBuf,
}

impl FileSender {
    /// A sender to the file at this path, which is made when there is something to write. Its folder must exist.
    pub fn new(path: impl AsRef<Path>) -> FileSender {
        let connect = FileConnect { path: path.as_ref().to_owned() };
        FileSender { lines: LineSender::new(connect, false) }
    }
}

impl Sender for FileSender {
    fn send(&mut self, batch: &Batch<'_>) -> Answer {
        self.lines.send(batch)
    }

    fn fresh(&self) -> Box<dyn Sender> {
        self.lines.fresh()
    }
}

impl FileConnect {
    /// Whether the last line has no end: its process was killed in the middle, or the disk was full. A file that cannot
    /// be read is taken for whole.
    fn ends_in_a_torn_line(&self, file: &File) -> bool {
        let Ok(opened) = file.metadata() else { return false };
        if !opened.is_file() || opened.len() == 0 {
            return false;
        }
        let last_byte = || -> io::Result<u8> {
            let reader = File::open(&self.path)?;
            let mut last = [b'\n'];
            if is_same(&opened, &reader.metadata()?) {
                reader.read_exact_at(&mut last, opened.len() - 1)?;
            }
            Ok(last[0])
        };
        last_byte().is_ok_and(|last| last != b'\n')
    }
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

impl Connect for FileConnect {
    type Stream = File;

    fn connect(&self) -> io::Result<File> {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.path)?;
        if self.ends_in_a_torn_line(&file) {
            file.write_all(b"\n")?;
        }
        Ok(file)
    }

    fn ending(&self, file: &File) -> Option<Ending> {
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) if is_same(&open, &named) => None,
            _ => Some(Ending::Replaced),
        }
    }

    fn describe(&self) -> String {
        format!("file {}", self.path.display())
    }

    fn survives_errors(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Lines;
    use super::*;

    #[test]
    fn a_file_that_is_moved_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut sender = FileSender::new(&path);
        sender.send(&Lines::of(&["one"]).batch());
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        sender.send(&Lines::of(&["two"]).batch());
        assert_eq!(std::fs::read_to_string(folder.path().join("log.1")).unwrap(), "one\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_folder_that_is_missing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("later").join("log");
        let mut sender = FileSender::new(&path);
        let lines = Lines::of(&["one"]);
        assert!(matches!(
            sender.send(&lines.batch()),
            Answer { sent: 0, then: super::super::Then::Retry(_), .. }
        ));
        std::fs::create_dir(folder.path().join("later")).unwrap();
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    }

    #[test]
    fn a_line_that_a_dead_process_left_torn_is_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, after) in [("{\"torn", "{\"torn\none\n"), ("whole\n", "whole\none\n"), ("", "one\n")] {
            std::fs::write(&path, before).unwrap();
            let lines = Lines::of(&["one"]);
            assert_eq!(FileSender::new(&path).send(&lines.batch()), Answer::all(&lines.batch()));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), after);
        }
    }

    #[test]
    fn a_file_that_can_only_be_written_is_written() {
        let mut sender = FileSender::new("/dev/null");
        let lines = Lines::of(&["one"]);
        assert_eq!(sender.send(&lines.batch()), Answer::all(&lines.batch()));
    }
}
