//! What stands in a section that can hold secrets, and is nothing that its kind knows: it may be a secret under another name.
//!
//! A slip (`header` instead of `headers`, a password that is not in its table) must not show in a terminal, or in the log of a
//! build, what would never be shown if it were written properly.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::super::{
    parameters::ParameterDoc,
    reader::{Schema, Value},
    suggest,
};

/// The kinds of inputs and endpoints, and the sections without a kind, with what they take.
#[derive(Debug, Clone, Default)]
pub(super) struct Kinds {
    kinds: Vec<(&'static str, &'static str, Vec<ParameterDoc>)>,
    sections: Vec<(&'static str, Vec<ParameterDoc>)>,
}

impl Kinds {
    pub fn add(&mut self, group: &'static str, kind: &'static str, docs: Vec<ParameterDoc>) {
        self.kinds.push((group, kind, docs));
    }

    pub fn add_section(&mut self, heading: &'static str, docs: Vec<ParameterDoc>) {
        self.sections.push((heading, docs));
    }

    /// The values of a whole file that stand in sections that can hold secrets, and that these do not know.
    pub fn unknown_values(&self, file: &DeTable<'_>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for (heading, value) in file {
            let DeValue::Table(table) = value.get_ref() else { continue };
            let heading = heading.get_ref().as_ref();
            if self.kinds.iter().any(|(group, ..)| *group == heading) {
                for (key, component) in table {
                    match component.get_ref() {
                        DeValue::Table(keys) => self.of_component(heading, keys, &mut found),
                        _ if key.get_ref() == "kind" => {}
                        // It should stand in a section, and nobody knows in which.
                        _ => every_scalar(component, &mut found),
                    }
                }
            } else if let Some((_, docs)) = self.sections.iter().find(|(known, _)| *known == heading) {
                of_table(table, docs, &mut found);
            } else if self.is_meant_for_one(heading) {
                every_scalar(value, &mut found);
            }
        }
        found
    }

    fn of_component(&self, group: &str, keys: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
        let kind = keys.get("kind").and_then(|kind| kind.get_ref().as_str());
        let known = self.kinds.iter().find(|(of, name, _)| *of == group && Some(*name) == kind);
        match known {
            Some((_, _, docs)) if docs.iter().any(|doc| holds_secret(&doc.schema)) => {
                of_table(keys, docs, found);
            }
            Some(_) => {}
            // It may have been meant to be any of them.
            None => {
                for (key, value) in keys {
                    let key = key.get_ref().as_ref();
                    if key != "kind" && !self.is_harmless(group, key) {
                        every_scalar(value, found);
                    }
                }
            }
        }
    }

    /// Whether some kind knows this key, and none as that of a secret.
    fn is_harmless(&self, group: &str, key: &str) -> bool {
        let docs = self.kinds.iter().filter(|(of, ..)| *of == group).flat_map(|(_, _, docs)| docs);
        let mut same = docs.filter(|doc| doc.name == key).peekable();
        same.peek().is_some() && same.all(|doc| !holds_secret(&doc.schema))
    }

    /// Whether a heading that is none was probably meant to be one of those that can hold secrets.
    fn is_meant_for_one(&self, heading: &str) -> bool {
        let known = self.sections.iter().map(|(known, _)| *known);
        suggest::nearest(heading, known).is_some()
            || matches!(suggest::section_meant(heading), Some("inputs" | "endpoints"))
    }
}

/// Whether anything secret can stand in a value of this shape.
pub(super) fn holds_secret(schema: &Schema) -> bool {
    match schema {
        Schema::Secret => true,
        Schema::List(item) | Schema::OneOrMany(item) | Schema::Map(item) => holds_secret(item),
        Schema::Table(docs) => docs.iter().any(|doc| holds_secret(&doc.schema)),
        Schema::AnyOf(shapes) => shapes.iter().any(holds_secret),
        _ => false,
    }
}

fn of_table(table: &DeTable<'_>, docs: &[ParameterDoc], found: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let key = key.get_ref().as_ref();
        match docs.iter().find(|doc| doc.name == key) {
            Some(doc) => of_shape(value, &doc.schema, found),
            None if key == "kind" => {}
            None => every_scalar(value, found),
        }
    }
}

fn of_shape(value: &Value<'_>, schema: &Schema, found: &mut Vec<Range<usize>>) {
    match (schema, value.get_ref()) {
        (Schema::Table(docs), DeValue::Table(table)) => of_table(table, docs, found),
        (Schema::Map(item), DeValue::Table(table)) => {
            table.values().for_each(|value| of_shape(value, item, found));
        }
        (Schema::List(item) | Schema::OneOrMany(item), DeValue::Array(items)) => {
            items.iter().for_each(|value| of_shape(value, item, found));
        }
        (Schema::OneOrMany(item), _) => of_shape(value, item, found),
        (schema, _) if holds_secret(schema) || !schema.written_as(value.get_ref()) => {
            every_scalar(value, found)
        }
        // A user in front of a host, where the scheme was left out.
        (_, DeValue::String(text)) if text.contains('@') => found.push(value.span()),
        _ => {}
    }
}

/// Everything but booleans, which keep no secret.
fn every_scalar(value: &Value<'_>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => table.values().for_each(|value| every_scalar(value, found)),
        DeValue::Array(items) => items.iter().for_each(|item| every_scalar(item, found)),
        DeValue::Boolean(_) => {}
        _ => found.push(value.span()),
    }
}
