//! How endpoints that write lines (file, stdout) write a message: its JSON as sent, or a text template.

use crate::{
    batch::Message,
    config::{Section, choices},
    template::{Template, as_it_is, one_line},
};

choices! {
    /// How a message is written.
    pub enum Format {
        /// The message's JSON text as it was sent, one message a line.
        Json = "json",
        /// The `template`, one message a line.
        Text = "text",
    }
}

choices! {
    /// What becomes of line breaks inside a value in text output.
    pub enum Multiline {
        /// They are written as `\n`, so that every message is one line.
        Escape = "escape",
        /// They are kept.
        Keep = "keep",
    }
}

/// A format with what it needs.
#[derive(Debug, Clone)]
pub enum LineFormat {
    /// See [`Format::Json`].
    Json,
    /// See [`Format::Text`].
    Text {
        /// What a line looks like.
        template: Template,
        /// What becomes of line breaks in it.
        multiline: Multiline,
    },
}

impl LineFormat {
    /// Appends the message as a line, with its line break.
    #[inline]
    pub fn write(&self, message: &Message<'_>, out: &mut Vec<u8>) {
        match self {
            LineFormat::Json => out.extend_from_slice(message.line),
            LineFormat::Text { template, multiline } => {
                match multiline {
                    Multiline::Escape => template.render(message, out, one_line),
                    Multiline::Keep => template.render(message, out, as_it_is),
                }
                out.push(b'\n');
            }
        }
    }
}

impl LineFormat {
    /// Whether every message is exactly one line.
    pub fn is_one_line(&self) -> bool {
        match self {
            LineFormat::Json => true,
            LineFormat::Text { template, multiline } => {
                *multiline == Multiline::Escape && !template.has_line_breaks()
            }
        }
    }

    /// The format that these parameters ask for.
    pub fn new(format: Format, template: &Template, multiline: Multiline) -> LineFormat {
        match format {
            Format::Json => LineFormat::Json,
            Format::Text => LineFormat::Text { template: template.clone(), multiline },
        }
    }
}

/// Warns of keys that do nothing because the format is JSON.
pub fn check(format: Format, section: &mut Section<'_>) {
    for key in ["template", "multiline"] {
        if format == Format::Json && section.value(key).is_some() {
            let span = section.span_of(key);
            let problem =
                section.diagnostics().warning(span, format!("`{key}` does nothing with JSON output"));
            problem.help("add format = \"text\", or remove it");
        }
    }
}
