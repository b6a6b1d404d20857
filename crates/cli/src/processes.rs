//! Which process runs with a configuration file: for who looks for a router that does not answer where the file says.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The number of a process that was started as `metlog run --config FILE` with this file, as far as the system tells whoever
/// asks. On systems without `/proc` it tells nothing.
pub fn running_with(file: &Path) -> Option<u32> {
    let file = fs::canonicalize(file).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found = numbers.filter(|number| {
        let folder = PathBuf::from(format!("/proc/{number}"));
        let Ok(command_line) = fs::read(folder.join("cmdline")) else { return false };
        let Some(configuration) = configuration_of(&command_line) else { return false };
        // Of somebody else's process the folder is not told; an absolute path needs none.
        let path = fs::read_link(folder.join("cwd")).unwrap_or_default().join(configuration);
        fs::canonicalize(path).is_ok_and(|path| path == file)
    });
    found.next()
}

/// The file that a command line, its words ended by NUL bytes, gives to `metlog run`.
fn configuration_of(command_line: &[u8]) -> Option<&Path> {
    let mut words = command_line.split(|byte| *byte == 0);
    words.next()?;
    if words.next()? != b"run" {
        return None;
    }
    while let Some(word) = words.next() {
        let file = match word {
            b"--config" | b"-c" => words.next(),
            _ => word.strip_prefix(b"--config=").or_else(|| word.strip_prefix(b"-c")),
        };
        if let Some(file) = file {
            return Some(Path::new(OsStr::from_bytes(file)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_found_however_it_was_given() {
        for words in [
            "/usr/bin/metlog run --config a.toml",
            "metlog run --log-format json --config=a.toml",
            "metlog run -c a.toml --log-format json",
            "metlog run -ca.toml",
        ] {
            let command_line = words.replace(' ', "\0") + "\0";
            assert_eq!(configuration_of(command_line.as_bytes()), Some(Path::new("a.toml")), "{words}");
        }
        for words in ["metlog check --config a.toml", "metlog", "", "vi a.toml", "metlog run"] {
            let command_line = words.replace(' ', "\0") + "\0";
            assert_eq!(configuration_of(command_line.as_bytes()), None, "{words}");
        }
    }

    #[test]
    fn nobody_runs_with_a_file_that_is_new() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(running_with(file.path()), None);
        assert_eq!(running_with(Path::new("/no/such/file")), None);
    }
}
