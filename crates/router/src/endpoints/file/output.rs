//! One open file: lines are gathered, written with few calls, and never left half written.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What new files and folders may be used for, and by whom: logs are not for everybody's eyes.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// An open file and the lines that wait to be written to it.
#[derive(Debug)]
pub struct Output<F = File> {
    file: F,
    path: PathBuf,
    pending: Vec<u8>,
    pending_messages: usize,
    /// Where each pending message ends. Kept only where a message may be several lines; otherwise its line break tells.
    ends: Option<Vec<usize>>,
    /// Messages written whole since they were last asked for.
    written: usize,
    /// The last write left part of a line behind that could not be removed.
    is_torn: bool,
}

/// What is needed of a file, so that tests can make it fail in every place.
pub trait Appendable: Write {
    /// Removes the last `bytes` that were written, if nobody wrote behind them. `false` if they are still there.
    fn take_back(&mut self, bytes: u64) -> bool;
}

impl Appendable for File {
    fn take_back(&mut self, bytes: u64) -> bool {
        // Opened for appending, the position is where the last write ended.
        let Ok(position) = self.stream_position() else { return false };
        match self.metadata() {
            Ok(metadata) if metadata.is_file() && metadata.len() == position && position >= bytes => {
                self.set_len(position - bytes).is_ok() && self.seek(SeekFrom::End(0)).is_ok()
            }
            _ => false,
        }
    }
}

impl Output<File> {
    /// Opens a file for appending, and makes it and its folders if they are missing.
    ///
    /// `one_line_each` says that every message will be exactly one line.
    pub fn open(path: &Path, one_line_each: bool) -> io::Result<Output<File>> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(FILE_MODE);
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(folder) = path.parent() {
                    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
                }
                options.open(path)
            }
            outcome => outcome,
        }?;
        let is_torn = ends_within_a_line(path, &file);
        Ok(Output { is_torn, ..Output::new(file, path, one_line_each) })
    }
}

/// Whether a file's last line has no end: what was writing it was killed.
fn ends_within_a_line(path: &Path, file: &File) -> bool {
    let last_byte = || {
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return None;
        }
        let mut reader = File::open(path).ok()?;
        reader.seek(SeekFrom::End(-1)).ok()?;
        let mut last = [0];
        reader.read_exact(&mut last).ok()?;
        Some(last[0])
    };
    last_byte().is_some_and(|byte| byte != b'\n')
}

impl<F: Appendable> Output<F> {
    fn new(file: F, path: &Path, one_line_each: bool) -> Self {
        Output {
            file,
            path: path.to_owned(),
            pending: Vec::new(),
            pending_messages: 0,
            ends: (!one_line_each).then(Vec::new),
            written: 0,
            is_torn: false,
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one message, written by `write` with its line break, and returns how many bytes that was.
    #[inline]
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let before = self.pending.len();
        write(&mut self.pending);
        self.pending_messages += 1;
        if let Some(ends) = &mut self.ends {
            ends.push(self.pending.len());
        }
        self.pending.len() - before
    }

    /// Adds messages that are one line each. Only for an output that was opened for such messages.
    pub fn push_lines(&mut self, messages: usize, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.pending_messages += messages;
    }

    /// Writes `bytes`, in which every message is one line, from where they are.
    pub fn write_lines(&mut self, messages: usize, bytes: &[u8]) -> io::Result<()> {
        self.flush()?;
        let (count, outcome) = self.write_all(bytes);
        if outcome.is_ok() {
            self.written += messages;
            return Ok(());
        }
        let (messages, whole) = whole_lines(&bytes[..count]);
        self.written += messages;
        self.remove_part_of_a_line(count - whole);
        outcome
    }

    /// Writes what is pending once it has reached this size.
    #[inline]
    pub fn flush_if(&mut self, bytes: usize) -> io::Result<()> {
        if self.pending.len() >= bytes { self.flush() } else { Ok(()) }
    }

    /// Writes what is pending. After an error nothing is pending any more: what was not written is the caller's to repeat.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        let (count, outcome) = self.write_all(&pending);
        if outcome.is_ok() {
            self.written += self.pending_messages;
        } else {
            let (messages, whole) = match &self.ends {
                None => whole_lines(&pending[..count]),
                Some(ends) => {
                    let messages = ends.partition_point(|&end| end <= count);
                    (messages, if messages == 0 { 0 } else { ends[messages - 1] })
                }
            };
            self.written += messages;
            self.remove_part_of_a_line(count - whole);
        }
        self.pending = pending;
        self.discard_pending();
        outcome
    }

