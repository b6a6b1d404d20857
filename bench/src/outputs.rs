//! Watching and checking what a measured program writes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// An output is given up when nothing has been added to it for this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that a program writes, and the file that says what must be in it.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What the program writes.
    pub output: PathBuf,
    /// What it must be, byte for byte.
    pub expected: PathBuf,
}

/// Waits until every output has the size of what is expected, or nothing has grown for a while. Which of them
/// it was, [`compare`] will say.
pub fn wait_for_sizes(pairs: &[Pair]) -> anyhow::Result<()> {
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let wanted: u64 = pairs.iter().map(|pair| size(&pair.expected)).sum();
    let mut last = (0, Instant::now());
    loop {
        let found: u64 = pairs.iter().map(|pair| size(&pair.output)).sum();
        if found >= wanted {
            return Ok(());
        }
        if found != last.0 {
            last = (found, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            bail!("the outputs hold {found} of {wanted} bytes and have not grown for {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The comparison after a wait: where the wait failed, the first difference says more than the sizes.
pub fn check(waited: anyhow::Result<()>, pairs: &[Pair]) -> anyhow::Result<()> {
    match waited {
        Ok(()) => compare(pairs),
        Err(error) => {
            compare(pairs).with_context(|| error.to_string())?;
            Err(error)
        }
    }
}

/// Compares every byte; the error names the first line that differs.
pub fn compare(pairs: &[Pair]) -> anyhow::Result<()> {
    for pair in pairs {
        compare_one(pair).with_context(|| format!("check {}", pair.output.display()))?;
    }
    Ok(())
}

fn compare_one(pair: &Pair) -> anyhow::Result<()> {
    let mut output = File::open(&pair.output).context("open the output")?;
    let mut expected = File::open(&pair.expected).context("open what is expected")?;
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let count = read_full(&mut output, &mut one)?;
        let expected_count = read_full(&mut expected, &mut other)?;
        if one[..count] != other[..expected_count] {
            return first_difference(pair);
        }
        if count == 0 {
            return Ok(());
        }
    }
}

fn read_full(file: &mut File, buffer: &mut [u8]) -> anyhow::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn first_difference(pair: &Pair) -> anyhow::Result<()> {
    let mut output = BufReader::new(File::open(&pair.output)?).split(b'\n');
    let mut expected = BufReader::new(File::open(&pair.expected)?).split(b'\n');
    let show = |line: &Option<Vec<u8>>| match line {
        Some(line) => String::from_utf8_lossy(&line[..line.len().min(400)]).into_owned(),
        None => "(end of file)".to_owned(),
    };
    for number in 1.. {
        let (found, wanted) = (output.next().transpose()?, expected.next().transpose()?);
        if found != wanted {
            bail!("line {number} differs\n    expected: {}\n    found:    {}", show(&wanted), show(&found));
        }
        if found.is_none() {
            break;
        }
    }
    bail!("the files differ only in the last line break")
}

/// Counts the lines of a file that is still growing; each byte is read once.
pub struct LineCounter {
    path: PathBuf,
    file: Option<File>,
    lines: usize,
}

impl LineCounter {
    /// The file need not exist yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, lines: 0 }
    }

    /// Reads what is new; returns the lines so far.
    pub fn update(&mut self) -> anyhow::Result<usize> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut buffer = vec![0; 1 << 18];
            loop {
                let count =
                    file.read(&mut buffer).with_context(|| format!("read {}", self.path.display()))?;
                if count == 0 {
                    break;
                }
                self.lines += memchr::memchr_iter(b'\n', &buffer[..count]).count();
            }
        }
        Ok(self.lines)
    }
}

/// Waits until each file holds its number of lines; an error says what each holds instead. More lines than
/// expected are an error too.
pub fn wait_for_lines(files: &[(PathBuf, usize)]) -> anyhow::Result<()> {
    let mut counters: Vec<LineCounter> =
        files.iter().map(|(path, _)| LineCounter::new(path.clone())).collect();
    let mut last = (0, Instant::now());
    loop {
        let counts = counters.iter_mut().map(LineCounter::update).collect::<anyhow::Result<Vec<_>>>()?;
        if counts.iter().zip(files).all(|(count, (_, wanted))| count == wanted) {
            return Ok(());
        }
        let total = counts.iter().sum::<usize>();
        if total != last.0 {
            last = (total, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            let wanted: Vec<usize> = files.iter().map(|(_, wanted)| *wanted).collect();
            bail!("the outputs hold {counts:?} lines instead of {wanted:?} and do not grow");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(output: &str, expected: &str) -> (tempfile::TempDir, Pair) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair { output: folder.path().join("output"), expected: folder.path().join("expected") };
        fs::write(&pair.output, output).unwrap();
        fs::write(&pair.expected, expected).unwrap();
        (folder, pair)
    }

    #[test]
    fn equal_files_pass() {
        let (_folder, pair) = pair("a\nb\n", "a\nb\n");
        wait_for_sizes(std::slice::from_ref(&pair)).unwrap();
        compare(&[pair]).unwrap();
    }

    #[test]
    fn a_difference_is_named_with_its_line() {
        for (output, expected, message) in [
            ("a\nx\n", "a\nb\n", "line 2 differs"),
            ("a\n", "a\nb\n", "line 2 differs"),
            ("a\nb\nc\n", "a\nb\n", "line 3 differs"),
            ("a\nb", "a\nb\n", "last line break"),
        ] {
            let (_folder, pair) = pair(output, expected);
            let error = format!("{:#}", compare(&[pair]).unwrap_err());
            assert!(error.contains(message), "{output:?}: {error}");
        }
    }

    #[test]
    fn lines_are_counted_while_a_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growing");
        let mut counter = LineCounter::new(path.clone());
        assert_eq!(counter.update().unwrap(), 0);
        fs::write(&path, "a\nb").unwrap();
        assert_eq!(counter.update().unwrap(), 1);
        fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(counter.update().unwrap(), 3);
    }
}
