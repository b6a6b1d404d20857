//! The careful scanner: reads any bytes one at a time, knows every leniency, and says what is wrong first.
//!
//! It decides whatever the fast scanner did not accept, so it is the one place where a reason comes from.
//! Two leniencies are taken note of and left to the slow path: `NaN`, `Infinity` and `-Infinity` where a
//! value may stand, and a line break between tokens.

use crate::{
    Limits, Reason,
    envelope::{self, Slots},
    grammar,
    index::Slot,
};

/// Nesting is never followed deeper than this, whatever the limit says: the kinds of the open brackets are
/// kept as bits on the stack.
pub(crate) const DEEPEST: usize = 1024;

/// What a whole, valid JSON text holds.
pub(crate) struct Scanned {
    /// Where the values of the envelope's keys lie, if the text is an object.
    pub slots: Slots,
    /// The text is an object.
    pub object: bool,
    /// The text has to be rewritten before it is JSON on one line.
    pub rewrite: bool,
}

/// Reads `text`, which has no white space around it, from the first byte to the last.
pub(crate) fn scan(text: &[u8], limits: &Limits) -> Result<Scanned, Reason> {
    scan_placed(text, limits).map_err(|(reason, _)| reason)
}

/// As [`scan`]; what is wrong comes with the byte at which it shows.
pub(crate) fn scan_placed(text: &[u8], limits: &Limits) -> Result<Scanned, (Reason, usize)> {
    let mut scanner =
        Scanner { text, at: 0, depth: 0, limit: limits.depth.min(DEEPEST), objects: [0; DEEPEST / 64] };
    let object = text.first() == Some(&b'{');
    let mut slots = Slots::default();
    match scanner.read(&mut slots) {
        Ok(rewrite) => Ok(Scanned { slots, object, rewrite }),
        Err(reason) => Err((reason, scanner.at)),
    }
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    limit: usize,
    /// One bit per open bracket, the outermost first: it is a brace.
    objects: [u64; DEEPEST / 64],
}

impl Scanner<'_> {
    fn read(&mut self, slots: &mut Slots) -> Result<bool, Reason> {
        let mut rewrite = false;
        let mut slot = envelope::OTHER;
        let mut start = 0;
        // Right behind an opening bracket its closing one may stand instead of an element.
        let mut may_close = false;
        loop {
            rewrite |= self.white_space();
            if !(may_close && self.peek() == Some(self.closing())) {
                if self.depth > 0 && self.in_object() {
                    let key = self.at;
                    self.string()?;
                    if self.depth == 1 {
                        slot = envelope::recognise_any(self.text, key + 1, self.at - 1);
                    }
                    rewrite |= self.white_space();
                    self.expect(b':')?;
                    rewrite |= self.white_space();
                }
                if self.depth == 1 {
                    start = self.at;
                }
                match self.peek() {
                    Some(b'"') => self.string()?,
                    Some(bracket @ (b'{' | b'[')) => {
                        self.open(bracket == b'{')?;
                        may_close = true;
                        continue;
                    }
                    _ => rewrite |= self.scalar()?,
                }
            }
            loop {
                if self.depth == 1
                    && let Some(place) = slots.get_mut(slot)
                {
                    *place = Slot { start: start as u32, end: self.at as u32 };
                }
                if self.depth == 0 {
                    if self.at == self.text.len() {
                        return Ok(rewrite);
                    }
                    self.white_space();
                    return Err(Reason::InvalidJson);
                }
                rewrite |= self.white_space();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        may_close = false;
                        break;
                    }
                    Some(byte) if byte == self.closing() => {
                        self.at += 1;
                        self.depth -= 1;
                    }
                    _ => return Err(Reason::InvalidJson),
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), Reason> {
        if self.peek() != Some(byte) {
            return Err(Reason::InvalidJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over white space; true if there was a line break in it.
    fn white_space(&mut self) -> bool {
        let mut line_break = false;
        while let Some(byte) = self.peek()
            && grammar::is_white_space(byte)
        {
            line_break |= byte == b'\n' || byte == b'\r';
            self.at += 1;
        }
        line_break
    }

    fn open(&mut self, object: bool) -> Result<(), Reason> {
        if self.depth >= self.limit {
            return Err(Reason::TooDeep);
        }
        let bit = 1u64 << (self.depth % 64);
        let word = &mut self.objects[self.depth / 64];
        *word = if object { *word | bit } else { *word & !bit };
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn in_object(&self) -> bool {
        let level = self.depth.wrapping_sub(1);
        self.objects.get(level / 64).is_some_and(|word| word >> (level % 64) & 1 == 1)
    }

    fn closing(&self) -> u8 {
        if self.in_object() { b'}' } else { b']' }
    }

    fn string(&mut self) -> Result<(), Reason> {
        self.expect(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at = grammar::escape(self.text, self.at + 1).ok_or(Reason::InvalidJson)?
                }
                Some(0..0x20) | None => return Err(Reason::InvalidJson),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Reads a value that is neither a string nor in brackets; true if it is one that JSON does not have.
    fn scalar(&mut self) -> Result<bool, Reason> {
        let lenient = not_a_number(&self.text[self.at..]);
        let end = match lenient {
            0 => grammar::scalar(self.text, self.at).ok_or(Reason::InvalidJson)?,
            length => self.at + length,
        };
        self.at = end;
        Ok(lenient != 0)
    }
}

/// The length of the literal that `text` begins with, of those that old clients write for floating-point
/// values without a JSON form; 0 where there is none.
pub(crate) fn not_a_number(text: &[u8]) -> usize {
    [&b"NaN"[..], b"Infinity", b"-Infinity"]
        .into_iter()
        .find(|word| text.starts_with(word))
        .map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Result<bool, Reason> {
        scan(text.as_bytes(), &Limits { depth: 3, ..Limits::default() }).map(|scanned| scanned.rewrite)
    }

    #[test]
    fn any_json_value_is_read_to_its_end() {
        for good in
            ["0", "\"\"", "[]", "{}", "[1,[2],{}]", r#"{"a":[{}],"b":"\u00e9\n"}"#, "[ 1 , 2 ]", "{ }"]
        {
            assert_eq!(verdict(good), Ok(false), "{good}");
        }
        for bad in [
            "", "[", "{", "]", "[1,]", "{,}", "{\"a\"}", "{\"a\":}", "[1 2]", "[}", "{]", "1 1", "nul",
            "\"\t\"",
        ] {
            assert_eq!(verdict(bad), Err(Reason::InvalidJson), "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_first_from_the_left_is_named() {
        assert_eq!(verdict("[[[1]]]"), Ok(false));
        assert_eq!(verdict("[[[[1]]]]"), Err(Reason::TooDeep));
        assert_eq!(verdict("[[[[ x"), Err(Reason::TooDeep));
        assert_eq!(verdict("[x, [[[["), Err(Reason::InvalidJson));
    }

    #[test]
    fn what_only_old_clients_write_is_taken_note_of() {
        for lenient in ["NaN", "[NaN]", "{\"a\":-Infinity}", "[1,\n2]", "[\r\n]", "[Infinity ]"] {
            assert_eq!(verdict(lenient), Ok(true), "{lenient}");
        }
        for bad in ["-NaN", "nan", "Inf", "+Infinity", "NaNa", "{NaN:1}"] {
            assert_eq!(verdict(bad), Err(Reason::InvalidJson), "{bad}");
        }
        assert_eq!(verdict("\"NaN\""), Ok(false));
    }
}
