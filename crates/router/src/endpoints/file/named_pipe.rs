//! A named pipe where a file could be. Opening one for writing lasts until somebody opens it for reading, which may be
//! never: the endpoint asks again and again instead, so that it can say what it waits for, stop, and make way.

use std::{
    error::Error,
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
    time::Duration,
};

use super::super::{Answer, Then};
use crate::sys;

/// A pipe that nobody reads is looked at again after so long.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a named pipe cannot be opened yet.
#[derive(Debug)]
struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("nobody reads this named pipe; start the program that does")
    }
}

impl Error for NobodyReads {}

/// Whether there is a named pipe at this path.
pub fn is_at(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.file_type().is_fifo())
}

/// Opens a pipe for writing if anybody has it open for reading. Writing to it waits for room, as it always does.
pub fn open(path: &Path) -> io::Result<File> {
    match OpenOptions::new().append(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(pipe) => sys::set_blocking(&pipe).map(|()| pipe),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Err(io::Error::other(NobodyReads)),
        Err(error) => Err(error),
    }
}

/// The answer of a delivery that cannot open a file, behind what was settled before.
pub fn not_open(settled: Answer, path: &Path, error: &io::Error) -> Answer {
    if error.get_ref().is_some_and(|reason| reason.is::<NobodyReads>()) {
        let until =
            format!("nobody reads the named pipe {}; until the program that does is started", path.display());
        return Answer { then: Then::Wait { until, longest: PAUSE }, ..settled };
    }
    settled.stopped(super::cannot("open", path, error))
}
