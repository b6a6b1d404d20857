//! Finds the quotes of a message 64 bytes at a time, and takes note of what is unusual in it.
//!
//! Most of a message is strings, and a scanner that looks for the end of each in turn waits for every answer
//! before it knows where to look next. Here the quotes of a whole stretch are found first, as bits of one
//! word per 64 bytes, and written to a list; the scanner then has the ends of all strings at hand.
//! An escaped quote is no quote. Escapes are checked on the way, so that nothing has to read them again.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::grammar;

/// How many bytes are looked at together.
pub(crate) const BLOCK: usize = 64;

/// How many quotes are listed ahead at most. A usual message has about fifty, which are listed at once.
const CAPACITY: usize = 192;

/// The answer where there is no further quote.
pub(crate) const NO_QUOTE: usize = usize::MAX;

/// What 64 bytes hold, one bit per byte, the first in the lowest bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masks {
    /// The byte is a quote.
    pub quotes: u64,
    /// The byte is a backslash.
    pub backslashes: u64,
    /// The byte is a control character or not ASCII.
    pub unusual: u64,
}

/// What was met in the bytes looked at so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seen {
    /// A backslash.
    pub backslash: bool,
    /// A byte below 0x20.
    pub control: bool,
    /// A byte above 0x7F.
    pub non_ascii: bool,
    /// A backslash that does not begin an escape.
    pub bad_escape: bool,
}

/// The unescaped quotes of a text, in order.
pub(crate) struct Quotes<'t> {
    text: &'t [u8],
    /// Up to here the text has been looked at.
    looked_at: usize,
    list: [u32; CAPACITY],
    listed: usize,
    next: usize,
    /// The first byte that is not looked at yet is escaped.
    escaped: bool,
    seen: Seen,
}

impl<'t> Quotes<'t> {
    /// The quotes of `text`, which is shorter than 4 GiB.
    #[inline]
    pub fn new(text: &'t [u8]) -> Self {
        let mut quotes = Quotes {
            text,
            looked_at: 0,
            list: [0; CAPACITY],
            listed: 0,
            next: 0,
            escaped: false,
            seen: Seen::default(),
        };
        quotes.refill();
        quotes
    }

    /// The offset of the next quote, or [`NO_QUOTE`].
    #[inline]
    pub fn next(&mut self) -> usize {
        if self.next == self.listed {
            return self.next_after_refill();
        }
        let position = self.list[self.next] as usize;
        self.next += 1;
        position
    }

    #[cold]
    #[inline(never)]
    fn next_after_refill(&mut self) -> usize {
        self.refill();
        match self.list[..self.listed].first() {
            Some(&position) => {
                self.next = 1;
                position as usize
            }
            None => NO_QUOTE,
        }
    }

    /// Looks at the rest of the text and says what was met in all of it.
    #[inline]
    pub fn finish(&mut self) -> Seen {
        while self.looked_at < self.text.len() {
            self.refill();
        }
        self.seen
    }

    /// Forgets the list and lists further quotes, until the list is nearly full or the text ends.
    #[inline]
    fn refill(&mut self) {
        self.next = 0;
        self.listed = 0;
        #[cfg(target_arch = "x86_64")]
        x86_64::fill(self);
        #[cfg(not(target_arch = "x86_64"))]
        self.fill(portable::masks);
    }

    /// The body of [`Quotes::refill`], compiled once for each way to make masks.
    #[inline(always)]
    fn fill(&mut self, masks: impl Fn(&[u8; BLOCK]) -> Masks) {
        let text = self.text;
        while self.looked_at < text.len() && self.listed <= CAPACITY - BLOCK {
            let start = self.looked_at;
            let found = match text[start..].first_chunk::<BLOCK>() {
                Some(block) => masks(block),
                None => last_masks(text, start, &masks),
            };
            self.looked_at = start + BLOCK;
            let mut quotes = found.quotes;
            if found.backslashes != 0 || found.unusual != 0 || self.escaped {
                quotes &= !self.look_closer(start, found);
            }
            self.list(start, quotes);
        }
    }

    /// Appends the positions of the bits of `quotes` to the list, of which 64 places are free.
    #[inline(always)]
    fn list(&mut self, start: usize, mut quotes: u64) {
        let count = quotes.count_ones() as usize;
        let Some(places) = self.list.get_mut(self.listed..).and_then(|free| free.first_chunk_mut::<BLOCK>())
        else {
            return;
        };
        // A fixed number of steps costs less than a branch that is taken at an unforeseeable moment; what is
        // written beyond `count` is overwritten later.
        for place in &mut places[..16] {
            *place = start as u32 + quotes.trailing_zeros();
            quotes &= quotes.wrapping_sub(1);
        }
        let mut further = 16;
        while quotes != 0 && further < BLOCK {
            places[further] = start as u32 + quotes.trailing_zeros();
            quotes &= quotes.wrapping_sub(1);
            further += 1;
        }
        self.listed += count;
    }

