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
const CAPACITY: usize = 160;

/// How far ahead quotes are listed at most: an offset from the first byte has 16 bits.
const REACH: usize = 1 << 16;

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

/// The unescaped quotes of a text, in order: a list of the next ones, which is renewed when it is used up.
///
/// The reader counts the places that it has used itself, so that its count stays in a register.
pub(crate) struct Quotes<'t> {
    text: &'t [u8],
    /// Up to here the text has been looked at.
    looked_at: usize,
    /// The offset that those in the list are counted from.
    base: usize,
    list: [u16; CAPACITY],
    listed: usize,
    /// The first byte that is not looked at yet is escaped.
    escaped: bool,
    seen: Seen,
}

impl<'t> Quotes<'t> {
    /// The quotes of `text`, which is shorter than 4 GiB. None is listed before [`Quotes::fill`].
    #[inline(always)]
    pub fn new(text: &'t [u8]) -> Self {
        Quotes {
            text,
            looked_at: 0,
            base: 0,
            list: [0; CAPACITY],
            listed: 0,
            escaped: false,
            seen: Seen::default(),
        }
    }

    /// The offsets of the next two quotes and how many places of the list have been used then, of which `used`
    /// have been before.
    #[inline(always)]
    pub fn pair(&mut self, used: usize) -> Option<(usize, usize, usize)> {
        if used + 2 > self.listed {
            return self.pair_beyond_list(used);
        }
        let pair = self.list.get(used..used + 2)?;
        Some((self.base + pair[0] as usize, self.base + pair[1] as usize, used + 2))
    }

    /// Looks at the rest of the text and says what was met in all of it.
    #[inline(always)]
    pub fn finish(&mut self) -> Seen {
        while self.looked_at < self.text.len() {
            self.renew();
        }
        self.seen
    }

    /// As [`Quotes::pair`], where the list ends before or between the two.
    #[cold]
    #[inline(never)]
    fn pair_beyond_list(&mut self, mut used: usize) -> Option<(usize, usize, usize)> {
        let mut next = || {
            while used == self.listed {
                if self.looked_at >= self.text.len() {
                    return None;
                }
                self.renew();
                used = 0;
            }
            let offset = self.list.get(used)?;
            used += 1;
            Some(self.base + *offset as usize)
        };
        let (first, second) = (next()?, next()?);
        Some((first, second, used))
    }

    /// Begins a new list where the last one ended.
    fn renew(&mut self) {
        self.base = self.looked_at;
        self.listed = 0;
        self.fill();
    }

    /// Lists quotes until the list is nearly full, the next offset too large for it, or the text ends.
    #[inline(always)]
    pub fn fill(&mut self) {
        #[cfg(target_arch = "x86_64")]
        x86_64::fill(self);
        #[cfg(not(target_arch = "x86_64"))]
        self.fill_with(|text, start| masks_by_block(text, start, portable::masks), list_bits);
    }

    /// The body of [`Quotes::fill`], compiled once for each way to make masks and to list their bits.
    #[inline(always)]
    fn fill_with(
        &mut self,
        masks: impl Fn(&[u8], usize) -> Masks,
        list_bits: impl Fn(&mut [u16; BLOCK], u16, u64),
    ) {
        let text = self.text;
        let mut start = self.looked_at;
        let mut listed = self.listed;
        while start < text.len() && start - self.base < REACH - BLOCK {
            let Some(places) = self.list.get_mut(listed..).and_then(|free| free.first_chunk_mut::<BLOCK>())
            else {
                break;
            };
            let found = masks(text, start);
            let mut quotes = found.quotes;
            if found.backslashes | found.unusual | u64::from(self.escaped) != 0 {
                quotes &= !look_closer(text, start, found, &mut self.escaped, &mut self.seen);
            }
            list_bits(places, (start - self.base) as u16, quotes);
            listed += quotes.count_ones() as usize;
            start += BLOCK;
        }
        self.looked_at = start;
        self.listed = listed;
    }
}

/// Writes the positions of the bits of `quotes`, each added to `start`, to `places`. What is behind them there
/// afterwards means nothing.
#[inline(always)]
fn list_bits(places: &mut [u16; BLOCK], start: u16, mut quotes: u64) {
    // A fixed number of steps costs less than a branch that is taken at an unforeseeable moment.
    for place in &mut places[..16] {
        *place = start.wrapping_add(quotes.trailing_zeros() as u16);
        quotes &= quotes.wrapping_sub(1);
    }
    let mut further = 16;
    while quotes != 0 && further < BLOCK {
        places[further] = start.wrapping_add(quotes.trailing_zeros() as u16);
        quotes &= quotes.wrapping_sub(1);
        further += 1;
    }
}

