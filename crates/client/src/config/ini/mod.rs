//! A client from the INI file of an original client (metlog-py 0.10).
//!
//! What the original system's Python code was named in such a file stands here for what does the same in Rust; where
//! nothing does, the error says what to use instead. Sections of others are not looked at.

use std::path::Path;

use super::section::{Fault, unknown};
use super::{ConfigError, Severity};
use crate::filters::{Filter, SeverityMax, TypeAllow, TypeDeny, TypeSeverityMax};
use crate::senders::{
    Encoder, FileSender, NoopSender, Sender, StdoutSender, UdpSender, pair_hosts_with_ports,
};
use crate::{Client, ClientBuilder};

mod plugin;
mod text;
mod values;

pub use plugin::PluginSettings;

use plugin::{Plugin, install};
use text::Section;
use values::{Environment, Keys, Value};

/// No configuration is longer.
const LONGEST_BYTES: u64 = 1 << 20;

const SENDERS: [&str; 3] =
    ["metlog.senders.UdpSender", "metlog.senders.FileSender", "metlog.senders.StdOutSender"];

const FILTERS: [&str; 4] = [
    "metlog.filters.severity_max_provider",
    "metlog.filters.type_whitelist_provider",
    "metlog.filters.type_blacklist_provider",
    "metlog.filters.type_severity_max_provider",
];

/// Reads the INI file of an original client.
///
/// [`Client::from_ini`] is the short form, for a file without plug-ins whose section is `[metlog]`.
///
/// ```
/// let client = metlog::Client::from_ini(r#"
/// [metlog]
/// logger = shop
/// severity = 5
/// disabled_timers = noisy
///                   noisier
/// sender_class = metlog.senders.UdpSender
/// sender_host = ${METLOG_HOST:-127.0.0.1}
/// sender_port = 5565
///
/// [metlog_filter_severity]
/// provider = metlog.filters.severity_max_provider
/// severity = 6
///
/// [metlog_filter_types]
/// provider = metlog.filters.type_blacklist_provider
/// types = gauge
///         wsgi
/// "#)?;
/// assert_eq!(client.logger(), "shop");
/// # Ok::<(), metlog::config::ConfigError>(())
/// ```
///
/// | in the file | here |
/// | --- | --- |
/// | `logger`, `severity`, `disabled_timers` | the same; a severity may also be a name |
/// | `metlog.senders.UdpSender` | [`UdpSender`]; `sender_host` and `sender_port` are one or several, each on a line of its own; the last port goes on for the hosts behind it; `sender_encoder` may be `msgpack` |
/// | `metlog.senders.FileSender` | [`FileSender`] at `sender_filepath`; a message is one line |
/// | `metlog.senders.StdOutSender` | [`StdoutSender`]; a message is one line |
/// | `metlog.senders.DebugCaptureSender`, `NoSendSender` | nothing is sent; a test gives the builder a [`CaptureSender`](crate::CaptureSender) |
/// | `metlog.senders.zmq.…`, `metlog.senders.logging.…` | an error that says what to use |
/// | `global_…` | not used: this client has no settings of the process |
/// | `[metlog_filter_…]` | the filters of `metlog.filters`, in their order; `type_severity_max_provider` takes `TYPE = SEVERITY` for each type |
/// | `[metlog_plugin_…]` | an error, unless [`Ini::plugin`] says what to do for its provider |
///
/// `${NAME}` stands for an environment variable anywhere in a value, `${NAME:-default}` for one that may be missing or empty.
#[must_use = "a file is read by `builder`"]
pub struct Ini<'p> {
    section: String,
    plugins: Vec<(String, Box<Plugin<'p>>)>,
}

impl Default for Ini<'_> {
    fn default() -> Self {
        Ini { section: "metlog".to_owned(), plugins: Vec::new() }
    }
}

