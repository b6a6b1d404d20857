//! Floor: the least that a program does which takes lines from one TCP connection into one file.
//!
//! Usage: `floor-tcp-one-file FOLDER`. Prints `listening ADDRESS`, takes one connection, counts lines, writes
//! `FOLDER/all.jsonl` in pieces of 64 KiB and more, and at the end of the stream prints `lines N`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context;

const READ_BYTES: usize = 256 * 1024;
const WRITE_BYTES: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: floor-tcp-one-file FOLDER")?;
    let mut file = File::create(Path::new(&folder).join("all.jsonl")).context("create all.jsonl")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    println!("listening {}", listener.local_addr()?);
    let (mut stream, _) = listener.accept().context("accept")?;

    let mut buffer = vec![0_u8; READ_BYTES];
    let mut filled = 0;
    let mut lines = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).context("read")?;
        lines += memchr::memchr_iter(b'\n', &buffer[filled..filled + count]).count();
        filled += count;
        if filled >= WRITE_BYTES || count == 0 {
            file.write_all(&buffer[..filled]).context("write")?;
            filled = 0;
        }
        if count == 0 {
            break;
        }
    }
    println!("lines {lines}");
    Ok(())
}
