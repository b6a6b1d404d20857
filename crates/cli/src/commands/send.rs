//! `metlog send`: one message from flags, or newline-delimited JSON from standard input, to a router.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, bail};
use metlog_message::Timestamp;
use serde_json::Value;

use super::transport::{Connection, Target};
use crate::live::severities;

/// Send one message made of flags, or NDJSON from standard input, to a router
///
/// With --type (or any other flag that describes a message) one message is built and sent. Without, every line of
/// standard input is sent as it is: one message a datagram, or a line of a stream. Blank lines are left out.
/// Nothing is checked here: what the router cannot use, it counts as a reject, which its API shows (`GET /api/v1/pipeline`).
///
/// Over UDP the exit status says that the messages were sent, not that they arrived.
///
/// Examples:
///
///   metlog send --type counter --payload 1 --field name=logins --field rate=1.0
///
///   metlog send --type oldstyle --severity 4 --logger sync --payload 'disk is nearly full'
///
///   metlog send --to tcp://127.0.0.1:5565 < messages.jsonl
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Arguments {
    /// Where to: udp://HOST:PORT, tcp://HOST:PORT, or unix:///PATH (a datagram or a stream socket)
    #[arg(long, value_name = "URL", default_value = "udp://127.0.0.1:5565")]
    to: Target,
    /// The message's type: counter, timer, oldstyle (a log line), or any other name
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The message's content: a count, a time in milliseconds, a log line …
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Which application it is from
    #[arg(long, value_name = "NAME")]
    logger: Option<String>,
    /// How severe it is: 0 (emergency) to 7 (debug), or its name [default: 6]
    #[arg(long, value_name = "SEVERITY", value_parser = severity)]
    severity: Option<u8>,
    /// One of its fields; may be given several times. A value that is JSON (12, true, {"a":1}, "12") is taken as
    /// such, anything else as a string
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<(String, Value)>,
    /// Send the lines of standard input; the default when it is not a terminal and no message is described
    #[arg(long, conflicts_with_all = ["kind", "payload", "logger", "severity", "fields"])]
    stdin: bool,
}

