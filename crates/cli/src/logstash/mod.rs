//! A configuration of logstash with the plug-ins of logstash-metlog, turned into one of ours.
//!
//! | part | what it does |
//! | --- | --- |
//! | `language.rs` | reads the file |
//! | `conditions.rs` | what a tag stands for: filters become conditions of routes |
//! | `filters.rs` | follows the tags through the filters |
//! | `outputs.rs` | outputs become endpoints |
//! | `relatives.rs` | what there is here for plug-ins that are not turned |
//! | `zeromq.rs` | the two inputs of ZeroMQ become one |
//!
//! What cannot be turned is said with its place, and is never left out in silence.

mod conditions;
mod filters;
mod language;
mod outputs;
mod relatives;
mod toml;
mod zeromq;

use std::{net::IpAddr, ops::Range};

use metlog_router::config::{Diagnostics, Source};

use self::{
    conditions::Condition,
    filters::Tags,
    language::{Plugin, Value},
    toml::{comment, text},
};

/// What the operator adds to what the file says.
#[derive(Debug, Default)]
pub struct Choices {
    /// The hosts that a message's own Sentry DSN may name.
    pub allow_hosts: Vec<String>,
}

/// Turns a whole file into the text of a configuration, with comments on where each part came from; `None` where it is not in
/// logstash's language. Errors in the diagnostics are what could not be turned, warnings what is not quite the same.
pub fn turn(source: &Source, choices: &Choices) -> (Option<String>, Diagnostics) {
    let file = match language::parse(&source.text) {
        Ok(file) => file,
        Err(error) => {
            let mut diagnostics = Diagnostics::about(source);
            let problem = diagnostics.error(error.span, "this is not a configuration of logstash");
            problem.label(format!("expected {}", error.expected));
            return (None, diagnostics);
        }
    };
    let mut notes = Notes { source, all: Vec::new(), secrets: Vec::new() };
    for conditional in &file.conditionals {
        let help = "write its condition as the `match` of a route";
        notes.not_turned(conditional.span.clone(), "a conditional", help);
    }
    let types: Vec<String> =
        of_section(&file.plugins, "input").filter_map(|plugin| Settings::of(plugin).text("type")).collect();
    let mut inputs: Vec<(&str, String)> = Vec::new();
    for plugin in of_section(&file.plugins, "input") {
        let before = inputs.iter().filter(|(kind, _)| *kind == plugin.name).count();
        let name = if before == 0 { plugin.name.clone() } else { format!("{}-{}", plugin.name, before + 1) };
        inputs.extend(input(plugin, &name, &mut notes).map(|section| (plugin.name.as_str(), section)));
    }
    let zeromq = zeromq::turn(of_section(&file.plugins, "input"), &mut notes);
    let tags = filters::follow(&file, &types, &mut notes);
    let outputs = outputs::turn(of_section(&file.plugins, "output"), &types, &tags, choices, &mut notes);

    let mut configuration =
        comment(&format!("Turned from {} by `metlog config from-logstash`.", source.path));
    configuration.push_str(&comment("Read it before you use it; `metlog check` has the last word."));
    for part in inputs.iter().map(|(_, section)| section).chain(&zeromq).chain(&outputs) {
        configuration.push('\n');
        configuration.push_str(part);
    }
    let left_out = notes.left_out();
    if !left_out.is_empty() {
        configuration.push('\n');
        configuration.push_str(&comment("Not turned:"));
        left_out.iter().for_each(|line| configuration.push_str(&comment(line)));
    }
    (Some(configuration), notes.into_diagnostics())
}

fn of_section<'p>(plugins: &'p [Plugin], section: &'p str) -> impl Iterator<Item = &'p Plugin> {
    plugins.iter().filter(move |plugin| plugin.section == section)
}

/// Something that an operator should know about the result.
struct Note {
    span: Range<usize>,
    is_left_out: bool,
    message: String,
    help: String,
}

/// What is said about the file while it is turned.
struct Notes<'s> {
    source: &'s Source,
    all: Vec<Note>,
    secrets: Vec<Range<usize>>,
}

