//! The fast scanner: accepts what almost every message is, and leaves everything else to the careful one.
//!
//! It takes the strings' ends from [`Quotes`] and checks what stands between them. It gives up at the first
//! thing it does not know: a control character anywhere, an escape in a key of the envelope object, nesting
//! beyond 64 levels, and whatever is not JSON. Giving up is always right; the reason is the careful scanner's.

use crate::{
    Limits,
    envelope::{self, Slots},
    grammar,
    index::Slot,
    quotes::Quotes,
};

/// Deeper nesting goes to the careful scanner: the kinds of the open brackets are the bits of one word.
const DEEPEST: usize = 64;

/// What a valid message holds.
pub(crate) struct Scanned {
    /// Where the values of the envelope's keys lie.
    pub slots: Slots,
    /// There is a backslash somewhere.
    pub backslashes: bool,
}

/// Reads `text`, which begins with a brace. `None` says nothing about it.
#[inline(always)]
pub(crate) fn scan(text: &[u8], limits: &Limits) -> Option<Scanned> {
    let mut quotes = Quotes::new(text);
    quotes.fill();
    let mut slots = envelope::no_slots();
    let mut scanner = Scanner { text, quotes: &mut quotes, used: 0 };
    let escaped_keys = scanner.envelope(&mut slots, limits.depth.min(DEEPEST))?;
    let seen = quotes.finish();
    if seen.control | seen.bad_escape | (seen.backslash & escaped_keys) {
        return None;
    }
    if seen.non_ascii && std::str::from_utf8(text).is_err() {
        return None;
    }
    Some(Scanned { slots, backslashes: seen.backslash })
}

/// The small methods are inlined, so that the fields are in registers.
struct Scanner<'s, 't> {
    text: &'t [u8],
    quotes: &'s mut Quotes<'t>,
    /// How many places of the list of quotes have been used.
    used: usize,
}

impl Scanner<'_, '_> {
    /// Reads the envelope object, the whole text; answers whether one of its keys may have an escape in it.
    #[inline(always)]
    fn envelope(&mut self, slots: &mut Slots, limit: usize) -> Option<bool> {
        if limit == 0 {
            return None;
        }
        let mut backslash_in_key = false;
        let (mut at, _) = self.token(1)?;
        loop {
            let key_end = self.string(at)?;
            let slot = envelope::recognise(self.text, at + 1, key_end - 1);
            // Only a key that is none of the envelope's can have an escape in it that matters.
            if slot == envelope::OTHER {
                backslash_in_key |= memchr::memchr(b'\\', self.text.get(at..key_end)?).is_some();
            }
            let (start, first) = self.colon(key_end)?;
            let end = if first == b'"' { self.string(start)? } else { self.no_string(start, first, limit)? };
            slots[slot & 15] = Slot { start: start as u32, end: end as u32 };
            let (behind, byte) = self.token(end)?;
            if byte != b',' {
                return (byte == b'}' && behind + 1 == self.text.len()).then_some(backslash_in_key);
            }
            (at, _) = self.token(behind + 1)?;
        }
    }

    /// Reads an envelope key's value that is not a string.
    #[inline(always)]
    fn no_string(&mut self, start: usize, first: u8, limit: usize) -> Option<usize> {
        if first == b'{' || first == b'[' {
            let inner = Scanner { text: self.text, quotes: self.quotes, used: self.used };
            let (end, used) = inner.brackets(start, first, limit)?;
            self.used = used;
            return Some(end);
        }
        scalar(self.text, start)
    }

    /// Reads an object or array inside the envelope, whose bracket `first` is at `at`; answers the offset behind
    /// it and how many places of the list have been used then.
    #[inline(never)]
    fn brackets(mut self, mut at: usize, first: u8, limit: usize) -> Option<(usize, usize)> {
        let mut depth = 1;
        // One bit per open bracket, the innermost lowest: it is a brace.
        let mut objects = 0u64;
        let mut byte = first;
        let mut opened = true;
        loop {
            if opened {
                depth += 1;
                if depth > limit {
                    return None;
                }
                objects = objects << 1 | u64::from(byte == b'{');
                (at, byte) = self.token(at + 1)?;
            }
            if !opened || byte != closing(objects) {
                if objects & 1 == 1 {
                    let key_end = self.string(at)?;
                    (at, byte) = self.colon(key_end)?;
                }
                let end = match byte {
                    b'"' => self.string(at)?,
                    b'{' | b'[' => {
                        opened = true;
                        continue;
                    }
                    _ => scalar(self.text, at)?,
                };
                (at, byte) = self.token(end)?;
            }
            while byte != b',' {
                if byte != closing(objects) {
                    return None;
                }
                at += 1;
                objects >>= 1;
                depth -= 1;
                if depth == 1 {
                    return Some((at, self.used));
                }
                (at, byte) = self.token(at)?;
            }
            opened = false;
            (at, byte) = self.token(at + 1)?;
        }
    }

    /// The next byte from `at` on that is not a space, and its offset. Mostly there is no space or one; other
    /// white space makes the scanner give up, because it is no token.
    #[inline(always)]
    fn token(&self, at: usize) -> Option<(usize, u8)> {
        let byte = *self.text.get(at)?;
        if byte != b' ' {
            return Some((at, byte));
        }
        let byte = *self.text.get(at + 1)?;
        if byte != b' ' {
            return Some((at + 1, byte));
        }
        token_behind_spaces(self.text, at + 2)
    }

    /// Reads the string whose opening quote must be at `at`, the next quote of all; answers the offset behind it.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Option<usize> {
        let (opening, closing, used) = self.quotes.pair(self.used)?;
        self.used = used;
        (opening == at).then_some(closing + 1)
    }

    /// Reads the colon behind a key; answers where the value begins, and its first byte.
    #[inline(always)]
    fn colon(&self, at: usize) -> Option<(usize, u8)> {
        let (at, byte) = self.token(at)?;
        if byte == b':' { self.token(at + 1) } else { None }
    }
}

#[cold]
#[inline(never)]
fn token_behind_spaces(text: &[u8], at: usize) -> Option<(usize, u8)> {
    let spaces = text.get(at..)?.iter().take_while(|&&byte| byte == b' ').count();
    text.get(at + spaces).map(|&byte| (at + spaces, byte))
}

/// A call costs less here than the registers that this would take from the caller.
#[inline(never)]
fn scalar(text: &[u8], at: usize) -> Option<usize> {
    grammar::scalar(text, at)
}

#[inline(always)]
fn closing(objects: u64) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}
