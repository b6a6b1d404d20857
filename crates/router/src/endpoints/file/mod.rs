//! `kind = "file"`: messages to files, as JSON or text lines.
//!
//! The path may name parts of the message (`logs/{logger}.log`); whatever a message says, the file lies inside the folder
//! that the path names before its first placeholder. Files are appended to with few, large writes; a full disk or a missing
//! permission is tried again until it works, and no line is ever left half written.
//!
//! Files that are large or old enough give way to new ones (`rotation.rs`, `log_file.rs`); what becomes of the old ones is
//! the business of a thread of its own (`housekeeping.rs`).

mod compression;
mod housekeeping;
mod log_file;
mod meta;
mod named_pipe;
mod open_files;
mod output;
mod permissions;
mod rotated;
mod rotation;
mod tidying;
mod walk;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use metlog_buffer::WhenFull;

use self::{
    housekeeping::Housekeeper,
    meta::{Meta, Order},
    open_files::OpenFiles,
    output::Output,
    permissions::{Group, Mode, Permissions, User},
    rotation::{Opening, Rotate, Rotation},
    tidying::Rules,
};
use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Then, Work};
use crate::{
    acknowledgement::Ack,
    batch::Message,
    clock::Clock,
    config::{Section, parameters, types},
    line_format::{self, Format, LineFormat, Multiline},
    template::{Template, path_part},
    territory::Territory,
};

parameters! {
    /// Appends messages to files, one a line.
    pub struct Parameters {
        /// Where to write. Placeholders such as `{logger}`, `{date}` (of the message, in UTC), `{hour}` or
        /// `{fields.name}` choose the file by message; missing folders are made. Letters, digits, `-`, `_` and `.` of a
        /// value are kept, other bytes become %XX, and an empty value becomes `_`.
        pub path: Template,
        /// How a message is written.
        pub format: Format = Format::Json,
        /// What a line looks like with `format = "text"`.
        pub template: Template = Template::timestamp_and_payload(),
        /// What becomes of line breaks inside a message with `format = "text"`.
        pub multiline: Multiline = Multiline::Escape,
        /// When a file gives way to a new one, and what becomes of the old ones.
        pub rotate: Option<Rotate>,
        /// The permissions of new files. Without it `"0640"`, less the umask.
        pub mode: Option<Mode>,
        /// The permissions of new folders. Without it `"0700"`, less the umask.
        pub dir_mode: Option<Mode>,
        /// Whose new files and folders are. Needs root, unless it is the router's own user.
        pub owner: Option<User>,
        /// Which group's new files and folders are: one that the router is in, unless it runs as root.
        pub group: Option<Group>,
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
path = "logs/{logger}.log"
format = "text"
template = "{timestamp} {payload}"
rotate = { size = "256MiB", every = "1d", keep = 14, max_age = "30d", compress = "zstd" }
mode = "0640"
"#;

/// From this size on, bytes that lie side by side in memory are written from where they are.
const DIRECT_BYTES: usize = 16 * 1024;

/// Pending bytes of all files together are written when they reach this size.
const FLUSH_BYTES: usize = 256 * 1024;

/// Files that a message has closed are opened again after so long, whether or not another message says so.
const CLOSED_LONGEST: Duration = Duration::from_secs(10);

/// While they are closed, what has come meanwhile is looked at after so long.
const CLOSED_PAUSE: Duration = Duration::from_millis(20);

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        Ok(Opened::Blocking(Box::new(self.closed(context)?)))
    }

    fn territory(&self) -> Option<Territory> {
        Some(Territory::of(&self.path))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        if let Some(order) = Meta::new().order(message) {
            return Preview::Obeys { order: order.word() };
        }
        let (mut path, mut bytes) = (Vec::new(), Vec::new());
        render_path(&self.path, message, &mut path, self.rotate.is_some());
        LineFormat::new(self.format, &self.template, self.multiline).write(message, &mut bytes);
        Preview::Sends { to: String::from_utf8_lossy(&path).into_owned(), bytes }
    }

    fn refusal(&self, reason: &str) -> Option<&'static str> {
        match reason {
            "file-path" => Some("the path is that of a folder, leads through a file, or is too long"),
            _ => None,
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        types::warn_of_tilde(self.path.as_str(), section.span_of("path"), section.diagnostics());
        line_format::check(self.format, section);
        if let Some(rotate) = &self.rotate {
            rotate.check(self.path.is_fixed(), section);
        }
    }

    fn when_full(&self) -> WhenFull {
        WhenFull::Block
    }

    fn ack(&self) -> Ack {
        Ack::Durable
    }

    fn linger(&self) -> Duration {
        Duration::ZERO
    }
}