impl Notes<'_> {
    /// A part of the file has no counterpart in the result.
    fn not_turned(&mut self, span: Range<usize>, what: &str, help: &str) {
        let message = format!("{what} is not turned");
        self.all.push(Note { span, is_left_out: true, message, help: help.to_owned() });
    }

    /// The same in words of its own.
    fn left_out_because(&mut self, span: Range<usize>, message: String, help: &str) {
        self.all.push(Note { span, is_left_out: true, message, help: help.to_owned() });
    }

    /// A plug-in has no counterpart in the result. What it is set to may be a secret, and is not shown.
    fn plugin_not_turned(&mut self, plugin: &Plugin, help: &str) {
        self.secrets.extend(plugin.settings.iter().map(|setting| setting.value_span.clone()));
        self.not_turned(plugin.span.clone(), &format!("the {} {}", plugin.section, plugin.name), help);
    }

    /// A part of the file is turned into something that is not quite the same.
    fn differs(&mut self, span: Range<usize>, message: impl Into<String>, help: &str) {
        self.all.push(Note { span, is_left_out: false, message: message.into(), help: help.to_owned() });
    }

    /// `logstash.conf:12:5`
    fn place(&self, span: &Range<usize>) -> String {
        let before = self.source.text.get(..span.start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        format!("{}:{line}:{column}", self.source.path)
    }

    /// Every setting that nobody asked for is said.
    fn finish(&mut self, plugin: &Plugin, settings: &Settings<'_>) {
        for setting in &plugin.settings {
            if !settings.asked.contains(&setting.name.as_str()) {
                self.secrets.push(setting.value_span.clone());
                let what = format!("`{}` of {}", setting.name, plugin.name);
                self.not_turned(setting.span.clone(), &what, "see whether you need it");
            }
        }
    }

    fn left_out(&self) -> Vec<String> {
        let left_out = self.all.iter().filter(|note| note.is_left_out);
        left_out.map(|note| format!("{}: {}", self.place(&note.span), note.message)).collect()
    }

    fn into_diagnostics(mut self) -> Diagnostics {
        self.all.sort_by_key(|note| note.span.start);
        let mut diagnostics = Diagnostics::about(self.source);
        self.secrets.into_iter().for_each(|span| diagnostics.hide(span));
        for note in self.all {
            let problem = match note.is_left_out {
                true => diagnostics.error(note.span, note.message),
                false => diagnostics.warning(note.span, note.message),
            };
            problem.help(note.help);
        }
        diagnostics
    }
}

/// The settings of one plug-in, and which of them were asked for.
struct Settings<'p> {
    plugin: &'p Plugin,
    asked: Vec<&'p str>,
}

