//! What there is here for a plug-in of logstash that is not turned: the kind that does the same, or something like it.

use metlog_router::{endpoints, inputs};

/// Inputs, the kind that does the same, and what to know of it.
const INPUTS: [(&str, &str, &str); 4] = [
    ("file", "file", "give it `path`, and `decoder = \"line\"` where lines are no JSON"),
    ("unix", "unix", "give it the socket's `path`"),
    ("pipe", "stdin", "start the router behind the other program: PROGRAM | metlog run"),
    ("exec", "stdin", "start the router behind the other program: PROGRAM | metlog run"),
];

/// Outputs in the same way.
const OUTPUTS: [(&str, &str, &str); 19] = [
    ("file", "file", "give it `path`; `{logger}` stands there for what was `%{logger}`"),
    ("http", "http", "give it `url`, and `headers` or `auth`"),
    ("datadog", "http", "give it the `url` of the service, and its key in `headers`"),
    ("elasticsearch_http", "http", "give it the `url` of a collector that takes JSON lines"),
    ("hipchat", "http", "give it the `url` of a webhook, and a `template`"),
    ("librato", "http", "give it the `url` of a collector that takes JSON lines"),
    ("loggly", "http", "give it the `url` of the service"),
    ("pagerduty", "http", "give it the `url` of a webhook, and a `template`"),
    ("statsd", "statsd", "give it `address`; counters and timers have their names in `fields.name`"),
    ("simple_statsd", "statsd", "give it `address`; counters and timers have their names in `fields.name`"),
    ("graphite", "statsd", "it can send to the statsd server in front of Graphite"),
    ("syslog", "syslog", "give it `transport` and `address`"),
    ("cef_syslog", "syslog", "it sends `cef` messages as they are; with transport = \"unix\" to /dev/log"),
    ("sentry", "sentry", "give it the `dsn`, best from the environment"),
    ("tcp", "metlog", "it sends lines of JSON over TCP to another router, or to whatever reads them"),
    ("udp", "syslog", "with transport = \"udp\" it sends each message as a datagram"),
    ("zeromq", "metlog", "it sends lines of JSON over TCP; the other side needs a `tcp` input"),
    ("websocket", "http", "give it the `url` of a collector that takes JSON lines"),
    ("null", "null", "a message that no route takes goes nowhere without it, too"),
];

/// What to do instead of this input.
pub(super) fn of_input(name: &str) -> String {
    match INPUTS.iter().find(|(theirs, ..)| *theirs == name) {
        Some((_, kind, advice)) => format!("write an input of kind `{kind}`: {advice}"),
        None => {
            let kinds = listed(inputs::registry::KINDS.iter().map(|kind| kind.name));
            format!("have the senders send to a `udp` or `tcp` input; the kinds of inputs are {kinds}")
        }
    }
}

/// What to do instead of this output.
pub(super) fn of_output(name: &str) -> String {
    match OUTPUTS.iter().find(|(theirs, ..)| *theirs == name) {
        Some((_, kind, advice)) => format!("write an endpoint of kind `{kind}`: {advice}"),
        None => {
            let kinds = listed(endpoints::registry::KINDS.iter().map(|kind| kind.name));
            format!("see whether one of the kinds of endpoints does: {kinds}")
        }
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_there() {
        for (theirs, kind, _) in INPUTS {
            assert!(inputs::registry::KINDS.iter().any(|known| known.name == kind), "{theirs}: {kind}");
        }
        for (theirs, kind, _) in OUTPUTS {
            assert!(endpoints::registry::KINDS.iter().any(|known| known.name == kind), "{theirs}: {kind}");
        }
    }

    #[test]
    fn a_plug_in_without_a_relative_gets_the_list() {
        assert!(of_output("mongodb").contains("`http`"));
        assert!(of_input("gelf").contains("`tcp`"));
    }
}
