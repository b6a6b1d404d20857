//! The fast scanner: accepts what almost every message is, and leaves everything else to the careful one.
//!
//! One pass, from the first byte to the last. It gives up at the first thing it does not know: a control
//! character anywhere, an escape in a key of the envelope object, nesting beyond 64 levels, and whatever is not
//! JSON. Giving up is always right; the reason is the careful scanner's.
//!
//! Offsets have 32 bits, which is what messages are limited to: adding to them cannot overflow a `usize`, so that
//! one comparison is enough to read several bytes.

use crate::{
    Key, Limits,
    envelope::{self, Slots},
    grammar,
    index::Slot,
    plain, timestamp,
};

/// Deeper nesting goes to the careful scanner: the kinds of the open brackets are the bits of one word.
const DEEPEST: usize = 64;

/// What a valid message holds.
pub(crate) struct Scanned {
    /// Where the values of the envelope's keys lie.
    pub slots: Slots,
    /// There may be a backslash somewhere, or a value of the envelope that is not what it usually is.
    pub unusual: bool,
    /// The timestamp that begins here, if there is one, is known to be readable.
    pub readable_timestamp: u32,
}

/// What was met inside of strings.
#[derive(Default)]
struct Seen {
    backslash: bool,
    non_ascii: bool,
}

/// Reads `text`, which begins with a brace. `None` says nothing about it.
#[inline(always)]
pub(crate) fn scan(text: &[u8], limits: &Limits) -> Option<Scanned> {
    let mut seen = Seen::default();
    let mut scanned = Scanned { slots: Slots::default(), unusual: false, readable_timestamp: 0 };
    if !envelope(text, &mut scanned, &mut seen, limits.depth.min(DEEPEST)) {
        return None;
    }
    if seen.non_ascii && std::str::from_utf8(text).is_err() {
        return None;
    }
    scanned.unusual |= seen.backslash;
    Some(scanned)
}

/// Reads the envelope object, the whole text.
#[inline(never)]
fn envelope(text: &[u8], scanned: &mut Scanned, seen: &mut Seen, limit: usize) -> bool {
    if limit == 0 {
        return false;
    }
    let mut usual = Usual { text, at: 0, scanned, seen };
    let _ = usual.read(limit);
    let Usual { at, scanned, seen, .. } = usual;
    if text.get(at as usize..) == Some(b"}") {
        return true;
    }
    rest_of_envelope(text, at, scanned, seen, limit).is_some()
}

/// Reads the envelope object from the end of a value on, or from its beginning.
#[inline(never)]
fn rest_of_envelope(text: &[u8], mut at: u32, scanned: &mut Scanned, seen: &mut Seen, limit: usize) -> Option<()> {
    loop {
        let (separator, byte) = token(text, at)?;
        if byte != if at == 0 { b'{' } else { b',' } {
            return (byte == b'}' && separator as usize + 1 == text.len()).then_some(());
        }
        let (slot, colon_end) = any_key(text, separator + 1, seen)?;
        let (start, first) = token(text, colon_end)?;
        let (end, whole) = match first {
            b'"' => (string(text, start + 1, seen)?, true),
            b'{' | b'[' => (brackets(text, start, first, limit, seen)?, true),
            _ => scalar(text, start)?,
        };
        scanned.unusual |= envelope::is_unusual(slot, first, whole);
        if let Some(place) = scanned.slots.get_mut(slot) {
            *place = Slot { start, end };
        }
        at = end;
    }
}

/// Reads the envelope's keys as far as they stand in their usual order, without spaces and with values of their usual
/// kind; any of them may be missing.
struct Usual<'s, 't> {
    text: &'t [u8],
    /// The brace in front of the first key, or the end of the value before.
    at: u32,
    scanned: &'s mut Scanned,
    seen: &'s mut Seen,
}

impl Usual<'_, '_> {
    /// `None` where something else stands.
    #[inline(always)]
    fn read(&mut self, limit: usize) -> Option<()> {
        self.string(Key::Type, b"\"type\":\"")?;
        self.timestamp(b"\"timestamp\":\"")?;
        self.string(Key::Logger, b"\"logger\":\"")?;
        self.integer(Key::Severity, b"\"severity\":")?;
        self.string(Key::Payload, b"\"payload\":\"")?;
        if let Some(inside) = self.behind(b"\"fields\":{") {
            let end = brackets(self.text, inside - 1, b'{', limit, self.seen)?;
            self.found(Key::Fields, inside - 1, end)?;
        }
        self.string(Key::EnvVersion, b"\"env_version\":\"")?;
        self.integer(Key::Pid, b"\"metlog_pid\":")?;
        self.string(Key::Hostname, b"\"metlog_hostname\":\"")
    }

    #[inline(always)]
    fn string<const N: usize>(&mut self, key: Key, name: &[u8; N]) -> Option<()> {
        let Some(inside) = self.behind(name) else { return Some(()) };
        let end = string(self.text, inside, self.seen)?;
        self.found(key, inside - 1, end)
    }

    #[inline(always)]
    fn timestamp<const N: usize>(&mut self, name: &[u8; N]) -> Option<()> {
        let Some(inside) = self.behind(name) else { return Some(()) };
        let end = match grammar::bytes::<28>(self.text, inside) {
            Some([usual @ .., b'"']) if timestamp::is_usual(usual) => {
                self.scanned.readable_timestamp = inside;
                inside + 28
            }
            _ => string(self.text, inside, self.seen)?,
        };
        self.found(Key::Timestamp, inside - 1, end)
    }

