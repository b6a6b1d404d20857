//! `kind = "stdout"`: messages to standard output, as JSON or text lines.

use std::io::{self, Write};

use metlog_buffer::WhenFull;

use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Work};
use crate::{
    config::{Section, parameters},
    line_format::{self, Format, LineFormat, Multiline},
    template::Template,
};

parameters! {
    /// Writes messages to standard output, one a line.
    pub struct Parameters {
        /// How a message is written.
        pub format: Format = Format::Json,
        /// What a line looks like with `format = "text"`.
        pub template: Template = Template::timestamp_and_payload(),
        /// What becomes of line breaks inside a message with `format = "text"`.
        pub multiline: Multiline = Multiline::Escape,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
format = "text"
template = "{severity} {logger}: {payload}"
"#;

/// Lines are written when so many bytes have come together, or when there is no more work.
const FLUSH_BYTES: usize = 64 * 1024;

impl EndpointSettings for Parameters {
    fn open(&self, _context: EndpointContext) -> Result<Opened, OpenError> {
        let format = LineFormat::new(self.format, &self.template, self.multiline);
        Ok(Opened::Blocking(Box::new(Stdout { format, pending: Vec::new() })))
    }

    fn check(&self, section: &mut Section<'_>) {
        line_format::check(self.format, section);
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Block
    }
}

#[derive(Debug)]
struct Stdout {
    format: LineFormat,
    pending: Vec<u8>,
}

impl Endpoint for Stdout {
    fn deliver(&mut self, work: &Work) -> Answer {
        let mut out = io::stdout().lock();
        let mut settled = 0;
        let mut pending = 0;
        let mut flush = |bytes: &mut Vec<u8>| {
            let outcome = out.write_all(bytes).and_then(|()| out.flush());
            bytes.clear();
            outcome
        };
        for message in work.messages() {
            self.format.write(&message, &mut self.pending);
            pending += 1;
            if self.pending.len() >= FLUSH_BYTES {
                if let Err(error) = flush(&mut self.pending) {
                    return Answer::retry(settled, format!("cannot write to standard output: {error}"));
                }
                settled += std::mem::take(&mut pending);
            }
        }
        match flush(&mut self.pending) {
            Ok(()) => Answer::delivered(settled + pending),
            Err(error) => Answer::retry(settled, format!("cannot write to standard output: {error}")),
        }
    }
}
