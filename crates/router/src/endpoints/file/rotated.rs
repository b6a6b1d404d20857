//! The names of rotated files, and finding them on disk.
//!
//! A file that is moved out of the way gets the moment at which that happened behind its name, in UTC:
//! `all.jsonl.20261122T180319.123Z`, and `.zst` or `.gz` behind that once it is compressed. So the names of one file's
//! past sort in the order in which it was written, and say what they are without a look inside.

use std::{
    ffi::OsString,
    fmt, fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

use metlog_message::Timestamp;

/// What a rotation adds to a file's name, and a compression that is under way to that: `.` and a stamp, `.zst`, `.part`.
pub const SUFFIX_BYTES: usize = 1 + STAMP_BYTES + 4 + 5;

const STAMP_BYTES: usize = "20261122T180319.123Z".len();

/// The moment at which a file was rotated, to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(i64);

impl Stamp {
    /// The stamp of a file that is rotated at this time.
    pub fn of(time: Timestamp) -> Stamp {
        Stamp(time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanoseconds / 1_000_000)))
    }

    /// The stamp behind this one: a clock that stands still or goes back does not change the order.
    pub fn next(self) -> Stamp {
        Stamp(self.0.saturating_add(1))
    }

    /// How long ago that was, in whole seconds; 0 for the future.
    pub fn age_seconds(self, now: Timestamp) -> u64 {
        u64::try_from(now.seconds.saturating_sub(self.0.div_euclid(1000))).unwrap_or(0)
    }

    fn parse(text: &[u8]) -> Option<Stamp> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == STAMP_BYTES)?;
        let (date, time) = text.split_once('T')?;
        let part = |text: &str, at: usize, end: usize| text.get(at..end).map(str::to_owned);
        let date = format!("{}-{}-{}", part(date, 0, 4)?, part(date, 4, 6)?, part(date, 6, 8)?);
        let time = format!("{}:{}:{}", part(time, 0, 2)?, part(time, 2, 4)?, part(time, 4, 11)?);
        let stamp = Stamp::of(Timestamp::parse(format!("{date}T{time}").as_bytes())?);
        // Whatever else can be read as a date is not what this code writes.
        (stamp.to_string() == text).then_some(stamp)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, milliseconds) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let utc = Timestamp { seconds, nanoseconds: 0 }.to_utc();
        write!(f, "{:04}{:02}{:02}T", utc.year, utc.month, utc.day)?;
        write!(f, "{:02}{:02}{:02}.{milliseconds:03}Z", utc.hour, utc.minute, utc.second)
    }
}

/// How a rotated file lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it was written.
    Plain,
    /// Compressed, and complete.
    Compressed,
    /// A compression that is under way, or that a killed router has left.
    Unfinished,
}

/// One rotated file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rotated {
    /// When it was rotated.
    pub stamp: Stamp,
    /// How it lies there.
    pub form: Form,
    /// Where it lies.
    pub path: PathBuf,
}

/// The path of the file at `path` once it is rotated.
pub fn rotated_path(path: &Path, stamp: Stamp) -> PathBuf {
    with_suffix(path, &format!(".{stamp}"))
}

/// A path with more behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut longer = OsString::from(path);
    longer.push(suffix);
    PathBuf::from(longer)
}

/// What a rotated file's name says: the name of the file that it was, and what it is now. `None` for any other name.
pub fn split(name: &[u8]) -> Option<(&[u8], Stamp, Form)> {
    let strip =
        |name: &[u8]| [&b".zst"[..], b".gz"].iter().find_map(|end| Some(name.strip_suffix(*end)?.len()));
    let (rest, form) = match (name.strip_suffix(b".part"), strip(name)) {
        (Some(rest), _) => (&rest[..strip(rest)?], Form::Unfinished),
        (None, Some(length)) => (&name[..length], Form::Compressed),
        (None, None) => (name, Form::Plain),
    };
    let (base, stamp) = rest.split_at_checked(rest.len().checked_sub(STAMP_BYTES)?)?;
    let base = base.strip_suffix(b".")?;
    Some((base, Stamp::parse(stamp)?, form)).filter(|_| !base.is_empty())
}

/// The rotated files of the file at `path`, oldest first.
pub fn find(path: &Path) -> io::Result<Vec<Rotated>> {
    let (Some(folder), Some(name)) = (folder_of(path), path.file_name()) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some((base, stamp, form)) = split(entry.file_name().as_bytes())
            && base == name.as_bytes()
            && entry.file_type()?.is_file()
        {
            let path = path.with_file_name(OsString::from_vec(entry.file_name().into_vec()));
            found.push(Rotated { stamp, form, path });
        }
    }
    found.sort();
    Ok(found)
}

/// The folder in which a file lies, `.` for a bare name.
pub fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp { seconds: 1_795_370_599, nanoseconds: 123_999_999 };

    #[test]
    fn a_name_says_when_and_sorts_by_that() {
        let stamp = Stamp::of(NOW);
        assert_eq!(stamp.to_string(), "20261122T180319.123Z");
        assert_eq!(Stamp::parse(b"20261122T180319.123Z"), Some(stamp));
        assert_eq!(stamp.next().to_string(), "20261122T180319.124Z");
        assert!(stamp.to_string() < stamp.next().to_string() + ".zst");
        assert_eq!(stamp.age_seconds(Timestamp { seconds: NOW.seconds + 7, nanoseconds: 0 }), 7);
        assert_eq!(stamp.age_seconds(Timestamp { seconds: 0, nanoseconds: 0 }), 0);
    }

    #[test]
    fn only_what_a_rotation_writes_is_taken_for_a_rotated_file() {
        let said = |name: &str| split(name.as_bytes()).map(|(base, _, form)| (base.to_vec(), form));
        let is = |form| Some((b"a.log".to_vec(), form));
        assert_eq!(said("a.log.20261122T180319.123Z"), is(Form::Plain));
        assert_eq!(said("a.log.20261122T180319.123Z.zst"), is(Form::Compressed));
        assert_eq!(said("a.log.20261122T180319.123Z.gz"), is(Form::Compressed));
        assert_eq!(said("a.log.20261122T180319.123Z.gz.part"), is(Form::Unfinished));
        for other in [
            "a.log",
            "a.log.1",
            "a.log.gz",
            "a.log-20261122",
            "a.log.20261322T180319.123Z",
            "a.log.20261122T180319,123Z",
            "a.log.20261122t180319.123Z",
            "a.log.20261122T180319.123Z.part",
            "a.log.20261122T180319.123Z.bz2",
            ".20261122T180319.123Z",
            "20261122T180319.123Z",
            "",
        ] {
            assert_eq!(said(other), None, "{other}");
        }
    }

    #[test]
    fn the_past_of_one_file_is_found_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "a",
            "a.20261122T180319.124Z",
            "a.20261122T180319.123Z.zst",
            "a.b.20261122T180319.123Z",
            "b",
            "a.1",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = find(&folder.path().join("a")).unwrap();
        let names: Vec<_> =
            found.iter().map(|rotated| rotated.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.20261122T180319.123Z.zst", "a.20261122T180319.124Z"]);
    }
}