    #[inline(always)]
    fn integer<const N: usize>(&mut self, key: Key, name: &[u8; N]) -> Option<()> {
        let Some(start) = self.behind(name) else { return Some(()) };
        let (end, whole) = grammar::short_number(self.text, start)?;
        self.scanned.unusual |= !whole;
        self.found(key, start, end)
    }

    #[inline(always)]
    fn behind<const N: usize>(&self, name: &[u8; N]) -> Option<u32> {
        (grammar::bytes(self.text, self.at + 1)? == name).then_some(self.at + 1 + N as u32)
    }

    /// Takes note of a value; `None` where it is the last one.
    #[inline(always)]
    fn found(&mut self, key: Key, start: u32, end: u32) -> Option<()> {
        self.scanned.slots[key as usize] = Slot { start, end };
        self.at = end;
        (self.text.get(end as usize) == Some(&b',')).then_some(())
    }
}

/// Reads any key of the envelope object and its colon; answers its slot and the offset behind the colon.
#[inline(never)]
fn any_key(text: &[u8], at: u32, seen: &mut Seen) -> Option<(usize, u32)> {
    let (at, byte) = token(text, at)?;
    if byte != b'"' {
        return None;
    }
    let end = string(text, at + 1, seen)?;
    let name = text.get(at as usize + 1..end as usize - 1)?;
    let slot = envelope::slot_of(name);
    // Only a key that is none of the envelope's can have an escape in it that matters.
    if slot == envelope::OTHER && seen.backslash && memchr::memchr(b'\\', name).is_some() {
        return None;
    }
    let (colon, byte) = token(text, end)?;
    (byte == b':').then_some((slot, colon + 1))
}

/// Reads an object or array inside the envelope, whose bracket `first` is at `at`; answers the offset behind it.
#[inline(never)]
fn brackets(text: &[u8], mut at: u32, first: u8, limit: usize, seen: &mut Seen) -> Option<u32> {
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
            (at, byte) = token(text, at + 1)?;
        }
        if !opened || byte != closing(objects) {
            if objects & 1 == 1 {
                if byte != b'"' {
                    return None;
                }
                let key_end = string(text, at + 1, seen)?;
                (at, byte) = colon(text, key_end)?;
            }
            let end = match byte {
                b'"' => string(text, at + 1, seen)?,
                b'{' | b'[' => {
                    opened = true;
                    continue;
                }
                _ => scalar(text, at)?.0,
            };
            (at, byte) = token(text, end)?;
        }
        while byte != b',' {
            if byte != closing(objects) {
                return None;
            }
            at += 1;
            objects >>= 1;
            depth -= 1;
            if depth == 1 {
                return Some(at);
            }
            (at, byte) = token(text, at)?;
        }
        opened = false;
        (at, byte) = token(text, at + 1)?;
    }
}

/// The next byte from `at` on that is not a space, and its offset. Mostly there is no space or one; other
/// white space makes the scanner give up, because it is no token.
#[inline(always)]
fn token(text: &[u8], at: u32) -> Option<(u32, u8)> {
    let byte = *text.get(at as usize)?;
    if byte != b' ' {
        return Some((at, byte));
    }
    let byte = *text.get(at as usize + 1)?;
    if byte != b' ' {
        return Some((at + 1, byte));
    }
    token_behind_spaces(text, at + 2)
}

#[cold]
#[inline(never)]
fn token_behind_spaces(text: &[u8], at: u32) -> Option<(u32, u8)> {
    let spaces = text.get(at as usize..)?.iter().take_while(|&&byte| byte == b' ').count();
    text.get(at as usize + spaces).map(|&byte| (at + spaces as u32, byte))
}

/// Reads the colon behind a key; answers where the value begins, and its first byte.
#[inline(always)]
fn colon(text: &[u8], at: u32) -> Option<(u32, u8)> {
    let (at, byte) = token(text, at)?;
    if byte == b':' { token(text, at + 1) } else { None }
}

/// Reads the string that begins at `at`, behind its opening quote; answers the offset behind its closing one.
#[inline(always)]
fn string(text: &[u8], at: u32, seen: &mut Seen) -> Option<u32> {
    let end = plain::end(text, at);
    if *text.get(end as usize)? == b'"' { Some(end + 1) } else { unusual_string(text, end, seen) }
}

/// Reads the rest of a string from the first byte on that is not plain; answers the offset behind it.
#[inline(never)]
fn unusual_string(text: &[u8], mut at: u32, seen: &mut Seen) -> Option<u32> {
    loop {
        match text.get(at as usize)? {
            b'"' => return Some(at + 1),
            b'\\' => {
                seen.backslash = true;
                at = grammar::escape(text, at as usize + 1)? as u32;
            }
            0x80.. => {
                seen.non_ascii = true;
                at += 1;
            }
            0..0x20 => return None,
            _ => at = plain::end(text, at + 1),
        }
    }
}

/// Reads a number, `true`, `false` or `null`; answers the offset behind it, and whether it is a short integer.
#[inline(always)]
fn scalar(text: &[u8], at: u32) -> Option<(u32, bool)> {
    match grammar::short_number(text, at) {
        Some(number) => Some(number),
        None => any_scalar(text, at).map(|end| (end, false)),
    }
}

#[inline(never)]
fn any_scalar(text: &[u8], at: u32) -> Option<u32> {
    grammar::scalar(text, at as usize).map(|end| end as u32)
}

#[inline(always)]
fn closing(objects: u64) -> u8 {
    if objects & 1 == 1 { b'}' } else { b']' }
}