    /// Takes note of what is unusual in a block, and answers which of its bytes are escaped.
    #[inline(never)]
    fn look_closer(&mut self, start: usize, found: Masks) -> u64 {
        if found.unusual != 0 {
            let end = self.text.len().min(start + BLOCK);
            let block = &self.text[start..end];
            self.seen.control |= block.iter().any(|&byte| byte < 0x20);
            self.seen.non_ascii |= !block.is_ascii();
        }
        let mut escaped = u64::from(self.escaped);
        let mut backslashes = found.backslashes & !escaped;
        self.seen.backslash |= found.backslashes != 0;
        self.escaped = false;
        while backslashes != 0 {
            let offset = backslashes.trailing_zeros() as usize;
            self.seen.bad_escape |= grammar::escape(self.text, start + offset + 1).is_none();
            if offset == BLOCK - 1 {
                self.escaped = true;
                break;
            }
            escaped |= 2 << offset;
            backslashes &= !(3 << offset);
        }
        escaped
    }
}

/// The masks of the last block, which is shorter than the others.
#[inline(always)]
fn last_masks(text: &[u8], start: usize, masks: impl Fn(&[u8; BLOCK]) -> Masks) -> Masks {
    if let Some(block) = text.last_chunk::<BLOCK>() {
        // The last 64 bytes, without those that were looked at before.
        let before = start + BLOCK - text.len();
        let found = masks(block);
        return Masks {
            quotes: found.quotes >> before,
            backslashes: found.backslashes >> before,
            unusual: found.unusual >> before,
        };
    }
    let mut block = [b' '; BLOCK];
    block[..text.len() - start].copy_from_slice(&text[start..]);
    masks(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by the plainest means.
    fn expected(text: &[u8]) -> (Vec<usize>, Seen) {
        let mut positions = Vec::new();
        let mut seen = Seen::default();
        let mut escaped = false;
        for (at, &byte) in text.iter().enumerate() {
            seen.control |= byte < 0x20;
            seen.non_ascii |= byte > 0x7F;
            seen.backslash |= byte == b'\\';
            if escaped {
                escaped = false;
                seen.bad_escape |= grammar::escape(text, at).is_none();
            } else if byte == b'\\' {
                escaped = true;
                seen.bad_escape |= at + 1 == text.len();
            } else if byte == b'"' {
                positions.push(at);
            }
        }
        (positions, seen)
    }

    fn found(text: &[u8]) -> (Vec<usize>, Seen) {
        let mut quotes = Quotes::new(text);
        let mut positions = Vec::new();
        loop {
            match quotes.next() {
                NO_QUOTE => break,
                position => positions.push(position),
            }
        }
        (positions, quotes.finish())
    }

    #[test]
    fn quotes_are_found_in_texts_of_every_length() {
        for length in 0..300 {
            // An allocation of exactly this length, so that a memory checker sees a read behind its end.
            let text: Box<[u8]> = (0..length).map(|at| if at % 7 == 3 { b'"' } else { b'a' }).collect();
            assert_eq!(found(&text), expected(&text), "{length}");
        }
    }

    #[test]
    fn escaped_quotes_are_none_wherever_the_backslash_stands() {
        for run in 1..5 {
            for before in 0..140 {
                let text = format!("{}{}\"n\"{}", "a".repeat(before), "\\".repeat(run), "b".repeat(9));
                assert_eq!(found(text.as_bytes()), expected(text.as_bytes()), "{run} after {before}");
            }
        }
    }

    #[test]
    fn a_text_full_of_quotes_and_a_text_with_few_are_listed_whole() {
        let full = vec![b'"'; 5000];
        assert_eq!(found(&full), expected(&full));
        let mut few = vec![b'a'; 5000];
        few[4321] = b'"';
        assert_eq!(found(&few), expected(&few));
    }

    #[test]
    fn what_is_unusual_is_noted_wherever_it_stands() {
        for byte in [0u8, b'\t', 0x1F, b' ', 0x7F, 0x80, 0xFF, b'\\'] {
            for at in 0..200 {
                let mut text = vec![b'n'; 200];
                text[at] = byte;
                assert_eq!(found(&text), expected(&text), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn every_way_to_make_masks_agrees() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let mut block = [0; BLOCK];
            for byte in &mut block {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = match state >> 60 {
                    0..4 => b'"',
                    4..8 => b'\\',
                    8 => (state >> 40) as u8 % 0x22,
                    _ => (state >> 40) as u8,
                };
            }
            let bit = |test: &dyn Fn(u8) -> bool| {
                block.iter().enumerate().fold(0, |mask, (at, &byte)| mask | u64::from(test(byte)) << at)
            };
            let masks = Masks {
                quotes: bit(&|byte| byte == b'"'),
                backslashes: bit(&|byte| byte == b'\\'),
                unusual: bit(&|byte| !(0x20..0x80).contains(&byte)),
            };
            assert_eq!(portable::masks(&block), masks);
            #[cfg(target_arch = "x86_64")]
            for made in x86_64::all_masks(&block) {
                assert_eq!(made, masks);
            }
        }
    }
}