impl<'p> Settings<'p> {
    fn of(plugin: &'p Plugin) -> Settings<'p> {
        Settings { plugin, asked: Vec::new() }
    }

    /// The value of a setting; the last one, as in Ruby.
    fn get(&mut self, name: &'static str) -> Option<&'p Value> {
        self.asked.push(name);
        self.plugin.settings.iter().rev().find(|setting| setting.name == name).map(|setting| &setting.value)
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        match self.get(name)? {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A list of texts; one text is a list of one, and a hash the list of its keys and values.
    fn list(&mut self, name: &'static str) -> Vec<String> {
        self.get(name).map(Value::texts).unwrap_or_default()
    }

    fn is_true(&mut self, name: &'static str) -> bool {
        self.text(name).is_some_and(|text| text == "true")
    }

    /// Where a setting's value stands; the plug-in where it has none.
    fn span_of(&self, name: &str) -> Range<usize> {
        let found = self.plugin.settings.iter().rev().find(|setting| setting.name == name);
        found.map_or_else(|| self.plugin.span.clone(), |setting| setting.value_span.clone())
    }
}

/// An input, as a section of ours with this name.
fn input(plugin: &Plugin, name: &str, notes: &mut Notes<'_>) -> Option<String> {
    let mut settings = Settings::of(plugin);
    if zeromq::is_one(plugin) {
        return None;
    }
    if !matches!(plugin.name.as_str(), "udp" | "tcp" | "stdin") {
        let help = relatives::of_input(&plugin.name);
        notes.plugin_not_turned(plugin, &help);
        return None;
    }
    // Routes do not ask where a message came from; the filters' own `type` is looked at with them.
    settings.get("type");
    settings.get("debug");
    if settings.text("mode").is_some_and(|mode| mode != "server") {
        let help = "have the other side send to a `udp` or `tcp` input";
        notes.not_turned(settings.span_of("mode"), "an input that connects by itself", help);
        return None;
    }
    let mut section = comment(&format!("{}: input {}", notes.place(&plugin.span), plugin.name));
    section.push_str(&format!("[inputs.{name}]\nkind = \"{}\"\n", plugin.name));
    if plugin.name != "stdin" {
        let host = settings.text("host");
        let host = listening_host(host.as_deref(), &settings, "host", notes);
        let Some(port) = settings.text("port").and_then(|port| port.parse::<u16>().ok()) else {
            notes.not_turned(settings.span_of("port"), "an input without a port", "add port => 5565");
            return None;
        };
        section.push_str(&format!("listen = {}\n", text(&format!("{host}:{port}"))));
    }
    decoder(&mut settings, &mut section, notes);
    notes.finish(plugin, &settings);
    Some(section)
}

/// The IP address at which to listen, for the value of this setting; in brackets where it has to be.
fn listening_host(host: Option<&str>, settings: &Settings<'_>, name: &str, notes: &mut Notes<'_>) -> String {
    match host {
        None | Some("") => "0.0.0.0".to_owned(),
        Some("localhost") => "127.0.0.1".to_owned(),
        Some(host) if host.parse::<IpAddr>().is_ok() => {
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            }
        }
        Some(_) => {
            let message = "a name is not looked up here; the input listens on this machine only";
            let help = "write the IP address of one of this machine's networks";
            notes.differs(settings.span_of(name), message, help);
            "127.0.0.1".to_owned()
        }
    }
}

/// How an input reads what comes.
fn decoder(settings: &mut Settings<'_>, section: &mut String, notes: &mut Notes<'_>) {
    match settings.text("format").as_deref() {
        None | Some("plain") => section.push_str("decoder = \"line\"\n"),
        Some("json") => {}
        Some(_) => {
            let message = "only messages in JSON and plain lines are read; this input takes JSON";
            notes.differs(settings.span_of("format"), message, "set `decoder` if it is something else");
        }
    }
}

/// Whether a filter or an output that is for one type of inputs has anything to do. The type is that of the input, and not of the message.
fn applies(plugin: &Plugin, settings: &mut Settings<'_>, types: &[String], notes: &mut Notes<'_>) -> bool {
    let Some(wanted) = settings.text("type").filter(|wanted| !wanted.is_empty()) else { return true };
    if !types.contains(&wanted) {
        let message =
            format!("no input has this type, so {} never did anything; it is left out", plugin.name);
        notes.differs(
            settings.span_of("type"),
            message,
            "`type` names the type of an input, not of a message",
        );
        return false;
    }
    if types.iter().any(|other| *other != wanted) {
        let message =
            format!("{} was for the messages of some inputs, and is now for those of all", plugin.name);
        notes.differs(settings.span_of("type"), message, "routes do not ask where a message came from");
    }
    true
}

/// What a plug-in asks of the tags of a message.
struct ByTags {
    /// As far as the tags could be followed.
    condition: Condition,
    /// The first of the wanted tags that something puts on messages that is not turned.
    unturned: Option<String>,
}

/// What a plug-in asks for that wants all of some tags and none of others.
fn by_tags(plugin: &Plugin, settings: &mut Settings<'_>, tags: &Tags, notes: &mut Notes<'_>) -> ByTags {
    let wanted = settings.list("tags");
    let unwanted = settings.list("exclude_tags");
    for tag in unwanted.iter().filter(|tag| tags.unturned(tag).is_some()) {
        let message = format!(
            "{} did not get what carries the tag `{tag}`, and now gets it: the tag comes from {}, which is not turned",
            plugin.name,
            tags.origin(tag, notes)
        );
        notes.left_out_because(
            settings.span_of("exclude_tags"),
            message,
            "say it in the `match` of its route",
        );
    }
    let unturned = wanted.iter().find(|tag| tags.unturned(tag).is_some()).cloned();
    let wanted = Condition::all(wanted.iter().map(|tag| tags.of(tag)).collect::<Vec<_>>());
    let unwanted = unwanted.iter().map(|tag| tags.of(tag).not());
    ByTags { condition: Condition::all([wanted].into_iter().chain(unwanted).collect::<Vec<_>>()), unturned }
}

#[cfg(test)]
mod tests;
