//! A frame's fate for people.

use metlog_message::Key;
use metlog_router::{
    config::{Ack, WhenFull},
    endpoints::Preview,
    rehearsal::{Fate, Journey, Rejection, RouteFate, Stop},
    topology::Configuration,
};

use super::{bytes, endpoint_names, route_name};
use crate::live::{numbers::counted, safe_text};

/// Characters of a reason, and of a name.
const REASON: usize = 1000;
const NAME: usize = 80;

/// Bytes of a frame that are shown on both sides of what is wrong.
const AROUND: usize = 30;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// With colours.
    pub color: bool,
    /// Bytes that are shown of what an endpoint would send.
    pub most: usize,
}

/// Everything there is to say about a frame, with a line break at the end.
pub fn of(configuration: &Configuration, place: &str, frame: &[u8], fate: &Fate, style: Style) -> String {
    let page = Page { configuration, style };
    let lines = match fate {
        Fate::Blank => vec![page.title(place, "blank: white space only, counted and forgotten", "2")],
        Fate::Rejected { rejection, told } => page.rejection(place, frame, rejection, told),
        Fate::Routed(journey) => page.journey(place, journey),
    };
    lines.join("\n") + "\n"
}

struct Page<'c> {
    configuration: &'c Configuration,
    style: Style,
}

impl Page<'_> {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&self, place: &str, text: &str, code: &str) -> String {
        format!("{}: {}", self.paint("1", &safe_text::shown(place, NAME)), self.paint(code, text))
    }

    fn rejection(&self, place: &str, frame: &[u8], rejection: &Rejection, told: &[usize]) -> Vec<String> {
        let title = format!("rejected: {}", rejection.reason);
        let at = rejection.position.map_or_else(String::new, |position| format!("byte {}: ", position + 1));
        let mut lines = vec![self.title(place, &title, "1;31"), format!("  {at}{}", rejection.problem)];
        if let Some(position) = rejection.position {
            let (text, caret) = around(frame, position);
            lines.push(format!("      {text}"));
            lines.push(format!("      {}{}", " ".repeat(caret), self.paint("31", "^")));
        }
        lines.extend(rejection.help.map(|help| format!("  help: {help}")));
        if !told.is_empty() {
            let names = endpoint_names(self.configuration, told).join(", ");
            lines.push(format!("  told as a message of type `metlog.reject` to {names}"));
        }
        lines
    }

    fn journey(&self, place: &str, journey: &Journey) -> Vec<String> {
        let text = |key| safe_text::shown(&journey.text_of(key), NAME);
        let logger = match text(Key::Logger) {
            logger if logger.is_empty() => String::new(),
            logger => format!(" from {logger}"),
        };
        let kind = match text(Key::Type) {
            kind if kind.is_empty() => "a message without a type".to_owned(),
            kind => kind,
        };
        let title = format!("{kind}{logger}, severity {}", text(Key::Severity));
        let mut lines = vec![self.title(place, &title, "36")];
        lines.extend(journey.changes.iter().map(|change| format!("  {change}")));
        for (route, fate) in self.configuration.routes.iter().zip(&journey.routes) {
            lines.push(format!("  {} {}", route_name(route), self.route(route, fate)));
        }
        if journey.is_unrouted() {
            let lost = "no route takes it: it is counted as `unrouted` and goes nowhere";
            lines.push(format!("  {}", self.paint("33", lost)));
        }
        journey.stops.iter().for_each(|stop| lines.extend(self.stop(stop)));
        lines
    }

    fn route(&self, route: &metlog_router::config::Route, fate: &RouteFate) -> String {
        let name =
            |position: &usize| self.configuration.routes.get(*position).map(route_name).unwrap_or_default();
        match fate {
            RouteFate::Takes(because) => {
                let because = match (route.unrouted, because.is_empty()) {
                    (true, _) => " (a catch-all, and no other route did)".to_owned(),
                    (false, true) => " (it takes every message)".to_owned(),
                    (false, false) => format!(": {}", reasons(because, ", ")),
                };
                let is_final = if route.is_final { ", and is final" } else { "" };
                let to = endpoint_names(self.configuration, &route.to).join(", ");
                format!("{}{because} → {to}{is_final}", self.paint("1;32", "takes it"))
            }
            RouteFate::Leaves(because) => format!("leaves it: {}", reasons(because, "; ")),
            RouteFate::NotAsked { after } => {
                self.paint("2", &format!("is not asked: {} took it and is final", name(after)))
            }
            RouteFate::NotNeeded { after } => {
                self.paint("2", &format!("is not needed: a catch-all, and {} took it", name(after)))
            }
        }
    }

    fn stop(&self, stop: &Stop) -> Vec<String> {
        let Some(endpoint) = self.configuration.endpoints.get(stop.endpoint) else { return Vec::new() };
        let name = format!("  {} ({})", self.paint("1", &endpoint.name), endpoint.kind);
        match &stop.preview {
            Preview::Sends { to, bytes } => {
                let to = safe_text::shown(to, REASON);
                let mut lines =
                    vec![format!("{name} sends {} to {to}", counted(bytes.len() as u64, "byte", "bytes"))];
                let most = self.style.most;
                lines.extend(bytes::lines(bytes, most).into_iter().map(|line| format!("      {line}")));
                let promise = promise(endpoint.acknowledges(), endpoint.when_full().into());
                lines.push(self.paint("2", &format!("    {promise}")));
                lines
            }
            Preview::Refuses { reason, what } => {
                let why: String = [endpoint.settings.refusal(reason), what.as_deref()]
                    .into_iter()
                    .flatten()
                    .map(|words| format!(": {}", safe_text::shown(words, REASON)))
                    .collect();
                vec![format!("{name} {}", self.paint("1;31", &format!("refuses it, {reason}{why}")))]
            }
            Preview::Keeps => vec![format!("{name} takes it and sends nothing")],
            Preview::Obeys { order } => vec![format!("{name} is told by it to {order}, and sends nothing")],
        }
    }
}

fn reasons(because: &[String], separator: &str) -> String {
    safe_text::shown(&because.join(separator), REASON)
}

/// What the operator can rely on.
fn promise(ack: Ack, when_full: WhenFull) -> String {
    let acknowledged = match ack {
        Ack::Durable => "acknowledged once it is delivered",
        Ack::Queued => "acknowledged once it is in the buffer, which a crash empties",
    };
    let full = match when_full {
        WhenFull::Block => "its senders wait where they can",
        WhenFull::DropNewest => "the newest messages are dropped and counted",
        WhenFull::DropOldest => "the oldest messages are dropped and counted",
    };
    format!("{acknowledged}; while the buffer is full {full}")
}

/// The frame around a place on one line, and how far in that place stands.
fn around(frame: &[u8], position: usize) -> (String, usize) {
    let position = position.min(frame.len());
    let start = position.saturating_sub(AROUND);
    let end = (position + AROUND).min(frame.len());
    let show = |bytes: &[u8]| bytes::lines(bytes, usize::MAX).concat();
    let dots = |cut: bool| if cut { "…" } else { "" };
    let before = format!("{}{}", dots(start > 0), show(trim_start(&frame[start..position])));
    let behind = format!("{}{}", show(trim_end(&frame[position..end])), dots(end < frame.len()));
    (format!("{before}{behind}"), before.chars().count())
}

/// Without the rest of a character that was cut in two.
fn trim_start(bytes: &[u8]) -> &[u8] {
    let cut = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
    &bytes[cut..]
}

fn trim_end(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}
