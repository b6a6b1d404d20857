//! The envelope's own keys: recognised by name wherever they stand, checked by type in the order of [`Key`].

use crate::{
    Index, Key, Reason, Timestamp, escapes,
    fast::Scanned,
    grammar::digits,
    index::{DEFAULT_SEVERITY, Slot},
};

/// A place per envelope key.
pub(crate) type Slots = [Slot; Key::COUNT];

/// The slot of a key that is not the envelope's own.
pub(crate) const OTHER: usize = Key::COUNT;

/// Whether a value that begins with `first` has to be looked at more closely, being that of `slot`. `whole` is false
/// for numbers that are no short integers.
#[inline(always)]
pub(crate) fn is_unusual(slot: usize, first: u8, whole: bool) -> bool {
    static USUAL: [(u8, u8); 16] = {
        let mut usual = [(0, 0); 16];
        let mut key = 0;
        while key < Key::COUNT {
            usual[key] = match Key::ALL[key] {
                Key::Severity => (0xF8, b'0'),
                Key::Pid => (0xF0, b'0'),
                Key::Fields => (0xFF, b'{'),
                // A string or a number.
                Key::Payload => (0x60, 0x20),
                _ => (0xFF, b'"'),
            };
            key += 1;
        }
        usual
    };
    const INTEGERS: u32 = 1 << Key::Severity as u32 | 1 << Key::Pid as u32;
    let (mask, expected) = USUAL[slot & 15];
    (first & mask != expected) | (!whole && INTEGERS >> slot & 1 == 1)
}

/// Which slot the key `text[start..end]` has.
pub(crate) fn recognise_any(text: &[u8], start: usize, end: usize) -> usize {
    match text.get(start..end) {
        Some(name) if name.contains(&b'\\') => slot_of(escapes::decode(name).as_bytes()),
        Some(name) => slot_of(name),
        None => OTHER,
    }
}

/// Which slot the key `name` has, there being no escapes in it.
pub(crate) fn slot_of(name: &[u8]) -> usize {
    let key = match name {
        b"type" => Key::Type,
        b"timestamp" => Key::Timestamp,
        b"logger" => Key::Logger,
        b"severity" => Key::Severity,
        b"payload" => Key::Payload,
        b"fields" => Key::Fields,
        b"env_version" => Key::EnvVersion,
        b"metlog_pid" => Key::Pid,
        b"metlog_hostname" => Key::Hostname,
        _ => return OTHER,
    };
    key as usize
}

/// Checks the envelope keys of a valid JSON object, in their order, and completes the index, in which the scanner has
/// written where their values are.
#[inline(always)]
pub(crate) fn check(text: &[u8], scanned: &Scanned, index: &mut Index) -> Result<(), Reason> {
    let Slot { start, end } = index.slots[Key::Severity as usize];
    index.severity = match (end.wrapping_sub(start), text.get(start as usize)) {
        (0, _) => DEFAULT_SEVERITY,
        (1, Some(digit)) => digit.wrapping_sub(b'0'),
        _ => u8::MAX,
    };
    if scanned.unusual | (index.severity > 7) | (index.slots[Key::Type as usize].end == 0) {
        *index = check_each(text, &index.slots)?;
        return Ok(());
    }
    let Slot { start, end } = index.slots[Key::Timestamp as usize];
    index.timestamp_unreadable = start + 1 != scanned.readable_timestamp
        && end != 0
        && !text.get(start as usize + 1..end as usize - 1).is_some_and(Timestamp::is_readable);
    Ok(())
}

/// As [`check`], key by key: for what is not usual, and for the reason where it is wrong.
#[cold]
#[inline(never)]
pub(crate) fn check_each(text: &[u8], slots: &Slots) -> Result<Index, Reason> {
    let mut index = Index::EMPTY;
    for key in Key::ALL {
        let slot = slots[key as usize];
        // Null counts as missing; so does `NaN`, which is null by now.
        let first = match text.get(slot.start as usize) {
            Some(&first) if slot.start != slot.end && first != b'n' => first,
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
            assert_eq!(slot_of(name.as_bytes()), key as usize);
            for other in [format!("{name}x"), format!("x{name}"), name.to_uppercase(), name[1..].to_owned()] {
                assert_eq!(slot_of(other.as_bytes()), OTHER, "{other}");
            }
        }
        assert_eq!(slot_of(b""), OTHER);
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
