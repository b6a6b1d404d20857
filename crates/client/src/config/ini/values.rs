//! The values of one section: environment variables put in, and each read as what its key wants.

use std::ops::{Range, RangeInclusive};

use super::super::section::{Fault, unknown};
use super::text::{Entry, Section};

/// Looks an environment variable up.
pub(super) type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A section of which each key is asked for, so that what is left over is a mistake.
pub(super) struct Keys<'s> {
    section: &'s Section,
    environment: Environment<'s>,
    asked: Vec<&'static str>,
}

/// A value, its environment variables put in.
pub(super) struct Value<'s> {
    pub(super) entry: &'s Entry,
    pub(super) lines: Vec<String>,
}

impl<'s> Keys<'s> {
    pub(super) fn new(section: &'s Section, environment: Environment<'s>) -> Keys<'s> {
        Keys { section, environment, asked: Vec::new() }
    }

    pub(super) fn take(&mut self, key: &'static str) -> Result<Option<Value<'s>>, Fault> {
        self.asked.push(key);
        let entry = self.section.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| Value::of(entry, self.environment)).transpose()
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<Value<'s>, Fault> {
        self.take(key)?.ok_or_else(|| self.fault(format!("{key} is missing")))
    }

    /// A problem with the section as a whole.
    pub(super) fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault::at(&self.section.span, problem)
    }

    /// The entries that nobody has asked for.
    pub(super) fn others(&self) -> impl Iterator<Item = &'s Entry> {
        self.section.entries.iter().filter(|entry| !self.asked.contains(&entry.key.as_str()))
    }

    /// Complains about a key that nobody asked for. Settings of a whole process (`global_…`) are of no use here, and no
    /// mistake.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self.others().find(|entry| !entry.key.starts_with("global_")) {
            Some(entry) => Err(unknown("key", &entry.key, &self.asked, entry.span.clone())),
            None => Ok(()),
        }
    }
}

impl<'s> Value<'s> {
    pub(super) fn of(entry: &'s Entry, environment: Environment<'_>) -> Result<Value<'s>, Fault> {
        let expand = |line: &super::text::Line| expanded(&line.text, &line.span, environment);
        let lines = entry.lines.iter().map(expand).collect::<Result<_, _>>()?;
        Ok(Value { entry, lines })
    }

    /// The one line that it has; empty where it has none.
    pub(super) fn text(&self) -> Result<&str, Fault> {
        match self.lines.as_slice() {
            [] => Ok(""),
            [line] => Ok(line),
            _ => Err(self.wrong("one line")),
        }
    }

    /// The one line that it has, read as something.
    pub(super) fn parse<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Fault> {
        self.text()?.parse().map_err(|_| self.wrong(expected))
    }

    pub(super) fn ports(&self) -> Result<Vec<u16>, Fault> {
        let range: RangeInclusive<u16> = 1..=u16::MAX;
        let ports = self.lines.iter().map(|line| line.parse().ok().filter(|port| range.contains(port)));
        ports.collect::<Option<_>>().ok_or_else(|| self.wrong("ports, 1 to 65535, each on a line of its own"))
    }

    /// What is said of a value that is not as expected. It shows the text of the file: what the environment puts in may
    /// be a secret.
    pub(super) fn wrong(&self, expected: &str) -> Fault {
        let Entry { key, lines, .. } = self.entry;
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        Fault::at(&self.span(), format!("{key} is {:?}: expected {expected}", texts.join("\n")))
    }

    /// Where the value is; its key, where there is no value.
    pub(super) fn span(&self) -> Range<usize> {
        self.entry.lines.first().map_or(&self.entry.span, |line| &line.span).clone()
    }
}

/// A line with `${NAME}` and `${NAME:-default}` put in, and `%%` as `%`.
fn expanded(text: &str, span: &Range<usize>, environment: Environment<'_>) -> Result<String, Fault> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(place) = rest.find(['$', '%']) {
        out.push_str(&rest[..place]);
        rest = &rest[place..];
        if let Some(name) = rest.strip_prefix("${") {
            let Some((name, after)) = name.split_once('}') else {
                return Err(Fault::at(span, "`${` without `}`: expected ${NAME}"));
            };
            let (name, default) =
                name.split_once(":-").map_or((name, None), |(name, text)| (name, Some(text)));
            let found = environment(name).filter(|found| !found.is_empty() || default.is_none());
            let value = found.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
                let problem = format!(
                    "the environment variable {name} is not set: set it, or write ${{{name}:-default}}"
                );
                Fault::at(span, problem)
            })?;
            out.push_str(&value);
            rest = after;
        } else if rest.starts_with("%(") {
            let problem = "`%(…)s` takes a value from another key, which is not supported: write the value itself, or `%%` for `%`";
            return Err(Fault::at(span, problem));
        } else {
            out.push_str(&rest[..1]);
            rest = rest.strip_prefix("%%").unwrap_or(&rest[1..]);
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_where_they_stand() {
        let environment = |name: &str| match name {
            "HOST" => Some("web1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let read = |text: &str| expanded(text, &(0..0), &environment).map_err(|fault| fault.problem);
        assert_eq!(read("a ${HOST}.b${HOST}").as_deref(), Ok("a web1.bweb1"));
        assert_eq!(read("${NONE:-x:-y}${EMPTY:-z}${EMPTY}").as_deref(), Ok("x:-yz"));
        assert_eq!(read("100 %% $ 5% $").as_deref(), Ok("100 % $ 5% $"));
        assert!(read("${NONE}").unwrap_err().contains("NONE is not set"));
        assert!(read("${HOST").unwrap_err().contains("without `}`"));
        assert!(read("%(here)s/x").unwrap_err().contains("not supported"));
    }
}
