//! Every kind of input, by name.

use super::{InputSettings, stdin, tcp, udp, unix};
use crate::config::{Kind, Section};

macro_rules! kind {
    ($name:literal, $module:ident, $summary:literal) => {
        Kind {
            name: $name,
            summary: $summary,
            docs: $module::Parameters::docs,
            sample: $module::SAMPLE,
            read: |section: &mut Section<'_>| {
                let parameters = $module::Parameters::read(section)?;
                parameters.check(section);
                Some(Box::new(parameters) as Box<dyn InputSettings>)
            },
        }
    };
}

/// The kinds, sorted by name.
pub static KINDS: &[Kind<dyn InputSettings>] = &[
    kind!("stdin", stdin, "messages from standard input, one a line"),
    kind!("tcp", tcp, "messages over TCP, one a line"),
    kind!("udp", udp, "messages in UDP datagrams"),
    kind!("unix", unix, "messages over a Unix socket"),
];
