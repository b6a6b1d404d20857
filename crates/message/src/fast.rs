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
#[inline]
pub(crate) fn scan(text: &[u8], limits: &Limits) -> Option<Scanned> {
    let mut quotes = Quotes::new(text);
    quotes.fill();
    let mut slots = envelope::no_slots();
    let scanner = Scanner { text, quotes: &mut quotes, used: 0, limit: limits.depth.min(DEEPEST) };
    let escaped_keys = scanner.envelope(&mut slots)?;
    let seen = quotes.finish();
    if seen.control | seen.bad_escape | (seen.backslash & escaped_keys) {
        return None;
    }
    if seen.non_ascii && std::str::from_utf8(text).is_err() {
        return None;
    }
    Some(Scanned { slots, backslashes: seen.backslash })
}

/// Every method is inlined into one function, so that all this is in registers.
struct Scanner<'s, 't> {
    text: &'t [u8],
    quotes: &'s mut Quotes<'t>,
    /// How many places of the list of quotes have been used.
    used: usize,
    limit: usize,
}

impl Scanner<'_, '_> {
    /// Reads the envelope object, the whole text; answers whether one of its keys may have an escape in it.
    #[inline(always)]
    fn envelope(mut self, slots: &mut Slots) -> Option<bool> {
        if self.limit == 0 {
            return None;
        }
        let mut at = self.spaces(1);
        let mut backslash_in_key = false;
        loop {
            let key_end = self.string(at)?;
            let slot = envelope::recognise(self.text, at + 1, key_end - 1);
            // Only a key that is none of the envelope's can have an escape in it that matters.
            if slot == envelope::OTHER {
                backslash_in_key |= self.text[at..key_end].contains(&b'\\');
            }
            let start = self.colon(key_end)?;
            at = match self.byte(start)? {
                b'"' => self.string(start)?,
                b'{' | b'[' => self.brackets(start)?,
                _ => grammar::scalar(self.text, start)?,
            };
            slots[slot & 15] = Slot { start: start as u32, end: at as u32 };
            at = self.spaces(at);
            match self.byte(at)? {
                b',' => at = self.spaces(at + 1),
                b'}' => return (at + 1 == self.text.len()).then_some(backslash_in_key),
                _ => return None,
            }
        }
    }

    /// Reads an object or array inside the envelope, whose bracket is at `at`.
    #[inline(always)]
    fn brackets(&mut self, mut at: usize) -> Option<usize> {
        let mut depth = 1;
        // One bit per open bracket, the innermost lowest: it is a brace.
        let mut objects = 0u64;
        let mut opened = true;
        loop {
            if opened {
                depth += 1;
                if depth > self.limit {
                    return None;
                }
                objects = objects << 1 | u64::from(self.byte(at)? == b'{');
                at = self.spaces(at + 1);
            }
            if !opened || self.byte(at)? != closing(objects) {
                if objects & 1 == 1 {
                    let key_end = self.string(at)?;
                    at = self.colon(key_end)?;
                }
                at = match self.byte(at)? {
                    b'"' => self.string(at)?,
                    b'{' | b'[' => {
                        opened = true;
                        continue;
                    }
                    _ => grammar::scalar(self.text, at)?,
                };
                at = self.spaces(at);
            }
            loop {
                let byte = self.byte(at)?;
                if byte == b',' {
                    opened = false;
                    at = self.spaces(at + 1);
                    break;
                }
                if byte != closing(objects) {
                    return None;
                }
                at += 1;
                objects >>= 1;
                depth -= 1;
                if depth == 1 {
                    return Some(at);
                }
                at = self.spaces(at);
            }
        }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Passes over spaces: mostly none or one. Other white space makes the scanner give up.
    #[inline(always)]
    fn spaces(&self, mut at: usize) -> usize {
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        at
    }

    /// Reads the string whose opening quote must be at `at`, the next quote of all; answers the offset behind it.
    #[inline(always)]
    fn string(&mut self, at: usize) -> Option<usize> {
        let (opening, closing, used) = self.quotes.pair(self.used)?;
        self.used = used;
        (opening == at).then_some(closing + 1)
    }

    /// Reads the colon behind a key; answers where the value begins.
    #[inline(always)]
    fn colon(&self, at: usize) -> Option<usize> {
        let at = self.spaces(at);
        if self.byte(at)? == b':' { Some(self.spaces(at + 1)) } else { None }
    }
}

#[inline]
fn closing(objects: u64) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}
