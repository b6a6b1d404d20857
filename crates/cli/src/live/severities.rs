//! Severities by their names, as people write them on a command line.

/// The names of severities 0 to 7.
const NAMES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];

/// What they are called for short.
const SHORT_NAMES: [(&str, u8); 5] = [("emerg", 0), ("crit", 2), ("err", 3), ("warn", 4), ("info", 6)];

/// The severity of that name, in letters of either case.
pub fn number_of(name: &str) -> Option<u8> {
    let lower = name.to_ascii_lowercase();
    let whole = (0_u8..).zip(NAMES).find(|(_, name)| *name == lower).map(|(number, _)| number);
    whole.or_else(|| SHORT_NAMES.iter().find(|(name, _)| *name == lower).map(|(_, number)| *number))
}

/// All names, for a message that says what was expected.
pub fn names() -> String {
    NAMES.join(", ")
}
