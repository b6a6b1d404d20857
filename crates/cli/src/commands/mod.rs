//! The commands, one file each: its arguments, and what it does.

pub mod bench;
pub mod check;
pub mod completions;
pub mod config;
pub mod demo;
pub mod explain;
pub mod man;
pub mod reload;
pub mod reopen;
pub mod run;
mod running;
pub mod send;
pub mod status;
pub mod tap;
pub mod test;
pub mod top;
mod transport;

use std::io::{self, ErrorKind, Write};

/// Writes a whole document to standard output. Whoever reads only its beginning, as `head` does, has what they wanted.
fn print(document: &[u8]) -> io::Result<()> {
    match io::stdout().write_all(document) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}
