//! What only shows when the file is looked at as a whole.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
};

use toml::de::{DeTable, DeValue};

use super::{
    Address, Api, ByteSize, Diagnostics, EndpointComponent, InputComponent, Kind, Limits, Rejects,
    components::Declared,
    reader::FromConfig,
    routes::{DeclaredRoute, unknown_endpoint},
};
use crate::{template::Template, territory::Territory};

/// The parts of the file as far as they could be read.
pub(super) struct File<'f, I: ?Sized, E: ?Sized> {
    pub table: &'f DeTable<'f>,
    pub threads: Option<usize>,
    pub limits: Option<&'f Limits>,
    pub rejects: Option<&'f Rejects>,
    pub api: Option<&'f Api>,
    pub input_kinds: &'f [Kind<I>],
    pub inputs: &'f [Declared<InputComponent<I>>],
    pub endpoints: &'f [Declared<EndpointComponent<E>>],
    pub routes: &'f [DeclaredRoute],
    /// There are more of them, under a misspelt heading.
    pub routes_misplaced: bool,
}

/// Places in a batch have 32 bits, and a line that becomes a payload can grow to six times its length when it is escaped.
const LARGEST_MESSAGE: ByteSize = ByteSize::mib(64);

/// More reader threads than any machine has cores for.
const MOST_THREADS: usize = 1024;

/// The place that stands for the file as a whole.
const NOWHERE: Range<usize> = 0..0;

