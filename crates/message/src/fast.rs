//! The fast scanner: accepts what almost every message is, and leaves everything else to the careful one.
//!
//! One pass, from the first byte to the last. Clients write the envelope's keys in one order, so that the next key
//! and the kind of its value are mostly known: one comparison each, and nothing has to wait for the answer. Where
//! another key stands, the same order is tried from its beginning, and what it does not know is read in general.
//!
//! It gives up at the first thing it does not accept: a control character anywhere, an escape in a key of the
//! envelope object, nesting beyond 64 levels, and whatever is not JSON. Giving up is always right; the reason is the
//! careful scanner's.
//!
//! Offsets have 32 bits, which is what messages are limited to: adding to them cannot overflow a `usize`, so that
//! one comparison is enough to read several bytes.

use crate::{
    Key, Limits,
    envelope::{self, OTHER, Slots},
    grammar,
    index::Slot,
    plain, timestamp,
};

/// Deeper nesting goes to the careful scanner: the kinds of the open brackets are the bits of one word.
const DEEPEST: usize = 64;

/// What is known about a valid message beside where its values lie.
#[derive(Default)]
pub(crate) struct Scanned {
    /// There may be a backslash somewhere, or a value of the envelope that is not what it usually is.
    pub unusual: bool,
    /// The timestamp that begins here, if there is one, is known to be readable.
    pub readable_timestamp: u32,
    /// One past the envelope's closing brace.
    pub end: u32,
}

/// What was met inside of strings.
#[derive(Default)]
struct Seen {
    backslash: bool,
    non_ascii: bool,
}

/// Reads the object that `text` begins with, and notes where the values of the envelope's keys lie. What follows it is
/// not looked at. `None` says nothing about the text.
#[inline(always)]
pub(crate) fn scan(text: &[u8], limits: &Limits, slots: &mut Slots) -> Option<Scanned> {
    let mut seen = Seen::default();
    let mut scanned = envelope(text, slots, &mut seen, limits.depth.min(DEEPEST))?;
    if seen.non_ascii && std::str::from_utf8(text.get(..scanned.end as usize)?).is_err() {
        return None;
    }
    scanned.unusual |= seen.backslash;
    Some(scanned)
}

