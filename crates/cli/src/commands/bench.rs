//! `metlog bench`: sends made-up messages at a rate, and shows what the router counted of them.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use metlog_message::Timestamp;

use super::transport::{Connection, Target};
use crate::api::pipeline::Pipeline;
use crate::api_client::{ApiArguments, ApiClient};

/// The router may still be reading when the last message was sent: its count has this long to stop growing.
const SETTLE: Duration = Duration::from_secs(1);
/// Different messages that are made; sent round and round.
const DIFFERENT: usize = 1000;
/// With no rate given, how many messages go out between two looks at the clock.
const BURST: usize = 256;

/// Send made-up messages as fast as possible, or at a rate, and report what arrived
///
/// Counters, timers and log lines (4 : 3 : 3), each in a whole envelope padded to --size. Prints messages and
/// bytes a second; and, when the router's API answers, what the router received, rejected, delivered, refused and
/// dropped meanwhile, so that a loss is visible. Other traffic at the router during the run is counted with it.
///
/// Exit status 1: something could not be sent, or the router received less than was sent.
///
/// Examples:
///
///   metlog bench --to tcp://127.0.0.1:5565 --messages 1000000
///
///   metlog bench --to udp://127.0.0.1:5565 --messages 500000 --rate 50000
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where to: udp://HOST:PORT, tcp://HOST:PORT, or unix:///PATH (a datagram or a stream socket)
    #[arg(long, value_name = "URL", default_value = "udp://127.0.0.1:5565")]
    to: Target,
    /// How many messages to send
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    messages: u64,
    /// Messages a second over all connections; 0: as fast as they are taken
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    rate: u64,
    /// Bytes of each message; the envelope alone needs about 230
    #[arg(long, value_name = "BYTES", default_value_t = 305, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    size: u32,
    /// How many connections (or sending sockets) share the work, each with a thread
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Every message gets this type, instead of counter, timer and oldstyle
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    #[command(flatten)]
    api: ApiArguments,
}

/// What one connection did.
#[derive(Default)]
struct Sent {
    messages: u64,
    bytes: u64,
    error: Option<anyhow::Error>,
}

