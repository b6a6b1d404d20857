//! One open file: lines are gathered, written with few calls, and never left half written.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    log_file::{Appendable, LogFile},
    rotation::Opening,
};

/// An open file and the lines that wait to be written to it.
#[derive(Debug)]
pub struct Output<F = LogFile> {
    file: F,
    path: PathBuf,
    pending: Vec<u8>,
    pending_messages: usize,
    /// Where each pending message ends. Kept only where a message may be several lines; otherwise its line break tells.
    ends: Option<Vec<usize>>,
    /// Messages written whole since this was last taken.
    written: usize,
    /// The file, by its number, in which the last write left part of a line behind that could not be removed.
    torn: Option<u64>,
}

impl Output<LogFile> {
    /// Opens a file for appending, and makes it and its folders if they are missing. `span` is as in [`LogFile::open`].
    ///
    /// `one_line_each` says that every message will be exactly one line.
    pub fn open(
        path: &Path,
        one_line_each: bool,
        opening: &Arc<Opening>,
        span: i64,
    ) -> io::Result<Output<LogFile>> {
        let file = LogFile::open(path, opening, span)?;
        let torn = file.ends_within_a_line().then(|| file.number());
        Ok(Output { torn, ..Output::new(file, path, one_line_each) })
    }

    /// Gives way to a new file if what it holds was written before this span. Nothing may be pending.
    pub fn rotate_older(&mut self, span: i64) -> io::Result<()> {
        self.file.rotate_older(span)
    }
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
            torn: None,
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
        let (count, outcome) = self.write_all(bytes, None);
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
        let ends = self.ends.take();
        let (count, outcome) = self.write_all(&pending, ends.as_deref());
        self.ends = ends;
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
    fn discard_pending(&mut self) {
        self.pending.clear();
        self.pending_messages = 0;
        if let Some(ends) = &mut self.ends {
            ends.clear();
        }
    }

    /// How many messages `deliver` writes whole, what it leaves pending included, and whether that is all it was to write.
    /// What was written before is not among them: an answer is for one delivery. Afterwards nothing is pending.
    pub fn counted(&mut self, deliver: impl FnOnce(&mut Self) -> io::Result<()>) -> (usize, io::Result<()>) {
        self.take_written();
        let outcome = deliver(self).and_then(|()| self.flush());
        self.discard_pending();
        (self.take_written(), outcome)
    }

    fn take_written(&mut self) -> usize {
        std::mem::take(&mut self.written)
    }

    /// How many bytes were written, and whether that was all. A file that gets full on the way gives way to a new one
    /// between two messages. `ends` is where messages end, where that is not at every line break.
    fn write_all(&mut self, bytes: &[u8], ends: Option<&[usize]>) -> (usize, io::Result<()>) {
        if let Some(torn) = self.torn {
            // In a file that has begun since, a line break would end nothing.
            if torn == self.file.number()
                && let Err(error) = self.file.write_all(b"\n")
            {
                return (0, Err(error));
            }
            self.torn = None;
        }
        let mut count = 0;
        while count < bytes.len() {
            let end = match self.next_end(bytes, ends, count) {
                Ok(end) => end,
                Err(error) => return (count, Err(error)),
            };
            while count < end {
                match self.file.write(&bytes[count..end]) {
                    Ok(0) => return (count, Err(io::ErrorKind::WriteZero.into())),
                    Ok(more) => count += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return (count, Err(error)),
                }
            }
        }
        (count, Ok(()))
    }

    /// How far `bytes` can be written to this file from `start` on, after a new one has begun if it is full: at least one
    /// message, and otherwise no more than there is room for.
    fn next_end(&mut self, bytes: &[u8], ends: Option<&[usize]>, start: usize) -> io::Result<usize> {
        loop {
            let room = usize::try_from(self.file.room()).unwrap_or(usize::MAX);
            if bytes.len() - start <= room {
                return Ok(bytes.len());
            }
            let fitting = last_end(bytes, ends, start + room);
            if fitting > start {
                return Ok(fitting);
            }
            if self.file.is_empty() {
                return Ok(first_end_behind(bytes, ends, start));
            }
            if !self.file.rotate()? {
                return Ok(bytes.len());
            }
        }
    }

    /// The last `bytes` that were written are the beginning of a message that will be written again as a whole.
    fn remove_part_of_a_line(&mut self, bytes: usize) {
        if bytes > 0 && !self.file.take_back(bytes as u64) {
            self.torn = Some(self.file.number());
        }
    }
}

/// Where the last message ends that does so at or before `limit`; 0 if none does.
fn last_end(bytes: &[u8], ends: Option<&[usize]>, limit: usize) -> usize {
    match ends {
        None => memchr::memrchr(b'\n', &bytes[..limit]).map_or(0, |line_break| line_break + 1),
        Some(ends) => {
            let before = ends.partition_point(|&end| end <= limit);
            if before == 0 { 0 } else { ends[before - 1] }
        }
    }
}

/// Where the first message ends that does so behind `start`.
fn first_end_behind(bytes: &[u8], ends: Option<&[usize]>, start: usize) -> usize {
    let end = match ends {
        None => memchr::memchr(b'\n', &bytes[start..]).map(|line_break| start + line_break + 1),
        Some(ends) => ends.get(ends.partition_point(|&end| end <= start)).copied(),
    };
    end.unwrap_or(bytes.len())
}