impl Parameters {
    /// An endpoint with no file open.
    fn closed(&self, context: EndpointContext) -> Result<FileEndpoint, OpenError> {
        let format = LineFormat::new(self.format, &self.template, self.multiline);
        let one_line_each = format.is_one_line();
        let opening = Arc::new(self.opening(&context)?);
        Ok(FileEndpoint {
            name: context.name,
            format,
            path: self.path.clone(),
            fixed: self.path.is_fixed().then(|| PathBuf::from(self.path.fixed_start())),
            next_tick: opening.rotation.is_some().then_some(Duration::ZERO),
            files: OpenFiles::new(context.open_files, one_line_each, opening.clone()),
            opening,
            clock: context.clock,
            meta: Meta::new(),
            closed: None,
            rendered: Vec::new(),
        })
    }

    fn opening(&self, context: &EndpointContext) -> Result<Opening, OpenError> {
        let permissions = Permissions {
            mode: self.mode,
            dir_mode: self.dir_mode,
            owner: self.owner.clone(),
            group: self.group.clone(),
        };
        if let Some(problem) = permissions.problem() {
            return Err(OpenError { name: context.name.clone(), problem });
        }
        let rotation = self.rotate.as_ref().map(|rotate| {
            let EndpointContext { name, clock, counters, .. } = context;
            let rules = Rules::new(rotate, &self.path, name, clock.clone(), counters.clone());
            Rotation {
                endpoint: name.clone(),
                size: rotate.size.map(|size| size.bytes()),
                every: rotate.every.map(|every| i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1)),
                clock: clock.clone(),
                counters: counters.clone(),
                housekeeper: Housekeeper::new(rules),
            }
        });
        Ok(Opening { permissions, rotation })
    }
}

/// Appends the path of the file that a message goes to. A path without placeholders is the operator's, and left as it is.
fn render_path(path: &Template, message: &Message<'_>, rendered: &mut Vec<u8>, is_rotated: bool) {
    path.render(message, rendered, path_part);
    if path.is_fixed() {
        return;
    }
    if is_rotated {
        let name = rendered.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if rotated::split(name).is_some() {
            // A message must not choose a file that has given way to another one.
            rendered.push(b'_');
        }
    }
    // Last, so that there is always room for what a rotation adds. A shortened name is never that of a rotated file.
    open_files::shorten_parts(rendered, is_rotated);
}

#[derive(Debug)]
struct FileEndpoint {
    name: String,
    format: LineFormat,
    path: Template,
    /// The path, where it is the same for every message.
    fixed: Option<PathBuf>,
    files: OpenFiles,
    opening: Arc<Opening>,
    clock: Arc<dyn Clock>,
    meta: Meta,
    /// Since when its files are closed on order of a message, on the monotonic clock.
    closed: Option<Duration>,
    /// When to look at the clock although nothing is written.
    next_tick: Option<Duration>,
    /// The path of the message at hand, in memory that is used again.
    rendered: Vec<u8>,
}

impl Endpoint for FileEndpoint {
    fn begin(&mut self) -> Result<(), String> {
        // The file exists as soon as the router runs, so that `tail -F` finds it. A named pipe exists already, and that its
        // reader may come later is no failure.
        if self.fixed.as_deref().is_some_and(named_pipe::is_at) {
            return Ok(());
        }
        self.reopen()
    }

    fn deliver(&mut self, work: &Work) -> Answer {
        self.files.keep_time();
        if work.allows_meta() || self.closed.is_some() {
            return self.deliver_obeying(work);
        }
        match self.fixed.clone() {
            Some(path) => match self.files.get(path.as_os_str().as_encoded_bytes()) {
                Ok(output) => deliver_to_one(&self.format, output, work),
                Err(error) => named_pipe::not_open(Answer::delivered(0), &path, &error),
            },
            None => self.deliver_by_path(work),
        }
    }

    fn next_tick(&self) -> Option<Duration> {
        self.next_tick
    }

    fn tick(&mut self, _: Duration) {
        self.files.keep_time();
        if let Some(rotation) = &self.opening.rotation {
            // Not before the endpoint has a thread of its own: another one may have had the same files until then.
            rotation.housekeeper.start();
            rotation.housekeeper.remove_old_files(|path| self.files.has(path));
        }
        self.next_tick = self.opening.next_look();
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.closed = None;
        self.files.close_all();
        match &self.fixed {
            Some(path) => match self.files.get(path.as_os_str().as_encoded_bytes()) {
                Ok(_) => Ok(()),
                Err(error) => Err(cannot("open", path, &error)),
            },
            None => Ok(()),
        }
    }
}

