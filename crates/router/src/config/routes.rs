//! The `[[routes]]` of the file, one by one.

use std::ops::Range;

use toml::de::DeValue;

use super::{
    Route, conditions,
    reader::{Section, Value, found},
    suggest,
};
use crate::routes::condition::Condition;

/// One route of the file.
pub(super) struct DeclaredRoute {
    /// Where its section begins.
    pub span: Range<usize>,
    /// `None` where something in it is wrong.
    pub route: Option<Route>,
}

impl DeclaredRoute {
    /// Whether it takes every message that reaches it.
    pub fn takes_all(&self) -> bool {
        let takes_all = |route: &Route| !route.unrouted && route.condition == Condition::All(Vec::new());
        self.route.as_ref().is_some_and(takes_all)
    }
}

/// Reads every `[[routes]]`; `endpoints` are the names that a route can send to.
pub(super) fn read(root: &mut Section<'_>, endpoints: &[&str]) -> Vec<DeclaredRoute> {
    let Some(value) = root.value("routes") else {
        return Vec::new();
    };
    let DeValue::Array(items) = value.get_ref() else {
        if !root.diagnostics().is_list_told("routes") {
            let problem = root.diagnostics().error(value.span(), "routes are written in double brackets");
            problem.help("begin each one with [[routes]]");
        }
        return Vec::new();
    };
    let mut declared = Vec::with_capacity(items.len());
    for (position, item) in items.iter().enumerate() {
        let DeValue::Table(table) = item.get_ref() else {
            let message = format!("a route is a table, not {}", found(item.get_ref()));
            root.diagnostics().error(item.span(), message).help("begin each route with [[routes]]");
            continue;
        };
        let number = position + 1;
        let mut section = Section::new(format!("route {number}"), item.span(), table, root.diagnostics());
        let route = read_one(&mut section, number, endpoints);
        section.finish();
        declared.push(DeclaredRoute { span: item.span(), route });
    }
    declared
}

fn read_one(section: &mut Section<'_>, number: usize, endpoints: &[&str]) -> Option<Route> {
    let name = section.required::<Option<String>>("name");
    let unrouted = section.or_default("unrouted", false);
    let is_final = section.or_default("final", false);
    let condition = condition(section);
    let written = match section.value("match") {
        Some(value) if section.diagnostics().has_variables() => {
            conditions::read_as_written(value, section.diagnostics())
        }
        _ => condition.clone(),
    };
    let to = targets(section, endpoints);
    let (unrouted, is_final) = (unrouted?, is_final?);
    if unrouted && section.value("match").is_some() {
        let span = section.span_of("match");
        let problem = section.diagnostics().error(span, "`match` and `unrouted = true` exclude each other");
        problem.help(
            "a catch-all takes whatever no other route took; for less than that, write a route of its own",
        );
        return None;
    }
    if unrouted && is_final {
        let span = section.span_of("final");
        let problem = section.diagnostics().warning(span, "`final` has no effect on a catch-all");
        problem.help("remove it: messages come here only when no other route took them");
    }
    Some(Route { number, name: name?, condition: condition?, written: written?, to: to?, is_final, unrouted })
}

/// A route without `match` takes every message.
fn condition(section: &mut Section<'_>) -> Option<Condition> {
    let vrl = section.value("where").map(Value::span);
    let read = match section.value("match") {
        Some(value) => conditions::read(value, section.diagnostics()),
        None => Some(Condition::All(Vec::new())),
    };
    if let Some(span) = vrl {
        let problem = section.diagnostics().error(span, "this build has no VRL conditions");
        problem.help("use `match`, as in match = { type = \"counter\", severity = { max = 4 } }");
        return None;
    }
    read
}

/// `to`: the positions of the endpoints that it names.
fn targets(section: &mut Section<'_>, endpoints: &[&str]) -> Option<Vec<usize>> {
    let Some(value) = section.value("to") else {
        section.missing("to", "a list of endpoint names such as [\"stats\"]");
        return None;
    };
    let DeValue::Array(items) = value.get_ref() else {
        let problem = section.diagnostics().error(value.span(), "`to` takes a list of endpoint names");
        problem.label(format!("this is {}", found(value.get_ref())));
        if let Some(name) = value.get_ref().as_str() {
            problem.help(format!("put it in brackets: to = [\"{name}\"]"));
        }
        return None;
    };
    if items.is_empty() {
        let problem = section.diagnostics().error(value.span(), "`to` names no endpoint");
        problem.help(match endpoints {
            [] => "define an endpoint first: [endpoints.NAME]".to_owned(),
            known => format!("known endpoints: {}", suggest::listed(known.iter().copied(), "and")),
        });
        return None;
    }
    let mut targets = Vec::with_capacity(items.len());
    let mut all_known = true;
    for item in items.iter() {
        match target(item, endpoints, section) {
            Some(position) if targets.contains(&position) => {
                let problem = section.diagnostics().warning(item.span(), "this endpoint is named twice");
                problem.help("a message goes to an endpoint once; remove one of the two");
            }
            Some(position) => targets.push(position),
            None => all_known = false,
        }
    }
    all_known.then_some(targets)
}

fn target(item: &Value<'_>, endpoints: &[&str], section: &mut Section<'_>) -> Option<usize> {
    let Some(name) = item.get_ref().as_str() else {
        let problem = section.diagnostics().error(item.span(), "`to` takes a list of endpoint names");
        problem.label(format!("this is {}", found(item.get_ref())));
        return None;
    };
    let position = endpoints.iter().position(|known| *known == name);
    if position.is_none() {
        unknown_endpoint(item.span(), name, endpoints, section.diagnostics());
    }
    position
}

/// Reports a name in `to` that no endpoint has.
pub(super) fn unknown_endpoint(
    span: Range<usize>,
    name: &str,
    endpoints: &[&str],
    diagnostics: &mut super::Diagnostics,
) {
    if diagnostics.may_be_elsewhere(name) {
        return;
    }
    let problem = diagnostics.error(span, format!("there is no endpoint called `{name}`"));
    if let Some(meant) = suggest::nearest(name, endpoints.iter().copied()) {
        problem.label(format!("did you mean \"{meant}\"?"));
    }
    problem.help(match endpoints {
        [] => format!("define it: [endpoints.{name}]"),
        known => format!("known endpoints: {}", suggest::listed(known.iter().copied(), "and")),
    });
}
