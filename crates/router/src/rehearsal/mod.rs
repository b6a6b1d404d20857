//! What a router with a given configuration would do with a frame, without doing it: for `metlog explain` and `metlog test`.
//!
//! Nothing is decided here. The decoder, the route table and the endpoints' encoders are those of a running router; this
//! room asks them one frame at a time and keeps their answers, with reasons for people beside them. It opens nothing and
//! sends nothing.

mod lines;
mod rejection;
mod trial;

use std::borrow::Cow;

use metlog_message::{Decoded, Index, Key, Reason, Timestamp};

pub use self::{lines::Lines, rejection::Rejection, trial::Difference};
use crate::{
    batch::Message,
    config::DecoderSettings,
    decoders::{FrameDecoder, split_named},
    endpoints::Preview,
    inputs::multiline::Joiner,
    routes::{
        explanation::Explanation,
        table::{RouteTable, Scratch, TableError},
    },
    topology::{self, Configuration},
};

/// A configuration with its routes compiled, ready to be asked.
#[derive(Debug)]
pub struct Rehearsal<'c> {
    configuration: &'c Configuration,
    table: RouteTable,
}

/// How frames come in: what an input adds to its transport.
#[derive(Debug, Clone)]
pub struct Entrance {
    decoder: FrameDecoder,
    /// A frame may name its decoder.
    takes_datagrams: bool,
    allows_meta: bool,
    /// Which lines are one frame together.
    joiner: Option<Joiner>,
}

impl Entrance {
    /// Whether a frame may hold any bytes, so that a line break in it is no boundary.
    pub fn is_binary(&self) -> bool {
        self.decoder.is_binary()
    }
}

/// There is no input of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no input called `{name}`")]
pub struct UnknownInput {
    /// The name.
    pub name: String,
}

/// What would become of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing: it is white space, and counted as `blank`.
    Blank,
    /// It cannot be used.
    Rejected {
        /// Why not.
        rejection: Rejection,
        /// The endpoints that are told of it, by position in the configuration.
        told: Vec<usize>,
    },
    /// It is a message.
    Routed(Journey),
}

/// The way of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journey {
    /// The message as the router has it.
    pub text: Vec<u8>,
    /// Where its values lie in it.
    pub index: Index,
    /// What of the frame is not as it was sent, in words.
    pub changes: Vec<&'static str>,
    /// For every route of the configuration, in its order, whether it takes the message.
    pub routes: Vec<RouteFate>,
    /// Where it goes, in the order in which it is handed over.
    pub stops: Vec<Stop>,
}

/// What a route does with a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteFate {
    /// It takes it, because of this; nothing where it takes every message.
    Takes(Vec<String>),
    /// It does not, because of this.
    Leaves(Vec<String>),
    /// It is not asked: an earlier route is `final` and took the message.
    NotAsked {
        /// The earlier route, by position.
        after: usize,
    },
    /// It is a catch-all, and another route took the message.
    NotNeeded {
        /// The other route, by position.
        after: usize,
    },
}

/// An endpoint that a message goes to, and what it would do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The endpoint, by position in the configuration.
    pub endpoint: usize,
    /// What it would do.
    pub preview: Preview,
}

impl Journey {
    /// The value of an envelope key as text, or its default.
    pub fn text_of(&self, key: Key) -> Cow<'_, str> {
        self.index.text(&self.text, key)
    }

    /// Whether no route takes the message.
    pub fn is_unrouted(&self) -> bool {
        !self.routes.iter().any(|route| matches!(route, RouteFate::Takes(_)))
    }
}

