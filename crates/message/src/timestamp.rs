//! RFC 3339 timestamps as they stand in messages, to the nanosecond.

use std::{
    fmt,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::grammar::digits;

const SECONDS_PER_DAY: i64 = 86_400;

/// A point in time: seconds since 1970-01-01T00:00:00Z and nanoseconds within the second.
///
/// ```
/// use metlog_message::Timestamp;
///
/// let timestamp = Timestamp::parse(b"2012-07-18T21:13:25.687518+02:00").unwrap();
/// assert_eq!(timestamp.to_string(), "2012-07-18T19:13:25.687518Z");
/// assert_eq!((timestamp.date(), timestamp.hour()), ("2012-07-18".into(), "19".into()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since the epoch, negative before it.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// A timestamp's date and time of day in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// The year; 0 is the year before 1.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59: a leap second is the first second of the next minute.
    pub second: u8,
}

impl Timestamp {
    /// The time of the system's clock.
    pub fn now() -> Timestamp {
        SystemTime::now().into()
    }

    /// Reads a date and time as RFC 3339 writes them: `T`, `t` or a space between the two, up to nine digits of
    /// a second's fraction, then `Z`, `z`, an offset, or nothing, which is taken as UTC. A leap second (60) is
    /// the same moment as the second after it. `None` where the text is no such date, or no date of the
    /// calendar.
    #[inline]
    pub fn parse(text: &[u8]) -> Option<Timestamp> {
        let (fixed, rest) = text.split_first_chunk::<19>()?;
        // All digits are read before any is judged: one branch instead of fourteen.
        let mut not_digits = false;
        let mut number = |tens: usize, ones: usize| {
            let (tens, ones) = (fixed[tens].wrapping_sub(b'0'), fixed[ones].wrapping_sub(b'0'));
            not_digits |= (tens > 9) | (ones > 9);
            u32::from(tens) * 10 + u32::from(ones)
        };
        let year = number(0, 1) * 100 + number(2, 3);
        let (month, day) = (number(5, 6), number(8, 9));
        let (hour, minute, second) = (number(11, 12), number(14, 15), number(17, 18));
        let separators = (fixed[4] == b'-')
            & (fixed[7] == b'-')
            & matches!(fixed[10], b'T' | b't' | b' ')
            & (fixed[13] == b':')
            & (fixed[16] == b':');
        let in_range = (hour < 24) & (minute < 60) & (second < 61) & (day > 0);
        if not_digits | !separators | !in_range || day > days_of_month(year, month) {
            return None;
        }
        let (nanoseconds, zone) = fraction(rest)?;
        let of_day = i64::from(hour * 3600 + minute * 60 + second) - i64::from(offset(zone)?);
        let seconds = days_from_date(i64::from(year), month, day) * SECONDS_PER_DAY + of_day;
        Some(Timestamp { seconds, nanoseconds })
    }

    /// Whether `text` is a date: what [`Timestamp::parse`] can read, sooner for what most clients write.
    #[inline]
    pub(crate) fn is_readable(text: &[u8]) -> bool {
        text.try_into().is_ok_and(is_usual) || Timestamp::parse(text).is_some()
    }

