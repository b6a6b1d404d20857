//! Numbers as people read them: with units, and no more digits than mean something.

/// A count with a comma between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 message`, `2 messages`.
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { several })
}

/// Bytes in the units of the configuration: `8.0 MiB`.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// How much of a bound is used: `0 %`, `<1 %`, `75 %`; a dash where there is no bound.
pub fn share(used: u64, bound: u64) -> String {
    match used as f64 * 100.0 / bound as f64 {
        _ if bound == 0 => "-".to_owned(),
        percent if used > 0 && percent < 1.0 => "<1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// So many a second: `0`, `0.5`, `12`, `3.4k`, `1.2M`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        ..0.05 => "0".to_owned(),
        ..10.0 => format!("{per_second:.1}"),
        _ => scaled(per_second, 1000.0, &["", "k", "M", "G"]),
    }
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let (mut number, mut position) = (number, 0);
    // What would be rounded up to the next unit is written in it.
    while number >= step - 0.5 && position + 1 < units.len() {
        (number, position) = (number / step, position + 1);
    }
    let unit = units.get(position).copied().unwrap_or_default();
    if position == 0 || number >= 99.95 { format!("{number:.0}{unit}") } else { format!("{number:.1}{unit}") }
}

/// A time span in its two largest units: `340 ms`, `12.3 s`, `2 min 5 s`, `3 h 20 min`, `9 d 4 h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    match whole {
        0 if seconds < 0.9995 => format!("{:.0} ms", seconds * 1000.0),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => two(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "message", "messages"), "1 message");
        assert_eq!(counted(2000, "message", "messages"), "2,000 messages");
    }

    #[test]
    fn bytes_and_rates_have_units_and_few_digits() {
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (8 << 20, "8.0 MiB"), (150 << 20, "150 MiB")]
        {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (12.4, "12"),
            (999.7, "1.0k"),
            (3400.0, "3.4k"),
            (340_000.0, "340k"),
            (1.2e6, "1.2M"),
        ] {
            assert_eq!(rate(number), text);
        }
    }

    #[test]
    fn a_little_is_not_nothing() {
        for (used, text) in [(0, "0 %"), (1, "<1 %"), (6 << 20, "75 %"), (8 << 20, "100 %")] {
            assert_eq!(share(used, 8 << 20), text);
        }
        assert_eq!(share(0, 0), "-");
    }

    #[test]
    fn spans_are_in_their_two_largest_units() {
        for (seconds, text) in [
            (0.34, "340 ms"),
            (12.34, "12.3 s"),
            (60.0, "1 min"),
            (125.0, "2 min 5 s"),
            (12_000.0, "3 h 20 min"),
            (792_000.0, "9 d 4 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
