//! `kind = "counter"`: counts messages and prints a line a second, `total` and rate, while any arrive.

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Work};
use crate::{batch::Message, clock::Clock, config::parameters};

parameters! {
    /// Counts messages and prints the total and the rate to standard output.
    pub struct Parameters {
        /// How often a line is printed. Nothing is printed while nothing arrives.
        pub interval: Duration = Duration::from_secs(1),
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
interval = "1s"
"#;

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        Ok(Opened::Blocking(Box::new(CountingEndpoint {
            name: context.name,
            clock: context.clock,
            interval: self.interval.max(Duration::from_millis(1)),
            out: io::stdout(),
            total: 0,
            printed: 0,
            since: None,
        })))
    }

    fn preview(&self, _message: &Message<'_>) -> Preview {
        Preview::Keeps
    }
}

#[derive(Debug)]
struct CountingEndpoint<W: Write> {
    name: String,
    clock: Arc<dyn Clock>,
    interval: Duration,
    out: W,
    total: u64,
    /// The total at the last line.
    printed: u64,
    /// Since when what is not printed yet has been counted.
    since: Option<Duration>,
}

impl<W: Write + Send> Endpoint for CountingEndpoint<W> {
    fn deliver(&mut self, work: &Work) -> Answer {
        self.total += work.len() as u64;
        self.since.get_or_insert_with(|| self.clock.monotonic());
        Answer::delivered(work.len())
    }

    fn next_tick(&self) -> Option<Duration> {
        self.since.map(|since| since + self.interval)
    }

    fn tick(&mut self, now: Duration) {
        let Some(since) = self.since.take() else { return };
        let fresh = self.total - self.printed;
        let seconds = now.saturating_sub(since).as_secs_f64();
        let rate = if seconds > 0.0 { fresh as f64 / seconds } else { 0.0 };
        self.printed = self.total;
        // Who does not read standard output does not want to know.
        let _ = writeln!(self.out, "{}: {} messages, {rate:.0}/s", self.name, self.total);
    }
}

impl<W: Write> Drop for CountingEndpoint<W> {
    fn drop(&mut self) {
        if self.total > self.printed {
            // Not `println`: it panics when standard output is closed.
            let _ = writeln!(self.out, "{}: {} messages", self.name, self.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ManualClock, lines, work_of};

    fn endpoint<W: Write>(out: W) -> CountingEndpoint<W> {
        CountingEndpoint {
            name: "seen".to_owned(),
            clock: Arc::new(ManualClock::default()),
            interval: Duration::from_secs(1),
            out,
            total: 0,
            printed: 0,
            since: None,
        }
    }

    #[test]
    fn a_line_tells_the_total_and_the_rate_and_silence_tells_nothing() {
        let mut endpoint = endpoint(Vec::new());
        assert_eq!(endpoint.next_tick(), None);
        endpoint.deliver(&work_of(&lines(30)));
        endpoint.deliver(&work_of(&lines(20)));
        assert_eq!(endpoint.next_tick(), Some(Duration::from_secs(1)));
        endpoint.tick(Duration::from_secs(2));
        assert_eq!(endpoint.next_tick(), None);
        assert_eq!(String::from_utf8_lossy(&endpoint.out), "seen: 50 messages, 25/s\n");
    }

    /// Standard output that nobody reads.
    struct Closed<'a>(&'a mut usize);

    impl Write for Closed<'_> {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            *self.0 += 1;
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_last_line_goes_where_the_others_went_and_a_closed_output_is_no_harm() {
        let mut attempts = 0;
        let mut counting = endpoint(Closed(&mut attempts));
        counting.deliver(&work_of(&lines(1)));
        drop(counting);
        assert_eq!(attempts, 1);
    }
}
