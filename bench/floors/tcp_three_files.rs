//! Floor: the least that a program does which sorts lines from one TCP connection into three files by `type`.
//!
//! Usage: `floor-tcp-three-files FOLDER`. Prints `listening ADDRESS`, takes one connection, looks for the first
//! `"type":"` in each line and appends the raw line to `metrics.jsonl` (counter, timer), `app.jsonl`
//! (oldstyle) or `other.jsonl`, in pieces of 64 KiB and more. At the end of the stream it prints `lines N`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context;
use memchr::memmem::Finder;

const READ_BYTES: usize = 256 * 1024;
const WRITE_BYTES: usize = 64 * 1024;

struct Output {
    file: File,
    pending: Vec<u8>,
}

impl Output {
    fn create(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let file = File::create(folder.join(name)).with_context(|| format!("create {name}"))?;
        Ok(Self { file, pending: Vec::with_capacity(2 * READ_BYTES) })
    }

    fn append(&mut self, line: &[u8]) -> anyhow::Result<()> {
        self.pending.extend_from_slice(line);
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.file.write_all(&self.pending).context("write")?;
        self.pending.clear();
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("usage: floor-tcp-three-files FOLDER")?;
    let folder = Path::new(&folder);
    let mut metrics = Output::create(folder, "metrics.jsonl")?;
    let mut app = Output::create(folder, "app.jsonl")?;
    let mut other = Output::create(folder, "other.jsonl")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    println!("listening {}", listener.local_addr()?);
    let (mut stream, _) = listener.accept().context("accept")?;

    let finder = Finder::new(b"\"type\":\"");
    let mut buffer = vec![0_u8; 2 * READ_BYTES];
    let mut filled = 0;
    let mut lines = 0_u64;
    loop {
        let room = READ_BYTES.min(buffer.len() - filled);
        let count = stream.read(&mut buffer[filled..filled + room]).context("read")?;
        if count == 0 {
            break;
        }
        let end = filled + count;
        let mut start = 0;
        // What was there before holds no line break: only the new bytes are searched.
        for line_break in memchr::memchr_iter(b'\n', &buffer[filled..end]) {
            let line = &buffer[start..filled + line_break + 1];
            start = filled + line_break + 1;
            lines += 1;
            let after = finder.find(line).map_or(line.len(), |at| at + finder.needle().len());
            let length = memchr::memchr(b'"', &line[after..]).unwrap_or(0);
            match &line[after..after + length] {
                b"counter" | b"timer" => metrics.append(line)?,
                b"oldstyle" => app.append(line)?,
                _ => other.append(line)?,
            }
        }
        buffer.copy_within(start..end, 0);
        filled = end - start;
    }
    for output in [&mut metrics, &mut app, &mut other] {
        output.flush()?;
    }
    println!("lines {lines}");
    Ok(())
}
