//! Which process runs with a configuration file, for who looks for a router that does not answer where the file says; and which one
//! listens at an address, for a router that wants it.

use std::{
    ffi::OsStr,
    fs,
    net::SocketAddr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// The number of a process that was started as `metlog run --config FILE` with this file, as far as the system tells whoever
/// asks. On systems without `/proc` it tells nothing.
pub fn running_with(file: &Path) -> Option<u32> {
    let file = fs::canonicalize(file).ok()?;
    let mut found = numbers()?.filter(|number| {
        let folder = PathBuf::from(format!("/proc/{number}"));
        let Ok(command_line) = fs::read(folder.join("cmdline")) else { return false };
        let Some(configuration) = configuration_of(&command_line) else { return false };
        // Of somebody else's process the folder is not told; an absolute path needs none.
        let path = fs::read_link(folder.join("cwd")).unwrap_or_default().join(configuration);
        fs::canonicalize(path).is_ok_and(|path| path == file)
    });
    found.next()
}

/// Number and name of a process that listens on this TCP port, as far as the system tells whoever asks: of other users' processes it
/// tells nothing.
pub fn listening_at(address: SocketAddr) -> Option<(u32, String)> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_sockets(&table, address.port()))
        .collect();
    let number = numbers()?.find(|number| {
        let Ok(files) = fs::read_dir(format!("/proc/{number}/fd")) else { return false };
        let mut files = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
        files.any(|file| sockets.iter().any(|socket| file == Path::new(socket)))
    })?;
    let name = fs::read_to_string(format!("/proc/{number}/comm")).unwrap_or_default();
    Some((number, name.trim().to_owned()))
}

fn numbers() -> Option<impl Iterator<Item = u32>> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    Some(processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// The sockets that listen on a port, as open files are called, from one of the kernel's tables: the second word of a line is the address with
/// the port in hexadecimal, the fourth the state, the tenth the number.
fn listening_sockets(table: &str, port: u16) -> Vec<String> {
    const LISTENING: &str = "0A";
    let socket = |line: &str| -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (_, its_port) = words.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(its_port, 16) == Ok(port) && *words.get(3)? == LISTENING;
        is_it.then_some(format!("socket:[{}]", words.get(9)?))
    };
    table.lines().skip(1).filter_map(socket).collect()
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
    fn whoever_listens_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listening_at(listener.local_addr().unwrap());
        assert_eq!(found.map(|(number, _)| number), Some(std::process::id()));
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     \x20  0: 0100007F:15CC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
                     \x20  1: 0100007F:15CC 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n cut";
        assert_eq!(listening_sockets(table, 5580), ["socket:[4711]"]);
        assert!(listening_sockets(table, 5581).is_empty());
    }

    #[test]
    fn nobody_runs_with_a_file_that_is_new() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(running_with(file.path()), None);
        assert_eq!(running_with(Path::new("/no/such/file")), None);
    }
}