    /// Date and time of day in UTC.
    pub fn to_utc(self) -> Utc {
        let (year, month, day) = date_from_days(self.seconds.div_euclid(SECONDS_PER_DAY));
        let of_day = self.seconds.rem_euclid(SECONDS_PER_DAY) as u32;
        Utc {
            year,
            month,
            day,
            hour: (of_day / 3600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
        }
    }

    /// The day in UTC, as `YYYY-MM-DD`.
    pub fn date(self) -> String {
        let Utc { year, month, day, .. } = self.to_utc();
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// The hour of the day in UTC, as `HH`.
    pub fn hour(self) -> String {
        format!("{:02}", self.to_utc().hour)
    }

    /// Appends `YYYY-MM-DDTHH:MM:SS.ffffffZ`, as [`Display`](fmt::Display) writes it. Allocates only where
    /// `buffer` has no room.
    pub fn write_to(self, buffer: &mut Vec<u8>) {
        let Utc { year, month, day, hour, minute, second } = self.to_utc();
        let Ok(year @ 0..=9999) = u32::try_from(year) else {
            // Writing to a Vec never fails.
            let _ = write!(buffer, "{self}");
            return;
        };
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |at: usize, number: u32| {
            text[at] = b'0' + (number / 10 % 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        };
        let microseconds = self.nanoseconds / 1000;
        put(0, year / 100);
        put(2, year);
        put(5, month.into());
        put(8, day.into());
        put(11, hour.into());
        put(14, minute.into());
        put(17, second.into());
        put(20, microseconds / 10_000);
        put(22, microseconds / 100);
        put(24, microseconds);
        buffer.extend_from_slice(&text);
    }
}

/// In UTC with microseconds: `YYYY-MM-DDTHH:MM:SS.ffffffZ`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Utc { year, month, day, hour, minute, second } = self.to_utc();
        let microseconds = self.nanoseconds / 1000;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{microseconds:06}Z")
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Timestamp {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Timestamp {
                seconds: after.as_secs().try_into().unwrap_or(i64::MAX),
                nanoseconds: after.subsec_nanos(),
            },
            Err(error) => {
                let before = error.duration();
                let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                match before.subsec_nanos() {
                    0 => Timestamp { seconds: -seconds, nanoseconds: 0 },
                    part => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - part },
                }
            }
        }
    }
}

/// Whether `text` is a date as [`Timestamp::write_to`] writes them, not later than the 28th, which every month has.
/// False says nothing.
#[inline(always)]
pub(crate) fn is_usual(text: &[u8; 27]) -> bool {
    let pair = |at: usize| u16::from_be_bytes([text[at], text[at + 1]]);
    let is_within = |at: usize, low: &[u8; 8], high: &[u8; 8]| {
        text[at..].first_chunk().is_some_and(|eight| each_byte_is_within(*eight, *low, *high))
    };
    is_within(0, b"0000-00-", b"9999-19-")
        & is_within(8, b"00T00:00", b"39T29:59")
        & is_within(16, b":00.0000", b":59.9999")
        & is_within(19, b".000000Z", b".999999Z")
        & (u16::from_be_bytes(*b"01")..=u16::from_be_bytes(*b"12")).contains(&pair(5))
        & (u16::from_be_bytes(*b"01")..=u16::from_be_bytes(*b"28")).contains(&pair(8))
        & (pair(11) <= u16::from_be_bytes(*b"23"))
}

/// Compares eight bytes at once with the ASCII characters that they may be.
#[inline(always)]
fn each_byte_is_within(bytes: [u8; 8], low: [u8; 8], high: [u8; 8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let [bytes, low, high] = [bytes, low, high].map(u64::from_le_bytes);
    // The high bit of a byte is set before the subtraction, so that nothing is borrowed from the next one, and is
    // left if the byte was not too small; the other way round, if it was not too large.
    ((bytes | HIGH).wrapping_sub(low) & (high | HIGH).wrapping_sub(bytes) & !bytes & HIGH) == HIGH
}

/// Reads the fraction of a second, if there is one; answers its nanoseconds and what is behind it.
#[inline]
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else { return Some((0, rest)) };
    let length = digits(rest, 0);
    if length == 0 || length > 9 {
        return None;
    }
    let (fraction, behind) = rest.split_at(length);
    let value = fraction.iter().fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
    Some((value * 10u32.pow(9 - length as u32), behind))
}

