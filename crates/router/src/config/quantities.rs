//! Values with a unit: sizes and times.

use std::{fmt, time::Duration};

use toml::de::DeValue;

use super::{
    diagnostics::Diagnostics,
    reader::{FromConfig, Schema, Value},
    types::{parsed, quoted, whole_number},
};

/// A number of bytes: `"8MiB"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// From the largest; [`fmt::Display`] takes the first that leaves a whole number.
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// So many times 1,024 bytes.
    pub const fn kib(count: u64) -> ByteSize {
        ByteSize(count << 10)
    }

    /// So many times 1,048,576 bytes.
    pub const fn mib(count: u64) -> ByteSize {
        ByteSize(count << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    fn parse(text: &str) -> Result<ByteSize, String> {
        let (count, unit) = number_and_unit(text)?;
        let found = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, factor)) = found else {
            return Err(match unit.chars().next().map(|letter| letter.to_ascii_uppercase()) {
                None => "the unit is missing: B, KiB, MiB, GiB or TiB".to_owned(),
                Some(letter @ ('K' | 'M' | 'G' | 'T')) => {
                    format!("`{unit}` is no unit; did you mean `{letter}iB`?")
                }
                Some(_) => format!("`{unit}` is no unit: B, KiB, MiB, GiB or TiB"),
            });
        };
        count.checked_mul(*factor).map(ByteSize).ok_or_else(|| "too large".to_owned())
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |&&(_, factor): &&(&str, u64)| self.0 >= factor && self.0.is_multiple_of(factor);
        let (unit, factor) = SIZE_UNITS.iter().find(whole).copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

/// `"250ms"` → 250 and `"ms"`.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err("this does not start with a whole number".to_owned());
    }
    if unit.starts_with(['.', ',', '_']) {
        return Err("the number must be whole; take a smaller unit".to_owned());
    }
    let count = number.parse().map_err(|_| "too large".to_owned())?;
    Ok((count, unit.trim_start()))
}

impl FromConfig for ByteSize {
    fn expected() -> String {
        "a size such as \"8MiB\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<ByteSize> {
        if value.get_ref().is_integer() {
            return whole_number::<ByteSize>(value, u64::MAX, diagnostics).map(ByteSize);
        }
        parsed(value, diagnostics, ByteSize::parse)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    fn schema() -> Schema {
        Schema::Size
    }
}

/// From the smallest, in microseconds.
const TIME_UNITS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// What other programs call some times.
const SPANS_IN_WORDS: [(&str, &str); 3] = [("hourly", "1h"), ("daily", "1d"), ("weekly", "7d")];

fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Some((_, time)) = SPANS_IN_WORDS.iter().find(|(word, _)| *word == text) {
        return Err(format!("write it with a number and a unit: \"{time}\""));
    }
    let (count, unit) = number_and_unit(text)?;
    match TIME_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => {
            count.checked_mul(*factor).map(Duration::from_micros).ok_or_else(|| "too long".to_owned())
        }
        None if unit.is_empty() => Err("the unit is missing: us, ms, s, m, h or d".to_owned()),
        None if matches!(unit, "w" | "week" | "weeks") && count < 1000 => {
            Err(format!("`{unit}` is no unit; write days: \"{}d\"", count * 7))
        }
        None => Err(format!("`{unit}` is no unit: us, ms, s, m, h or d")),
    }
}

impl FromConfig for Duration {
    fn expected() -> String {
        "a time such as \"50ms\", \"1s\" or \"2m\"".to_owned()
    }

    fn from_config(value: &Value<'_>, diagnostics: &mut Diagnostics) -> Option<Duration> {
        if let DeValue::Integer(number) = value.get_ref() {
            diagnostics.invalid::<Duration>(value, format!("the unit is missing, as in \"{number}s\""));
            return None;
        }
        parsed(value, diagnostics, parse_duration)
    }

    fn to_toml(&self) -> String {
        let micros = self.as_micros();
        let whole = |&&(_, factor): &&(&str, u64)| micros > 0 && micros.is_multiple_of(u128::from(factor));
        let (unit, factor) = TIME_UNITS.iter().rev().find(whole).copied().unwrap_or(("s", 1_000_000));
        quoted(&format!("{}{unit}", micros / u128::from(factor)))
    }

    fn schema() -> Schema {
        Schema::Time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in
            [("8MiB", 8 << 20), ("64KiB", 64 << 10), ("1 TiB", 1 << 40), ("5B", 5), ("0B", 0)]
        {
            let size = ByteSize::parse(text).unwrap();
            assert_eq!(size.bytes(), bytes, "{text}");
            assert_eq!(ByteSize::parse(&size.to_string()), Ok(size), "{text}");
        }
        assert_eq!(ByteSize(1536).to_string(), "1536B");
        assert_eq!(ByteSize::mib(2048).to_string(), "2GiB");
        assert_eq!(ByteSize(0).to_string(), "0B");
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "MiB",
            "8",
            "8MB",
            "8mib",
            "-8MiB",
            "1.5MiB",
            "8MiBs",
            "99999999999999999999B",
            "16777216TiB",
        ] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
        assert_eq!(ByteSize::parse("8mb").unwrap_err(), "`mb` is no unit; did you mean `MiB`?");
    }

    #[test]
    fn times_are_read_and_written_back() {
        for (text, micros) in [
            ("50ms", 50_000),
            ("1s", 1_000_000),
            ("2m", 120_000_000),
            ("7us", 7),
            ("1h", 3_600_000_000),
            ("3d", 259_200_000_000),
            ("0s", 0),
        ] {
            let time = parse_duration(text).unwrap();
            assert_eq!(time, Duration::from_micros(micros), "{text}");
            assert_eq!(time.to_toml(), format!("\"{text}\""));
        }
        assert_eq!(Duration::from_secs(90).to_toml(), "\"90s\"");
        for (text, meant) in [("1w", "\"7d\""), ("2 weeks", "\"14d\""), ("daily", "\"1d\"")] {
            assert!(parse_duration(text).unwrap_err().contains(meant), "{text}");
        }
        for text in ["", "s", "5", "5sec", "1.5s", "-1s", "1m30s", "999999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
