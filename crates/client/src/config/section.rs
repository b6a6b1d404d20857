//! Tables of a configuration, read so that each mistake is told with its place.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ConfigError;
use crate::senders::pair_hosts_with_ports;

/// A problem and the bytes that it is about.
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn at(span: &Range<usize>, problem: impl Into<String>) -> Fault {
        Fault { span: span.clone(), problem: problem.into() }
    }

    pub(super) fn located(self, text: &str) -> ConfigError {
        let start = (0..=self.span.start.min(text.len())).rev().find(|place| text.is_char_boundary(*place));
        let before = &text[..start.unwrap_or(0)];
        let line_start = before.rfind('\n').map_or(0, |place| place + 1);
        ConfigError::Invalid {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: self.problem,
            text: text[line_start..].lines().next().unwrap_or_default().to_owned(),
        }
    }
}

pub(super) type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// A table of which each key is asked for, so that what is left over is a mistake.
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    pub(super) fn new(table: &'t DeTable<'i>, span: Range<usize>) -> Section<'t, 'i> {
        Section { table, span, asked: Vec::new() }
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'t, 'i>> {
        self.asked.push(key);
        self.table.get(key)
    }

    pub(super) fn required(&mut self, key: &'static str) -> Result<Value<'t, 'i>, Fault> {
        let span = self.span.clone();
        self.take(key).ok_or_else(|| Fault { span, problem: format!("{key} is missing") })
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>, Fault> {
        self.take(key).map(|value| as_text(key, value)).transpose()
    }

    pub(super) fn required_text(&mut self, key: &'static str) -> Result<Spanned<String>, Fault> {
        let value = self.required(key)?;
        Ok(Spanned::new(value.span(), as_text(key, value)?))
    }

    pub(super) fn texts(&mut self, key: &'static str) -> Result<Option<Vec<String>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let Some(array) = value.get_ref().as_array() else {
            return Err(wrong_type(key, "a list of strings", value));
        };
        array.iter().map(|item| as_text(key, item)).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn required_texts(&mut self, key: &'static str) -> Result<Vec<String>, Fault> {
        let problem = format!("{key} is missing");
        let span = self.span.clone();
        self.texts(key)?.ok_or(Fault { span, problem })
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.get_ref().as_bool().map(Some).ok_or_else(|| wrong_type(key, "true or false", value))
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let number = as_integer(value.get_ref()).and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong_type(key, &expected, value)),
        }
    }

    /// `hosts` and `ports`, paired.
    pub(super) fn addresses(&mut self) -> Result<Vec<String>, Fault> {
        let hosts = self.required_texts("hosts")?;
        let ports = self.required("ports")?;
        let expected = "a list of ports, 1 to 65535";
        let array = ports.get_ref().as_array().ok_or_else(|| wrong_type("ports", expected, ports))?;
        let port = |item: &Spanned<DeValue<'_>>| {
            let number = as_integer(item.get_ref()).and_then(|number| u16::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or_else(|| wrong_type("ports", expected, item))
        };
        let numbers = array.iter().map(port).collect::<Result<Vec<u16>, Fault>>()?;
        pair_hosts_with_ports(&hosts, &numbers)
            .map_err(|error| Fault { span: ports.span(), problem: error.to_string() })
    }

    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Section<'t, 'i>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let table = value.get_ref().as_table().ok_or_else(|| wrong_type(key, "a table", value))?;
        Ok(Some(Section::new(table, value.span())))
    }

    pub(super) fn sections(&mut self, key: &'static str) -> Result<Vec<Section<'t, 'i>>, Fault> {
        let Some(value) = self.take(key) else { return Ok(Vec::new()) };
        let expected = "a list of tables";
        let array = value.get_ref().as_array().ok_or_else(|| wrong_type(key, expected, value))?;
        let section = |item: &'t Spanned<DeValue<'i>>| {
            let table = item.get_ref().as_table().ok_or_else(|| wrong_type(key, expected, item))?;
            Ok(Section::new(table, item.span()))
        };
        array.iter().map(section).collect()
    }

    pub(super) fn fault(&self, error: impl std::fmt::Display) -> Fault {
        Fault { span: self.span.clone(), problem: error.to_string() }
    }

    /// Complains about a key that nobody asked for.
    pub(super) fn finish(&self) -> Result<(), Fault> {
        match self.table.keys().find(|key| !self.asked.iter().any(|asked| asked == key.get_ref())) {
            Some(key) => Err(unknown("key", key.get_ref(), &self.asked, key.span())),
            None => Ok(()),
        }
    }
}

pub(super) fn as_text(key: &str, value: Value<'_, '_>) -> Result<String, Fault> {
    value.get_ref().as_str().map(str::to_owned).ok_or_else(|| wrong_type(key, "a string", value))
}

pub(super) fn as_integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

pub(super) fn wrong_type(key: &str, expected: &str, value: Value<'_, '_>) -> Fault {
    let found = match value.get_ref() {
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::String(text) => format!("{text:?}"),
        other => format!("a value of type {}", other.type_str()),
    };
    Fault { span: value.span(), problem: format!("{key} is {found}: expected {expected}") }
}

pub(super) fn unknown(what: &str, found: &str, known: &[&str], span: Range<usize>) -> Fault {
    let nearest = known.iter().map(|name| (distance(found, name), name)).min();
    let hint = match nearest {
        Some((distance, name)) if distance <= 2 => format!("did you mean {name:?}?"),
        _ => format!("expected one of {}", known.join(", ")),
    };
    Fault { span, problem: format!("unknown {what} {found:?}: {hint}") }
}

/// How many letters must be put in, left out or changed to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, against) in other.iter().enumerate() {
            let change = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}
