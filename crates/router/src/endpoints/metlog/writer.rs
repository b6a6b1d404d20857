//! Writes the lines of a piece of work to a stream, and knows how far it came.

use std::io::{self, IoSlice, Write};

use crate::endpoints::Work;

/// Runs of lines given to the kernel with one call.
const SLICES: usize = 64;

/// A line of which a part was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfinished {
    /// The whole line with its line break.
    line: Vec<u8>,
    /// How many bytes of it are out.
    written: usize,
}

/// How far it came.
#[derive(Debug)]
pub(super) struct Written {
    /// Messages whose lines are out as a whole.
    pub(super) messages: usize,
    /// Bytes that the stream took.
    pub(super) bytes: usize,
    /// Why it stopped before the end.
    pub(super) stop: Option<Stop>,
}

/// Why a stream takes no more.
#[derive(Debug)]
pub(super) enum Stop {
    /// It waited for as long as a write may wait.
    Stalled,
    /// The connection is of no more use.
    Broken(io::Error),
}

/// Lines that lie side by side.
struct Piece<'w> {
    messages: usize,
    bytes: &'w [u8],
    /// How many of the bytes are out.
    written: usize,
}

/// Writes the first `most` lines of `work`, in order. If `unfinished` is its first line, that goes on where it stopped. Otherwise the
/// buffer has given the message up, but its line has to end before another begins.
pub(super) fn write(
    stream: &mut impl Write,
    work: &Work,
    most: usize,
    unfinished: &mut Option<Unfinished>,
) -> Written {
    let begun = unfinished.take();
    let mut left = most;
    let mut pieces: Vec<Piece<'_>> = work.runs().map_while(|run| first_of(run, &mut left)).collect();
    if let Some(begun) = &begun {
        match pieces.first_mut() {
            Some(first) if first.bytes.starts_with(&begun.line) => first.written = begun.written,
            _ => pieces.insert(0, Piece { messages: 0, bytes: &begun.line, written: begun.written }),
        }
    }

    let mut written = Written { messages: 0, bytes: 0, stop: None };
    let mut rest = pieces.as_mut_slice();
    while !rest.is_empty() {
        match write_once(stream, rest) {
            Ok(0) => written.stop = Some(Stop::Broken(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                written.bytes += count;
                let whole = advance(rest, count);
                written.messages += rest[..whole].iter().map(|piece| piece.messages).sum::<usize>();
                rest = &mut rest[whole..];
                continue;
            }
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => continue,
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => written.stop = Some(Stop::Stalled),
                _ => written.stop = Some(Stop::Broken(error)),
            },
        }
        break;
    }
    if let Some(piece) = rest.first() {
        let end =
            memchr::memrchr(b'\n', &piece.bytes[..piece.written]).map_or(0, |line_break| line_break + 1);
        written.messages += memchr::memchr_iter(b'\n', &piece.bytes[..end]).count();
        if piece.written > end {
            let line = &piece.bytes[end..];
            let length = memchr::memchr(b'\n', line).map_or(line.len(), |line_break| line_break + 1);
            *unfinished = Some(Unfinished { line: line[..length].to_vec(), written: piece.written - end });
        }
    }
    written
}

/// As much of a run of lines as is `left` to be written; `None` if that is nothing.
fn first_of<'w>((messages, bytes): (usize, &'w [u8]), left: &mut usize) -> Option<Piece<'w>> {
    let most = std::mem::replace(left, left.saturating_sub(messages));
    if messages <= most {
        return Some(Piece { messages, bytes, written: 0 });
    }
    let last = most.checked_sub(1)?;
    let end = memchr::memchr_iter(b'\n', bytes).nth(last)?;
    Some(Piece { messages: most, bytes: &bytes[..=end], written: 0 })
}

fn write_once(stream: &mut impl Write, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip(pieces) {
        *slice = IoSlice::new(&piece.bytes[piece.written..]);
        count += 1;
    }
    stream.write_vectored(&slices[..count])
}

/// Notes that so many more bytes are out; returns how many pieces are out as a whole.
fn advance(pieces: &mut [Piece<'_>], mut bytes: usize) -> usize {
    let mut whole = 0;
    for piece in pieces {
        let left = piece.bytes.len() - piece.written;
        if bytes < left {
            piece.written += bytes;
            break;
        }
        piece.written = piece.bytes.len();
        bytes -= left;
        whole += 1;
    }
    whole
}
