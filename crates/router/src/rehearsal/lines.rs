//! Lines on their way to be frames: each is one, or, with `multiline`, those that belong together are.

use super::Entrance;

/// Gathers lines until they are a frame.
#[derive(Debug)]
pub struct Lines<'e> {
    entrance: &'e Entrance,
    /// Lines, each with its line break, of a frame that may go on.
    held: Vec<u8>,
}

impl<'e> Lines<'e> {
    /// Nothing gathered yet.
    pub fn new(entrance: &'e Entrance) -> Lines<'e> {
        Lines { entrance, held: Vec::new() }
    }

    /// Adds a line, which has no line break. `take` gets each frame that is complete now, and how many lines are in it.
    pub fn push<E>(
        &mut self,
        line: &[u8],
        mut take: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(joiner) = &self.entrance.joiner else { return take(1, line) };
        self.held.extend_from_slice(line);
        self.held.push(b'\n');
        // Only then can a frame have come to its end; to look after each line would take ever longer.
        if joiner.begins(line) || self.held.len() > joiner.window_bytes() {
            return self.hand_on(false, take);
        }
        Ok(())
    }

    /// No more lines belong to those so far.
    pub fn end<E>(&mut self, take: impl FnMut(usize, &[u8]) -> Result<(), E>) -> Result<(), E> {
        self.hand_on(true, take)
    }

    fn hand_on<E>(
        &mut self,
        no_more: bool,
        mut take: impl FnMut(usize, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(joiner) = &self.entrance.joiner else { return Ok(()) };
        let (frames, used) = joiner.frames(&self.held, no_more);
        for place in frames {
            let frame = self.held.get(place).unwrap_or_default();
            take(memchr::memchr_iter(b'\n', frame).count() + 1, frame)?;
        }
        self.held.drain(..used);
        Ok(())
    }
}
