//! `kind = "file"`: messages to files, as JSON or text lines.
//!
//! The path may name parts of the message (`logs/{logger}.log`); whatever a message says, the file lies inside the folder
//! that the path names before its first placeholder. Files are appended to with few, large writes; a full disk or a missing
//! permission is tried again until it works, and no line is ever left half written.

mod open_files;
mod output;

use std::{
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    time::Duration,
};

use metlog_buffer::WhenFull;

use self::{open_files::OpenFiles, output::Output};
use super::{Answer, Endpoint, EndpointContext, EndpointSettings, OpenError, Opened, Preview, Work};
use crate::{
    acknowledgement::Ack,
    batch::Message,
    config::{Section, parameters},
    line_format::{self, Format, LineFormat, Multiline},
    template::{Template, path_part},
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
    }
}

/// A section of a configuration, for the reference page and the tests.
pub const SAMPLE: &str = r#"
path = "logs/{logger}.log"
format = "text"
template = "{timestamp} {payload}"
"#;

/// From this size on, bytes that lie side by side in memory are written from where they are.
const DIRECT_BYTES: usize = 16 * 1024;

/// Pending bytes of all files together are written when they reach this size.
const FLUSH_BYTES: usize = 256 * 1024;

impl EndpointSettings for Parameters {
    fn open(&self, context: EndpointContext) -> Result<Opened, OpenError> {
        let format = LineFormat::new(self.format, &self.template, self.multiline);
        let one_line_each = format.is_one_line();
        let fixed = self.path.is_fixed().then(|| PathBuf::from(self.path.fixed_start()));
        let mut endpoint = FileEndpoint {
            name: context.name,
            format,
            path: self.path.clone(),
            fixed,
            files: OpenFiles::new(context.open_files, one_line_each),
            rendered: Vec::new(),
        };
        // The file exists as soon as the router runs, so that `tail -F` finds it. If that fails now it may work later. A
        // named pipe exists already, and opening it waits for its reader: that is for the endpoint's own thread.
        if !endpoint.fixed.as_deref().is_some_and(is_named_pipe)
            && let Err(problem) = endpoint.reopen()
        {
            tracing::warn!(endpoint = endpoint.name, "{problem}; trying again");
        }
        Ok(Opened::Blocking(Box::new(endpoint)))
    }

    fn preview(&self, message: &Message<'_>) -> Preview {
        let (mut path, mut bytes) = (Vec::new(), Vec::new());
        render_path(&self.path, message, &mut path);
        LineFormat::new(self.format, &self.template, self.multiline).write(message, &mut bytes);
        Preview::Sends { to: String::from_utf8_lossy(&path).into_owned(), bytes }
    }

    fn check(&self, section: &mut Section<'_>) {
        line_format::check(self.format, section);
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

/// Appends the path of the file that a message goes to.
fn render_path(path: &Template, message: &Message<'_>, rendered: &mut Vec<u8>) {
    path.render(message, rendered, path_part);
    open_files::shorten_parts(rendered);
}

fn is_named_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.file_type().is_fifo())
}

#[derive(Debug)]
struct FileEndpoint {
    name: String,
    format: LineFormat,
    path: Template,
    /// The path, where it is the same for every message.
    fixed: Option<PathBuf>,
    files: OpenFiles,
    /// The path of the message at hand, in memory that is used again.
    rendered: Vec<u8>,
}

impl Endpoint for FileEndpoint {
    fn deliver(&mut self, work: &Work) -> Answer {
        match self.fixed.clone() {
            Some(path) => match self.files.get(path.as_os_str().as_encoded_bytes()) {
                Ok(output) => deliver_to_one(&self.format, output, work),
                Err(error) => Answer::retry(0, cannot("open", &path, &error)),
            },
            None => self.deliver_by_path(work),
        }
    }

