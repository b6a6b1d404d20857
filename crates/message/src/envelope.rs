//! The envelope's own keys: recognised by name wherever they stand, checked by type in the order of [`Key`].

use crate::{
    Index, Key, Reason, Timestamp, escapes,
    grammar::digits,
    index::{DEFAULT_SEVERITY, Slot},
};

/// A place per envelope key, and [`OTHER`] for any other key. Sixteen, so that a number masked to four bits
/// is always in range.
pub(crate) type Slots = [Slot; 16];

/// The slot of a key that is not the envelope's own.
pub(crate) const OTHER: usize = Key::COUNT;

/// Nothing found yet.
pub(crate) fn no_slots() -> Slots {
    [Slot::default(); 16]
}

/// The one envelope key that a name of this length and first letter can be: its first and second eight bytes
/// and which of them count.
#[derive(Clone, Copy)]
struct Candidate {
    name: [u64; 2],
    mask: [u64; 2],
    slot: u8,
}

/// Length alone tells the keys apart, but for `logger` and `fields`; one bit of the first letter does that.
const fn candidate_number(length: usize, first: u8) -> usize {
    (length & 15) | ((first as usize >> 1) & 1) << 4
}

const CANDIDATES: [Candidate; 32] = {
    let mut table = [Candidate { name: [0; 2], mask: [0; 2], slot: OTHER as u8 }; 32];
    let mut key = 0;
    while key < Key::COUNT {
        let name = Key::ALL[key].name().as_bytes();
        let mut candidate = Candidate { name: [0; 2], mask: [0; 2], slot: key as u8 };
        let mut at = 0;
        while at < name.len() {
            candidate.name[at / 8] |= (name[at] as u64) << (at % 8 * 8);
            candidate.mask[at / 8] |= 0xFF << (at % 8 * 8);
            at += 1;
        }
        let number = candidate_number(name.len(), name[0]);
        assert!(table[number].slot == OTHER as u8, "two keys share a candidate");
        table[number] = candidate;
        key += 1;
    }
    table
};

/// Which slot the key `text[start..end]` has, its name being without escapes. Without a branch that depends
/// on the key, so that a message whose keys stand in another order costs the same.
#[inline(always)]
pub(crate) fn recognise(text: &[u8], start: usize, end: usize) -> usize {
    let Some(sixteen) = text.get(start..start + 16).and_then(|bytes| bytes.first_chunk::<16>()) else {
        return text.get(start..end).map_or(OTHER, slot_of);
    };
    let length = end.wrapping_sub(start);
    let candidate = &CANDIDATES[candidate_number(length, sixteen[0])];
    let word = u128::from_le_bytes(*sixteen);
    let differs = ((word as u64) ^ candidate.name[0]) & candidate.mask[0]
        | ((word >> 64) as u64 ^ candidate.name[1]) & candidate.mask[1];
    if (differs == 0) & (length < 16) { candidate.slot as usize } else { OTHER }
}

/// As [`recognise`], for names that may have escapes in them.
pub(crate) fn recognise_any(text: &[u8], start: usize, end: usize) -> usize {
    match text.get(start..end) {
        Some(name) if name.contains(&b'\\') => slot_of(escapes::decode(name).as_bytes()),
        Some(name) => slot_of(name),
        None => OTHER,
    }
}

fn slot_of(name: &[u8]) -> usize {
    Key::ALL.iter().position(|key| key.name().as_bytes() == name).unwrap_or(OTHER)
}

/// Checks the envelope keys of a valid JSON object, in their order, and completes the index.
///
/// `backslashes` is false only if there is no backslash in the whole text.
#[inline(always)]
pub(crate) fn check(text: &[u8], slots: &Slots, backslashes: bool) -> Result<Index, Reason> {
    let severity = usual_severity(text, slots);
    if backslashes || severity > 7 {
        return check_each(text, slots);
    }
    let mut index =
        Index { slots: [Slot::default(); Key::COUNT], escaped: 0, severity, timestamp_unreadable: false };
    index.slots.copy_from_slice(&slots[..Key::COUNT]);
    let Slot { start, end } = slots[Key::Timestamp as usize];
    let date = text.get(start as usize + 1..(end as usize).wrapping_sub(1));
    index.timestamp_unreadable = end != 0 && date.and_then(Timestamp::parse).is_none();
    Ok(index)
}

/// The severity of a message whose envelope keys all have values of the usual kind or none; 255 for any other, be it
/// right or wrong. All is looked at before anything is decided: the usual message takes one branch.
#[inline(always)]
fn usual_severity(text: &[u8], slots: &Slots) -> u8 {
    // A missing value begins at 0, where the object's brace is.
    let first = |key: Key| text.get(slots[key as usize].start as usize).copied().unwrap_or_default();
    let string_or_missing = |key: Key| (first(key) == b'"') | (slots[key as usize].end == 0);
    let strings = (first(Key::Type) == b'"')
        & string_or_missing(Key::Timestamp)
        & string_or_missing(Key::Logger)
        & string_or_missing(Key::EnvVersion)
        & string_or_missing(Key::Hostname);
    let severity = slots[Key::Severity as usize];
    let pid = slots[Key::Pid as usize];
    let pid_is_usual = pid.end == 0
        || (first(Key::Pid).is_ascii_digit()
            && pid.end - pid.start < 20
            && digits(text, pid.start as usize) == pid.end as usize);
    let usual = strings & (first(Key::Fields) == b'{') & (first(Key::Payload) != b'n') & pid_is_usual;
    match (usual, severity.end - severity.start) {
        (true, 0) => DEFAULT_SEVERITY,
        (true, 1) => first(Key::Severity).wrapping_sub(b'0'),
        _ => u8::MAX,
    }
}

