//! How bad it is, in the numbers of RFC 5424.

/// How bad it is: 0, the system is unusable, to 7, of interest to its developers only.
///
/// ```
/// use metlog::Severity;
///
/// assert_eq!("warning".parse(), Ok(Severity::Warning));
/// assert!(Severity::Error < Severity::Warning);
/// assert_eq!(Severity::Debug as u8, 7);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Severity {
    /// 0: the system is unusable.
    Emergency = 0,
    /// 1: somebody must act at once.
    Alert = 1,
    /// 2: a critical condition.
    Critical = 2,
    /// 3: an error.
    Error = 3,
    /// 4: a warning.
    Warning = 4,
    /// 5: normal, but of note.
    Notice = 5,
    /// 6: for information; what messages have unless told otherwise.
    #[default]
    Informational = 6,
    /// 7: for debugging.
    Debug = 7,
}

/// A text or number that is no severity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a severity: expected 0 to 7, or one of emergency, alert, critical, error, warning, notice, informational, debug"
)]
pub struct SeverityError {
    text: String,
}

impl Severity {
    /// Every severity, worst first.
    pub const ALL: [Severity; 8] = [
        Severity::Emergency,
        Severity::Alert,
        Severity::Critical,
        Severity::Error,
        Severity::Warning,
        Severity::Notice,
        Severity::Informational,
        Severity::Debug,
    ];

    /// The severity of this number.
    pub fn from_number(number: i64) -> Option<Severity> {
        usize::try_from(number).ok().and_then(|number| Severity::ALL.get(number).copied())
    }

    /// Its name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Emergency => "emergency",
            Severity::Alert => "alert",
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
            Severity::Informational => "informational",
            Severity::Debug => "debug",
        }
    }
}

impl std::str::FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Severity, SeverityError> {
        let lower = text.to_ascii_lowercase();
        let known = match lower.as_str() {
            "info" => Some(Severity::Informational),
            "warn" => Some(Severity::Warning),
            "err" => Some(Severity::Error),
            name => Severity::ALL.into_iter().find(|severity| severity.name() == name),
        };
        let number = || lower.parse().ok().and_then(Severity::from_number);
        known.or_else(number).ok_or_else(|| SeverityError { text: text.to_owned() })
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_read_back() {
        for (number, severity) in Severity::ALL.into_iter().enumerate() {
            assert_eq!(severity as usize, number);
            assert_eq!(severity.name().parse(), Ok(severity));
            assert_eq!(number.to_string().parse(), Ok(severity));
        }
        assert_eq!("WARN".parse(), Ok(Severity::Warning));
    }

    #[test]
    fn anything_else_is_an_error_that_names_the_choices() {
        for text in ["", "8", "-1", "bad"] {
            let error = text.parse::<Severity>().unwrap_err().to_string();
            assert!(error.contains("informational"), "{error}");
        }
    }
}