    fn reopen(&mut self) -> Result<(), String> {
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
    let outcome = match format {
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
    };
    match outcome.and_then(|()| output.flush()) {
        Ok(()) => Answer::delivered(output.take_written()),
        Err(error) => {
            output.discard_pending();
            Answer::retry(output.take_written(), cannot("write to", output.path(), &error))
        }
    }
}

/// Reasons for which a path that a message leads to can never be written, as opposed to "not now".
fn is_for_good(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

impl FileEndpoint {
    /// The file depends on the message: lines are gathered by file and written when enough have come together.
    ///
    /// The answer is for a prefix, so after an error everything since the last complete flush is delivered again, also to
    /// files that took it: a duplicate rather than a loss.
    fn deliver_by_path(&mut self, work: &Work) -> Answer {
        let mut settled = Answer::delivered(0);
        let mut pending = Answer::delivered(0);
        let mut pending_bytes = 0;
        for message in work.messages() {
            self.rendered.clear();
            render_path(&self.path, &message, &mut self.rendered);
            match self.files.get(&self.rendered) {
                Ok(output) => pending_bytes += output.push(|line| self.format.write(&message, line)),
                Err(error) if is_for_good(&error) => pending.refused.add("file-path"),
                Err(error) => {
                    let path = String::from_utf8_lossy(&self.rendered).into_owned();
                    return match self.files.flush_all() {
                        Ok(()) => settled.and(pending).stopped(cannot("open", path.as_ref(), &error)),
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
mod tests {
    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        clock::SystemClock,
        endpoints::Then,
        testing::{lines, work_of},
    };

    fn endpoint(body: &str) -> Box<dyn Endpoint> {
        let kind = super::super::registry::KINDS.iter().find(|kind| kind.name == "file").unwrap();
        let context = EndpointContext {
            name: "test".to_owned(),
            clock: Arc::new(SystemClock::new()),
            counters: Arc::default(),
            open_files: 2,
        };
        match kind.read_body(body).unwrap().open(context).unwrap() {
            Opened::Blocking(endpoint) => endpoint,
            _ => panic!("a file endpoint blocks"),
        }
    }

    fn read(path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn json_is_written_byte_for_byte_as_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all.jsonl");
        let mut endpoint = endpoint(&format!("path = \"{}\"", path.display()));
        let sent = lines(1000);
        assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(1000));
        assert_eq!(endpoint.deliver(&work_of(&sent[..3])), Answer::delivered(3));
        assert_eq!(read(&path), sent.concat() + &sent[..3].concat());
    }

    #[test]
    fn text_follows_the_template_one_line_a_message() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let mut endpoint = endpoint(&format!("path = \"{}\"\nformat = \"text\"", path.display()));
        let message = r#"{"type":"oldstyle","timestamp":"2012-07-18T21:13:25Z","payload":"one\ntwo"}"#;
        assert_eq!(endpoint.deliver(&work_of(&[message])), Answer::delivered(1));
        assert_eq!(read(&path), "2012-07-18T21:13:25Z one\\ntwo\n");
    }

    #[test]
    fn a_template_of_two_lines_counts_its_messages_not_its_lines() {
        let template = Template::parse("BEGIN {payload}\nEND").unwrap();
        assert!(!LineFormat::new(Format::Text, &template, Multiline::Escape).is_one_line());
        assert!(
            LineFormat::new(Format::Text, &Template::timestamp_and_payload(), Multiline::Escape)
                .is_one_line()
        );
    }

    #[test]
    fn a_path_of_the_message_stays_in_its_folder_whatever_the_message_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut endpoint = endpoint(&format!("path = \"{}/logs/{{logger}}.log\"", folder.path().display()));
        let long = "x".repeat(5000);
        let loggers = ["shop", "../../evil", "/etc/passwd", "", "..", "a\\u0000b", &long];
        let sent: Vec<String> = loggers
            .iter()
            .map(|logger| {
                format!("{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"logger\":\"{logger}\"}}")
            })
            .collect();
        assert_eq!(endpoint.deliver(&work_of(&sent)), Answer::delivered(loggers.len()));
        let logs: Vec<_> = std::fs::read_dir(folder.path().join("logs")).unwrap().collect();
        assert_eq!(logs.len(), loggers.len());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing beside the folder");
        assert_eq!(read(folder.path().join("logs/_.log")).trim_end(), sent[3]);
    }

    #[test]
    fn a_path_that_can_never_be_written_refuses_its_message_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b.log")).unwrap();
        let mut endpoint = endpoint(&format!("path = \"{}/{{logger}}.log\"", folder.path().display()));
        let sent = ["a", "b", "c"].map(|logger| {
            format!("{{\"type\":\"t\",\"timestamp\":\"2012-07-18T21:13:25Z\",\"logger\":\"{logger}\"}}")
        });
        let answer = endpoint.deliver(&work_of(&sent));
        assert_eq!((answer.settled, answer.refused.total(), answer.then), (3, 1, Then::Done));
        assert!(folder.path().join("a.log").is_file() && folder.path().join("c.log").is_file());
    }

    #[test]
    fn a_file_that_cannot_be_opened_now_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("in-the-way"), "").unwrap();
        let mut endpoint = endpoint(&format!("path = \"{}/in-the-way/log\"", folder.path().display()));
        let answer = endpoint.deliver(&work_of(&lines(2)));
        assert_eq!(answer.settled, 0);
        assert!(matches!(answer.then, Then::Retry { error, .. } if error.contains("in-the-way/log")));
        std::fs::remove_file(folder.path().join("in-the-way")).unwrap();
        assert_eq!(endpoint.deliver(&work_of(&lines(2))), Answer::delivered(2));
    }

    #[test]
    fn reopen_leaves_the_renamed_file_and_begins_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut endpoint = endpoint(&format!("path = \"{}\"", path.display()));
        let sent = lines(2);
        endpoint.deliver(&work_of(&sent[..1]));
        std::fs::rename(&path, folder.path().join("log.1")).unwrap();
        endpoint.reopen().unwrap();
        assert_eq!(read(&path), "", "the new file is there before anything is written");
        endpoint.deliver(&work_of(&sent[1..]));
        assert_eq!((read(folder.path().join("log.1")), read(&path)), (sent[0].clone(), sent[1].clone()));
    }
}