impl<'c> Rehearsal<'c> {
    /// Compiles the routes of a configuration.
    pub fn new(configuration: &'c Configuration) -> Result<Rehearsal<'c>, TableError> {
        Ok(Rehearsal { configuration, table: topology::compile(configuration)? })
    }

    /// How frames come in by the input of this name. Without a name: as they do by all inputs, if these have the same
    /// settings; otherwise as JSON messages that may not tell endpoints what to do.
    pub fn entrance(&self, input: Option<&str>) -> Result<Entrance, UnknownInput> {
        let inputs = &self.configuration.inputs;
        let limits = self.configuration.limits.of_messages();
        let entrance = |decoder: &DecoderSettings, allows_meta, takes_datagrams, joiner| Entrance {
            decoder: FrameDecoder::new(decoder, limits),
            takes_datagrams,
            allows_meta,
            joiner,
        };
        let joiner = |input: &topology::Input| input.settings.joiner(limits.message_bytes);
        if let Some(name) = input {
            let found = inputs.iter().find(|input| input.name == name);
            let found = found.ok_or_else(|| UnknownInput { name: name.to_owned() })?;
            let takes_datagrams = found.settings.takes_datagrams();
            return Ok(entrance(&found.decoder, found.allow_meta, takes_datagrams, joiner(found)));
        }
        let takes_datagrams = inputs.iter().any(|input| input.settings.takes_datagrams());
        let same = |one: &&topology::Input| {
            inputs.iter().all(|other| (&one.decoder, one.allow_meta) == (&other.decoder, other.allow_meta))
        };
        let common =
            inputs.first().map(joiner).filter(|one| inputs.iter().all(|other| joiner(other) == *one));
        let joiner = common.flatten();
        Ok(match inputs.first().filter(same) {
            Some(input) => entrance(&input.decoder, input.allow_meta, takes_datagrams, joiner),
            None => entrance(&DecoderSettings::Json, false, takes_datagrams, joiner),
        })
    }

    /// What would become of one frame: a line without its line break, or a datagram that names its decoder.
    pub fn frame(&self, entrance: &Entrance, frame: &[u8], received: Timestamp) -> Fate {
        let (content, decoder) = match split_named(frame).filter(|_| entrance.takes_datagrams) {
            Some((name, content)) => match entrance.decoder.named(name) {
                Some(decoder) => (content, Cow::Owned(decoder)),
                None => return self.rejected(Rejection::new(Reason::UnknownDecoder, frame, None)),
            },
            None => (frame, Cow::Borrowed(&entrance.decoder)),
        };
        let (text, index) = match decoder.decode(content, received) {
            Ok(Decoded::Blank) => return Fate::Blank,
            Ok(Decoded::InPlace { start, end, index }) => (content[start..end].to_vec(), index),
            Ok(Decoded::Rewritten { text, index }) => (text, index),
            Err(reason) => {
                let place = decoder.locate(content);
                let offset = frame.len() - content.len();
                let rejection = Rejection::new(reason, content, place);
                return self.rejected(rejection.moved(offset));
            }
        };
        let mut line = text;
        let bytes = line.len();
        line.push(b'\n');
        let message = Message {
            bytes: &line[..bytes],
            line: &line,
            index: &index,
            received,
            number: 0,
            allows_meta: entrance.allows_meta,
        };
        let mut changes = Vec::new();
        if let FrameDecoder::Json(_) = *decoder {
            changes.extend(changes_of(content, message.bytes, received));
        }
        if message.index.timestamp_unreadable() {
            changes.push("its `timestamp` is no date, so the time of receipt stands in for it");
        }
        let (routes, stops) = (self.routes(&message), self.stops(&message));
        line.truncate(bytes);
        Fate::Routed(Journey { text: line, index, changes, routes, stops })
    }

    /// Of a frame that is too long to be kept, only the beginning is there.
    pub fn too_large(&self, begin: &[u8]) -> Fate {
        self.rejected(Rejection::new(Reason::TooLarge, begin, None))
    }

    fn rejected(&self, rejection: Rejection) -> Fate {
        let Configuration { rejects, endpoints, .. } = self.configuration;
        let position = |name: &String| endpoints.iter().position(|endpoint| endpoint.name == *name);
        Fate::Rejected { rejection, told: rejects.to.iter().filter_map(position).collect() }
    }

    /// The route table decides; the explanations only say why.
    fn routes(&self, message: &Message<'_>) -> Vec<RouteFate> {
        let takers = self.table.routes_of(message.bytes, message.index);
        let routes = &self.configuration.routes;
        let first_taker = takers.iter().copied().find(|&taker| !routes[taker].unrouted);
        let last_asked =
            takers.iter().copied().find(|&taker| !routes[taker].unrouted && routes[taker].is_final);
        let fate = |(position, route): (usize, &crate::config::Route)| {
            let explained =
                || Explanation::of(&route.condition, &route.written, message.bytes, message.index).because;
            match (route.unrouted, first_taker, last_asked) {
                _ if takers.contains(&position) => RouteFate::Takes(explained()),
                (true, Some(after), _) => RouteFate::NotNeeded { after },
                (false, _, Some(after)) if after < position => RouteFate::NotAsked { after },
                (true, None, _) => {
                    RouteFate::NotNeeded { after: takers.first().copied().unwrap_or(position) }
                }
                _ => RouteFate::Leaves(explained()),
            }
        };
        routes.iter().enumerate().map(fate).collect()
    }

    fn stops(&self, message: &Message<'_>) -> Vec<Stop> {
        let mut scratch = Scratch::default();
        let endpoints = self.table.route(message.bytes, message.index, &mut scratch).unwrap_or_default();
        let stop = |&endpoint: &usize| {
            let preview = self.configuration.endpoints.get(endpoint)?.settings.preview(message);
            Some(Stop { endpoint, preview })
        };
        endpoints.iter().filter_map(stop).collect()
    }
}

/// What the decoder did to a message on its slow path.
fn changes_of(frame: &[u8], text: &[u8], received: Timestamp) -> Vec<&'static str> {
    let mut changes = Vec::new();
    let appended = format!(",\"timestamp\":\"{received}\"}}");
    let sent = frame.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(frame).trim_ascii();
    let mut kept = Cow::Borrowed(text);
    if text != sent
        && let Some(before) = text.strip_suffix(appended.as_bytes())
    {
        changes.push("it has no `timestamp`, so the time of receipt was added");
        kept = Cow::Owned([before, b"}"].concat());
    }
    if *kept != *sent {
        changes.push("line breaks between its tokens became spaces, and `NaN` and infinities `null`");
    }
    changes
}

#[cfg(test)]
mod tests;
