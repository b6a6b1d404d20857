//! Lines of the log that say the same again and again: the first few are written, the others counted, and one line tells how
//! many they were.
//!
//! Much of what the router logs is caused by what others send, and whoever can connect must not be able to fill a disk.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// So many equal lines are written within a window; more are counted.
const WRITTEN: u64 = 5;

/// How long equal lines are counted before that is said, from the first of them on.
const WINDOW: Duration = Duration::from_secs(10);

/// How many different lines are told apart. Beyond, lines count as equal if the same place in the code writes them.
const DIFFERENT_LINES: usize = 256;

/// How much of a line is remembered.
const TEXT_BYTES: usize = 512;

/// The lines about repetitions themselves, which are always written.
const TARGET: &str = "metlog::repeats";

/// Lines that are always written, because each is part of a whole, and nobody outside decides how many there are.
pub const REPORT: &str = "metlog::report";

/// The layer to be put on top of what writes the log, and a guard that says what is still counted when it is dropped.
pub fn suppress() -> (Suppress, Guard) {
    let shared =
        Arc::new(Shared { started: Instant::now(), counts: Mutex::default(), suppressed: Condvar::new() });
    let speaker = shared.clone();
    // Without it lines are still suppressed, and counted for the guard to say.
    let _ = thread::Builder::new().name("log".to_owned()).spawn(move || speaker.speak());
    (Suppress(shared.clone()), Guard(shared))
}

/// See [`suppress`].
pub struct Suppress(Arc<Shared>);

/// See [`suppress`].
pub struct Guard(Arc<Shared>);

