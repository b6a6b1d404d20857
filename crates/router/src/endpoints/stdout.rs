//! `kind = "stdout"`: messages to standard output, as JSON or text lines.
//!
//! When nobody reads standard output any more, the router ends, as a program in a shell pipeline does.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use metlog_buffer::WhenFull;

use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Work};
use crate::{
    batch::Message,
    config::{Section, parameters},
    line_format::{self, Format, LineFormat, Multiline},
    sys,
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
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        // A duplicate, because the standard library's own writer gathers lines and does not say how far it came.
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(|error| OpenError {
            name: context.name,
            problem: format!("cannot use standard output: {error}"),
        })?;
        let format = LineFormat::new(self.format, &self.template, self.multiline);
        Ok(Opened::Blocking(Box::new(Stdout::new(format, File::from(out)))))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        let mut bytes = Vec::new();
        LineFormat::new(self.format, &self.template, self.multiline).write(message, &mut bytes);
        Preview::Sends { to: "standard output".to_owned(), bytes }
    }

    fn check(&self, section: &mut Section<'_>) {
        line_format::check(self.format, section);
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Block
    }
}

/// What is needed of standard output, so that tests can make it fail in every place.
trait Stream: Write + Send {
    /// Waits until a write would not fail with `WouldBlock`.
    fn wait(&mut self) -> io::Result<()>;
}

impl Stream for File {
    fn wait(&mut self) -> io::Result<()> {
        sys::wait_until_writable(self)
    }
}

#[derive(Debug)]
struct Stdout<W> {
    format: LineFormat,
    out: W,
    pending: Vec<u8>,
    /// Where each pending message ends.
    ends: Vec<usize>,
    /// How many bytes of `pending` were written before.
    written: usize,
    /// A write failed in the middle of this message: the message, and how many bytes of it are out.
    begun: Option<(Vec<u8>, usize)>,
}

impl<W: Stream> Stdout<W> {
    fn new(format: LineFormat, out: W) -> Self {
        Stdout { format, out, pending: Vec::new(), ends: Vec::new(), written: 0, begun: None }
    }

    /// Writes what is pending; nothing is pending afterwards. Returns how many messages are out as a whole.
    fn flush(&mut self) -> (usize, io::Result<()>) {
        let outcome = self.write_pending();
        let whole = self.ends.partition_point(|&end| end <= self.written);
        let start = if whole == 0 { 0 } else { self.ends[whole - 1] };
        if self.written > start
            && let Some(&end) = self.ends.get(whole)
        {
            self.begun = Some((self.pending[start..end].to_vec(), self.written - start));
        }
        self.pending.clear();
        self.ends.clear();
        self.written = 0;
        (whole, outcome)
    }

    fn write_pending(&mut self) -> io::Result<()> {
        while self.written < self.pending.len() {
            match self.out.write(&self.pending[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody who shares it has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.out.wait() {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                    _ => {}
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<W: Stream> Endpoint for Stdout<W> {
    fn deliver(&mut self, work: &Work) -> Answer {
        let answer = |settled, outcome: io::Result<()>| match outcome {
            Ok(()) => Answer::delivered(settled),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Answer::gone(settled, "nobody reads standard output any more")
            }
            Err(error) => Answer::retry(settled, format!("cannot write to standard output: {error}")),
        };
        let mut settled = 0;
        for message in work.messages() {
            self.format.write(&message, &mut self.pending);
            if let Some((begun, written)) = self.begun.take() {
                if self.pending == begun {
                    self.written = written;
                } else {
                    // The buffer gave its message up, but its line has to end before another begins.
                    self.pending.splice(..0, begun.into_iter().skip(written));
                }
            }
            self.ends.push(self.pending.len());
            if self.pending.len() >= FLUSH_BYTES {
                let (whole, outcome) = self.flush();
                settled += whole;
                if outcome.is_err() {
                    return answer(settled, outcome);
                }
            }
        }
        let (whole, outcome) = self.flush();
        answer(settled + whole, outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io::ErrorKind};

    use super::*;
    use crate::{
        endpoints::Then,
        testing::{lines, work_of},
    };

    /// What a write does: take so many bytes, or fail.
    type Script = VecDeque<Result<usize, ErrorKind>>;

    /// Takes everything once its script has ended.
    #[derive(Debug, Default)]
    struct Scripted {
        script: Script,
        text: Vec<u8>,
        waits: usize,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.script.pop_front().unwrap_or(Ok(bytes.len()))?.min(bytes.len());
            self.text.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Stream for Scripted {
        fn wait(&mut self) -> io::Result<()> {
            self.waits += 1;
            Ok(())
        }
    }

    fn endpoint(script: impl Into<Script>) -> Stdout<Scripted> {
        let out = Scripted { script: script.into(), ..Scripted::default() };
        Stdout::new(LineFormat::Json, out)
    }

    #[test]
    fn short_writes_and_a_full_pipe_neither_tear_nor_repeat_a_line() {
        let lines = lines(3);
        let mut endpoint =
            endpoint([Ok(10), Err(ErrorKind::WouldBlock), Ok(200), Err(ErrorKind::Interrupted)]);
        assert_eq!(endpoint.deliver(&work_of(&lines)), Answer::delivered(3));
        assert_eq!(endpoint.out.text, lines.concat().as_bytes());
        assert_eq!(endpoint.out.waits, 1);
    }

    #[test]
    fn after_an_error_in_the_middle_of_a_line_its_rest_comes_next() {
        let lines = lines(3);
        let first = lines[0].len();
        let mut endpoint =
            endpoint([Ok(first + 10), Err(ErrorKind::StorageFull), Ok(10), Err(ErrorKind::StorageFull)]);
        let answer = endpoint.deliver(&work_of(&lines));
        assert_eq!((answer.settled, matches!(answer.then, Then::Retry { .. })), (1, true));
        let answer = endpoint.deliver(&work_of(&lines[1..]));
        assert_eq!((answer.settled, matches!(answer.then, Then::Retry { .. })), (0, true));
        assert_eq!(endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(2));
        assert_eq!(endpoint.out.text, lines.concat().as_bytes());
    }

    #[test]
    fn a_begun_line_is_ended_even_if_its_message_is_not_offered_again() {
        let lines = lines(2);
        let mut endpoint = endpoint([Ok(10), Err(ErrorKind::StorageFull)]);
        assert_eq!(endpoint.deliver(&work_of(&lines[..1])).settled, 0);
        assert_eq!(endpoint.deliver(&work_of(&lines[1..])), Answer::delivered(1));
        assert_eq!(endpoint.out.text, lines.concat().as_bytes());
    }

    #[test]
    fn a_broken_pipe_is_the_end() {
        let lines = lines(3);
        let mut endpoint = endpoint([Ok(lines[0].len()), Err(ErrorKind::BrokenPipe)]);
        let answer = endpoint.deliver(&work_of(&lines));
        assert_eq!((answer.settled, matches!(answer.then, Then::Gone { .. })), (1, true));
    }
}