fn cannot(what: &str, path: &std::path::Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

/// Everything goes to one file: bytes that lie side by side are written from where they are.
fn deliver_to_one(format: &LineFormat, output: &mut Output, work: &Work) -> Answer {
    let (written, outcome) = output.counted(|output| match format {
        LineFormat::Json => work.runs().try_for_each(|(messages, bytes)| {
            if bytes.len() >= DIRECT_BYTES {
                output.write_lines(messages, bytes)
            } else {
                output.push_lines(messages, bytes);
                output.flush_if(FLUSH_BYTES)
            }
        }),
        LineFormat::Text { .. } => work.messages().try_for_each(|message| {
            output.push(|line| format.write(&message, line));
            output.flush_if(FLUSH_BYTES)
        }),
    });
    match outcome {
        Ok(()) => Answer::delivered(written),
        Err(error) => Answer::retry(written, cannot("write to", output.path(), &error)),
    }
}

/// The answer while files are closed on order of a message, behind what was settled before.
fn wait_behind(settled: Answer) -> Answer {
    let until = "a message has closed the files; until one opens them".to_owned();
    Answer { then: Then::Wait { until, longest: CLOSED_PAUSE }, ..settled }
}

/// Reasons for which a path that a message leads to can never be written, as opposed to "not now".
fn is_for_good(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

impl FileEndpoint {
    /// The same as [`Self::deliver_by_path`], with an eye on messages that tell it to close its files or to open them.
    ///
    /// What comes behind a `close` waits in the buffer. The `open` that ends this lies behind it there, so it is looked for
    /// in all that is handed out before any of it is written. What lies behind that is not seen, and the wait is bounded.
    fn deliver_obeying(&mut self, work: &Work) -> Answer {
        if let Some(since) = self.closed {
            let is_over = self.clock.monotonic() >= since + CLOSED_LONGEST;
            if is_over {
                let (endpoint, waited, looked_at) = (&self.name, CLOSED_LONGEST.as_secs(), work.len());
                tracing::warn!(
                    endpoint,
                    "files were closed for {waited} s, and none of the first {looked_at} messages that wait opens them: \
                     opening them"
                );
            } else if !self.meta.opens_behind(work, 0) {
                return wait_behind(Answer::delivered(0));
            }
            self.closed = None;
        }
        self.deliver_by_path(work)
    }

    /// The file depends on the message: lines are gathered by file and written when enough have come together.
    ///
    /// The answer is for a prefix, so after an error everything since the last complete flush is delivered again, also to
    /// files that took it: a duplicate rather than a loss.
    fn deliver_by_path(&mut self, work: &Work) -> Answer {
        let mut settled = Answer::delivered(0);
        let mut pending = Answer::delivered(0);
        let mut pending_bytes = 0;
        let obeys = work.allows_meta();
        for message in work.messages() {
            if obeys && let Some(order) = self.meta.order(&message) {
                if let Err(problem) = self.files.flush_all() {
                    return settled.stopped(problem);
                }
                self.files.close_all();
                pending.settled += 1;
                settled = settled.and(std::mem::replace(&mut pending, Answer::delivered(0)));
                pending_bytes = 0;
                tracing::info!(endpoint = self.name, "a message tells it to {}", order.word());
                if order == Order::Close && !self.meta.opens_behind(work, settled.settled) {
                    self.closed = Some(self.clock.monotonic());
                    return wait_behind(settled);
                }
                continue;
            }
            self.rendered.clear();
            render_path(&self.path, &message, &mut self.rendered, self.opening.rotation.is_some());
            match self.files.get(&self.rendered) {
                Ok(output) => pending_bytes += output.push(|line| self.format.write(&message, line)),
                Err(error) if is_for_good(&error) => pending.refused.add("file-path"),
                Err(error) => {
                    let path = String::from_utf8_lossy(&self.rendered).into_owned();
                    return match self.files.flush_all() {
                        Ok(()) => named_pipe::not_open(settled.and(pending), path.as_ref(), &error),
                        Err(problem) => settled.stopped(problem),
                    };
                }
            }
            pending.settled += 1;
            if pending_bytes >= FLUSH_BYTES {
                if let Err(problem) = self.files.flush_all() {
                    return settled.stopped(problem);
                }
                settled = settled.and(std::mem::replace(&mut pending, Answer::delivered(0)));
                pending_bytes = 0;
            }
        }
        match self.files.flush_all() {
            Ok(()) => settled.and(pending),
            Err(problem) => settled.stopped(problem),
        }
    }
}

#[cfg(test)]
mod tests;