struct Shared {
    started: Instant,
    counts: Mutex<Counts>,
    /// A first line was suppressed.
    suppressed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how often lines were repeated, whenever a window ends.
    fn speak(&self) {
        let mut counts = self.lock();
        loop {
            let now = self.started.elapsed();
            let over = counts.over(now);
            if !over.is_empty() {
                drop(counts);
                over.iter().for_each(Repeated::say);
                counts = self.lock();
                continue;
            }
            counts = match counts.next_end() {
                Some(end) => {
                    let waited = self.suppressed.wait_timeout(counts, end.saturating_sub(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.suppressed.wait(counts).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl<S: Subscriber> Layer<S> for Suppress {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if [TARGET, REPORT].contains(&metadata.target()) {
            return true;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let now = self.0.started.elapsed();
        let verdict = self.0.lock().count(now, metadata.callsite(), text.finish(), *metadata.level());
        if verdict == Verdict::FirstSuppressed {
            self.0.suppressed.notify_one();
        }
        verdict == Verdict::Written
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let all = self.0.lock().over(Duration::MAX);
        all.iter().for_each(Repeated::say);
    }
}

#[derive(Default)]
struct Counts(HashMap<(Identifier, String), Count>);

struct Count {
    level: Level,
    since: Duration,
    times: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Written,
    FirstSuppressed,
    Suppressed,
}

/// A line of which some were suppressed.
#[derive(Debug, PartialEq, Eq)]
struct Repeated {
    level: Level,
    text: String,
    times: u64,
}

impl Counts {
    fn count(&mut self, now: Duration, callsite: Identifier, text: String, level: Level) -> Verdict {
        let mut key = (callsite, text);
        if self.0.len() >= DIFFERENT_LINES && !self.0.contains_key(&key) {
            self.0.retain(|_, count| count.suppressed() > 0 || now < count.end());
            if self.0.len() >= DIFFERENT_LINES {
                // There are only so many places in the code.
                key.1 = "various".to_owned();
            }
        }
        let count = self.0.entry(key).or_insert(Count { level, since: now, times: 0 });
        if count.suppressed() == 0 && now >= count.end() {
            *count = Count { level, since: now, times: 0 };
        }
        count.times += 1;
        match count.suppressed() {
            0 => Verdict::Written,
            1 => Verdict::FirstSuppressed,
            _ => Verdict::Suppressed,
        }
    }

    /// Takes out what was suppressed in windows that have ended.
    fn over(&mut self, now: Duration) -> Vec<Repeated> {
        let over = self.0.extract_if(|_, count| count.suppressed() > 0 && now >= count.end());
        over.map(|((_, text), count)| Repeated { level: count.level, text, times: count.suppressed() })
            .collect()
    }

    /// When the next window ends in which anything was suppressed.
    fn next_end(&self) -> Option<Duration> {
        self.0.values().filter(|count| count.suppressed() > 0).map(Count::end).min()
    }
}

impl Count {
    fn suppressed(&self) -> u64 {
        self.times.saturating_sub(WRITTEN)
    }

    fn end(&self) -> Duration {
        self.since + WINDOW
    }
}

impl Repeated {
    fn say(&self) {
        let Repeated { level, text, times } = self;
        match *level {
            Level::ERROR => tracing::error!(target: TARGET, "{text} … repeated {times} times"),
            Level::WARN => tracing::warn!(target: TARGET, "{text} … repeated {times} times"),
            Level::INFO => tracing::info!(target: TARGET, "{text} … repeated {times} times"),
            Level::DEBUG => tracing::debug!(target: TARGET, "{text} … repeated {times} times"),
            Level::TRACE => tracing::trace!(target: TARGET, "{text} … repeated {times} times"),
        }
    }
}

/// An event as text: its message, then its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn finish(mut self) -> String {
        self.message += &self.fields;
        let end = self.message.floor_char_boundary(TEXT_BYTES);
        self.message.truncate(end);
        self.message
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

    use std::io;

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    /// Gathers what is logged.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Written {
        type Writer = Written;

        fn make_writer(&'w self) -> Written {
            self.clone()
        }
    }

    fn logged(act: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        let (suppress, guard) = suppress();
        let log = tracing_subscriber::fmt().with_writer(written.clone()).with_ansi(false).without_time();
        tracing::subscriber::with_default(log.with_target(false).finish().with(suppress), || {
            act();
            drop(guard);
        });
        let text = written.0.lock().unwrap();
        String::from_utf8_lossy(&text).lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn equal_lines_are_written_a_few_times_and_then_counted() {
        let lines = logged(|| {
            for _ in 0..2_000 {
                tracing::warn!(input = "tcp", "refused");
            }
            tracing::info!("something else");
        });
        let mut expected = vec!["WARN refused input=\"tcp\""; 5];
        expected.extend(["INFO something else", "WARN refused input=tcp … repeated 1995 times"]);
        assert_eq!(lines, expected);
    }

    #[test]
    fn lines_that_differ_in_a_field_are_not_equal() {
        let lines = logged(|| (0..20).for_each(|number| tracing::warn!(number, "different")));
        assert_eq!(lines.len(), 20);
    }

    #[test]
    fn many_different_lines_of_one_place_are_suppressed_too() {
        let lines = logged(|| (0..10_000).for_each(|number| tracing::warn!(number, "different")));
        assert_eq!(lines.len(), DIFFERENT_LINES + WRITTEN as usize + 1);
        let suppressed = 10_000 - DIFFERENT_LINES - WRITTEN as usize;
        assert_eq!(*lines.last().unwrap(), format!("WARN various … repeated {suppressed} times"));
    }

    #[test]
    fn a_report_of_any_length_is_written_whole() {
        let lines = logged(|| {
            (0..1_000).for_each(|number| tracing::info!(target: REPORT, number, "part"));
            (0..10).for_each(|_| tracing::info!(target: REPORT, "equal part"));
        });
        assert_eq!(lines.len(), 1_010);
    }

    #[test]
    fn a_window_begins_with_the_first_line_and_its_count_is_told_at_its_end() {
        fn callsite() -> Identifier {
            tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: message)
                .metadata()
                .callsite()
        }
        use tracing::Callsite as _;
        let mut counts = Counts::default();
        let count = |counts: &mut Counts, seconds| {
            counts.count(Duration::from_secs(seconds), callsite(), "refused".to_owned(), Level::WARN)
        };
        for _ in 0..WRITTEN {
            assert_eq!(count(&mut counts, 1), Verdict::Written);
        }
        assert_eq!(counts.next_end(), None);
        assert_eq!(count(&mut counts, 2), Verdict::FirstSuppressed);
        assert_eq!(count(&mut counts, 3), Verdict::Suppressed);
        assert_eq!(counts.next_end(), Some(Duration::from_secs(11)));
        assert_eq!(counts.over(Duration::from_secs(10)), []);
        let told = Repeated { level: Level::WARN, text: "refused".to_owned(), times: 2 };
        assert_eq!(counts.over(Duration::from_secs(11)), [told]);
        assert_eq!(count(&mut counts, 12), Verdict::Written);
        assert_eq!(
            count(&mut counts, 30),
            Verdict::Written,
            "an old window without repetitions is forgotten"
        );
        assert!(counts.over(Duration::MAX).is_empty());
    }
}
