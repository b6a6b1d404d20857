//! TCP to a syslog server over TCP, against TCP to a file of text lines.

use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::context::{Context, Run, Side};
use crate::floor::run_of;
use crate::load;
use crate::mix::{Mix, Variation};
use crate::outputs;
use crate::report::{Bound, Row};
use crate::router::Router;

pub const ABOUT: &str = "TCP, everything to a syslog server over TCP, against a file with a text template";

/// A receiver is given up when nothing has come for this long.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    if context.metlog.is_none() {
        return Ok(Vec::new());
    }
    let mix = context.mix(Variation::Plain, context.messages)?;
    let mut sides: Vec<Side<'_>> = vec![
        ("file", Box::new(|| to_file(context, &mix))),
        ("syslog", Box::new(|| to_syslog(context, &mix))),
    ];
    let runs = context.interleave(&mut sides)?;
    let bound = Bound::Ratio { must: 1.5, aim: 1.2 };
    Ok(vec![Row::compared("TCP → syslog over TCP, against → text file", &runs[0], &runs[1], bound, None)])
}

fn to_file(context: &Context, mix: &Mix) -> anyhow::Result<Run> {
    let folder = context.fresh_folder("router")?;
    let endpoint =
        "kind = \"file\"\npath = \"all.log\"\nformat = \"text\"\ntemplate = \"{timestamp} {payload}\"";
    let router = start(context, &folder, endpoint)?;
    let begin = Instant::now();
    load::replay(router.input, &mix.sent)?;
    outputs::wait_for_lines(&[(folder.join("all.log"), mix.count())])?;
    finish(router, mix, begin)
}

fn to_syslog(context: &Context, mix: &Mix) -> anyhow::Result<Run> {
    let folder = context.fresh_folder("router")?;
    let listener = TcpListener::bind("127.0.0.1:0").context("listen")?;
    // Waiting for room is what a file does, too; a full buffer would drop instead.
    let endpoint = format!(
        "kind = \"syslog\"\ntransport = \"tcp\"\naddress = \"{}\"\nbuffer = {{ when_full = \"block\" }}",
        listener.local_addr().context("find the address")?
    );
    let router = start(context, &folder, &endpoint)?;
    let wanted = mix.count();
    let receiver = thread::spawn(move || count_frames(&listener, wanted));
    let begin = Instant::now();
    load::replay(router.input, &mix.sent)?;
    match receiver.join() {
        Ok(counted) => counted?,
        Err(_) => bail!("the receiver has panicked"),
    }
    finish(router, mix, begin)
}

fn start(context: &Context, folder: &Path, endpoint: &str) -> anyhow::Result<Router> {
    let path = folder.join("metlog.toml");
    let mut file = fs::File::create(&path).context("create the configuration")?;
    write!(
        file,
        "data_dir = \"data\"\n[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n[endpoints.all]\n{endpoint}\n\
         [[routes]]\nto = [\"all\"]\n[api]\nlisten = \"127.0.0.1:0\"\n"
    )?;
    Router::start(context, &path, folder, "tcp")
}

fn finish(router: Router, mix: &Mix, begin: Instant) -> anyhow::Result<Run> {
    let elapsed = begin.elapsed();
    if let Some(ledger) = router.ledger() {
        let as_sent = ledger.received == mix.count() as u64 && ledger.rejected == 0 && ledger.dropped == 0;
        ensure!(as_sent, "{} messages were sent, but the router's ledger says {ledger:?}", mix.count());
    }
    Ok(run_of(&router.stop()?, mix.count(), elapsed))
}

/// Reads frames as RFC 6587 counts them, until so many have come.
fn count_frames(listener: &TcpListener, wanted: usize) -> anyhow::Result<()> {
    let (mut stream, _) = listener.accept().context("accept the router")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set a time limit")?;
    let mut buffer = vec![0; 1 << 18];
    let (mut held, mut count) = (0, 0);
    while count < wanted {
        held += receive(&mut stream, &mut buffer[held..])
            .with_context(|| format!("{count} of {wanted} messages had come"))?;
        let mut start = 0;
        while let Some(length) = frame(&buffer[start..held])? {
            start += length;
            count += 1;
        }
        buffer.copy_within(start..held, 0);
        held -= start;
    }
    ensure!(count == wanted && held == 0, "more came than was sent: {count} messages");
    Ok(())
}

fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<usize> {
    match stream.read(buffer).context("receive")? {
        0 => bail!("the router closed the connection"),
        count => Ok(count),
    }
}

/// The length of the frame at the beginning, if it is there whole.
fn frame(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(space) = bytes.iter().take(8).position(|&byte| byte == b' ') else { return Ok(None) };
    let length: usize =
        std::str::from_utf8(&bytes[..space])?.parse().context("a frame begins with its length")?;
    let end = space + 1 + length;
    ensure!(bytes.get(space + 1).is_none_or(|&byte| byte == b'<'), "a message begins with its priority");
    Ok((bytes.len() >= end).then_some(end))
}
