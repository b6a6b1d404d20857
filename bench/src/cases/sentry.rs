//! Events to Sentry: what one costs, from the TCP input to the server's answer.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::ZlibEncoder};

use crate::context::{Context, Run, median, median_cpu};
use crate::floor::run_of;
use crate::load;
use crate::report::{Bound, Row, Verdict};
use crate::router::Router;

pub const ABOUT: &str = "events of 2 kB (base64 of zlib) to Sentry, CPU per event";

/// An event is a larger thing than a message: fewer of them make as long a run.
const MESSAGES_PER_EVENT: usize = 20;
/// About the size of a payload.
const PAYLOAD_BYTES: usize = 2048;
const PATIENCE: Duration = Duration::from_secs(60);
/// What CPU seconds per million are per event.
const UNIT: &str = "µs/event";

pub fn run(context: &Context) -> anyhow::Result<Vec<Row>> {
    let rows = [(1, "Sentry, one DSN"), (8, "Sentry, eight DSNs")];
    if context.metlog.is_none() {
        return Ok(rows.iter().map(|(_, name)| Row::without_figure(name, Verdict::NoRouter)).collect());
    }
    let count = (context.messages / MESSAGES_PER_EVENT).max(100);
    let payloads: Vec<String> = (0..count).map(payload).collect::<anyhow::Result<_>>()?;
    let mut sides: Vec<crate::context::Side<'_>> = Vec::new();
    for (dsns, name) in rows {
        let payloads = &payloads;
        sides.push((name, Box::new(move || job(context, payloads, dsns))));
    }
    let runs = context.interleave(&mut sides)?;
    let bound = Bound::Value { must: 60.0, aim: 25.0 };
    let row = |(name, runs): (&str, &Vec<Run>)| {
        let rate = median(runs.iter().map(|run| run.rate));
        Row::value(name, UNIT, Some(median_cpu(runs)), bound).note(format!("{rate:.0} events/s"))
    };
    Ok(rows.iter().map(|(_, name)| *name).zip(&runs).map(row).collect())
}

/// One run: every event must arrive once.
fn job(context: &Context, payloads: &[String], dsns: usize) -> anyhow::Result<Run> {
    let receiver = Receiver::start()?;
    let folder = context.fresh_folder("router")?;
    let config = folder.join("sentry.toml");
    let host = receiver.address;
    fs::write(&config, configuration(host)).context("write the configuration")?;
    let mut lines = String::new();
    for (number, payload) in payloads.iter().enumerate() {
        writeln!(
            lines,
            "{{\"type\":\"sentry\",\"timestamp\":\"2026-11-22T09:05:25.010256Z\",\"logger\":\"sentry\",\"severity\":3,\
             \"payload\":\"{payload}\",\"fields\":{{\"dsn\":\"http://public:secret@{host}/{}\",\"msg\":\"\"}},\
             \"env_version\":\"0.8\"}}",
            number % dsns
        )?;
    }
    let router = Router::start(context, &config, &folder, "tcp")?;
    let begin = Instant::now();
    load::replay(router.input, lines.as_bytes())?;
    receiver.wait_for(payloads.len())?;
    let elapsed = begin.elapsed();
    let finished = router.stop()?;
    receiver.check(payloads.len())?;
    Ok(run_of(&finished, payloads.len(), elapsed))
}

fn configuration(host: SocketAddr) -> String {
    format!(
        "data_dir = \"data\"\n[inputs.tcp]\nkind = \"tcp\"\nlisten = \"127.0.0.1:0\"\n\
         [endpoints.errors]\nkind = \"sentry\"\nallow_hosts = [\"{host}\"]\nbuffer = {{ when_full = \"block\" }}\n\
         [[routes]]\nmatch = {{ type = \"sentry\" }}\nto = [\"errors\"]\n[api]\nlisten = \"127.0.0.1:0\"\n"
    )
}