/// How many whole lines `bytes` begins with, and how many bytes they are.
fn whole_lines(bytes: &[u8]) -> (usize, usize) {
    let end = memchr::memrchr(b'\n', bytes).map_or(0, |line_break| line_break + 1);
    (memchr::memchr_iter(b'\n', bytes).count(), end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Write};

    /// Takes so many bytes, then fails until it is given more room.
    struct SmallDisk {
        content: Vec<u8>,
        room: usize,
        can_take_back: bool,
        /// The largest file, and where each file but the last ends.
        most: usize,
        ends: Vec<usize>,
        /// So many more files can be begun.
        rotations: usize,
    }

    impl SmallDisk {
        fn new(room: usize, can_take_back: bool) -> SmallDisk {
            let (content, ends) = (Vec::new(), Vec::new());
            SmallDisk { content, room, can_take_back, most: usize::MAX, ends, rotations: 9 }
        }

        fn bytes(&self) -> usize {
            self.content.len() - self.ends.last().unwrap_or(&0)
        }

        fn files(&self) -> Vec<&[u8]> {
            let starts = std::iter::once(&0).chain(&self.ends);
            let ends = self.ends.iter().copied().chain([self.content.len()]);
            starts.zip(ends).map(|(start, end)| &self.content[*start..end]).collect()
        }
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

        fn room(&self) -> u64 {
            self.most.saturating_sub(self.bytes()) as u64
        }

        fn is_empty(&self) -> bool {
            self.bytes() == 0
        }

        fn number(&self) -> u64 {
            self.ends.len() as u64
        }

        fn rotate(&mut self) -> io::Result<bool> {
            self.rotations = self.rotations.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            self.ends.push(self.content.len());
            Ok(true)
        }
    }

    fn output(room: usize, can_take_back: bool) -> Output<SmallDisk> {
        Output::new(SmallDisk::new(room, can_take_back), Path::new("test"), true)
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
    fn a_torn_line_whose_file_has_given_way_is_not_ended_in_the_next_one() {
        let mut output = output(5, false);
        assert!(output.write_lines(2, b"one\ntwo\n").is_err());
        output.file.room = 100;
        output.file.rotate().unwrap();
        output.write_lines(1, b"two\n").unwrap();
        assert_eq!(output.file.files(), [&b"one\nt"[..], b"two\n"]);
    }

    #[test]
    fn what_one_delivery_wrote_is_not_counted_for_the_next() {
        let mut output = output(12, true);
        output.push(|out| out.extend_from_slice(b"one\n"));
        output.flush().unwrap();
        let (written, outcome) = output.counted(|output| output.write_lines(3, b"two\nsix\nten\n"));
        assert_eq!((written, outcome.is_err()), (2, true), "and not the first one again");
        output.file.room = 100;
        let (written, outcome) = output.counted(|output| {
            output.push_lines(1, b"ten\n");
            Ok(())
        });
        assert_eq!((written, outcome.is_ok()), (1, true));
        assert_eq!(output.file.content, b"one\ntwo\nsix\nten\n");
    }

    #[test]
    fn a_message_of_several_lines_counts_when_its_last_line_is_written() {
        let disk = SmallDisk::new(6, true);
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
        let opening = Arc::new(Opening { permissions: Default::default(), rotation: None });
        let open = || Output::open(&path, true, &opening, 0).unwrap();
        open().write_lines(1, b"whole\n").unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"half").unwrap();
        open().write_lines(1, b"next\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nhalf\nnext\n");
    }

    #[test]
    fn a_full_file_gives_way_between_two_messages() {
        let mut output = output(1000, true);
        output.file.most = 10;
        output.write_lines(4, b"one\ntwo\nthree\nfour\n").unwrap();
        output.push(|out| out.extend_from_slice(b"a line that is larger than a file\n"));
        output.push(|out| out.extend_from_slice(b"end\n"));
        output.flush().unwrap();
        assert_eq!(output.take_written(), 6);
        let files: Vec<&[u8]> = output.file.files();
        let expected: [&[u8]; 5] =
            [b"one\ntwo\n", b"three\n", b"four\n", b"a line that is larger than a file\n", b"end\n"];
        assert_eq!(files, expected);
    }

    #[test]
    fn a_message_of_several_lines_stays_in_one_file() {
        let disk = SmallDisk { most: 10, ..SmallDisk::new(1000, true) };
        let mut output = Output::new(disk, Path::new("test"), false);
        for message in ["1\n2\n3\n", "4\n5\n6\n7\n8\n9\n", "10\n"] {
            output.push(|out| out.extend_from_slice(message.as_bytes()));
        }
        output.flush().unwrap();
        let expected: [&[u8]; 3] = [b"1\n2\n3\n", b"4\n5\n6\n7\n8\n9\n", b"10\n"];
        assert_eq!(output.file.files(), expected);
    }

    #[test]
    fn when_no_new_file_can_be_made_what_was_written_is_counted_and_the_rest_comes_later() {
        let mut output = output(1000, true);
        (output.file.most, output.file.rotations) = (10, 1);
        assert!(output.write_lines(4, b"one\ntwo\nthree\nfour\n").is_err());
        assert_eq!(output.take_written(), 3);
        output.file.rotations = 9;
        output.write_lines(1, b"four\n").unwrap();
        assert_eq!(output.file.files(), [&b"one\ntwo\n"[..], b"three\n", b"four\n"]);
    }

    #[test]
    fn a_full_disk_behind_a_rotation_tears_no_line() {
        let mut output = output(17, true);
        output.file.most = 10;
        assert!(output.write_lines(4, b"one\ntwo\nthree\nfour\n").is_err());
        assert_eq!((output.take_written(), output.file.files().concat()), (3, b"one\ntwo\nthree\n".to_vec()));
    }
}
