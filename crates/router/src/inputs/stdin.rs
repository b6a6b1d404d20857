//! `kind = "stdin"`: messages from standard input, one a line.
//!
//! When it ends and no other input is left, the router delivers what it has and exits, so that it can stand at the end of a
//! shell pipeline.

use std::{
    io::{self, Read},
    os::fd::AsRawFd,
};

use mio::{Interest, Registry, Token, unix::SourceFd};

use super::{
    Flow, InputContext, InputSettings, OpenError, OpenedInput, Progress, Source, streams::LineReader,
};
use crate::{config::parameters, sys};

parameters! {
    /// Takes messages from standard input, one a line.
    pub struct Parameters {}
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
decoder = "line"
"#;

impl InputSettings for Parameters {
    fn open(&self, context: &InputContext) -> Result<OpenedInput, OpenError> {
        let source = StdinSource { lines: LineReader::new(context.clone()) };
        Ok(OpenedInput { sources: vec![Box::new(source)], address: "standard input".to_owned() })
    }
}

/// Standard input stays in blocking mode, because the mode belongs to the terminal or pipe and other processes share it;
/// instead, each read is preceded by the question whether it would wait.
#[derive(Debug)]
struct StdinSource {
    lines: LineReader,
}

impl Source for StdinSource {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&io::stdin().as_raw_fd()), token, Interest::READABLE)
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        match sys::is_readable(&io::stdin()) {
            Ok(true) => {}
            Ok(false) => return Progress::Drained,
            Err(_) => return Progress::Ended,
        }
        match self.lines.read(flow, |space| io::stdin().lock().read(space)) {
            // A short read of a file or terminal does not mean that nothing more is there; the next question will tell.
            Progress::Drained => Progress::More,
            progress => progress,
        }
    }

    fn finish(&mut self, flow: &mut Flow<'_>) {
        self.lines.finish(flow);
    }
}
