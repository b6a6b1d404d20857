//! The Prometheus text format, version 0.0.4, and nothing of what it is used for.

use std::fmt::{Display, Write};

/// The content type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

/// What a metric's numbers mean.
#[derive(Debug, Clone, Copy)]
pub enum MetricType {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The samples of one metric, which must stand together.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Exposition {
    /// Begins a metric; what is not a sample of it comes after it.
    pub fn family<'a>(&'a mut self, name: &'a str, kind: MetricType, help: &str) -> Family<'a> {
        let kind = match kind {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
        };
        self.text.push_str("# HELP ");
        self.text.push_str(name);
        self.text.push(' ');
        escape(&mut self.text, help, false);
        // Writing to a string cannot fail.
        let _ = write!(self.text, "\n# TYPE {name} {kind}\n");
        Family { text: &mut self.text, name }
    }

    /// The page.
    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// One sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (position, (label, text)) in labels.iter().enumerate() {
            self.text.push(if position == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(self.text, text, true);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Quotes are only special inside of a label.
fn escape(text: &mut String, value: &str, in_quotes: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if in_quotes => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_is_escaped() {
        let mut page = Exposition::default();
        let mut family =
            page.family("lines_total", MetricType::Counter, "Lines \"read\",\nback\\slashes too.");
        family.sample(&[("path", "C:\\new\n\"file\""), ("kind", "ü")], 3);
        family.sample(&[], 0.5);
        assert_eq!(
            page.into_text(),
            "# HELP lines_total Lines \"read\",\\nback\\\\slashes too.\n\
             # TYPE lines_total counter\n\
             lines_total{path=\"C:\\\\new\\n\\\"file\\\"\",kind=\"ü\"} 3\n\
             lines_total 0.5\n"
        );
    }
}
