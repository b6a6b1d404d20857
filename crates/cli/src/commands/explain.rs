//! `metlog explain`: what would become of a message, and why.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, IsTerminal, Read, Write},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use metlog_message::Timestamp;
use metlog_router::{
    rehearsal::{Entrance, Fate, Rehearsal},
    topology::Configuration,
};

use super::check;
use crate::{
    explain::{bytes, frames, frames::Frame, json, text},
    live::safe_text,
};

/// Say what would become of a message: which routes take it and why, and what would be sent
///
/// Reads messages from files or standard input, one a line (or joined, as the `multiline` of a file input does), and goes through the configuration with each: how it decodes or
/// why it is rejected, what every route says to it, and the very bytes that each endpoint would send. Nothing is opened
/// and nothing is sent, so it can be tried on any machine. Exit status 1 if the configuration or a file cannot be read.
///
/// Examples:
///
///   echo '{"type":"counter","payload":"1"}' | metlog explain --config metlog.toml
///
///   metlog tap --limit 1 | metlog explain --config new.toml
///
///   metlog explain --config metlog.toml --input syslog --json app.log | jq .endpoints
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Where the messages are; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    files: Vec<PathBuf>,
    /// As if they came in by this input: its decoder, its `multiline`, its `allow_meta` [default: what all inputs have in common]
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// Each file is one datagram, which may name its decoder
    #[arg(long)]
    datagram: bool,
    /// Show all of what would be sent, however long
    #[arg(long)]
    full: bool,
    /// One JSON object for each message
    #[arg(long)]
    json: bool,
}

/// Exit status 0 when everything was explained, whatever becomes of the messages.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Some(configuration) = check::load(&arguments.config)? else { return Ok(ExitCode::FAILURE) };
    let rehearsal = Rehearsal::new(&configuration)?;
    let entrance = rehearsal.entrance(arguments.input.as_deref()).with_context(|| {
        let names: Vec<&str> = configuration.inputs.iter().map(|input| input.name.as_str()).collect();
        format!("--input takes the name of an input ({})", names.join(", "))
    })?;
    let stdout = io::stdout();
    let color = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let most = if arguments.full { usize::MAX } else { bytes::SHOWN };
    let mut explainer = Explainer {
        configuration: &configuration,
        rehearsal,
        entrance,
        arguments: &arguments,
        style: text::Style { color, most },
        out: BufWriter::new(stdout.lock()),
        is_first: true,
    };
    let outcome = arguments.files.iter().try_for_each(|file| explainer.file(file));
    match outcome.and_then(|()| Ok(explainer.out.flush()?)) {
        // Whoever read has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        outcome => outcome.map(|()| ExitCode::SUCCESS),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

struct Explainer<'c, W: Write> {
    configuration: &'c Configuration,
    rehearsal: Rehearsal<'c>,
    entrance: Entrance,
    arguments: &'c Arguments,
    style: text::Style,
    out: W,
    is_first: bool,
}

impl<W: Write> Explainer<'_, W> {
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        if path == Path::new("-") {
            if io::stdin().is_terminal() {
                eprintln!("reading messages from standard input, one a line (Ctrl-D ends)");
            }
            return self.read("line", io::stdin().lock());
        }
        let shown = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
        self.read(&shown, BufReader::new(file))
    }

    fn read(&mut self, name: &str, mut reader: impl io::BufRead) -> anyhow::Result<()> {
        let most = self.configuration.limits.of_messages().message_bytes;
        let place = |lines: &RangeInclusive<usize>| {
            let numbers = match (lines.start(), lines.end()) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            match name {
                "line" if lines.start() == lines.end() => format!("line {numbers}"),
                "line" => format!("lines {numbers}"),
                file => format!("{file}:{numbers}"),
            }
        };
        let entrance = self.entrance.clone();
        let is_binary = entrance.is_binary();
        if !self.arguments.datagram && !is_binary {
            return frames::each_frame(reader, most, &entrance, |lines, frame| {
                self.frame(&place(&lines), frame)
            });
        }
        let mut datagram = Vec::new();
        (&mut reader)
            .take(most as u64 + 1)
            .read_to_end(&mut datagram)
            .with_context(|| format!("read {name}"))?;
        if datagram.len() > most {
            self.frame(name, Frame::TooLong(&datagram))
        } else if is_binary || datagram.first() == Some(&0) {
            self.frame(name, Frame::Whole(&datagram))
        } else {
            frames::each_frame(datagram.as_slice(), most, &entrance, |lines, frame| {
                self.frame(&place(&lines), frame)
            })
        }
    }

    fn frame(&mut self, place: &str, frame: Frame<'_>) -> anyhow::Result<()> {
        let (fate, bytes) = match frame {
            Frame::Whole(frame) => (self.rehearsal.frame(&self.entrance, frame, Timestamp::now()), frame),
            Frame::TooLong(begin) => (self.rehearsal.too_large(begin), begin),
        };
        self.show(place, bytes, &fate)?;
        // What was said so far is seen before more is waited for: the input may be somebody typing.
        Ok(self.out.flush()?)
    }

    fn show(&mut self, place: &str, frame: &[u8], fate: &Fate) -> io::Result<()> {
        if self.arguments.json {
            let line = json::of(self.configuration, place, fate).to_string();
            return writeln!(self.out, "{}", safe_text::json(&line));
        }
        if !std::mem::take(&mut self.is_first) {
            writeln!(self.out)?;
        }
        write!(self.out, "{}", text::of(self.configuration, place, frame, fate, self.style))
    }
}
