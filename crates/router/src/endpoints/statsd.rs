//! `kind = "statsd"`: counters, timers, gauges and sets to a statsd server.

use super::{EndpointContext, EndpointSettings, OpenError, Opened};
use crate::config::{Address, parameters};

parameters! {
    /// Sends counters, timers, gauges and sets to a statsd server.
    pub struct Parameters {
        /// The server's host and port.
        pub address: Address = Address { host: "127.0.0.1".to_owned(), port: 8125 },
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
address = "127.0.0.1:8125"
"#;

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        Err(OpenError { name: context.name, problem: "not built yet".to_owned() })
    }
}
