//! `metlog test`: runs the `[[tests]]` of a configuration.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufReader, IsTerminal, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use metlog_router::{
    config::tests_section::{Item, Test},
    rehearsal::{Difference, Rehearsal},
    topology::Configuration,
};
use similar::{ChangeTag, TextDiff};

use super::check;
use crate::{
    explain::frames::{Frame, each_line},
    live::{numbers::counted, safe_text},
};

/// Run the tests of a configuration: messages in, what endpoints would send out
///
/// Each [[tests]] of the file has messages and says what must become of them: which endpoint sends what, what is unrouted,
/// rejected or refused. Nothing is opened and nothing is sent. Exit status 1 if a test fails, with a difference for each
/// thing that is not as expected: lines with - are expected, lines with + are found.
///
/// In the configuration:
///
///   [[tests]]
///   name = "a payment that fails goes to the log of its application"
///   messages = [{ type = "oldstyle", logger = "shop", severity = 3, payload = "payment failed" }]
///   expect.app-log = ["2000-01-01T00:00:00.000000Z payment failed"]
#[derive(Debug, clap::Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "shown by --help, where brackets are brackets")]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Only tests with this in their names
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Characters of a name and of a line that are shown.
const NAME: usize = 200;
const LINE: usize = 2000;

/// Exit status 0 when every test passes.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Some(configuration) = check::load(&arguments.config)? else { return Ok(ExitCode::FAILURE) };
    let chosen = |test: &&Test| arguments.only.as_ref().is_none_or(|only| test.keys.name.contains(only));
    let tests: Vec<&Test> = configuration.tests.iter().filter(chosen).collect();
    if tests.is_empty() {
        match (&arguments.only, configuration.tests.len()) {
            (Some(only), 1..) => bail!("no test has `{only}` in its name"),
            _ => bail!("there are no tests in {}: add [[tests]]", arguments.config.display()),
        }
    }
    let rehearsal = Rehearsal::new(&configuration)?;
    let stdout = io::stdout();
    let color = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let folder = arguments.config.parent().unwrap_or(Path::new(""));
    let mut out = stdout.lock();
    let mut failed = 0;
    for test in &tests {
        let lines = lines(&configuration, test, folder)?;
        let differences = rehearsal.try_out(&test.keys, &lines)?;
        failed += usize::from(!differences.is_empty());
        write!(out, "{}", report(test, &differences, color))?;
    }
    let passed = counted((tests.len() - failed) as u64, "test passes", "tests pass");
    if failed == 0 {
        writeln!(out, "{passed}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "{}, {passed}", counted(failed as u64, "test fails", "tests fail"))?;
    Ok(ExitCode::FAILURE)
}

/// The messages of a test, line by line: those that stand in it, then those of its file.
fn lines(configuration: &Configuration, test: &Test, folder: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for item in &test.keys.messages {
        match item {
            // A text may hold several messages, as a datagram may.
            Item::Text(text) => lines.extend(text.lines().map(|line| line.as_bytes().to_vec())),
            Item::Json(json) => lines.push(json.as_bytes().to_vec()),
        }
    }
    if let Some(file) = &test.keys.file {
        let path = folder.join(file);
        let problem = || format!("{}: cannot read {}", test.place, path.display());
        let reader = BufReader::new(File::open(&path).with_context(problem)?);
        // One byte over the limit is enough to be rejected for it.
        let most = configuration.limits.of_messages().message_bytes;
        each_line(reader, most, |_, frame| -> io::Result<()> {
            lines.push(match frame {
                Frame::Whole(line) => line.to_vec(),
                Frame::TooLong(_) => vec![b' '; most + 1],
            });
            Ok(())
        })
        .with_context(problem)?;
    }
    Ok(lines)
}

fn report(test: &Test, differences: &[Difference], color: bool) -> String {
    let paint = |code: &str, text: &str| {
        if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let name = safe_text::shown(&test.keys.name, NAME);
    if differences.is_empty() {
        return format!("{}    {name}\n", paint("32", "ok"));
    }
    let mut report = format!("{}  {name} ({})\n", paint("1;31", "FAIL"), test.place);
    for Difference { about, expected, found } in differences {
        // Writing into a string cannot fail.
        let _ = writeln!(report, "  {about}:");
        let text = |lines: &[String]| -> String {
            lines.iter().map(|line| safe_text::shown(line, LINE) + "\n").collect()
        };
        let (expected, found) = (text(expected), text(found));
        for change in TextDiff::from_lines(&expected, &found).iter_all_changes() {
            let line = change.value().trim_end_matches('\n');
            let line = match change.tag() {
                ChangeTag::Equal => format!("  {line}"),
                ChangeTag::Delete => paint("31", &format!("- {line}")),
                ChangeTag::Insert => paint("32", &format!("+ {line}")),
            };
            let _ = writeln!(report, "    {line}");
        }
    }
    report
}