/// As [`check`], key by key: for what is not usual, and for the reason where it is wrong.
#[cold]
#[inline(never)]
fn check_each(text: &[u8], slots: &Slots) -> Result<Index, Reason> {
    let mut index = Index {
        slots: [Slot::default(); Key::COUNT],
        escaped: 0,
        severity: DEFAULT_SEVERITY,
        timestamp_unreadable: false,
    };
    for key in Key::ALL {
        let slot = slots[key as usize];
        // Null counts as missing; so does `NaN`, which becomes null.
        let first = match text.get(slot.start as usize) {
            Some(&first) if slot.start != slot.end && !matches!(first, b'n' | b'N' | b'I') => first,
            _ => {
                if key == Key::Type {
                    return Err(Reason::MissingType);
                }
                continue;
            }
        };
        let right_type = match key {
            Key::Payload => true,
            Key::Fields => first == b'{',
            Key::Severity | Key::Pid => first == b'-' || first.is_ascii_digit(),
            _ => first == b'"',
        };
        if !right_type {
            return Err(Reason::WrongType(key));
        }
        index.slots[key as usize] = slot;
        let raw = &text[slot.start as usize..slot.end as usize];
        if first == b'"' && memchr::memchr(b'\\', raw).is_some() {
            index.escaped |= 1 << key as u16;
        }
        match key {
            Key::Severity => index.severity = integer(raw, key, 7)? as u8,
            Key::Pid => {
                integer(raw, key, u64::MAX)?;
            }
            _ => {}
        }
    }
    if index.slots[Key::Timestamp as usize] != Slot::default() {
        index.timestamp_unreadable = index.timestamp(text).is_none();
    }
    Ok(index)
}

/// The value of an integer from 0 to `max`. A fraction or an exponent makes a number of the wrong type, also
/// where its value is whole: what is an integer shows in the text. `-0` is 0.
fn integer(raw: &[u8], key: Key, max: u64) -> Result<u64, Reason> {
    let magnitude = raw.strip_prefix(b"-").unwrap_or(raw);
    if digits(magnitude, 0) != magnitude.len() {
        return Err(Reason::WrongType(key));
    }
    if raw.len() != magnitude.len() {
        return if magnitude == b"0" { Ok(0) } else { Err(Reason::OutOfRange(key)) };
    }
    let mut value = 0u64;
    for digit in magnitude {
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
            .ok_or(Reason::OutOfRange(key))?;
    }
    if value > max { Err(Reason::OutOfRange(key)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_recognised_by_its_whole_name_only() {
        for key in Key::ALL {
            let name = key.name();
            for (text, expected) in [
                (format!("{name}\":{}", " ".repeat(20)), key as usize),
                (format!("{name}\":"), key as usize),
                (format!("{name}x\":{}", " ".repeat(20)), OTHER),
                (format!("{}X\":{}", &name[..name.len() - 1], " ".repeat(20)), OTHER),
                (format!("X{}\":{}", &name[1..], " ".repeat(20)), OTHER),
                (format!("{name}{}\":{}", "x".repeat(16), " ".repeat(20)), OTHER),
            ] {
                let end = text.find('"').unwrap();
                assert_eq!(recognise(text.as_bytes(), 0, end), expected, "{text}");
                assert_eq!(recognise_any(text.as_bytes(), 0, end), expected, "{text}");
            }
        }
        assert_eq!(recognise(b"\":                         ", 0, 0), OTHER, "the empty key");
        assert_eq!(recognise_any(br"ty\u0070e", 0, 9), Key::Type as usize);
    }

    #[test]
    fn an_integer_is_whole_in_its_text_and_within_its_range() {
        let severity = |raw: &str| integer(raw.as_bytes(), Key::Severity, 7);
        assert_eq!(severity("0"), Ok(0));
        assert_eq!(severity("7"), Ok(7));
        assert_eq!(severity("-0"), Ok(0));
        for wrong in ["1.0", "1e0", "6.5", "1e400", "-1.5"] {
            assert_eq!(severity(wrong), Err(Reason::WrongType(Key::Severity)), "{wrong}");
        }
        for far in ["8", "-1", "10", "99999999999999999999999999"] {
            assert_eq!(severity(far), Err(Reason::OutOfRange(Key::Severity)), "{far}");
        }
        let pid = |raw: &str| integer(raw.as_bytes(), Key::Pid, u64::MAX);
        assert_eq!(pid("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(pid("18446744073709551616"), Err(Reason::OutOfRange(Key::Pid)));
    }
}
