//! The time of day as text, most of it kept from the last message: a generator sends many within one second.

use super::json::pair;
use crate::Timestamp;

/// The last second of the year 9999: RFC 3339 has four digits for a year.
pub(super) const LAST_SECOND: i64 = 253_402_300_799;

/// Timestamps to the microsecond, the part down to the second kept from the last one.
#[derive(Debug, Clone)]
pub struct SecondCache {
    second: i64,
    /// `2026-11-22T09:05:24.`
    text: [u8; 20],
}

impl Default for SecondCache {
    fn default() -> Self {
        SecondCache { second: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl SecondCache {
    /// Appends `2026-11-22T09:05:24.990410Z`. A time before 1970 or after 9999 becomes the nearest one inside.
    #[inline]
    pub fn write(&mut self, out: &mut Vec<u8>, timestamp: Timestamp) {
        if timestamp.seconds != self.second {
            self.second = timestamp.seconds;
            self.text = second_text(timestamp.seconds.clamp(0, LAST_SECOND) as u64);
        }
        let microseconds = u64::from(timestamp.nanoseconds / 1000).min(999_999);
        let mut text = [0; 27];
        text[..20].copy_from_slice(&self.text);
        text[20..22].copy_from_slice(pair(microseconds / 10_000));
        text[22..24].copy_from_slice(pair(microseconds / 100 % 100));
        text[24..26].copy_from_slice(pair(microseconds % 100));
        text[26] = b'Z';
        out.extend_from_slice(&text);
    }
}

fn second_text(second: u64) -> [u8; 20] {
    let (year, month, day) = date(second / 86_400);
    let of_day = second % 86_400;
    let mut text = *b"0000-00-00T00:00:00.";
    text[0..2].copy_from_slice(pair(year / 100));
    text[2..4].copy_from_slice(pair(year % 100));
    text[5..7].copy_from_slice(pair(month));
    text[8..10].copy_from_slice(pair(day));
    text[11..13].copy_from_slice(pair(of_day / 3600));
    text[14..16].copy_from_slice(pair(of_day / 60 % 60));
    text[17..19].copy_from_slice(pair(of_day % 60));
    text
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year, and from the year 0, so that
/// the 400-year cycle of 146,097 days starts with the count.
pub(super) fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const FROM_MARCH_0_TO_1970: u64 = 719_468;
    let days = days_since_1970 + FROM_MARCH_0_TO_1970;
    let cycle = days / 146_097;
    let of_cycle = days % 146_097;
    let year_of_cycle = (of_cycle - of_cycle / 1460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    // Five months from March take 153 days, whichever five: 31 + 30 + 31 + 30 + 31.
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = cycle * 400 + year_of_cycle + u64::from(month <= 2);
    (year, month, day)
}