impl<I: ?Sized, E: ?Sized> File<'_, I, E> {
    /// Runs every check.
    pub fn check(&self, diagnostics: &mut Diagnostics) {
        self.limits(diagnostics);
        self.joined_lines(diagnostics);
        self.buffers(diagnostics);
        self.listeners(diagnostics);
        self.loops(diagnostics);
        self.shared_files(diagnostics);
        self.api(diagnostics);
        self.reject_targets(diagnostics);
        self.inputs(diagnostics);
        self.reachable_routes(diagnostics);
        self.used_endpoints(diagnostics);
    }

    /// A value of the file by its section and key.
    fn value(&self, path: &[&str]) -> Option<&toml::Spanned<DeValue<'_>>> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.table.get(*first)?, |value, key| value.get_ref().get(*key))
    }

    fn place(&self, path: &[&str]) -> Range<usize> {
        self.value(path).map_or(NOWHERE, |value| value.span())
    }

    fn limits(&self, diagnostics: &mut Diagnostics) {
        match self.threads {
            Some(0) => {
                let problem = diagnostics.error(self.place(&["threads"]), "`threads` must be at least 1");
                problem.help("leave it out for one thread per core");
            }
            Some(threads) if threads > MOST_THREADS => {
                let message = format!("`threads` can be at most {MOST_THREADS}");
                let problem = diagnostics.error(self.place(&["threads"]), message);
                problem.help("more threads than cores read no faster: leave it out for one per core");
            }
            _ => {}
        }
        let Some(limits) = self.limits else { return };
        let at_least_one = [
            ("message", limits.message.bytes() == 0),
            ("depth", limits.depth == 0),
            ("connections", limits.connections == 0),
            ("open_files", limits.open_files == 0),
        ];
        for (key, zero) in at_least_one {
            if zero {
                let message = format!("`{key}` must be more than 0");
                diagnostics.error(self.place(&["limits", key]), message).help("leave it out for the default");
            }
        }
        let deepest = metlog_message::Limits::MOST_DEPTH;
        if limits.depth > deepest {
            let message = format!("`depth` can be at most {deepest}");
            let problem = diagnostics.error(self.place(&["limits", "depth"]), message);
            problem.help("the default is 128, and what is nested deeper than that is hardly a message");
        }
        if limits.message > LARGEST_MESSAGE {
            let message = format!("`message` can be at most \"{LARGEST_MESSAGE}\"");
            let problem = diagnostics.error(self.place(&["limits", "message"]), message);
            problem.help(
                "the default is \"1MiB\"; what is larger belongs into a file, and its name into the message",
            );
        }
    }

    /// What joins lines cannot make messages that are larger than any may be.
    fn joined_lines(&self, diagnostics: &mut Diagnostics) {
        let Some(limits) = self.limits else { return };
        for declared in self.inputs {
            let path = ["inputs", declared.name.as_str(), "multiline", "max_bytes"];
            let Some(value) = self.value(&path) else { continue };
            // What cannot be read was reported before.
            let bytes = ByteSize::from_config(value, &mut diagnostics.for_showing());
            if bytes.is_some_and(|bytes| bytes > limits.message) {
                let message = "`multiline.max_bytes` has no effect beyond `limits.message`";
                let problem = diagnostics.warning(value.span(), message);
                problem.help(format!(
                    "messages are cut at {}; raise `message` under [limits] as well, or lower this",
                    limits.message
                ));
            }
        }
    }

    fn buffers(&self, diagnostics: &mut Diagnostics) {
        let Some(limits) = self.limits else { return };
        let sizes: Vec<(&str, ByteSize)> = self
            .endpoints
            .iter()
            .filter_map(|declared| Some((declared.name.as_str(), declared.component.as_ref()?.buffer.memory)))
            .collect();
        let sum = ByteSize(sizes.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(size.bytes())));
        // The inputs' own share; see the topology.
        let room = ByteSize(limits.memory.bytes() / 4 * 3);
        if sum > room {
            let place = match self.place(&["limits", "memory"]) {
                NOWHERE => sizes
                    .iter()
                    .max_by_key(|(_, size)| *size)
                    .map_or(NOWHERE, |(name, _)| self.place(&["endpoints", name, "buffer", "memory"])),
                place => place,
            };
            let terms: Vec<String> = sizes.iter().map(|(name, size)| format!("{size} ({name})")).collect();
            let problem = diagnostics.error(place, "the endpoints' buffers do not fit into `limits.memory`");
            problem.help(format!(
                "{} = {sum} is more than {room}, three quarters of {} (inputs need the rest); raise `memory` under \
                 [limits], or give the buffers less",
                terms.join(" + "),
                limits.memory
            ));
        }
    }

    /// Two listeners cannot have one address.
    fn listeners(&self, diagnostics: &mut Diagnostics) {
        let mut seen: Vec<(String, Listener)> = Vec::new();
        if let Some(api) = self.api {
            seen.push(("api".to_owned(), Listener::Network { datagrams: false, address: api.listen }));
        }
        for declared in self.inputs {
            let Some(component) = &declared.component else { continue };
            let group = ["inputs", declared.name.as_str()];
            let Some((key, listener)) = self.listener(component.kind, &declared.name) else { continue };
            if let Some((other, _)) = seen.iter().find(|(_, other)| other.collides(&listener)) {
                let message = format!("inputs.{} and {other} listen on the same address", declared.name);
                let place = match self.place(&[group[0], group[1], key]) {
                    NOWHERE => declared.span.clone(),
                    place => place,
                };
                let problem = diagnostics.error(place, message);
                problem.help("give one of them another address");
            }
            seen.push((format!("inputs.{}", declared.name), listener));
        }
    }

    /// What an input occupies, and the key that says so; also where it is the default that says it.
    fn listener(&self, kind: &str, name: &str) -> Option<(&'static str, Listener)> {
        // What connects does not listen.
        self.value(&["inputs", name, "connect"]).is_none().then_some(())?;
        let text = |key| self.value(&["inputs", name, key]).and_then(|value| value.get_ref().as_str());
        let docs = self.input_kinds.iter().find(|known| known.name == kind).map(|known| (known.docs)());
        let default = docs.into_iter().flatten().find(|doc| doc.name == "listen").and_then(|doc| doc.default);
        let listen = text("listen").or(default.as_deref().map(|default| default.trim_matches('"')));
        Listener::of(kind, listen, text("path"))
    }

    /// Two endpoints that write one file mix their lines; and where one rotates it, the other goes on in a file that was
    /// renamed, and is perhaps being compressed or removed. The past of all files that a path can lead to is tidied, so there
    /// it is enough that they could be the same.
    fn shared_files(&self, diagnostics: &mut Diagnostics) {
        const INSTEAD: &str = "or use one endpoint in several routes";
        let mut seen: Vec<(Territory, &str, &str)> = Vec::new();
        let rotates = |name: &str| self.value(&["endpoints", name, "rotate"]).is_some();
        for declared in self.endpoints {
            // The kind whose `path` is a file of its own; that of others is the socket of a server.
            if declared.component.as_ref().is_none_or(|component| component.kind != "file") {
                continue;
            }
            let name = declared.name.as_str();
            let key = ["endpoints", name, "path"];
            let Some(text) = self.value(&key).and_then(|value| value.get_ref().as_str()) else { continue };
            let Ok(path) = Template::parse(text) else { continue };
            let territory = Territory::of(&path);
            let shared = |(known, other, _): &&(Territory, &str, &str)| {
                *known == territory || ((rotates(name) || rotates(other)) && known.overlaps(&territory))
            };
            // Of several, one that makes it an error.
            let found = seen.iter().filter(shared).max_by_key(|(_, other, _)| rotates(other));
            if let Some((known, other, other_text)) = found {
                let place = self.place(&key);
                let (one, two) = (format!("endpoints.{name}"), format!("endpoints.{other}"));
                if *known != territory {
                    let problem = diagnostics
                        .error(place, format!("{one} and {two} can write the same files, which are rotated"));
                    problem.help(format!(
                        "\"{text}\" and \"{other_text}\" can lead to one file, and what one moves away, compresses or \
                         removes the other still writes to: give one of them another folder, or names that begin differently"
                    ));
                } else if rotates(name) || rotates(other) {
                    let problem = diagnostics
                        .error(place, format!("{one} and {two} write the same files, which are rotated"));
                    problem.help(format!(
                        "what one moves away the other still writes to: give one of them another path, {INSTEAD}"
                    ));
                } else {
                    let problem = diagnostics.warning(place, format!("{one} and {two} write the same files"));
                    problem.help(format!(
                        "their lines mix in any order: give one of them another path, {INSTEAD}"
                    ));
                }
            }
            seen.push((territory, name, text));
        }
    }

    /// A router that sends to itself multiplies every message until its buffers are full.
    fn loops(&self, diagnostics: &mut Diagnostics) {
        for declared in self.endpoints {
            // The kind that speaks to the inputs of a router; others only meet what is no message.
            if declared.component.as_ref().is_none_or(|component| component.kind != "metlog") {
                continue;
            }
            let key = |group: &str, name: &str, key: &str| {
                self.value(&[group, name, key]).and_then(|value| value.get_ref().as_str())
            };
            let name = declared.name.as_str();
            let peers =
                Listener::reached_by(key("endpoints", name, "address"), key("endpoints", name, "path"));
            let own = self.inputs.iter().find(|input| {
                let component = input.component.as_ref();
                let listener = component.and_then(|component| self.listener(component.kind, &input.name));
                listener.is_some_and(|(_, listener)| peers.iter().any(|peer| peer.collides(&listener)))
            });
            if let Some(input) = own {
                let place = ["address", "path"].map(|key| self.place(&["endpoints", name, key]));
                let place = place.into_iter().find(|place| *place != NOWHERE).unwrap_or(NOWHERE);
                let message = format!("endpoints.{name} sends to this router's own inputs.{}", input.name);
                let problem = diagnostics.warning(place, message);
                problem.help(
                    "a message that goes around in a circle is never done; send to the address of another router",
                );
            }
        }
    }

    fn api(&self, diagnostics: &mut Diagnostics) {
        let Some(api) = self.api else { return };
        if !api.listen.ip().to_canonical().is_loopback() && api.token.is_none() {
            let message = "the API can be reached from other machines, but has no token";
            let problem = diagnostics.error(self.place(&["api", "listen"]), message);
            problem.help("add token = \"${METLOG_TOKEN}\" under [api], or listen on 127.0.0.1");
        }
    }

    fn reject_targets(&self, diagnostics: &mut Diagnostics) {
        let names: Vec<&str> = self.endpoints.iter().map(|declared| declared.name.as_str()).collect();
        let items = self.value(&["rejects", "to"]).and_then(|value| value.get_ref().as_array());
        for item in items.into_iter().flat_map(|items| items.iter()) {
            if let Some(name) = item.get_ref().as_str()
                && !names.contains(&name)
            {
                unknown_endpoint(item.span(), name, &names, diagnostics);
            }
        }
    }

    fn inputs(&self, diagnostics: &mut Diagnostics) {
        if self.table.is_empty() {
            let problem =
                diagnostics.warning(NOWHERE, "the file says nothing, so the router would do nothing");
            problem.help("it needs [inputs.NAME], [endpoints.NAME] and [[routes]]");
        } else if !self.table.contains_key("inputs") && !diagnostics.has_errors() {
            let problem = diagnostics.warning(NOWHERE, "there is no input, so no message can arrive");
            problem.help("add [inputs.NAME] with kind = \"udp\" or another one");
        }
    }

    fn reachable_routes(&self, diagnostics: &mut Diagnostics) {
        if self.routes.is_empty() {
            // What is wrong may be why there is none.
            if self.table.contains_key("routes") || self.table.is_empty() || diagnostics.has_errors() {
                return;
            }
            let problem = diagnostics.warning(NOWHERE, "there is no route, so every message is dropped");
            problem.help(
                "messages that no route takes are counted as `unrouted`; add [[routes]] with to = [\"NAME\"]",
            );
            return;
        }
        let all_final = self.routes.iter().position(|declared| {
            declared.takes_all() && declared.route.as_ref().is_some_and(|route| route.is_final)
        });
        let all = self.routes.iter().position(DeclaredRoute::takes_all);
        for (position, declared) in self.routes.iter().enumerate() {
            let Some(route) = &declared.route else { continue };
            let (taker, how) = match (route.unrouted, all, all_final) {
                (true, Some(taker), _) => (taker, "takes every message"),
                (false, _, Some(taker)) if taker < position => (taker, "takes every message and is `final`"),
                _ => continue,
            };
            let problem = diagnostics
                .warning(declared.span.clone(), format!("route {} never gets a message", position + 1));
            problem.help(format!("route {} {how}: give it a `match`, or remove this route", taker + 1));
        }
        let catches_all = self.routes.iter().any(|declared| {
            // A route that could not be read may have been meant as the catch-all.
            declared.route.as_ref().is_none_or(|route| route.unrouted)
        });
        if !catches_all && all.is_none() && !self.routes_misplaced {
            let problem = diagnostics
                .warning(NOWHERE, "there is no catch-all: a message that no route takes is dropped");
            problem.help(
                "such messages are counted as `unrouted`; to keep them add [[routes]] with unrouted = true",
            );
        }
    }

    fn used_endpoints(&self, diagnostics: &mut Diagnostics) {
        let some_unread = self.routes.iter().any(|declared| declared.route.is_none());
        if self.routes.is_empty() || some_unread || self.routes_misplaced {
            return;
        }
        for (position, declared) in self.endpoints.iter().enumerate() {
            let routed = self.routes.iter().filter_map(|route| route.route.as_ref());
            let named = self.rejects.is_some_and(|rejects| rejects.to.contains(&declared.name));
            if !named && !routed.into_iter().any(|route| route.to.contains(&position)) {
                let message = format!("no route sends anything to endpoints.{}", declared.name);
                let problem = diagnostics.warning(declared.span.clone(), message);
                problem.help(format!("add it to the `to` of a route: to = [\"{}\"]", declared.name));
            }
        }
    }
}

