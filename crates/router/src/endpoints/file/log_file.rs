//! A file that is appended to, and moves itself out of the way when it is large or old enough.

use std::{
    fmt::Debug,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use metlog_message::Timestamp;

use super::{
    rotated::{self, Stamp},
    rotation::Opening,
};

/// What is needed of a file, so that tests can make it fail in every place.
pub trait Appendable: Write {
    /// Removes the last `bytes` that were written, if nobody wrote behind them. `false` if they are still there.
    fn take_back(&mut self, bytes: u64) -> bool;

    /// How many more bytes it may take before it is to be rotated.
    fn room(&self) -> u64 {
        u64::MAX
    }

    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        false
    }

    /// Which of the files that it has been, one after the other, it is.
    fn number(&self) -> u64 {
        0
    }

    /// Gives way to a new, empty file, or finds that there is room after all. `false`: it cannot now, go on in this one.
    /// After an error nothing may be written to the old file any more; writing tries to open the new one again.
    fn rotate(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// An open file, its size, and the span of time that it belongs to.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    opening: Arc<Opening>,
    /// As far as it is known: somebody may have truncated it.
    bytes: u64,
    most_bytes: u64,
    /// What was written to it was written in this span of [`super::rotation::Rotate::every`].
    span: i64,
    /// The stamp of the last file that gave way to this one, once it is known.
    last: Option<Stamp>,
    /// So many files have given way.
    number: u64,
    /// The file that is open has given way already, and there is no new one yet.
    is_moved: bool,
}

impl LogFile {
    /// Opens a file for appending, and makes it and its folders if they are missing. What is left of an earlier span than
    /// `span`, which is now, gives way at once.
    pub fn open(path: &Path, opening: &Arc<Opening>, span: i64) -> io::Result<LogFile> {
        let file = opening.open(path)?;
        let mut log = LogFile {
            file,
            path: path.to_owned(),
            opening: opening.clone(),
            bytes: 0,
            most_bytes: u64::MAX,
            span,
            last: None,
            number: 0,
            is_moved: false,
        };
        log.look()?;
        log.rotate_older(span)?;
        Ok(log)
    }

    /// What there is to know of a file that was just opened: only a file of its own name can be moved out of the way, not
    /// a pipe, a terminal, or what a link leads to.
    fn look(&mut self) -> io::Result<()> {
        let metadata = self.file.metadata()?;
        self.bytes = if metadata.is_file() { metadata.len() } else { 0 };
        let Some(rotation) = &self.opening.rotation else { return Ok(()) };
        if !metadata.is_file() || fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_symlink()) {
            return Ok(());
        }
        self.most_bytes = rotation.size.unwrap_or(u64::MAX);
        if let Some(written) = metadata.modified().ok().filter(|_| self.bytes > 0) {
            let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
            let written = Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() };
            self.span = self.span.min(rotation.span_of(written));
        }
        Ok(())
    }

    /// Whether its last line has no end: what was writing it was killed.
    pub fn ends_within_a_line(&self) -> bool {
        let last_byte = || {
            if self.bytes == 0 {
                return None;
            }
            let mut reader = File::open(&self.path).ok()?;
            reader.seek(SeekFrom::End(-1)).ok()?;
            let mut last = [0];
            reader.read_exact(&mut last).ok()?;
            Some(last[0])
        };
        last_byte().is_some_and(|byte| byte != b'\n')
    }

    /// Gives way to a new file if what it holds was written before this span.
    pub fn rotate_older(&mut self, span: i64) -> io::Result<()> {
        if self.span < span {
            let is_empty = self.file.metadata().is_ok_and(|metadata| metadata.len() == 0);
            if !is_empty && !self.move_away()? {
                return Ok(());
            }
            self.span = span;
        }
        Ok(())
    }

    /// Renames it and begins anew. `false` if it cannot be renamed.
    fn move_away(&mut self) -> io::Result<bool> {
        let Some(rotation) = &self.opening.rotation else { return Ok(false) };
        let metadata = self.file.metadata()?;
        let is_same = |found: &fs::Metadata| (found.dev(), found.ino()) == (metadata.dev(), metadata.ino());
        match fs::symlink_metadata(&self.path) {
            Ok(found) if is_same(&found) => {
                let renamed = self.free_stamp().and_then(|stamp| {
                    fs::rename(&self.path, rotated::rotated_path(&self.path, stamp)).map(|()| stamp)
                });
                match renamed {
                    Ok(stamp) => self.last = Some(stamp),
                    Err(error) => {
                        rotation.failed(&self.path, &error);
                        return Ok(false);
                    }
                }
            }
            // Somebody else has moved it, as log rotation from outside does.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                rotation.failed(&self.path, &error);
                return Ok(false);
            }
        }
        self.is_moved = true;
        self.number += 1;
        self.begin()?;
        Ok(true)
    }

    /// Opens the file that comes after one that gave way.
    fn begin(&mut self) -> io::Result<()> {
        self.file = self.opening.open(&self.path)?;
        self.is_moved = false;
        self.look()?;
        if let Some(rotation) = &self.opening.rotation {
            rotation.housekeeper.has_rotated(&self.path);
        }
        Ok(())
    }

    /// A stamp behind those of all files that gave way before.
    fn free_stamp(&self) -> io::Result<Stamp> {
        let Some(rotation) = &self.opening.rotation else { return Err(io::ErrorKind::Unsupported.into()) };
        let now = Stamp::of(rotation.clock.wall());
        let last = match self.last {
            Some(last) => Some(last),
            None => rotated::find(&self.path)?.last().map(|rotated| rotated.stamp),
        };
        Ok(last.map_or(now, |last| now.max(last.next())))
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_moved {
            self.begin()?;
        }
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Appendable for LogFile {
    fn take_back(&mut self, bytes: u64) -> bool {
        // Opened for appending, the position is where the last write ended.
        let Ok(position) = self.file.stream_position() else { return false };
        let is_last =
            |metadata: fs::Metadata| metadata.is_file() && metadata.len() == position && position >= bytes;
        let is_back = self.file.metadata().is_ok_and(is_last)
            && self.file.set_len(position - bytes).is_ok()
            && self.file.seek(SeekFrom::End(0)).is_ok();
        if is_back {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        is_back
    }

    fn room(&self) -> u64 {
        self.most_bytes.saturating_sub(self.bytes)
    }

    fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    fn number(&self) -> u64 {
        self.number
    }

    fn rotate(&mut self) -> io::Result<bool> {
        if self.is_moved {
            self.begin()?;
            return Ok(true);
        }
        let bytes = self.file.metadata()?.len();
        if bytes < self.bytes {
            // Somebody has truncated it, as log rotation from outside does.
            self.bytes = bytes;
            return Ok(true);
        }
        self.move_away()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_line_is_taken_back_from_a_real_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let opening = Arc::new(Opening { permissions: Default::default(), rotation: None });
        let mut file = LogFile::open(&path, &opening, 0).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert!(file.take_back(2));
        file.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        File::options().append(true).open(&path).unwrap().write_all(b"somebody else\n").unwrap();
        assert!(!file.take_back(4), "somebody wrote behind it");
    }
}