    /// How much memory it keeps for the next lines.
    pub fn spare_bytes(&self) -> usize {
        self.pending.capacity()
    }

    /// Gives that memory back.
    pub fn free_spare(&mut self) {
        self.pending.shrink_to_fit();
    }

    /// Forgets what is pending.
    pub fn discard_pending(&mut self) {
        self.pending.clear();
        self.pending_messages = 0;
        if let Some(ends) = &mut self.ends {
            ends.clear();
        }
    }

    /// How many messages were written whole since the last call.
    pub fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    /// How many bytes were written, and whether that was all.
    fn write_all(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        if self.is_torn {
            match self.file.write_all(b"\n") {
                Ok(()) => self.is_torn = false,
                Err(error) => return (0, Err(error)),
            }
        }
        let mut count = 0;
        while count < bytes.len() {
            match self.file.write(&bytes[count..]) {
                Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (count, Err(error)),
            }
        }
        (count, Ok(()))
    }

    /// The last `bytes` that were written are the beginning of a message that will be written again as a whole.
    fn remove_part_of_a_line(&mut self, bytes: usize) {
        if bytes > 0 && !self.file.take_back(bytes as u64) {
            self.is_torn = true;
        }
    }
}

/// How many whole lines `bytes` begins with, and how many bytes they are.
fn whole_lines(bytes: &[u8]) -> (usize, usize) {
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |line_break| line_break + 1);
    (memchr::memchr_iter(b'\n', bytes).count(), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes, then fails until it is given more room.
    struct SmallDisk {
        content: Vec<u8>,
        room: usize,
        can_take_back: bool,
    }

    impl Write for SmallDisk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= count;
            self.content.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Appendable for SmallDisk {
        fn take_back(&mut self, bytes: u64) -> bool {
            if self.can_take_back {
                self.content.truncate(self.content.len() - bytes as usize);
                self.room += bytes as usize;
            }
            self.can_take_back
        }
    }

    fn output(room: usize, can_take_back: bool) -> Output<SmallDisk> {
        Output::new(SmallDisk { content: Vec::new(), room, can_take_back }, Path::new("test"), true)
    }

    #[test]
    fn a_full_disk_keeps_whole_lines_and_says_how_many() {
        let mut output = output(10, true);
        for line in ["one\n", "two\n", "three\n"] {
            output.push(|out| out.extend_from_slice(line.as_bytes()));
        }
        assert!(output.flush().is_err());
        assert_eq!(output.take_written(), 2);
        assert_eq!(output.file.content, b"one\ntwo\n");
        output.file.room = 100;
        output.push(|out| out.extend_from_slice(b"three\n"));
        output.flush().unwrap();
        assert_eq!(output.file.content, b"one\ntwo\nthree\n");
    }

    #[test]
    fn lines_written_from_where_they_are_are_counted_the_same_way() {
        let mut output = output(9, true);
        assert!(output.write_lines(3, b"one\ntwo\nthree\n").is_err());
        assert_eq!(output.take_written(), 2);
        assert_eq!(output.file.content, b"one\ntwo\n");
    }

    #[test]
    fn a_torn_line_that_cannot_be_removed_is_ended_before_the_next() {
        let mut output = output(5, false);
        assert!(output.write_lines(2, b"one\ntwo\n").is_err());
        output.file.room = 100;
        output.write_lines(1, b"two\n").unwrap();
        assert_eq!(output.file.content, b"one\nt\ntwo\n");
        assert_eq!(output.take_written(), 2);
    }

    #[test]
    fn a_message_of_several_lines_counts_when_its_last_line_is_written() {
        let disk = SmallDisk { content: Vec::new(), room: 6, can_take_back: true };
        let mut output = Output::new(disk, Path::new("test"), false);
        output.push(|out| out.extend_from_slice(b"a\nb\nc\nd\n"));
        assert!(output.flush().is_err());
        assert_eq!(output.take_written(), 0);
        assert_eq!(output.file.content, b"");
    }

    #[test]
    fn a_line_that_a_killed_router_left_half_written_is_ended_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/log");
        Output::open(&path, true).unwrap().write_lines(1, b"whole\n").unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"half").unwrap();
        Output::open(&path, true).unwrap().write_lines(1, b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nhalf\nnext\n");
    }

    #[test]
    fn a_part_of_a_line_is_taken_back_from_a_real_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert!(file.take_back(2));
        file.write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        File::options().append(true).open(&path).unwrap().write_all(b"somebody else\n").unwrap();
        assert!(!file.take_back(4), "somebody wrote behind it");
    }
}