/// What an input occupies.
enum Listener {
    Network { datagrams: bool, address: SocketAddr },
    Path(String),
}

impl Listener {
    /// By convention the keys of every input that listens: `listen` is a network address, `path` a Unix socket, and
    /// only the kind `udp` takes datagrams from the network.
    fn of(kind: &str, listen: Option<&str>, path: Option<&str>) -> Option<(&'static str, Listener)> {
        // A `file` input reads its paths; two may read the same.
        let path = path.filter(|_| kind != "file");
        match (listen.and_then(|text| text.parse().ok()), path) {
            (Some(address), _) => Some(("listen", Listener::Network { datagrams: kind == "udp", address })),
            (None, Some(path)) => Some(("path", Listener::Path(path.to_owned()))),
            (None, None) => None,
        }
    }

    /// What a connection to `address`, or to the Unix socket at `path`, may reach.
    fn reached_by(address: Option<&str>, path: Option<&str>) -> Vec<Listener> {
        let addresses = match address.and_then(|text| Address::parse(text).ok()) {
            Some(Address { host, port }) if host == "localhost" => {
                let of_this_machine = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                of_this_machine.map(|ip| SocketAddr::new(ip, port)).to_vec()
            }
            Some(Address { host, port }) => {
                host.parse().map(|ip| SocketAddr::new(ip, port)).into_iter().collect()
            }
            None => Vec::new(),
        };
        let networks = addresses.into_iter().map(|address| Listener::Network { datagrams: false, address });
        networks.chain(path.map(|path| Listener::Path(path.to_owned()))).collect()
    }

    fn collides(&self, other: &Listener) -> bool {
        match (self, other) {
            (
                Listener::Network { datagrams, address },
                Listener::Network { datagrams: other_datagrams, address: other_address },
            ) => {
                let overlap = |one: IpAddr, two: IpAddr| {
                    one == two
                        || (one.is_ipv4() == two.is_ipv4() && (one.is_unspecified() || two.is_unspecified()))
                };
                // Port 0 asks for any free one.
                datagrams == other_datagrams
                    && address.port() == other_address.port()
                    && address.port() != 0
                    && overlap(address.ip(), other_address.ip())
            }
            (Listener::Path(path), Listener::Path(other)) => path == other,
            _ => false,
        }
    }
}
