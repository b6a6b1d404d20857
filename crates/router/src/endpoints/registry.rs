//! Every kind of endpoint, by name.

use super::{EndpointSettings, counter, file, http, metlog, null, sentry, statsd, stdout, syslog};
use crate::config::{Kind, kind};

/// The kinds, sorted by name.
pub static KINDS: &[Kind<dyn EndpointSettings>] = &[
    kind!(EndpointSettings, "counter", counter, "counts messages and prints a line a second"),
    kind!(EndpointSettings, "file", file, "messages to files, as JSON or text lines"),
    kind!(EndpointSettings, "http", http, "messages to any HTTP server, many with one request"),
    kind!(EndpointSettings, "metlog", metlog, "messages to another router, as they came"),
    kind!(EndpointSettings, "null", null, "takes messages and forgets them"),
    kind!(EndpointSettings, "sentry", sentry, "errors to Sentry, as events"),
    kind!(EndpointSettings, "statsd", statsd, "counters, timers, gauges and sets to a statsd server"),
    kind!(EndpointSettings, "stdout", stdout, "messages to standard output, as JSON or text lines"),
    kind!(EndpointSettings, "syslog", syslog, "messages to a syslog server, CEF events among them"),
];
