//! Facilities and severities: their names and numbers.

use crate::config::choices;

choices! {
    /// What part of a system a message comes from, as syslog sorts them.
    pub enum Facility {
        /// The kernel (0).
        Kern = "kern",
        /// Programs of users (1).
        User = "user",
        /// Mail (2).
        Mail = "mail",
        /// System daemons (3).
        Daemon = "daemon",
        /// Security and authorization (4).
        Auth = "auth",
        /// The syslog server itself (5).
        Syslog = "syslog",
        /// Printing (6).
        Lpr = "lpr",
        /// Network news (7).
        News = "news",
        /// UUCP (8).
        Uucp = "uucp",
        /// Timed jobs (9).
        Cron = "cron",
        /// Security and authorization, for few eyes (10).
        Authpriv = "authpriv",
        /// FTP (11).
        Ftp = "ftp",
        /// Time synchronisation (12).
        Ntp = "ntp",
        /// Log audit (13).
        Audit = "audit",
        /// Log alert (14).
        Alert = "alert",
        /// Timed jobs, the second of this kind (15).
        Clock = "clock",
        /// For local use (16).
        Local0 = "local0",
        /// For local use (17).
        Local1 = "local1",
        /// For local use (18).
        Local2 = "local2",
        /// For local use (19).
        Local3 = "local3",
        /// For local use (20).
        Local4 = "local4",
        /// For local use (21).
        Local5 = "local5",
        /// For local use (22).
        Local6 = "local6",
        /// For local use (23).
        Local7 = "local7",
    }
}

choices! {
    /// How much a message matters, from the most on.
    pub enum Severity {
        /// The system is unusable (0).
        Emergency = "emerg",
        /// Action must be taken at once (1).
        Alert = "alert",
        /// Critical (2).
        Critical = "crit",
        /// An error (3).
        Error = "err",
        /// A warning (4).
        Warning = "warning",
        /// Normal, but worth noticing (5).
        Notice = "notice",
        /// For information (6).
        Informational = "info",
        /// For debugging (7).
        Debug = "debug",
    }
}

impl Facility {
    /// 0 to 23. The names stand in the order of the numbers.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// The facility that a message names: in capitals or not, with or without `LOG_` in front.
    pub(super) fn named(name: &str) -> Option<Facility> {
        let name = without_prefix(name);
        Facility::ALL.iter().copied().find(|facility| facility.as_str().eq_ignore_ascii_case(name))
    }
}

impl Severity {
    /// 0 to 7. The names stand in the order of the numbers.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// The severity that a message names, as [`Facility::named`] does; the names that `syslog.h` calls deprecated, too.
    pub(super) fn named(name: &str) -> Option<Severity> {
        const OTHER_NAMES: [(&str, Severity); 3] =
            [("panic", Severity::Emergency), ("error", Severity::Error), ("warn", Severity::Warning)];
        let name = without_prefix(name);
        let known = Severity::ALL.iter().map(|severity| (severity.as_str(), *severity));
        known
            .chain(OTHER_NAMES)
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, severity)| severity)
    }
}

fn without_prefix(name: &str) -> &str {
    match name.split_at_checked(4) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case("LOG_") => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_standard() {
        assert_eq!((Facility::Kern.code(), Facility::Local0.code(), Facility::Local7.code()), (0, 16, 23));
        assert_eq!((Facility::Authpriv.code(), Facility::Cron.code()), (10, 9));
        assert_eq!((Severity::Emergency.code(), Severity::Error.code(), Severity::Debug.code()), (0, 3, 7));
    }

    #[test]
    fn a_message_may_name_them_as_the_c_library_does() {
        assert_eq!(Facility::named("LOCAL4"), Some(Facility::Local4));
        assert_eq!(Facility::named("LOG_AUTH"), Some(Facility::Auth));
        assert_eq!(Facility::named("auth"), Some(Facility::Auth));
        assert_eq!(Severity::named("EMERG"), Some(Severity::Emergency));
        assert_eq!(Severity::named("LOG_WARN"), Some(Severity::Warning));
        for unknown in ["", "LOG_", "LOCAL8", "LOCAL4 ", "ééé", "4"] {
            assert_eq!((Facility::named(unknown), Severity::named(unknown)), (None, None), "{unknown}");
        }
    }
}
