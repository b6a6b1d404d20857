//! One read of a file: what of it is whole is handed over, and what is not stays where it is.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, time::Duration};

use super::{End, Follower, Skipped, Stamp};
use crate::{
    acknowledgement::Acknowledged,
    batch::{BATCH_BYTES, BATCH_MESSAGES},
    inputs::{
        Flow, Progress,
        file::{Mode, identity::Fingerprint},
    },
    pipeline::{Origin, Pipeline},
    slab_pool::Slab,
};

/// What is taken at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// Whole messages.
    Messages,
    /// Whole lines: no more of the last message is expected.
    Lines,
    /// Everything: the file is done with.
    All,
}

impl Follower {
    /// Reads on from the position and hands over what is complete.
    pub(super) fn take(
        &mut self,
        flow: &mut Flow<'_>,
        file: &File,
        stamp: Stamp,
        what: Take,
        now: Duration,
    ) -> io::Result<Progress> {
        let mut slab = flow.pipeline.pool().take(self.window);
        let space = slab.spare();
        let room = space.len().min(self.window);
        let count = match file.read_at(&mut space[..room], self.position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Progress::More),
            count => count?,
        };
        slab.advance(count);
        let behind = self.position + count as u64;
        let is_end = count < room && behind >= stamp.bytes;
        self.know_by_beginning(file)?;
        if self.skipped.is_some() {
            return Ok(self.skip(&slab, is_end.then_some((stamp, what)), now));
        }
        if what == Take::All && is_end && slab.last().is_some_and(|last| *last != b'\n') {
            slab.extend(b"\n");
        }
        let lines = memchr::memrchr(b'\n', &slab).map_or(0, |line_break| line_break + 1);
        let is_as_large_as_it_gets = count >= self.largest_window();
        let (frames, used) = match &self.shared.joiner {
            None => (None, lines),
            Some(joiner) => {
                let no_more = (what != Take::Messages && is_end) || is_as_large_as_it_gets;
                let (frames, used) = joiner.frames(slab.get(..lines).unwrap_or_default(), no_more);
                (Some(frames), used)
            }
        };
        if used > 0 {
            slab.truncate(used);
            // A last line's line break may have been added just now.
            let end = self.position + used.min(count) as u64;
            self.hand_over(flow, slab, frames, end);
        } else if !is_end {
            if lines == 0 && count > self.shared.context.message_bytes {
                self.give_up_line(flow, &slab, behind);
            } else {
                self.window = (self.window * 2).min(self.largest_window());
            }
        }
        if is_end {
            self.reached_end(stamp, lines > used, now);
        }
        Ok(if is_end && self.shared.settings.mode == Mode::Follow {
            Progress::Stalled
        } else {
            Progress::More
        })
    }

    fn reached_end(&mut self, stamp: Stamp, has_lines: bool, now: Duration) {
        self.end = Some(End { stamp, since: now, has_lines });
    }

    /// What a line of the largest size and, behind it, a joined message of the largest size need.
    fn largest_window(&self) -> usize {
        let joined = self.shared.joiner.as_ref().map_or(0, |joiner| joiner.window_bytes());
        (self.shared.context.message_bytes + 1 + joined).max(BATCH_BYTES)
    }

    fn hand_over(&mut self, flow: &mut Flow<'_>, slab: Slab, frames: Option<Vec<Range<usize>>>, end: u64) {
        let Flow { pipeline, waker, parked, .. } = flow;
        pipeline.reads_from(self.origin());
        let acknowledged = pipeline.acknowledged(|pipeline| match frames {
            None => pipeline.lines(slab, Some(waker), parked),
            Some(frames) if frames.len() <= BATCH_MESSAGES => {
                pipeline.frames(slab, frames, Some(waker), parked);
            }
            Some(frames) => {
                for some in frames.chunks(BATCH_MESSAGES) {
                    let (slab, some) = part_of(&slab, some, pipeline);
                    pipeline.frames(slab, some, Some(waker), parked);
                }
            }
        });
        self.advance(end, Some(acknowledged));
        self.window = BATCH_BYTES;
    }

    /// The file by its last known name.
    fn origin(&self) -> Origin {
        Origin::File(self.place.path().to_string_lossy().into())
    }

    /// Lets the fingerprint cover more of a small file that has grown.
    fn know_by_beginning(&self, file: &File) -> io::Result<()> {
        if self.position < Fingerprint::LONGEST {
            self.place.set_fingerprint(Fingerprint::of(file)?);
        }
        Ok(())
    }

    fn advance(&mut self, end: u64, acknowledged: Option<Acknowledged>) {
        self.position = end;
        self.place.advance(end, acknowledged);
    }

    /// Rejects a line that is over the limit, and skips what follows of it. It stays behind the kept position until its end is
    /// found: a restart within it must not take its rest for a line.
    fn give_up_line(&mut self, flow: &mut Flow<'_>, begin: &[u8], behind: u64) {
        let Flow { pipeline, waker, parked, .. } = flow;
        pipeline.reads_from(self.origin());
        let acknowledged =
            pipeline.acknowledged(|pipeline| pipeline.too_large(begin, begin.len(), Some(waker), parked));
        self.skipped = Some(Skipped { acknowledged: Some(acknowledged) });
        self.position = behind;
        self.window = BATCH_BYTES;
    }

    fn skip(&mut self, slab: &[u8], end: Option<(Stamp, Take)>, now: Duration) -> Progress {
        if let Some(line_break) = memchr::memchr(b'\n', slab) {
            let acknowledged = self.skipped.take().and_then(|skipped| skipped.acknowledged);
            self.advance(self.position + line_break as u64 + 1, acknowledged);
            return Progress::More;
        }
        self.position += slab.len() as u64;
        let Some((stamp, what)) = end else { return Progress::More };
        if what == Take::All {
            let acknowledged = self.skipped.take().and_then(|skipped| skipped.acknowledged);
            self.advance(self.position, acknowledged);
        }
        self.reached_end(stamp, false, now);
        if self.shared.settings.mode == Mode::Follow { Progress::Stalled } else { Progress::More }
    }
}

/// Some of a slab's frames in a slab of their own.
fn part_of(slab: &[u8], frames: &[Range<usize>], pipeline: &Pipeline) -> (Slab, Vec<Range<usize>>) {
    let start = frames.first().map_or(0, |frame| frame.start);
    let end = frames.last().map_or(start, |frame| frame.end + 1);
    let mut part = pipeline.pool().take(end - start);
    part.extend(slab.get(start..end).unwrap_or_default());
    (part, frames.iter().map(|frame| frame.start - start..frame.end - start).collect())
}
