//! What a message itself says of facility, severity and ident: `fields.cef_meta`, as the CEF plug-in of the original
//! clients writes it.

use std::borrow::Cow;

use memchr::{memchr, memmem};
use metlog_message::{Key, Kind, Path, Value, lookup};

use super::priority::{Facility, Severity};
use crate::batch::Message;

/// What stands in `fields.cef_meta`; what is missing or null there is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meta<'m> {
    pub(super) facility: Option<Facility>,
    pub(super) severity: Option<Severity>,
    pub(super) ident: Option<Cow<'m, str>>,
    /// A facility or severity is named that does not exist.
    pub(super) has_unknown_name: bool,
}

/// Finds it in messages.
#[derive(Debug)]
pub(super) struct MetaReader {
    path: Option<Path>,
    name: memmem::Finder<'static>,
}

impl MetaReader {
    pub(super) fn new() -> MetaReader {
        MetaReader { path: Path::parse("fields.cef_meta").ok(), name: memmem::Finder::new(b"cef_meta") }
    }

    pub(super) fn read<'m>(&self, message: &Message<'m>) -> Meta<'m> {
        // Most messages have none, and looking at the bytes is cheaper than walking through the members. A name may be
        // written with escapes.
        let fields = message.index.raw(message.bytes, Key::Fields).unwrap_or_default();
        if self.name.find(fields).is_none() && memchr(b'\\', fields).is_none() {
            return Meta::default();
        }
        let found = self.path.as_ref().and_then(|path| lookup(message.bytes, message.index, path));
        found.map(Meta::read).unwrap_or_default()
    }
}

impl<'m> Meta<'m> {
    fn read(value: Value<'m>) -> Meta<'m> {
        let mut meta = Meta::default();
        let text = |name| value.get(name).filter(|value| value.kind() != Kind::Null).map(Value::text);
        if let Some(name) = text("syslog_facility").filter(|name| !name.is_empty()) {
            meta.facility = Facility::named(&name);
            meta.has_unknown_name |= meta.facility.is_none();
        }
        if let Some(name) = text("syslog_priority").filter(|name| !name.is_empty()) {
            meta.severity = Severity::named(&name);
            meta.has_unknown_name |= meta.severity.is_none();
        }
        meta.ident = text("syslog_ident").filter(|ident| !ident.is_empty());
        meta
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{batch::Handover, testing::batch_of};

    fn read(fields: &str) -> (Option<Facility>, Option<Severity>, Option<String>, bool) {
        let message = format!(r#"{{"type":"cef","timestamp":"2012-07-18T21:13:25Z","fields":{fields}}}"#);
        let handover = Handover::all(&Arc::new(batch_of(&[message])));
        let meta = MetaReader::new().read(&handover.message(0).unwrap());
        (meta.facility, meta.severity, meta.ident.map(Cow::into_owned), meta.has_unknown_name)
    }

    #[test]
    fn what_the_clients_write_is_read() {
        let all = r#"{"cef_meta":{"syslog_options":"NDELAY,PID","syslog_facility":"KERN","syslog_ident":"ö","syslog_priority":"ALERT"}}"#;
        assert_eq!(read(all), (Some(Facility::Kern), Some(Severity::Alert), Some("ö".to_owned()), false));
        let escaped = r#"{"cef\u005fmeta":{"syslog_facility":"CRON"}}"#;
        assert_eq!(read(escaped).0, Some(Facility::Cron));
    }

    #[test]
    fn null_and_empty_count_as_missing_and_an_unknown_name_is_remarked() {
        let nothing = (None, None, None, false);
        assert_eq!(
            read(r#"{"cef_meta":{"syslog_facility":null,"syslog_ident":null,"syslog_priority":""}}"#),
            nothing
        );
        assert_eq!(read(r#"{"cef_meta":"text"}"#), nothing);
        assert_eq!(read(r#"{"cef_meta":null,"other_meta":1}"#), nothing);
        assert_eq!(read("{}"), nothing);
        assert_eq!(read(r#"{"cef_meta":{"syslog_facility":"LOCAL9"}}"#), (None, None, None, true));
        assert_eq!(read(r#"{"cef_meta":{"syslog_priority":7}}"#), (None, None, None, true));
    }
}
