//! Plug-ins of the original client: what their sections say, for those who have the same in Rust.

use super::super::section::Fault;
use super::dotted;
use super::text::Section;
use super::values::{Environment, Keys, Value};
use crate::ClientBuilder;

/// Makes of a plug-in's settings what it is in Rust.
pub(super) type Plugin<'p> = dyn Fn(ClientBuilder, &PluginSettings) -> Result<ClientBuilder, String> + 'p;

/// The section of a plug-in, for what [`Ini::plugin`](super::Ini::plugin) is given.
#[derive(Clone, PartialEq, Eq)]
pub struct PluginSettings {
    name: String,
    /// Keys in small letters, and the lines of their values.
    settings: Vec<(String, Vec<String>)>,
}

impl PluginSettings {
    /// What follows `metlog_plugin_` in the name of the section.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The keys, in small letters, without `provider` and `override`.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().map(|(key, _)| key.as_str())
    }

    /// The lines of a value. `None` if there is no such key.
    pub fn lines(&self, key: &str) -> Option<&[String]> {
        self.settings.iter().find(|(present, _)| present == key).map(|(_, lines)| lines.as_slice())
    }

    /// A value of one line; an empty one is empty text. `None` if there is no such key, or more lines.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.lines(key)? {
            [] => Some(""),
            [line] => Some(line),
            _ => None,
        }
    }

    /// A value that the original client takes for a truth value: true, t, on, yes, false, f, off, no. `None` if there is
    /// no such key, or another value.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.text(key)?.to_lowercase().as_str() {
            "true" | "t" | "on" | "yes" => Some(true),
            "false" | "f" | "off" | "no" => Some(false),
            _ => None,
        }
    }
}

/// Without the values, which may be secrets.
impl std::fmt::Debug for PluginSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.keys().collect();
        f.debug_struct("PluginSettings").field("name", &self.name).field("keys", &keys).finish()
    }
}

/// Has the plug-in of a section installed by whoever knows its provider.
pub(super) fn install(
    plugins: &[(String, Box<Plugin<'_>>)],
    builder: ClientBuilder,
    name: &str,
    section: &Section,
    environment: Environment<'_>,
) -> Result<ClientBuilder, Fault> {
    let mut keys = Keys::new(section, environment);
    let provider = keys.required("provider")?;
    // Whether the plug-in may replace a call of the client: here each has a type of its own.
    keys.take("override")?;
    let known = dotted(provider.text()?);
    let Some((_, plugin)) = plugins.iter().rev().find(|(provider, _)| *provider == known) else {
        let shown = provider.entry.lines.first().map_or("", |line| &line.text);
        let problem = format!(
            "{shown} is a plug-in in Python, which this client cannot load: say what it is in Rust with Ini::plugin, or leave its section out"
        );
        return Err(Fault::at(&provider.span(), problem));
    };
    let setting = |entry| Ok((Value::of(entry, environment)?.lines, entry));
    let settings = keys.others().map(setting).collect::<Result<Vec<_>, Fault>>()?;
    let settings = settings.into_iter().map(|(lines, entry)| (entry.key.clone(), lines)).collect();
    let settings = PluginSettings { name: name.to_owned(), settings };
    plugin(builder, &settings).map_err(|problem| keys.fault(format!("plug-in {name:?}: {problem}")))
}
