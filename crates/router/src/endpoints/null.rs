//! `kind = "null"`: takes every message and forgets it. For trying things, and for measuring everything before the endpoint.

use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Work};
use crate::{batch::Message, config::parameters};

parameters! {
    /// Takes messages and forgets them.
    pub struct Parameters {}
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = "";

impl EndpointSettings for Parameters {
    fn open(&self, _context: EndpointContext) -> Result<Opened, OpenError> {
        Ok(Opened::Blocking(Box::new(Null)))
    }

    fn preview(&self, _message: &Message<'_>) -> Preview {
        Preview::Keeps
    }
}

#[derive(Debug)]
struct Null;

impl Endpoint for Null {
    fn deliver(&mut self, work: &Work) -> Answer {
        Answer::delivered(work.len())
    }
}