impl<'p> Ini<'p> {
    /// The name of the client's section, instead of `metlog`; its filters are then in `[NAME_filter_…]`.
    pub fn section(mut self, name: impl Into<String>) -> Ini<'p> {
        self.section = name.into();
        self
    }

    /// Says what a plug-in of the original client is in Rust: usually an [extension](Client::extend). `provider` is the name
    /// that the file has for it.
    ///
    /// ```
    /// use metlog::{Client, config::Ini};
    ///
    /// struct Cef {
    ///     facility: String,
    /// }
    ///
    /// let client = Ini::default()
    ///     .plugin("metlog_cef.cef_plugin:config_plugin", |builder, settings| {
    ///         let facility = settings.text("syslog_facility").unwrap_or("LOCAL4").to_owned();
    ///         Ok(builder.extend(Cef { facility }))
    ///     })
    ///     .builder(
    ///         "[metlog]\n\
    ///          sender_class = metlog.senders.StdOutSender\n\
    ///          [metlog_plugin_cef]\n\
    ///          provider = metlog_cef.cef_plugin:config_plugin\n\
    ///          syslog_facility = AUTH\n",
    ///     )?
    ///     .build()?;
    /// assert_eq!(client.extension::<Cef>().map(|cef| cef.facility.as_str()), Some("AUTH"));
    /// # Ok::<(), metlog::config::ConfigError>(())
    /// ```
    ///
    /// The text that it returns as an error becomes part of one that says where the plug-in's section is.
    pub fn plugin(
        mut self,
        provider: &str,
        install: impl Fn(ClientBuilder, &PluginSettings) -> Result<ClientBuilder, String> + 'p,
    ) -> Ini<'p> {
        self.plugins.push((dotted(provider), Box::new(install)));
        self
    }

    /// A builder that has everything that the text says; more can be added before [`ClientBuilder::build`].
    pub fn builder(&self, text: &str) -> Result<ClientBuilder, ConfigError> {
        self.read(text, &|name| std::env::var(name).ok()).map_err(|fault| fault.located(text))
    }

    /// The same from a file, of 1 MiB at most. The path is part of its errors.
    pub fn builder_from_file(&self, path: impl AsRef<Path>) -> Result<ClientBuilder, ConfigError> {
        let path = path.as_ref();
        let text =
            read_file(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        self.builder(&text)
            .map_err(|error| ConfigError::InFile { path: path.to_owned(), error: Box::new(error) })
    }

    fn read(&self, text: &str, environment: Environment<'_>) -> Result<ClientBuilder, Fault> {
        let sections = text::sections(text)?;
        let Some(main) = sections.iter().find(|section| section.name == self.section) else {
            let problem = format!("expected a section [{}]", self.section);
            return Err(Fault { span: 0..0, problem });
        };
        let mut builder = self.read_main(main, environment)?;
        for section in &sections {
            let Some(rest) = section.name.strip_prefix(&self.section) else { continue };
            let Some(rest) = rest.strip_prefix('_') else { continue };
            builder = if rest.starts_with("filter") {
                builder.filter(read_filter(section, environment)?)
            } else if let Some(name) = rest.strip_prefix("plugin") {
                install(&self.plugins, builder, name.trim_start_matches('_'), section, environment)?
            } else {
                let name = &self.section;
                let problem = format!(
                    "[{}] is not a section: expected [{name}_filter_…] or [{name}_plugin_…]",
                    section.name
                );
                return Err(Fault::at(&section.span, problem));
            };
        }
        Ok(builder)
    }

    fn read_main(&self, section: &Section, environment: Environment<'_>) -> Result<ClientBuilder, Fault> {
        let mut keys = Keys::new(section, environment);
        let mut builder = Client::builder();
        if let Some(logger) = keys.take("logger")? {
            builder = builder.logger(logger.text()?);
        }
        if let Some(severity) = keys.take("severity")? {
            builder = builder.severity(as_severity(&severity)?);
        }
        if let Some(timers) = keys.take("disabled_timers")? {
            builder = timers.lines.into_iter().fold(builder, ClientBuilder::disable_timer);
        }
        let class = keys.required("sender_class")?;
        let sender: Box<dyn Sender> = match short(&dotted(class.text()?)) {
            "metlog.senders.UdpSender" => {
                let hosts = keys.required("sender_host")?;
                let value = keys.required("sender_port")?;
                let mut ports = value.ports()?;
                // The original leaves ports beyond the last host out.
                ports.truncate(hosts.lines.len().max(1));
                let sender = pair_hosts_with_ports(&hosts.lines, &ports)
                    .and_then(|addresses| UdpSender::to_all(&addresses));
                let sender = sender.map_err(|error| Fault::at(&hosts.span(), error.to_string()))?;
                Box::new(sender.encoder(read_encoder(&mut keys)?))
            }
            "metlog.senders.FileSender" => {
                Box::new(FileSender::new(keys.required("sender_filepath")?.text()?))
            }
            "metlog.senders.StdOutSender" => Box::new(StdoutSender::new()),
            "metlog.senders.DebugCaptureSender" => {
                // It takes any setting.
                return Ok(builder.sender(NoopSender));
            }
            "metlog.senders.NoSendSender" => Box::new(NoopSender),
            other => return Err(no_such_sender(other, &class)),
        };
        if let Some(formatter) = keys.take("sender_formatter")? {
            let problem = "sender_formatter names Python code: leave it out; each message is a line of JSON";
            return Err(Fault::at(&formatter.entry.span, problem));
        }
        keys.finish()?;
        Ok(builder.sender(sender))
    }
}