/// Reads the envelope object.
#[inline(never)]
fn envelope(text: &[u8], slots: &mut Slots, seen: &mut Seen, limit: usize) -> Option<Scanned> {
    if limit == 0 {
        return None;
    }
    let mut scanner = Scanner { text, at: 0, slots, scanned: Scanned::default(), seen, limit };
    // A space behind the first colon: so have clients written it that put one behind each comma and colon.
    let mut spaced = text.get(br#"{"type":"#.len()) == Some(&b' ');
    // As many keys at once as stand in their usual order: with most messages, all of them.
    if spaced {
        scanner.usual::<true>()
    } else {
        scanner.usual::<false>()
    };
    loop {
        let (separator, byte) = token(text, scanner.at)?;
        if byte != if scanner.at == 0 { b'{' } else { b',' } {
            scanner.scanned.end = separator + 1;
            return (byte == b'}').then_some(scanner.scanned);
        }
        spaced = scanner.out_of_order(separator, spaced)?;
    }
}

/// Reads the envelope's keys and values.
struct Scanner<'s, 't> {
    text: &'t [u8],
    /// The brace in front of the first key, or the end of the value before.
    at: u32,
    slots: &'s mut Slots,
    scanned: Scanned,
    seen: &'s mut Seen,
    limit: usize,
}

/// How clients write a key up to its value: without and with spaces.
macro_rules! spellings {
    ($name:literal, $value:literal) => {
        [concat!("\"", $name, "\":", $value), concat!("\"", $name, "\": ", $value)]
    };
}

impl Scanner<'_, '_> {
    /// Reads keys as far as they stand in their usual order, with spaces or without, and with values of their usual
    /// kind; any of them may be missing.
    #[inline(always)]
    fn usual<const SPACED: bool>(&mut self) {
        if self.at == 0 || self.comma::<SPACED>().is_some() {
            self.usual_keys::<SPACED>();
        }
    }

    /// Reads one key that is known or any, then as many known ones as follow. Apart, so that there is less to keep in mind
    /// where all keys stand in order.
    #[inline(never)]
    fn out_of_order(&mut self, separator: u32, spaced: bool) -> Option<bool> {
        let before = self.at;
        while if spaced { self.known::<true>() } else { self.known::<false>() } {}
        if self.at == before { self.any(separator + 1) } else { Some(spaced) }
    }

    /// Reads the next key, if it is one of the usual ones, with a value of its usual kind. False if it is not.
    #[inline(always)]
    fn known<const SPACED: bool>(&mut self) -> bool {
        let before = self.at;
        (before == 0 || self.comma::<SPACED>().is_some()) && {
            self.known_key::<SPACED>();
            self.at != before
        }
    }

    /// Finds out by two letters which key it can be: to try one after the other costs a misprediction more.
    #[inline(always)]
    fn known_key<const SPACED: bool>(&mut self) -> Option<()> {
        let start = self.at + if SPACED && self.at > 0 { 3 } else { 2 };
        match grammar::bytes(self.text, start)? {
            b"ty" => self.usual_string::<SPACED>(Key::Type as usize, spellings!("type", "\"")),
            b"ti" => self.usual_timestamp::<SPACED>(spellings!("timestamp", "\"")),
            b"lo" => self.usual_string::<SPACED>(Key::Logger as usize, spellings!("logger", "\"")),
            b"se" => self.usual_integer::<SPACED>(Key::Severity as usize, spellings!("severity", "")),
            b"pa" => self.usual_string::<SPACED>(Key::Payload as usize, spellings!("payload", "\"")),
            b"fi" => self.usual_object::<SPACED>(Key::Fields as usize, spellings!("fields", "{")),
            b"en" => self.usual_string::<SPACED>(Key::EnvVersion as usize, spellings!("env_version", "\"")),
            b"me" => {
                self.usual_integer::<SPACED>(Key::Pid as usize, spellings!("metlog_pid", ""))?;
                self.usual_string::<SPACED>(Key::Hostname as usize, spellings!("metlog_hostname", "\""))?;
                self.usual_integer::<SPACED>(OTHER, spellings!("metlog_seq", ""))?;
                self.usual_string::<SPACED>(OTHER, spellings!("metlog_src", "\""))
            }
            _ => None,
        }
    }

    /// `None` where something else stands.
    #[inline(always)]
    fn usual_keys<const SPACED: bool>(&mut self) -> Option<()> {
        self.usual_string::<SPACED>(Key::Type as usize, spellings!("type", "\""))?;
        self.usual_timestamp::<SPACED>(spellings!("timestamp", "\""))?;
        self.usual_string::<SPACED>(Key::Logger as usize, spellings!("logger", "\""))?;
        self.usual_integer::<SPACED>(Key::Severity as usize, spellings!("severity", ""))?;
        self.usual_string::<SPACED>(Key::Payload as usize, spellings!("payload", "\""))?;
        self.usual_object::<SPACED>(Key::Fields as usize, spellings!("fields", "{"))?;
        self.usual_string::<SPACED>(Key::EnvVersion as usize, spellings!("env_version", "\""))?;
        self.usual_integer::<SPACED>(Key::Pid as usize, spellings!("metlog_pid", ""))?;
        self.usual_string::<SPACED>(Key::Hostname as usize, spellings!("metlog_hostname", "\""))?;
        // What senders over the network add.
        self.usual_integer::<SPACED>(OTHER, spellings!("metlog_seq", ""))?;
        self.usual_string::<SPACED>(OTHER, spellings!("metlog_src", "\""))
    }

    #[inline(always)]
    fn usual_string<const SPACED: bool>(&mut self, slot: usize, spellings: [&str; 2]) -> Option<()> {
        let Some(inside) = self.behind::<SPACED>(spellings) else { return Some(()) };
        let end = string(self.text, inside, self.seen)?;
        self.found::<SPACED>(slot, inside - 1, end)
    }

    #[inline(always)]
    fn usual_timestamp<const SPACED: bool>(&mut self, spellings: [&str; 2]) -> Option<()> {
        let Some(inside) = self.behind::<SPACED>(spellings) else { return Some(()) };
        let end = match grammar::bytes::<28>(self.text, inside) {
            Some([usual @ .., b'"']) if timestamp::is_usual(usual) => {
                self.scanned.readable_timestamp = inside;
                inside + 28
            }
            _ => string(self.text, inside, self.seen)?,
        };
        self.found::<SPACED>(Key::Timestamp as usize, inside - 1, end)
    }

    #[inline(always)]
    fn usual_integer<const SPACED: bool>(&mut self, slot: usize, spellings: [&str; 2]) -> Option<()> {
        let Some(start) = self.behind::<SPACED>(spellings) else { return Some(()) };
        let (end, whole) = scalar(self.text, start)?;
        self.scanned.unusual |= !whole && slot != OTHER;
        self.found::<SPACED>(slot, start, end)
    }

    #[inline(always)]
    fn usual_object<const SPACED: bool>(&mut self, slot: usize, spellings: [&str; 2]) -> Option<()> {
        let Some(inside) = self.behind::<SPACED>(spellings) else { return Some(()) };
        let end = brackets(self.text, inside - 1, b'{', self.limit, self.seen)?;
        self.found::<SPACED>(slot, inside - 1, end)
    }

    /// The offset behind a key, if it is the next one.
    #[inline(always)]
    fn behind<const SPACED: bool>(&self, spellings: [&str; 2]) -> Option<u32> {
        let spelling = spellings[usize::from(SPACED)].as_bytes();
        // Behind the brace there is no space.
        let start = self.at as usize + if SPACED && self.at > 0 { 2 } else { 1 };
        let end = start + spelling.len();
        (self.text.get(start..end)? == spelling).then_some(end as u32)
    }

    /// Takes note of a value; `None` where it is the last one.
    #[inline(always)]
    fn found<const SPACED: bool>(&mut self, slot: usize, start: u32, end: u32) -> Option<()> {
        self.put(slot, start, end);
        self.comma::<SPACED>()
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, start: u32, end: u32) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Slot { start, end };
        }
        self.at = end;
    }

    /// Whether a value is followed by what usually stands in front of a key.
    #[inline(always)]
    fn comma<const SPACED: bool>(&self) -> Option<()> {
        let found = if SPACED {
            grammar::bytes(self.text, self.at) == Some(b", ")
        } else {
            self.text.get(self.at as usize) == Some(&b',')
        };
        found.then_some(())
    }

    /// Reads any key of the envelope object and its value; answers whether there is a space behind its colon.
    #[inline(never)]
    fn any(&mut self, at: u32) -> Option<bool> {
        let Scanner { text, limit, .. } = *self;
        let (slot, colon_end) = any_key(text, at, self.seen)?;
        let (start, first) = token(text, colon_end)?;
        let (end, whole) = match first {
            b'"' => (string(text, start + 1, self.seen)?, true),
            b'{' | b'[' => (brackets(text, start, first, limit, self.seen)?, true),
            _ => scalar(text, start)?,
        };
        self.scanned.unusual |= envelope::is_unusual(slot, first, whole);
        self.put(slot, start, end);
        Some(start != colon_end)
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
    if slot == OTHER && seen.backslash && memchr::memchr(b'\\', name).is_some() {
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
