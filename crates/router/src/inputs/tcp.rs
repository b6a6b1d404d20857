//! `kind = "tcp"`: messages over TCP, one a line.
//!
//! A line over the limit is rejected and the stream goes on at the next line break; a last line without one still counts.
//! While an endpoint with `when_full = "block"` is full, its connections are not read, and TCP slows their senders down.

use std::net::SocketAddr;

use super::{
    InputContext, InputSettings, OpenError, OpenedInput,
    streams::{self, ListenerSource, ServeLines},
};
use crate::config::parameters;

parameters! {
    /// Takes messages over TCP, one a line.
    pub struct Parameters {
        /// Where to listen. Port 0 lets the operating system choose.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5565)),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
listen = "127.0.0.1:5565"
"#;

impl InputSettings for Parameters {
    fn keeps_connections(&self) -> bool {
        true
    }

    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let (listener, socket) = streams::listen(context, self.listen)?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let source = ListenerSource::new(listener, ServeLines, socket.clone(), context.clone());
        Ok(OpenedInput {
            sources: vec![Box::new(source)],
            address: address.to_string(),
            sockets: vec![socket],
        })
    }
}
