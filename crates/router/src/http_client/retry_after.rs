//! `Retry-After`: how long a server wants to be left alone.

use std::time::{Duration, SystemTime};

use hyper::{HeaderMap, header::RETRY_AFTER};
use metlog_message::Timestamp;

/// The longest wish that is granted. Whoever says more is mistaken, and would stop an endpoint for good.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What the header says: so many seconds, or until a moment of the time of day that `now` is of. `None` where there is none,
/// or nothing that makes sense.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wanted = match text.parse::<f64>() {
        // Some servers send fractions, which the standard does not know.
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok()?,
        Err(_) => {
            let moment = httpdate::parse_http_date(text).ok()?;
            let since_epoch = Duration::new(u64::try_from(now.seconds).ok()?, now.nanoseconds);
            moment.duration_since(SystemTime::UNIX_EPOCH + since_epoch).unwrap_or_default()
        }
    };
    Some(wanted.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2012-07-18 21:13:25 and a bit.
    const NOW: Timestamp = Timestamp { seconds: 1_342_646_005, nanoseconds: 500_000_000 };

    fn parsed(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, NOW)
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        for (value, seconds) in [
            ("120", 120.0),
            (" 0 ", 0.0),
            ("1.5", 1.5),
            ("Wed, 18 Jul 2012 21:13:26 GMT", 0.5),
            ("Wed, 18 Jul 2012 21:12:00 GMT", 0.0),
            ("Wednesday, 18-Jul-12 21:14:25 GMT", 59.5),
            ("Wed Jul 18 21:14:25 2012", 59.5),
        ] {
            assert_eq!(parsed(value), Some(Duration::from_secs_f64(seconds)), "{value}");
        }
    }

    #[test]
    fn nonsense_is_no_wish_and_an_endless_one_is_bounded() {
        for value in ["", "soon", "-1", "NaN", "inf", "1e400", "Wed, 18 Jul 2012", "5 s"] {
            assert_eq!(parsed(value), None, "{value}");
        }
        assert_eq!(parsed("1e12"), Some(LONGEST));
        assert_eq!(parsed("Wed, 18 Jul 2040 21:13:26 GMT"), Some(LONGEST));
        assert_eq!(retry_after(&HeaderMap::new(), NOW), None);
    }
}
