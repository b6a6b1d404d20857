//! Compresses a rotated file: at any moment there is the whole plain file or the whole compressed one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{permissions::copy_permissions, rotated, rotation::Compress};

/// What is read at once; between two reads it looks whether it is to stop.
const PIECE_BYTES: usize = 256 * 1024;

/// The library's own default: about as small as gzip at its best, many times as fast.
const ZSTD_LEVEL: i32 = zstd::DEFAULT_COMPRESSION_LEVEL;

/// What the compressed file's name ends in; `None` for no compression.
pub fn suffix(compress: Compress) -> Option<&'static str> {
    match compress {
        Compress::None => None,
        Compress::Zstd => Some(".zst"),
        Compress::Gzip => Some(".gz"),
    }
}

/// Compresses the file at `path` and removes it. `false` if it was told to `stop` before it was done; then, and after an
/// error, the file is as it was.
///
/// The compressed file is written beside it under a name of its own, synced, and renamed; only when the folder is synced
/// too does the plain file go.
pub fn compress(path: &Path, how: Compress, stop: &AtomicBool) -> io::Result<bool> {
    let Some(suffix) = suffix(how) else { return Ok(true) };
    let target = rotated::with_suffix(path, suffix);
    let part = rotated::with_suffix(&target, ".part");
    match write_part(path, &part, how, stop) {
        Ok(true) => {
            fs::rename(&part, &target)?;
            if let Some(folder) = rotated::folder_of(path) {
                File::open(folder)?.sync_all()?;
            }
            fs::remove_file(path)?;
            Ok(true)
        }
        outcome => {
            // If this fails too, the next start cleans up.
            let _ = fs::remove_file(&part);
            outcome
        }
    }
}

fn write_part(path: &Path, part: &Path, how: Compress, stop: &AtomicBool) -> io::Result<bool> {
    let mut source = File::open(path)?;
    let model = source.metadata()?;
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part)?;
    copy_permissions(&model, &target)?;
    let mut writer = Writer::new(target, how)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut bytes = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => {
                writer.write_all(&piece[..count])?;
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let target = writer.finish()?;
    target.set_modified(model.modified()?)?;
    target.sync_all()?;
    if source.metadata()?.len() != bytes {
        return Err(io::Error::other("something still writes to it"));
    }
    Ok(true)
}

enum Writer {
    Zstd(zstd::Encoder<'static, File>),
    Gzip(flate2::write::GzEncoder<File>),
}

impl Writer {
    fn new(target: File, how: Compress) -> io::Result<Writer> {
        match how {
            Compress::Gzip => {
                Ok(Writer::Gzip(flate2::write::GzEncoder::new(target, flate2::Compression::default())))
            }
            Compress::Zstd | Compress::None => {
                let mut encoder = zstd::Encoder::new(target, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Ok(Writer::Zstd(encoder))
            }
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Writer::Zstd(encoder) => encoder.write_all(bytes),
            Writer::Gzip(encoder) => encoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        match self {
            Writer::Zstd(encoder) => encoder.finish(),
            Writer::Gzip(encoder) => encoder.finish(),
        }
    }
}

/// The content of a compressed file, for tests.
#[cfg(test)]
pub fn content(path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).unwrap();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("zst") => zstd::decode_all(&bytes[..]).unwrap(),
        Some("gz") => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_content_its_time_and_its_permissions_stay_and_the_plain_file_goes() {
        let folder = tempfile::tempdir().unwrap();
        for (how, name) in [(Compress::Zstd, "a.zst"), (Compress::Gzip, "a.gz")] {
            let path = folder.path().join("a");
            let text = "a line\n".repeat(200_000);
            fs::write(&path, &text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
            let modified = path.metadata().unwrap().modified().unwrap();
            assert!(compress(&path, how, &AtomicBool::new(false)).unwrap());
            let compressed = folder.path().join(name);
            assert_eq!(content(&compressed), text.as_bytes());
            let metadata = compressed.metadata().unwrap();
            assert!(metadata.len() < text.len() as u64 / 10);
            assert_eq!(
                (metadata.modified().unwrap(), metadata.permissions().mode() & 0o777),
                (modified, 0o604)
            );
            assert!(!path.exists());
            fs::remove_file(compressed).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left beside it");
    }

    #[test]
    fn told_to_stop_it_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "a line\n").unwrap();
        assert!(!compress(&path, Compress::Zstd, &AtomicBool::new(true)).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read(&path).unwrap(), b"a line\n");
    }
}
