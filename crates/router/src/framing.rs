//! Cuts a stream of bytes into runs of complete lines, and keeps the unfinished one until the rest of it arrives.
//!
//! Bytes are read behind the unfinished line, so a complete line is always in one piece and is copied at most once. A line
//! over the limit is given up, and the stream is picked up again at the next line break. How it began is kept for its reject.

use std::io;

use crate::{
    batch::BATCH_BYTES,
    rejects::FRAME_BYTES,
    slab_pool::{Slab, SlabPool},
    unfinished::{Lease, Remainder},
};

/// What one read gave.
#[derive(Debug)]
pub enum Read {
    /// Complete lines, the last byte being a line break.
    Lines {
        /// Them.
        slab: Slab,
        /// Whether the source had less than was asked for, so that nothing more is there at the moment.
        drained: bool,
    },
    /// Only part of a line so far.
    Unfinished {
        /// See [`Read::Lines`].
        drained: bool,
    },
    /// The source has ended. What was left without a line break is here as a line.
    End(Option<Slab>),
}

/// Why a line was given up before it was complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It is over the limit.
    TooLong,
    /// The memory that unfinished lines share was used up, and it was the largest.
    Memory,
}

/// What is known of a line that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Why.
    pub cause: Cause,
    /// How it began: as much as a reject carries.
    pub begin: Vec<u8>,
    /// How long it was by then.
    pub bytes: usize,
}

impl GivenUp {
    /// Of a line that has come as far as `line`.
    fn of(line: &[u8], cause: Cause) -> Self {
        GivenUp { cause, begin: line[..line.len().min(FRAME_BYTES)].to_vec(), bytes: line.len() }
    }
}

/// The state of one stream.
#[derive(Debug)]
pub struct LineFramer {
    unfinished: Remainder,
    lease: Lease,
    limit_bytes: usize,
    /// The line being read was given up; drop everything up to the next line break.
    discarding: bool,
    /// At most two a read: the line before its first line break and the one behind its last.
    given_up: Vec<GivenUp>,
}

impl LineFramer {
    /// A framer for lines of up to `limit_bytes`, its unfinished line being paid for by `lease`.
    pub fn new(limit_bytes: usize, lease: Lease) -> Self {
        LineFramer {
            unfinished: Remainder::default(),
            lease,
            limit_bytes,
            discarding: false,
            given_up: Vec::new(),
        }
    }

    /// The lines that were given up since the last call. To be asked after every read, whatever it gave.
    pub fn take_given_up(&mut self) -> Vec<GivenUp> {
        std::mem::take(&mut self.given_up)
    }