/// Takes note of what is unusual in a block, and answers which of its bytes are escaped. `carry` says whether the
/// first byte is, and is left saying whether the first one of the next block is.
#[inline(never)]
fn look_closer(text: &[u8], start: usize, found: Masks, carry: &mut bool, seen: &mut Seen) -> u64 {
    if found.unusual != 0 {
        let block = &text[start..text.len().min(start + BLOCK)];
        seen.control |= block.iter().any(|&byte| byte < 0x20);
        seen.non_ascii |= !block.is_ascii();
    }
    let mut escaped = u64::from(*carry);
    let mut backslashes = found.backslashes & !escaped;
    seen.backslash |= found.backslashes != 0;
    *carry = false;
    while backslashes != 0 {
        let offset = backslashes.trailing_zeros() as usize;
        seen.bad_escape |= grammar::escape(text, start + offset + 1).is_none();
        if offset == BLOCK - 1 {
            *carry = true;
            break;
        }
        escaped |= 2 << offset;
        backslashes &= !(3 << offset);
    }
    escaped
}

/// The masks of the 64 bytes at `start`, or of those that are left there.
#[inline(always)]
fn masks_by_block(text: &[u8], start: usize, masks: impl Fn(&[u8; BLOCK]) -> Masks) -> Masks {
    if let Some(block) = text.get(start..start + BLOCK).and_then(|block| block.first_chunk()) {
        return masks(block);
    }
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
        quotes.fill();
        let mut used = 0;
        let mut positions = Vec::new();
        while let Some((first, second, now_used)) = quotes.pair(used) {
            positions.extend([first, second]);
            used = now_used;
        }
        (positions, quotes.finish())
    }

    /// The quotes come in pairs: the last one of an odd number is never seen.
    fn assert_found(text: &[u8], case: &str) {
        let (mut positions, seen) = expected(text);
        positions.truncate(positions.len() / 2 * 2);
        assert_eq!(found(text), (positions, seen), "{case}");
    }

    #[test]
    fn quotes_are_found_in_texts_of_every_length() {
        for length in 0..300 {
            // An allocation of exactly this length, so that a memory checker sees a read behind its end.
            let text: Box<[u8]> = (0..length).map(|at| if at % 7 == 3 { b'"' } else { b'a' }).collect();
            assert_found(&text, &format!("{length}"));
        }
    }

    #[test]
    fn escaped_quotes_are_none_wherever_the_backslash_stands() {
        for run in 1..5 {
            for before in 0..140 {
                let text = format!("{}{}\"n\"{}", "a".repeat(before), "\\".repeat(run), "b".repeat(9));
                assert_found(text.as_bytes(), &format!("{run} after {before}"));
            }
        }
    }

    #[test]
    fn a_text_full_of_quotes_and_a_text_with_few_are_listed_whole() {
        assert_found(&vec![b'"'; 5001], "full");
        for distance in [63, 64, 65, 5_000, REACH - BLOCK - 1, REACH - 1, REACH, REACH + 1, 3 * REACH + 17] {
            let mut few = vec![b'a'; 7 * distance + 100];
            (0..7).for_each(|number| few[number * distance + 1] = b'"');
            few.extend_from_slice(b"\"");
            assert_found(&few, &format!("every {distance}"));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_way_to_list_quotes_agrees() {
        for length in (0..300).chain([20_000]) {
            let text: Box<[u8]> =
                (0..length).map(|at| if at % 11 < 2 + at / 40 % 9 { b'"' } else { b'a' }).collect();
            for (number, fill) in x86_64::all_fillers().into_iter().enumerate() {
                let mut quotes = Quotes::new(&text);
                fill(&mut quotes);
                let listed: Vec<usize> =
                    quotes.list[..quotes.listed].iter().map(|&offset| offset.into()).collect();
                assert_eq!(listed, expected(&text).0[..quotes.listed], "means {number}, {length} bytes");
                assert!(quotes.looked_at >= length || quotes.listed > CAPACITY - BLOCK);
            }
        }
    }

    #[test]
    fn what_is_unusual_is_noted_wherever_it_stands() {
        for byte in [0u8, b'\t', 0x1F, b' ', 0x7F, 0x80, 0xFF, b'\\'] {
            for at in 0..200 {
                let mut text = vec![b'n'; 200];
                text[at] = byte;
                assert_found(&text, &format!("{byte:#x} at {at}"));
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