/// Sends, then prints the report.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let messages = make_messages(&arguments)?;
    let api = ApiClient::new(&arguments.api)?;
    let is_asked_for = arguments.api.api.is_some() || arguments.api.config.is_some();
    let before = match counters(&api) {
        Err(error) if is_asked_for => return Err(error),
        counted => counted,
    };
    let begin = Instant::now();
    let connections = u64::from(arguments.connections).min(arguments.messages);
    let sent: Vec<Sent> = thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|place| {
                let (arguments, messages) = (&arguments, &messages);
                scope.spawn(move || send_share(arguments, messages, place, connections))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| failed_thread())).collect()
    });
    let elapsed = begin.elapsed();
    let total: u64 = sent.iter().map(|share| share.messages).sum();
    let bytes: u64 = sent.iter().map(|share| share.bytes).sum();
    let seconds = elapsed.as_secs_f64().max(1e-9);
    println!("sent      {total} messages, {bytes} bytes, to {} in {seconds:.3} s", arguments.to);
    println!("rate      {:.0} messages/s, {:.0} bytes/s", total as f64 / seconds, bytes as f64 / seconds);
    let errors: Vec<&anyhow::Error> = sent.iter().filter_map(|share| share.error.as_ref()).collect();
    println!("errors    {}", errors.len());
    for error in &errors {
        println!("          {error:#}");
    }
    let lost = report_router(&api, before, total);
    Ok(if errors.is_empty() && !lost { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failed_thread() -> Sent {
    Sent { error: Some(anyhow::anyhow!("a sending thread failed")), ..Sent::default() }
}

/// Prints what the router counted; whether it received less than was sent.
fn report_router(api: &ApiClient, before: anyhow::Result<Counters>, sent: u64) -> bool {
    let before = match before {
        Ok(before) => before,
        Err(error) => {
            println!("router    what arrived is not known (give --api or --config): {error:#}");
            return false;
        }
    };
    let after = match settled(api, &before, sent) {
        Ok(after) => after,
        Err(error) => {
            println!("router    its API does not answer any more: {error:#}");
            return true;
        }
    };
    let grown = |now: u64, then: u64| now.saturating_sub(then);
    let received = grown(after.received, before.received);
    println!(
        "router    {received} received, {} rejected, {} unrouted, {} delivered, {} refused, {} dropped",
        grown(after.rejected, before.rejected),
        grown(after.unrouted, before.unrouted),
        grown(after.delivered, before.delivered),
        grown(after.refused, before.refused),
        grown(after.dropped, before.dropped),
    );
    let missing = sent.saturating_sub(received);
    let kernel = grown(after.kernel_drops, before.kernel_drops);
    println!("lost      {missing} on the way, {kernel} of them dropped by the router's kernel");
    missing > 0
}

/// Sends this connection's share of the messages. An error ends it, and is part of the answer.
fn send_share(arguments: &Arguments, messages: &[Vec<u8>], place: u64, connections: u64) -> Sent {
    let mut sent = Sent::default();
    let share = arguments.messages / connections + u64::from(place < arguments.messages % connections);
    let rate = arguments.rate as f64 / connections as f64;
    if let Err(error) = send_paced(&arguments.to, messages, share, rate, &mut sent) {
        sent.error = Some(error);
    }
    sent
}

fn send_paced(
    target: &Target,
    messages: &[Vec<u8>],
    share: u64,
    rate: f64,
    sent: &mut Sent,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(target)?;
    let begin = Instant::now();
    while sent.messages < share {
        let due = if rate > 0.0 {
            // What is due by now; a late look is made up for by the next one.
            ((begin.elapsed().as_secs_f64() * rate) as u64 + 1).min(share)
        } else {
            (sent.messages + BURST as u64).min(share)
        };
        while sent.messages < due {
            let message = &messages[(sent.messages % messages.len() as u64) as usize];
            connection.send(message)?;
            sent.messages += 1;
            sent.bytes += message.len() as u64;
        }
        if rate > 0.0 {
            connection.flush()?;
            let next = Duration::from_secs_f64(sent.messages as f64 / rate);
            thread::sleep(next.saturating_sub(begin.elapsed()).max(Duration::from_millis(1)));
        }
    }
    connection.finish()
}

/// The different messages, all of the wanted size where the envelope leaves room.
fn make_messages(arguments: &Arguments) -> anyhow::Result<Vec<Vec<u8>>> {
    let timestamp = Timestamp::now().to_string();
    let process = std::process::id();
    (0..DIFFERENT)
        .map(|number| {
            let (kind, payload, fields) = match number % 10 {
                0..4 => ("counter", "1".to_owned(), format!("{{\"name\":\"bench.{}\",\"rate\":1.0}}", number % 50)),
                4..7 => {
                    ("timer", (number * 7 % 900).to_string(), "{\"name\":\"bench.elapsed\",\"rate\":1.0}".to_owned())
                }
                _ => ("oldstyle", format!("bench line {number}"), "{}".to_owned()),
            };
            let kind = serde_json::to_string(arguments.kind.as_deref().unwrap_or(kind)).context("write JSON")?;
            let head = format!(
                "{{\"type\":{kind},\"timestamp\":\"{timestamp}\",\"logger\":\"metlog-bench\",\"severity\":6,\
                 \"payload\":\"{payload}\",\"fields\":{fields},\"env_version\":\"0.8\",\"metlog_pid\":{process},\
                 \"metlog_hostname\":\"bench\",\"padding\":\""
            );
            let padding = (arguments.size as usize).saturating_sub(head.len() + 2);
            Ok(format!("{head}{}\"}}", "x".repeat(padding)).into_bytes())
        })
        .collect()
}

/// Sums over the router's inputs and endpoints, from its API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counters {
    received: u64,
    rejected: u64,
    unrouted: u64,
    kernel_drops: u64,
    delivered: u64,
    refused: u64,
    dropped: u64,
}

impl Counters {
    fn of(pipeline: &Pipeline) -> Counters {
        let mut sums = Counters::default();
        for input in &pipeline.inputs {
            sums.received += input.received;
            sums.rejected += input.rejected.values().sum::<u64>();
            sums.unrouted += input.unrouted;
            sums.kernel_drops += input.kernel_drops;
        }
        for endpoint in &pipeline.endpoints {
            sums.delivered += endpoint.delivered;
            sums.refused += endpoint.refused.values().sum::<u64>();
            sums.dropped += endpoint.dropped.values().sum::<u64>();
        }
        sums
    }
}

/// The counters once everything was received, or once they stopped growing.
fn settled(api: &ApiClient, before: &Counters, sent: u64) -> anyhow::Result<Counters> {
    let mut last = counters(api)?;
    let mut since = Instant::now();
    while since.elapsed() < SETTLE {
        thread::sleep(Duration::from_millis(50));
        let now = counters(api)?;
        let complete = now.received.saturating_sub(before.received) >= sent;
        if now == last && complete {
            break;
        }
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    Ok(last)
}

fn counters(api: &ApiClient) -> anyhow::Result<Counters> {
    Ok(Counters::of(&api.pipeline()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::Value;
    use std::io::Read;
    use std::net::{TcpListener, UdpSocket};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(flags: &[&str]) -> Arguments {
        Command::try_parse_from([&["bench"], flags].concat()).unwrap().arguments
    }

    #[test]
    fn messages_are_envelopes_of_the_wanted_size() {
        for message in make_messages(&arguments(&["--size", "400", "--type", "a\"b"])).unwrap() {
            assert_eq!(message.len(), 400);
            let message: Value = serde_json::from_slice(&message).unwrap();
            assert_eq!(message["type"], "a\"b");
        }
    }

    #[test]
    fn all_messages_are_sent_over_all_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("tcp://{}", listener.local_addr().unwrap());
        let receiver = thread::spawn(move || {
            let connections: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
            let mut text = String::new();
            for mut connection in connections {
                connection.read_to_string(&mut text).unwrap();
            }
            text.lines().count()
        });
        run(arguments(&["--to", &to, "--messages", "1000", "--connections", "3"])).unwrap();
        assert_eq!(receiver.join().unwrap(), 1000);
    }

    #[test]
    fn a_rate_is_kept() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = Target::Udp(receiver.local_addr().unwrap().to_string());
        let begin = Instant::now();
        let mut sent = Sent::default();
        send_paced(&target, &[b"one".to_vec()], 100, 1000.0, &mut sent).unwrap();
        assert_eq!(sent.messages, 100);
        assert!(begin.elapsed() >= Duration::from_millis(95));
    }

    #[test]
    fn an_api_that_was_asked_for_must_answer() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = run(arguments(&["--api", &address.to_string()])).unwrap_err();
        assert!(format!("{error:#}").contains(&address.to_string()), "{error:#}");
    }
}
