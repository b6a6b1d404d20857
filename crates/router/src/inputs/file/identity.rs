//! Which file is it? A path is only a name: log rotation moves it to another file, and moves files to other names.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What the file system calls a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file in it. The number of a deleted file is given to a new one.
    pub inode: u64,
}

impl FileId {
    /// Of the file that was asked.
    pub fn of(metadata: &Metadata) -> FileId {
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Of the file that has this name now.
    pub fn at(path: &Path) -> io::Result<FileId> {
        std::fs::metadata(path).map(|metadata| FileId::of(&metadata))
    }
}

/// Opens a regular file. `None` for anything else: to open a named pipe would wait for its writer, and for a device may do
/// something. What takes the name between the look and the opening is opened without waiting, and closed.
pub fn open_regular(path: &Path) -> io::Result<Option<File>> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// How a file begins: tells a file from the next one that was given its inode, and new content from old after a truncation.
///
/// It covers the whole lines among the first [`Fingerprint::LONGEST`] bytes, so it grows with a small file. A line that is still
/// being written is left out, because its writer may take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many bytes it covers.
    pub bytes: u64,
    /// FNV-1a of them.
    pub hash: u64,
}

impl Fingerprint {
    /// What is enough to know a file by.
    pub const LONGEST: u64 = 1024;

    /// Of nothing: it fits every file.
    pub const NOTHING: Fingerprint = Fingerprint { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 };

    /// Of a file as it begins now.
    pub fn of(file: &File) -> io::Result<Fingerprint> {
        let mut head = [0; Fingerprint::LONGEST as usize];
        let head = beginning(file, &mut head)?;
        let lines = memchr::memrchr(b'\n', head).map_or(0, |line_break| line_break + 1);
        let is_one_long_line = lines == 0 && head.len() as u64 == Fingerprint::LONGEST;
        Ok(Fingerprint::of_bytes(if is_one_long_line { head } else { &head[..lines] }))
    }

    fn of_bytes(bytes: &[u8]) -> Fingerprint {
        let hash = bytes.iter().fold(Fingerprint::NOTHING.hash, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Fingerprint { bytes: bytes.len() as u64, hash }
    }

    /// Whether the file still begins like this.
    pub fn fits(&self, file: &File) -> io::Result<bool> {
        let mut head = [0; Fingerprint::LONGEST as usize];
        let covered = self.bytes.min(Fingerprint::LONGEST) as usize;
        Ok(Fingerprint::of_bytes(beginning(file, &mut head[..covered])?) == *self)
    }
}

/// As much of a file's beginning as there is and as fits.
fn beginning<'h>(file: &File, head: &'h mut [u8]) -> io::Result<&'h [u8]> {
    let mut bytes = 0;
    while bytes < head.len() {
        match file.read_at(&mut head[bytes..], bytes as u64) {
            Ok(0) => break,
            Ok(count) => bytes += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(&head[..bytes])
}

/// The file with this identity in a folder: where a file is found again that was renamed while nobody looked.
pub fn find_in(folder: &Path, id: FileId) -> Option<PathBuf> {
    // What has no folder in its path is in the working directory.
    let is_here = folder.as_os_str().is_empty();
    let entries = std::fs::read_dir(if is_here { Path::new(".") } else { folder }).ok()?;
    let found = entries.filter_map(Result::ok).find(|entry| {
        entry.metadata().is_ok_and(|metadata| metadata.is_file() && FileId::of(&metadata) == id)
    });
    found.map(|entry| folder.join(entry.file_name()))
}

/// The name of the compression that a file's first bytes tell of.
pub fn compression(file: &File) -> Option<&'static str> {
    let mut head = [0; 4];
    let count = file.read_at(&mut head, 0).unwrap_or(0);
    match &head[..count] {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
        [0xfd, b'7', b'z', b'X'] => Some("xz"),
        [b'B', b'Z', b'h', _] => Some("bzip2"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_fingerprint_fits_what_was_appended_to_and_not_what_was_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        fs::write(&path, "one\ntwo").unwrap();
        let print = Fingerprint::of(&File::open(&path).unwrap()).unwrap();
        assert_eq!(print.bytes, 4);
        fs::write(&path, "one\ntwo\n").unwrap();
        assert!(print.fits(&File::open(&path).unwrap()).unwrap());
        for other in ["", "on", "One\ntwo\n"] {
            fs::write(&path, other).unwrap();
            assert!(!print.fits(&File::open(&path).unwrap()).unwrap(), "{other}");
        }
        assert!(Fingerprint::NOTHING.fits(&File::open(&path).unwrap()).unwrap());
    }

    #[test]
    fn a_renamed_file_is_found_by_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("app.log"), "x").unwrap();
        let id = FileId::at(&folder.path().join("app.log")).unwrap();
        fs::rename(folder.path().join("app.log"), folder.path().join("app.log.1")).unwrap();
        fs::write(folder.path().join("app.log"), "x").unwrap();
        assert_eq!(find_in(folder.path(), id), Some(folder.path().join("app.log.1")));
    }

    #[test]
    fn a_file_in_the_working_directory_is_found_without_a_folder() {
        let id = FileId::at(Path::new("Cargo.toml")).unwrap();
        assert_eq!(find_in(Path::new("app.log").parent().unwrap(), id), Some(PathBuf::from("Cargo.toml")));
    }

    #[test]
    fn compressed_files_are_known_by_their_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let of = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            compression(&File::open(&path).unwrap())
        };
        assert_eq!(
            [of(b"\x1f\x8b\x08"), of(b"BZh9"), of(b"B\n"), of(b"")],
            [Some("gzip"), Some("bzip2"), None, None]
        );
    }
}
