//! `kind = "stdin"`: messages from standard input, one a line.
//!
//! When it ends and no other input is left, the router delivers what it has and exits, so that it can stand at the end of a
//! shell pipeline.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd},
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
        // A duplicate, read without the standard library's own buffer: what that had taken, polling would not see.
        let stdin = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|error| context.error(format!("cannot read standard input: {error}")))?;
        let source = StdinSource { stdin: File::from(stdin), lines: LineReader::new(context.clone()) };
        Ok(OpenedInput {
            sources: vec![Box::new(source)],
            address: "standard input".to_owned(),
            sockets: Vec::new(),
        })
    }
}

/// Standard input stays in blocking mode, because the mode belongs to the terminal or pipe and other processes share it;
/// instead, each read is preceded by the question whether it would wait.
#[derive(Debug)]
struct StdinSource {
    stdin: File,
    lines: LineReader,
}

impl Source for StdinSource {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut SourceFd(&self.stdin.as_raw_fd()), token, Interest::READABLE)
    }

    fn read(&mut self, flow: &mut Flow<'_>) -> Progress {
        match sys::is_readable(&self.stdin) {
            Ok(true) => {}
            Ok(false) => return Progress::Drained,
            Err(error) => return after_poll_failed(&error),
        }
        match self.lines.read(flow, |space| self.stdin.read(space)) {
            // A short read of a file or terminal does not mean that nothing more is there; the next question will tell.
            Progress::Drained => Progress::More,
            progress => progress,
        }
    }

    fn finish(&mut self, flow: &mut Flow<'_>) {
        self.lines.finish(flow);
    }
}

fn after_poll_failed(error: &io::Error) -> Progress {
    // A signal that came in between says nothing of standard input.
    if error.kind() == io::ErrorKind::Interrupted {
        return Progress::More;
    }
    tracing::warn!(%error, "cannot wait for standard input, which counts as its end");
    Progress::Ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_not_the_end_of_standard_input() {
        let after = |number| after_poll_failed(&io::Error::from_raw_os_error(number));
        assert_eq!([after(libc::EINTR), after(libc::ENOMEM)], [Progress::More, Progress::Ended]);
    }
}