    /// Reads once with `read`, which fills the bytes that it is given and returns how many it filled, 0 at the end.
    pub fn read(
        &mut self,
        pool: &SlabPool,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Read> {
        if self.lease.is_revoked() {
            let line = self.unfinished.take(pool);
            self.give_up(&line, Cause::Memory);
        }
        let mut slab = self.unfinished.take(pool);
        let before = slab.len();
        let room = slab.spare().len();
        let filled = match read(slab.spare()) {
            Ok(filled) => filled,
            Err(error) => {
                self.keep_unfinished(slab);
                return Err(error);
            }
        };
        if filled == 0 {
            self.lease.release();
            if before == 0 {
                return Ok(Read::End(None));
            }
            slab.extend(b"\n");
            return Ok(Read::End(Some(slab)));
        }
        slab.advance(filled);
        let drained = filled < room;

        if self.discarding {
            let Some(line_break) = memchr::memchr(b'\n', &slab) else {
                return Ok(Read::Unfinished { drained });
            };
            self.discarding = false;
            let mut rest = pool.take(BATCH_BYTES);
            rest.extend(&slab[line_break + 1..]);
            slab = rest;
        }
        let fresh = before.min(slab.len());
        match memchr::memrchr(b'\n', &slab[fresh..]) {
            Some(line_break) => {
                let complete = fresh + line_break + 1;
                let mut rest = pool.take(slab.len() - complete);
                rest.extend(&slab[complete..]);
                self.keep_unfinished(rest);
                slab.truncate(complete);
                Ok(Read::Lines { slab, drained })
            }
            None => {
                self.keep_unfinished(slab);
                Ok(Read::Unfinished { drained })
            }
        }
    }

    fn keep_unfinished(&mut self, slab: Slab) {
        if slab.len() > self.limit_bytes {
            self.give_up(&slab, Cause::TooLong);
        } else if !self.lease.resize(slab.len()) {
            self.give_up(&slab, Cause::Memory);
        } else {
            self.unfinished.keep(slab);
        }
    }

    fn give_up(&mut self, line: &[u8], cause: Cause) {
        self.lease.release();
        self.discarding = true;
        self.given_up.push(GivenUp::of(line, cause));
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use proptest::prelude::*;

    use super::*;
    use crate::unfinished::UnfinishedLines;

    fn framer(limit_bytes: usize) -> LineFramer {
        LineFramer::new(limit_bytes, UnfinishedLines::new(1 << 20).lease(Waker::noop().clone()))
    }

    /// Feeds the parts one by one; returns every complete line and how many were given up.
    fn feed<'a>(
        framer: &mut LineFramer,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Vec<u8>>, Vec<GivenUp>) {
        let pool = SlabPool::new(1 << 20);
        let mut lines = Vec::new();
        let mut push = |slab: Slab| {
            assert_eq!(slab.last(), Some(&b'\n'));
            lines.extend(slab.trim_ascii_end().split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        };
        for mut part in parts {
            while !part.is_empty() {
                let read = framer
                    .read(&pool, |space| {
                        let count = part.len().min(space.len());
                        space[..count].copy_from_slice(&part[..count]);
                        part = &part[count..];
                        Ok(count)
                    })
                    .unwrap();
                match read {
                    Read::Lines { slab, .. } => push(slab),
                    Read::Unfinished { .. } => {}
                    Read::End(_) => panic!("it has not ended"),
                }
            }
        }
        if let Read::End(Some(slab)) = framer.read(&pool, |_| Ok(0)).unwrap() {
            push(slab);
        }
        (lines, framer.take_given_up())
    }

    #[test]
    fn a_line_without_a_break_at_the_end_of_the_stream_still_counts() {
        let (lines, given_up) = feed(&mut framer(100), [b"one\ntw".as_slice(), b"o\nthree"]);
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert_eq!(given_up, []);
    }

    #[test]
    fn a_line_over_the_limit_is_given_up_and_the_stream_goes_on_at_the_next_break() {
        let long = vec![b'x'; 300];
        let (lines, given_up) =
            feed(&mut framer(100), [b"one\n".as_slice(), &long[..150], &long[150..], b"xx\ntwo\n"]);
        assert_eq!(lines, [b"one".to_vec(), b"two".to_vec()]);
        assert_eq!(given_up, [GivenUp { cause: Cause::TooLong, begin: long[..150].to_vec(), bytes: 150 }]);
    }

    #[test]
    fn of_a_long_line_that_is_given_up_only_its_beginning_is_kept() {
        let long = vec![b'x'; 10_000];
        let (_, given_up) = feed(&mut framer(9_000), [&long[..8_000], &long[8_000..]]);
        assert_eq!(
            given_up,
            [GivenUp { cause: Cause::TooLong, begin: long[..FRAME_BYTES].to_vec(), bytes: 10_000 }]
        );
    }

    #[test]
    fn a_would_block_loses_nothing() {
        let pool = SlabPool::new(1 << 20);
        let mut framer = framer(1000);
        let unfinished = framer
            .read(&pool, |space| {
                space[..3].copy_from_slice(b"one");
                Ok(3)
            })
            .unwrap();
        assert!(matches!(unfinished, Read::Unfinished { drained: true }));
        assert!(framer.read(&pool, |_| Err(io::ErrorKind::WouldBlock.into())).is_err());
        let end = framer.read(&pool, |_| Ok(0)).unwrap();
        assert!(matches!(end, Read::End(Some(slab)) if &slab[..] == b"one\n"));
    }

    #[test]
    fn when_the_shared_memory_is_used_up_the_largest_unfinished_line_goes() {
        let shared = UnfinishedLines::new(300_000);
        let pool = SlabPool::new(1 << 20);
        let mut large = LineFramer::new(1 << 20, shared.lease(Waker::noop().clone()));
        let mut small = LineFramer::new(1 << 20, shared.lease(Waker::noop().clone()));
        let feed = |framer: &mut LineFramer, count: usize| {
            framer
                .read(&pool, |space| {
                    space[..count].fill(b'x');
                    Ok(count)
                })
                .unwrap()
        };
        feed(&mut large, 200_000);
        feed(&mut small, 120_000);
        assert_eq!(small.take_given_up(), [], "the small one stays");
        feed(&mut large, 10);
        assert_eq!(
            large.take_given_up(),
            [GivenUp { cause: Cause::Memory, begin: vec![b'x'; FRAME_BYTES], bytes: 200_000 }]
        );
    }

    proptest! {
        /// However a stream is cut into reads, the same lines come out.
        #[test]
        fn cuts_do_not_matter(
            lines in prop::collection::vec("[a-z]{1,40}", 1..50),
            cuts in prop::collection::vec(1usize..60, 1..40),
        ) {
            let text = lines.join("\n") + "\n";
            let mut parts: Vec<&[u8]> = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (part, behind) = rest.split_at((*cut).min(rest.len()));
                parts.push(part);
                rest = behind;
            }
            let (out, given_up) = feed(&mut framer(100), parts);
            prop_assert_eq!(out, lines.iter().map(|line| line.clone().into_bytes()).collect::<Vec<_>>());
            prop_assert_eq!(given_up, []);
        }
    }
}
