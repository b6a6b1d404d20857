//! Every kind of endpoint, by name.

use super::{EndpointSettings, counter, file, null, statsd, stdout};
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
                Some(Box::new(parameters) as Box<dyn EndpointSettings>)
            },
        }
    };
}

/// The kinds, sorted by name.
pub static KINDS: &[Kind<dyn EndpointSettings>] = &[
    kind!("counter", counter, "counts messages and prints a line a second"),
    kind!("file", file, "messages to files, as JSON or text lines"),
    kind!("null", null, "takes messages and forgets them"),
    kind!("statsd", statsd, "counters, timers, gauges and sets to a statsd server"),
    kind!("stdout", stdout, "messages to standard output, as JSON or text lines"),
];
