//! The main job while somebody watches for something that never comes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::cases::tcp_three_files::OUTPUTS;
use crate::context::{Context, Side};
use crate::mix::Variation;
use crate::report::{Bound, Row, Verdict};
use crate::router;

pub const ABOUT: &str =
    "TCP to three files, with a tap open whose filter matches nothing, against the same without";

const NAME: &str = "no tap → a tap that matches nothing";

/// `match = { type = "never" }`.
const TAP: &str = "/api/v1/tap?match=%7B%20type%20%3D%20%22never%22%20%7D";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    if context.metlog.is_none() {
        return Ok(vec![Row::without_figure(NAME, Verdict::NoRouter)]);
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let config = router::config("three-files.toml");
    let mut sides: Vec<Side<'_>> = vec![
        ("no tap", Box::new(|| Ok(router::tcp_job(context, &config, &mix, &OUTPUTS)?.0))),
        ("tap", Box::new(|| Ok(router::tcp_job_watched(context, &config, &mix, &OUTPUTS, open_tap)?.0))),
    ];
    let runs = context.interleave(&mut sides)?;
    let row = Row::compared(NAME, &runs[0], &runs[1], Bound::Ratio { must: 1.05, aim: 1.01 }, None);
    Ok(vec![row.note("the floor's column is the same router without a tap".to_owned())])
}

/// Opens it and waits for the answer's head: from then on the router looks at every message.
fn open_tap(api: Option<SocketAddr>) -> anyhow::Result<TcpStream> {
    let address = api.context("the router has no API")?;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {TAP} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(stream.read(&mut byte)? == 1, "the router ended the tap");
        head.push(byte[0]);
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "the router refused: {}", String::from_utf8_lossy(&head));
    Ok(stream)
}