/// Reads the zone; answers its offset from UTC in seconds.
#[inline]
fn offset(zone: &[u8]) -> Option<i32> {
    match zone {
        [] | [b'Z' | b'z'] => Some(0),
        &[
            sign @ (b'+' | b'-'),
            h1 @ b'0'..=b'9',
            h2 @ b'0'..=b'9',
            b':',
            m1 @ b'0'..=b'9',
            m2 @ b'0'..=b'9',
        ] => {
            let hours = i32::from(h1 - b'0') * 10 + i32::from(h2 - b'0');
            let minutes = i32::from(m1 - b'0') * 10 + i32::from(m2 - b'0');
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

/// How many days a month has; none where there is no such month.
#[inline]
fn days_of_month(year: u32, month: u32) -> u32 {
    const DAYS: [u8; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    DAYS.get(month as usize).map_or(0, |&days| u32::from(days) + u32::from(month == 2 && leap))
}

/// Days from 0000-03-01 to 1970-01-01. Counted from March, a leap day is the last day of its year.
const EPOCH: i64 = 719_468;
const DAYS_IN_400_YEARS: i64 = 146_097;

/// Days since 1970-01-01 in the Gregorian calendar.
#[inline]
fn days_from_date(year: i64, month: u32, day: u32) -> i64 {
    let (year, months_since_march) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    // The months from March on have 153 days in every five.
    let day_of_year = i64::from((153 * months_since_march + 2) / 5 + day - 1);
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + day_of_year - EPOCH
}

/// The date that is `days` after 1970-01-01: the reverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, u8, u8) {
    let days = days + EPOCH;
    let day = days.rem_euclid(DAYS_IN_400_YEARS);
    // Without the leap days before it, a day's number divided by 365 is its year.
    let year_in_400 = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (year_in_400 * 365 + year_in_400 / 4 - year_in_400 / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let year = days.div_euclid(DAYS_IN_400_YEARS) * 400 + year_in_400;
    let (year, month) = if months_since_march < 10 {
        (year, months_since_march + 3)
    } else {
        (year + 1, months_since_march - 9)
    };
    (year, month as u8, day_of_month as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(i64, u32)> {
        Timestamp::parse(text.as_bytes()).map(|timestamp| (timestamp.seconds, timestamp.nanoseconds))
    }

    #[test]
    fn a_timestamp_is_read_with_z_with_an_offset_and_with_neither() {
        let expected = Some((1_342_646_005, 687_518_000));
        for text in [
            "2012-07-18T21:13:25.687518",
            "2012-07-18T21:13:25.687518Z",
            "2012-07-18t21:13:25.687518z",
            "2012-07-18 21:13:25.687518+00:00",
            "2012-07-18T21:13:25.687518-00:00",
            "2012-07-18T23:43:25.687518+02:30",
            "2012-07-17T21:14:25.687518000-23:59",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_fraction_has_up_to_nine_digits() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(parse("1970-01-01T00:00:00.5Z"), Some((0, 500_000_000)));
        assert_eq!(parse("1970-01-01T00:00:00.123456789"), Some((0, 123_456_789)));
        assert_eq!(parse("1970-01-01T00:00:00.0000000001Z"), None);
        assert_eq!(parse("1970-01-01T00:00:00.Z"), None);
    }

    #[test]
    fn the_calendar_is_respected() {
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
        for good in [
            "2024-02-29T00:00:00Z",
            "2000-02-29T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59Z",
        ] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in [
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2012-13-01T00:00:00Z",
            "2012-99-01T00:00:00Z",
            "2012-00-01T00:00:00Z",
            "2012-01-00T00:00:00Z",
            "2012-04-31T00:00:00Z",
            "2012-01-01T24:00:00Z",
            "2012-01-01T00:60:00Z",
            "2012-01-01T00:00:61Z",
            "2012-01-01T00:00:00+24:00",
            "2012-01-01T00:00:00+00:60",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_read() {
        for bad in [
            "",
            "yesterday",
            "1346241600.5",
            "2012-08-29",
            "2012-08-29T12:00",
            "2012/08/29T12:00:00Z",
            "2012-08-29_12:00:00Z",
            "2012-08-29T12:00:00 Z",
            "2012-08-29T12:00:00Zx",
            "2012-08-29T12:00:00+0200",
            "2012-08-29T12:00:00+2:00",
            "2o12-08-29T12:00:00Z",
            "2012-08-29T12:00:0 Z",
            "２０１２-08-29T12:00:00Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_is_its_own_reverse() {
        let mut days = days_from_date(0, 1, 1);
        for year in 0..10_000u32 {
            for month in 1..=12 {
                for day in 1..=days_of_month(year, month) {
                    assert_eq!(days_from_date(year.into(), month, day), days);
                    assert_eq!(date_from_days(days), (year.into(), month as u8, day as u8));
                    days += 1;
                }
            }
        }
    }

    #[test]
    fn what_is_usual_is_readable_and_what_is_written_is_usual() {
        let written = b"2012-07-18T21:13:25.687518Z";
        for at in 0..written.len() {
            for byte in 0..=255 {
                let mut text = *written;
                text[at] = byte;
                let (usual, parsed) = (is_usual(&text), Timestamp::parse(&text).is_some());
                let spelt_otherwise =
                    matches!((at, byte), (10, b't' | b' ') | (26, b'z') | (26, b'0'..=b'9'));
                let late = matches!(&text[8..10], b"29" | b"30" | b"31") || &text[17..19] == b"60";
                assert_eq!(usual, parsed && !spelt_otherwise && !late, "{}", text.escape_ascii());
            }
        }
        for (first, second) in (0..100).flat_map(|first| (0..100).map(move |second| (first, second))) {
            for text in [
                format!("2023-{first:02}-{second:02}T21:13:25.687518Z"),
                format!("2023-07-18T{first:02}:{second:02}:25.687518Z"),
            ] {
                let late = text.starts_with("2023-") && matches!(&text[8..10], "29" | "30" | "31");
                let usual = is_usual(text.as_bytes().try_into().unwrap());
                assert_eq!(usual, parse(&text).is_some() && !late, "{text}");
            }
        }
    }

    #[test]
    fn a_timestamp_is_written_with_microseconds_in_utc() {
        for text in
            ["0000-03-01T00:00:00.000000Z", "2026-11-22T09:05:24.990410Z", "9999-12-31T23:59:59.999999Z"]
        {
            let timestamp = Timestamp::parse(text.as_bytes()).unwrap();
            assert_eq!(timestamp.to_string(), text);
            let mut buffer = b"at ".to_vec();
            timestamp.write_to(&mut buffer);
            assert_eq!(buffer, format!("at {text}").as_bytes());
        }
        let before_the_epoch = Timestamp { seconds: -1, nanoseconds: 999_999_999 };
        assert_eq!(before_the_epoch.to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(
            (before_the_epoch.date().as_str(), before_the_epoch.hour().as_str()),
            ("1969-12-31", "23")
        );
    }

    #[test]
    fn times_far_outside_the_calendar_do_no_harm() {
        for seconds in [i64::MIN, -62_167_219_201, 253_402_300_800, i64::MAX] {
            let timestamp = Timestamp { seconds, nanoseconds: u32::MAX };
            let mut buffer = Vec::new();
            timestamp.write_to(&mut buffer);
            assert_eq!(buffer, timestamp.to_string().as_bytes());
            let _ = timestamp.date();
        }
    }

    #[test]
    fn the_clock_of_the_system_is_read_on_both_sides_of_the_epoch() {
        let second = std::time::Duration::from_millis(1_500);
        assert_eq!(Timestamp::from(UNIX_EPOCH + second), Timestamp { seconds: 1, nanoseconds: 500_000_000 });
        assert_eq!(Timestamp::from(UNIX_EPOCH - second), Timestamp { seconds: -2, nanoseconds: 500_000_000 });
        assert!(Timestamp::now().seconds > 1_700_000_000);
    }
}