/// What Raven would have written: an exception with a stack, whose words are never twice the same.
fn payload(number: usize) -> anyhow::Result<String> {
    let mut random = number as u64 * 0x9e37_79b9_7f4a_7c15 + 1;
    let mut frames = String::new();
    loop {
        let event = event(number, &frames);
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(event.as_bytes())?;
        let payload = STANDARD.encode(encoder.finish()?);
        if payload.len() >= PAYLOAD_BYTES {
            return Ok(payload);
        }
        for line in 0..2 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            write!(
                frames,
                "{{\"abs_path\":\"/opt/app/views_{}.py\",\"filename\":\"app/views.py\",\"function\":\"handle_{:04x}\",\
                 \"lineno\":{},\"context_line\":\"        return load(request.user, {:08x})\",\"pre_context\":[\"    def \
                 index(request):\",\"\"],\"vars\":{{\"request\":\"<Request at 0x{:012x}>\",\"n\":\"{line}\",\
                 \"token\":\"{:016x}{:016x}{:016x}\"}}}},",
                random % 97,
                random & 0xffff,
                random % 1000,
                random >> 32,
                random & 0xffff_ffff_ffff,
                random.wrapping_mul(0x2545_f491_4f6c_dd1d),
                random.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                random.wrapping_mul(0xd134_2543_de82_ef95),
            )?;
        }
    }
}

fn event(number: usize, frames: &str) -> String {
    let frames = frames.trim_end_matches(',');
    format!(
        "{{\"event_id\":\"{number:032x}\",\"message\":\"KeyError: 'x'\",\"level\":40,\"logger\":\"root\",\"platform\":\"python\",\
         \"timestamp\":\"2026-11-22T09:05:25\",\"server_name\":\"web1\",\"culprit\":\"app.views.index\",\"project\":\"2\",\
         \"sentry.interfaces.Exception\":{{\"type\":\"KeyError\",\"value\":\"'x'\",\"module\":\"exceptions\"}},\
         \"sentry.interfaces.Stacktrace\":{{\"frames\":[{frames}]}}}}"
    )
}

/// A server that answers 200 to everything and remembers which events came.
struct Receiver {
    address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    events: Mutex<(usize, HashSet<String>)>,
    changed: Condvar,
}

impl Receiver {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("bind")?;
        let address = listener.local_addr()?;
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        // It waits for a connection that never comes when the session ends, and ends with it.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(Self { address, seen })
    }

    fn wait_for(&self, count: usize) -> anyhow::Result<()> {
        let events = self.seen.events.lock().unwrap_or_else(PoisonError::into_inner);
        let (events, waited) = self
            .seen
            .changed
            .wait_timeout_while(events, PATIENCE, |events| events.0 < count)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            bail!("{} of {count} events came", events.0);
        }
        Ok(())
    }

    fn check(&self, count: usize) -> anyhow::Result<()> {
        let events = self.seen.events.lock().unwrap_or_else(PoisonError::into_inner);
        if (events.0, events.1.len()) != (count, count) {
            bail!("{count} events were sent; {} came, {} of them different", events.0, events.1.len());
        }
        Ok(())
    }
}

/// Reads requests from one connection; ends when it does.
fn serve(mut stream: TcpStream, seen: &Seen) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut bytes = Vec::new();
    let mut room = vec![0; 64 * 1024];
    loop {
        let head = loop {
            if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut stream, &mut room, &mut bytes)?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let end = head + length.unwrap_or(0);
        while bytes.len() < end {
            more(&mut stream, &mut room, &mut bytes)?;
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").ok()?;
        let identifier = identifier(&bytes[head..end])?;
        bytes.drain(..end);
        let mut events = seen.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.0 += 1;
        events.1.insert(identifier);
        drop(events);
        seen.changed.notify_all();
    }
}

fn more(stream: &mut TcpStream, room: &mut [u8], bytes: &mut Vec<u8>) -> Option<()> {
    let read = stream.read(room).ok().filter(|&read| read > 0)?;
    bytes.extend_from_slice(&room[..read]);
    Some(())
}

/// The identifier of the event itself, not of its envelope.
fn identifier(body: &[u8]) -> Option<String> {
    let event = body.splitn(3, |&byte| byte == b'\n').nth(2)?;
    let value: serde_json::Value = serde_json::from_slice(event).ok()?;
    Some(value["event_id"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_have_their_size_and_are_all_different() {
        let payloads: Vec<String> = (0..20).map(|number| payload(number).unwrap()).collect();
        assert!(payloads.iter().all(|payload| (PAYLOAD_BYTES..PAYLOAD_BYTES + 400).contains(&payload.len())));
        assert_eq!(payloads.iter().collect::<HashSet<_>>().len(), 20);
        serde_json::from_str::<serde_json::Value>(&event(3, "{},")).unwrap();
    }
}
