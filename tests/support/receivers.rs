//! The tests' own receivers: what they count is compared with the ledger.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
    process::Command,
    thread::{self, JoinHandle},
};

/// The lines of a file that an endpoint wrote. Every one has its line break.
#[track_caller]
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends within a line", path.display());
    text.lines().map(str::to_owned).collect()
}

/// Makes a named pipe: a file endpoint that writes to it is as slow as whoever reads it, or not.
pub fn make_pipe(path: &Path) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("make a folder");
    let made = Command::new("mkfifo").arg(path).status().expect("run mkfifo");
    assert!(made.success(), "mkfifo {}", path.display());
}

/// Makes a named pipe that is full, and is open for reading as long as what is returned lives: a write to it hangs until somebody
/// reads. Blank lines come first then.
pub fn make_full_pipe(path: &Path) -> File {
    make_pipe(path);
    // For both directions, which waits for nobody.
    let idle = File::options().read(true).write(true).open(path).expect("open the pipe");
    // `dd` ends where it would have to wait.
    let fill = "yes '' | dd of=\"$0\" bs=4096 iflag=fullblock oflag=nonblock 2>/dev/null";
    let _ = Command::new("sh").args(["-c", fill]).arg(path).status().expect("run a shell");
    idle
}

/// Reads a named pipe from now on, until its writer has closed it.
pub fn drain_pipe(path: &Path) -> JoinHandle<Vec<String>> {
    let path = path.to_owned();
    thread::spawn(move || {
        let pipe = File::open(path).expect("open the pipe");
        BufReader::with_capacity(1 << 16, pipe).lines().map(|line| line.expect("read the pipe")).collect()
    })
}
