//! The inputs `zeromq` of logstash and `zeromq_hs` of logstash-metlog: together they are one input of ours.

use super::{
    Notes, Settings,
    language::Plugin,
    listening_host,
    toml::{comment, text},
};

const PUBSUB: &str =
    "messages are taken from publishers: send with PUB sockets, or to a `udp` or `tcp` input";

/// Turns both kinds among the inputs.
pub(super) fn turn<'p>(inputs: impl Iterator<Item = &'p Plugin>, notes: &mut Notes<'_>) -> Vec<String> {
    let (subscribers, responders): (Vec<&Plugin>, Vec<&Plugin>) =
        inputs.filter(|plugin| is_one(plugin)).partition(|plugin| plugin.name == "zeromq");
    let mut sections: Vec<String> = Vec::new();
    for (position, plugin) in subscribers.iter().enumerate() {
        let name = if position == 0 { "zmq".to_owned() } else { format!("zmq-{}", position + 1) };
        sections.extend(subscriber(plugin, &name, notes));
    }
    for (position, plugin) in responders.iter().enumerate() {
        let Some(handshake) = responder(plugin, notes) else { continue };
        match sections.get_mut(position) {
            Some(section) => section.push_str(&handshake),
            None => notes.not_turned(
                plugin.span.clone(),
                "a handshake without an input zeromq",
                "here the two are one input: give a `zmq` input a `handshake`",
            ),
        }
    }
    sections
}

/// Whether an input is one of the two kinds.
pub(super) fn is_one(plugin: &Plugin) -> bool {
    matches!(plugin.name.as_str(), "zeromq" | "zeromq_hs")
}

fn subscriber(plugin: &Plugin, name: &str, notes: &mut Notes<'_>) -> Option<String> {
    let mut settings = Settings::of(plugin);
    settings.get("type");
    settings.get("debug");
    if settings.text("topology").as_deref() != Some("pubsub") {
        notes.not_turned(settings.span_of("topology"), "a topology that is not pubsub", PUBSUB);
        return None;
    }
    let mut addresses = settings.list("address");
    if addresses.is_empty() {
        addresses.push("tcp://*:2120".to_owned());
    }
    let mut section = comment(&format!("{}: input zeromq", notes.place(&plugin.span)));
    section.push_str(&format!("[inputs.{name}]\nkind = \"zmq\"\n"));
    let parts: Option<Vec<(&str, u16)>> = addresses.iter().map(|address| parts(address)).collect();
    let is_client = settings.text("mode").as_deref() == Some("client");
    match parts.as_deref() {
        Some(parts) if is_client => {
            let addresses = parts.iter().map(|(host, port)| match host.contains(':') {
                true => text(&format!("[{host}]:{port}")),
                false => text(&format!("{host}:{port}")),
            });
            section.push_str(&format!("connect = [{}]\n", addresses.collect::<Vec<_>>().join(", ")));
        }
        Some([(host, port)]) => {
            let host = listening_host(Some(*host), &settings, "address", notes);
            section.push_str(&format!("listen = {}\n", text(&format!("{host}:{port}"))));
        }
        _ => {
            let help = "an input listens at one address such as tcp://*:5565: make an input for each";
            notes.not_turned(settings.span_of("address"), "an input at this address", help);
            return None;
        }
    }
    let topics: Vec<String> = settings.list("topic").iter().map(|topic| text(topic)).collect();
    if !topics.is_empty() {
        section.push_str(&format!("topics = [{}]\n", topics.join(", ")));
    }
    super::decoder(&mut settings, &mut section, notes);
    notes.finish(plugin, &settings);
    Some(section)
}

/// The line that a responder adds to the section of an input.
fn responder(plugin: &Plugin, notes: &mut Notes<'_>) -> Option<String> {
    let mut settings = Settings::of(plugin);
    for name in ["type", "debug", "format"] {
        settings.get(name);
    }
    let address = settings.text("address").unwrap_or_else(|| "tcp://127.0.0.1:2120".to_owned());
    let is_server = settings.text("mode").as_deref() == Some("server");
    let (Some((host, port)), true) = (parts(&address), is_server) else {
        let help = "handshakes are answered at an address such as tcp://*:5180, with mode => \"server\"";
        notes.not_turned(plugin.span.clone(), "this handshake", help);
        return None;
    };
    let host = listening_host(Some(host), &settings, "address", notes);
    notes.finish(plugin, &settings);
    Some(format!("handshake = {}\n", text(&format!("{host}:{port}"))))
}

/// Host and port of `tcp://HOST:PORT`.
fn parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((if host == "*" { "" } else { host }, port.parse().ok().filter(|port| *port > 0)?))
}
