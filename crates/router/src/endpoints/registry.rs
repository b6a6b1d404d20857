//! Every kind of endpoint, by name.

use super::{EndpointSettings, statsd};
use crate::config::{Kind, Section};

macro_rules! kind {
    ($name:literal, $module:ident, $summary:literal) => {
        Kind {
            name: $name,
            summary: $summary,
            docs: $module::Parameters::docs,
            sample: $module::SAMPLE,
            read: |section: &mut Section<'_>| {
                $module::Parameters::read(section)
                    .map(|parameters| Box::new(parameters) as Box<dyn EndpointSettings>)
            },
        }
    };
}

/// The kinds, sorted by name.
pub static KINDS: &[Kind<dyn EndpointSettings>] = &[kind!("statsd", statsd, "counters and timers to a statsd server")];
