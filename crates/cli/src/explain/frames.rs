//! Reads frames as an input would take them: one a line, lines that its `multiline` joins, or a whole file as one datagram.

use std::{
    io::{self, BufRead, Read},
    ops::RangeInclusive,
};

use metlog_router::rehearsal::{Entrance, Lines};

/// A frame, or the beginning of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// All of it, without its line break.
    Whole(&'f [u8]),
    /// The first bytes of a line that is longer than any message.
    TooLong(&'f [u8]),
}

/// Of a line that is too long, so many bytes are kept.
const KEPT: usize = 4096;

/// Hands each line to `take` with its number, from 1. No more than `most` bytes of a line are kept.
pub fn each_line<E: From<io::Error>>(
    mut reader: impl BufRead,
    most: usize,
    mut take: impl FnMut(usize, Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let limit = most as u64 + 1;
        if (&mut reader).take(limit).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            take(number, Frame::Whole(&line))?;
        } else if line.len() as u64 == limit {
            line.truncate(KEPT);
            skip_line(&mut reader)?;
            take(number, Frame::TooLong(&line))?;
        } else {
            take(number, Frame::Whole(&line))?;
        }
    }
    Ok(())
}

/// Hands each frame to `take` with the numbers of its lines: those that `entrance` joins are one.
pub fn each_frame<E: From<io::Error>>(
    reader: impl BufRead,
    most: usize,
    entrance: &Entrance,
    mut take: impl FnMut(RangeInclusive<usize>, Frame<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut lines = Lines::new(entrance);
    let mut last = 0;
    let mut numbers = |count| {
        let first = last + 1;
        last += count;
        first..=last
    };
    each_line(reader, most, |_, line| match line {
        Frame::Whole(line) => lines.push(line, |count, frame| take(numbers(count), Frame::Whole(frame))),
        Frame::TooLong(begin) => {
            lines.end(|count, frame| take(numbers(count), Frame::Whole(frame)))?;
            take(numbers(1), Frame::TooLong(begin))
        }
    })?;
    lines.end(|count, frame| take(numbers(count), Frame::Whole(frame)))
}

/// Reads on behind the next line break.
fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        match buffer.iter().position(|byte| *byte == b'\n') {
            Some(place) => {
                reader.consume(place + 1);
                return Ok(());
            }
            None if buffer.is_empty() => return Ok(()),
            None => {
                let length = buffer.len();
                reader.consume(length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_frames_and_one_that_is_too_long_is_passed_over() {
        let mut seen = Vec::new();
        let text = b"one\n\nthree is long\nfour\xff" as &[u8];
        let outcome: io::Result<()> = each_line(text, 5, |number, frame| {
            seen.push(match frame {
                Frame::Whole(bytes) => (number, true, bytes.to_vec()),
                Frame::TooLong(bytes) => (number, false, bytes.to_vec()),
            });
            Ok(())
        });
        outcome.unwrap();
        let expected: [(usize, bool, &[u8]); 4] =
            [(1, true, b"one"), (2, true, b""), (3, false, b"three "), (4, true, b"four\xff")];
        assert_eq!(seen, expected.map(|(number, whole, bytes)| (number, whole, bytes.to_vec())));
    }
}