/// Sends, and says what was sent.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let described = arguments.payload.is_some()
        || arguments.logger.is_some()
        || arguments.severity.is_some()
        || !arguments.fields.is_empty();
    match &arguments.kind {
        Some(kind) => {
            let message = envelope(kind, &arguments)?;
            let mut connection = Connection::open(&arguments.to)?;
            connection.send(message.as_bytes())?;
            connection.finish()?;
            report(1, message.len(), &arguments.to);
        }
        None if described => bail!("a message needs a type: give --type, for example --type oldstyle"),
        None if !arguments.stdin && std::io::stdin().is_terminal() => {
            bail!("nothing to send: give --type and --payload, or NDJSON on standard input")
        }
        None => {
            let (messages, bytes) = send_lines(std::io::stdin().lock(), &arguments.to)?;
            report(messages, bytes, &arguments.to);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report(messages: usize, bytes: usize, target: &Target) {
    let plural = if messages == 1 { "" } else { "s" };
    println!("sent {messages} message{plural}, {bytes} bytes, to {target}");
}

/// Sends every line that is not blank; returns how many, and their bytes.
fn send_lines(input: impl Read, target: &Target) -> anyhow::Result<(usize, usize)> {
    let mut connection = Connection::open(target)?;
    let mut input = BufReader::with_capacity(1 << 16, input);
    let mut line = Vec::new();
    let (mut messages, mut bytes, mut number) = (0, 0, 0);
    loop {
        // What was read so far goes out before waiting for more: the input may be somebody typing.
        if !input.buffer().contains(&b'\n') {
            connection.flush()?;
        }
        line.clear();
        if input.read_until(b'\n', &mut line).context("read standard input")? == 0 {
            break;
        }
        number += 1;
        let message = line.trim_ascii();
        if message.is_empty() {
            continue;
        }
        connection.send(message).with_context(|| {
            format!("line {number} of standard input ({messages} messages were sent before)")
        })?;
        messages += 1;
        bytes += message.len();
    }
    connection.finish()?;
    Ok((messages, bytes))
}

/// The message that the flags describe, in the order of the envelope.
fn envelope(kind: &str, arguments: &Arguments) -> anyhow::Result<String> {
    let text = |value: &str| serde_json::to_string(value).context("write JSON");
    let fields = arguments
        .fields
        .iter()
        .map(|(name, value)| Ok(format!("{}:{value}", text(name)?)))
        .collect::<anyhow::Result<Vec<String>>>()?;
    let mut message = format!(
        "{{\"type\":{},\"timestamp\":\"{}\",\"logger\":{},\"severity\":{},\"payload\":{},\"fields\":{{{}}},\
         \"env_version\":\"0.8\",\"metlog_pid\":{}",
        text(kind)?,
        Timestamp::now(),
        text(arguments.logger.as_deref().unwrap_or_default())?,
        arguments.severity.unwrap_or(6),
        text(arguments.payload.as_deref().unwrap_or_default())?,
        fields.join(","),
        std::process::id(),
    );
    if let Some(host) = host_name() {
        message += &format!(",\"metlog_hostname\":{}", text(&host)?);
    }
    message.push('}');
    Ok(message)
}

/// This machine's name, if it can be told.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

fn severity(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(number @ 0..=7) => Ok(number),
        _ => {
            severities::number_of(text).ok_or_else(|| format!("expected 0 to 7, or {}", severities::names()))
        }
    }
}

fn field(text: &str) -> Result<(String, Value), String> {
    let Some((name, value)) = text.split_once('=') else {
        return Err("expected NAME=VALUE".into());
    };
    if name.is_empty() {
        return Err("the name is empty: expected NAME=VALUE".into());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::net::{TcpListener, UdpSocket};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn arguments(flags: &[&str]) -> Arguments {
        Command::try_parse_from([&["send"], flags].concat()).unwrap().arguments
    }

    #[test]
    fn flags_become_an_envelope() {
        let arguments = arguments(&[
            "--type",
            "counter",
            "--payload",
            "1",
            "--logger",
            "a \"b\"",
            "--field",
            "name=hits",
            "--field",
            "rate=0.5",
            "--field",
            "id=\"7\"",
        ]);
        let message: Value = serde_json::from_str(&envelope("counter", &arguments).unwrap()).unwrap();
        assert_eq!(message["type"], "counter");
        assert_eq!(message["logger"], "a \"b\"");
        assert_eq!(message["severity"], 6);
        assert_eq!(message["fields"], serde_json::json!({"name": "hits", "rate": 0.5, "id": "7"}));
        assert_eq!(message["env_version"], "0.8");
        assert!(message["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn mistakes_in_flags_are_refused() {
        for flags in [
            &["--severity", "8"][..],
            &["--severity", "eror"],
            &["--field", "name"],
            &["--to", "gopher://localhost"],
            &["--stdin", "--type", "counter"],
        ] {
            assert!(Command::try_parse_from([&["send"], flags].concat()).is_err(), "{flags:?}");
        }
        let error = run(arguments(&["--payload", "1"])).unwrap_err().to_string();
        assert!(error.contains("--type"), "{error}");
    }

    #[test]
    fn a_severity_has_its_name_too() {
        for (text, number) in [("3", 3), ("error", 3), ("Warn", 4), ("informational", 6)] {
            assert_eq!(arguments(&["--severity", text]).severity, Some(number), "{text}");
        }
        let refused = Command::try_parse_from(["send", "--severity", "eror"]).err().unwrap().to_string();
        assert!(refused.contains("expected 0 to 7, or emergency, alert, critical, error,"), "{refused}");
    }

    #[test]
    fn a_payload_may_begin_with_a_hyphen() {
        for text in ["-3", "--- done ---"] {
            assert_eq!(arguments(&["--type", "x", "--payload", text]).payload.as_deref(), Some(text));
        }
    }

    #[test]
    fn one_message_over_udp() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = format!("udp://{}", receiver.local_addr().unwrap());
        run(arguments(&["--to", &to, "--type", "oldstyle", "--payload", "hello"])).unwrap();
        let mut buffer = [0; 1024];
        let length = receiver.recv(&mut buffer).unwrap();
        let message: Value = serde_json::from_slice(&buffer[..length]).unwrap();
        assert_eq!(message["payload"], "hello");
    }

    #[test]
    fn lines_are_sent_as_they_are_and_blank_ones_left_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::Tcp(listener.local_addr().unwrap().to_string());
        let receiver = std::thread::spawn(move || {
            let mut text = String::new();
            listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        let sent = send_lines(&b"{\"type\":\"a\"}\r\n\n  \n{\"type\": NaN}"[..], &target).unwrap();
        assert_eq!(sent, (2, 25));
        assert_eq!(receiver.join().unwrap(), "{\"type\":\"a\"}\n{\"type\": NaN}\n");
    }
}