fn read_encoder(keys: &mut Keys<'_>) -> Result<Encoder, Fault> {
    let Some(value) = keys.take("sender_encoder")? else { return Ok(Encoder::Json) };
    Encoder::named(value.text()?).ok_or_else(|| value.wrong("json or msgpack"))
}

fn read_file(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;

    let mut text = String::new();
    let length = std::fs::File::open(path)?.take(LONGEST_BYTES + 1).read_to_string(&mut text)?;
    if length as u64 > LONGEST_BYTES {
        return Err(std::io::Error::other("it is longer than 1 MiB, which no configuration is"));
    }
    Ok(text)
}

/// A name of Python code with dots only: `package.module:name` is the same as `package.module.name`.
fn dotted(name: &str) -> String {
    name.replace(':', ".")
}

/// The name that a class has in the package, if it is named by the module that it is in.
fn short(class: &str) -> &str {
    match class {
        "metlog.senders.udp.UdpSender" => "metlog.senders.UdpSender",
        "metlog.senders.dev.FileSender" => "metlog.senders.FileSender",
        "metlog.senders.dev.StdOutSender" => "metlog.senders.StdOutSender",
        "metlog.senders.dev.DebugCaptureSender" => "metlog.senders.DebugCaptureSender",
        "metlog.senders.dev.StreamSender" => "metlog.senders.StreamSender",
        other => other,
    }
}

fn no_such_sender(class: &str, value: &Value<'_>) -> Fault {
    let instead = "use metlog.senders.UdpSender with sender_host and sender_port";
    let problem = if class.starts_with("metlog.senders.zmq.") {
        format!("{class} sends over ZeroMQ, which this client does not: {instead}")
    } else if class.starts_with("metlog.senders.logging.") {
        format!("{class} sends to Python's logging: use metlog.senders.StdOutSender, or {instead}")
    } else if class == "metlog.senders.StreamSender" {
        format!(
            "{class} needs an object of Python: use metlog.senders.FileSender or metlog.senders.StdOutSender"
        )
    } else {
        // The text of the file, not what the environment has made of it.
        let shown = value.entry.lines.first().map_or("", |line| &line.text);
        return unknown("sender", shown, &SENDERS, value.span());
    };
    Fault::at(&value.span(), problem)
}

fn read_filter(section: &Section, environment: Environment<'_>) -> Result<Box<dyn Filter>, Fault> {
    let mut keys = Keys::new(section, environment);
    let provider = keys.required("provider")?;
    let filter: Box<dyn Filter> = match dotted(provider.text()?).as_str() {
        "metlog.filters.severity_max_provider" => {
            Box::new(SeverityMax(as_severity(&keys.required("severity")?)?))
        }
        "metlog.filters.type_whitelist_provider" => Box::new(TypeAllow::new(keys.required("types")?.lines)),
        "metlog.filters.type_blacklist_provider" => Box::new(TypeDeny::new(keys.required("types")?.lines)),
        "metlog.filters.type_severity_max_provider" => {
            let types = keys.others().map(|entry| {
                let severity = as_severity(&Value::of(entry, environment)?)?;
                Ok((entry.key.clone(), severity))
            });
            let types = types.collect::<Result<Vec<_>, Fault>>()?;
            if types.is_empty() {
                return Err(keys.fault("no types: expected `TYPE = SEVERITY` for each of them"));
            }
            return Ok(Box::new(TypeSeverityMax::new(types)));
        }
        _ => {
            let shown = provider.entry.lines.first().map_or("", |line| &line.text);
            return Err(unknown("filter", shown, &FILTERS, provider.span()));
        }
    };
    keys.finish()?;
    Ok(filter)
}

fn as_severity(value: &Value<'_>) -> Result<Severity, Fault> {
    value.parse("a severity: 0 to 7, or its name")
}

#[cfg(test)]
mod tests;
