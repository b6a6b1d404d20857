//! The time of day as RFC 3164 has it: without year or zone, by custom in the time of the place.

use metlog_message::{Timestamp, timestamp::Utc};

use crate::{config::choices, sys};

choices! {
    /// Which time it is.
    pub enum Timezone {
        /// That of the router's host (`TZ`, or `/etc/localtime`).
        Local = "local",
        /// UTC.
        Utc = "utc",
    }
}

/// Zones change their offset from UTC at full quarters of an hour.
const QUARTER_SECONDS: i64 = 900;

/// Writes times; remembers the offset from UTC, because most messages of a minute have the same.
#[derive(Debug)]
pub(super) struct LegacyTime {
    timezone: Timezone,
    quarter: i64,
    offset_seconds: i64,
}

impl LegacyTime {
    pub(super) fn new(timezone: Timezone) -> LegacyTime {
        LegacyTime { timezone, quarter: i64::MIN, offset_seconds: 0 }
    }

    /// Appends `Jul  8 21:13:25`.
    pub(super) fn append(&mut self, moment: Timestamp, out: &mut Vec<u8>) {
        const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let local = Timestamp { seconds: moment.seconds + self.offset_at(moment.seconds), nanoseconds: 0 };
        let Utc { month, day, hour, minute, second, .. } = local.to_utc();
        let digits = |number: u8| [b'0' + number / 10 % 10, b'0' + number % 10];
        let month = usize::from(month.saturating_sub(1)) * 3;
        out.extend_from_slice(MONTHS.get(month..month + 3).unwrap_or(b"Jan"));
        out.push(b' ');
        let [tens, ones] = digits(day);
        out.extend_from_slice(&[if tens == b'0' { b' ' } else { tens }, ones, b' ']);
        out.extend_from_slice(&digits(hour));
        out.push(b':');
        out.extend_from_slice(&digits(minute));
        out.push(b':');
        out.extend_from_slice(&digits(second));
    }

    fn offset_at(&mut self, seconds: i64) -> i64 {
        if self.timezone == Timezone::Utc {
            return 0;
        }
        let quarter = seconds.div_euclid(QUARTER_SECONDS);
        if quarter != self.quarter {
            self.quarter = quarter;
            self.offset_seconds = sys::offset_from_utc(seconds);
        }
        self.offset_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(timezone: Timezone, text: &str) -> String {
        let mut out = Vec::new();
        LegacyTime::new(timezone).append(Timestamp::parse(text.as_bytes()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_day_of_one_digit_has_a_space_in_front() {
        assert_eq!(written(Timezone::Utc, "2012-07-08T01:02:03Z"), "Jul  8 01:02:03");
        assert_eq!(written(Timezone::Utc, "2012-12-31T23:59:59.9+00:00"), "Dec 31 23:59:59");
        assert_eq!(written(Timezone::Utc, "2012-01-01T00:30:00+01:00"), "Dec 31 23:30:00");
    }

    #[test]
    fn the_time_of_the_place_is_asked_for_once_a_quarter() {
        let mut time = LegacyTime::new(Timezone::Local);
        let first = time.offset_at(1_342_646_005);
        assert_eq!(first, sys::offset_from_utc(1_342_646_005));
        time.offset_seconds = 77;
        assert_eq!(time.offset_at(1_342_646_006), 77, "the same quarter");
        assert_eq!(time.offset_at(1_342_646_005 + 900), first);
    }
}
