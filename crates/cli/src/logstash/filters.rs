//! Follows tags through the filters.

use std::collections::BTreeMap;

use super::{
    Notes, Settings, applies, by_tags,
    conditions::{self, Condition},
    language::Plugin,
};

/// What `catchall` puts on messages besides what it is told.
const CATCHALL_TAG: &str = "filter-catchall";

/// Which messages carry which tag behind all filters.
#[derive(Debug, Default)]
pub struct Tags(BTreeMap<String, Condition>);

impl Tags {
    /// Which messages carry this tag.
    pub fn of(&self, tag: &str) -> Condition {
        self.0.get(tag).cloned().unwrap_or_else(Condition::never)
    }

    fn add(&mut self, tag: String, condition: Condition) {
        let known = self.of(&tag);
        self.0.insert(tag, Condition::any([known, condition]));
    }

    fn remove(&mut self, tag: String, condition: Condition) {
        let known = self.of(&tag);
        self.0.insert(tag, Condition::all([known, condition.not()]));
    }
}

/// Runs through the filters in their order.
pub fn follow<'p>(
    filters: impl Iterator<Item = &'p Plugin>,
    types: &[String],
    notes: &mut Notes<'_>,
) -> Tags {
    let mut tags = Tags::default();
    for plugin in filters {
        let mut settings = Settings::of(plugin);
        if !matches!(plugin.name.as_str(), "tagger" | "catchall") {
            let help = "routes match a message as it was sent; tags that it put on messages are missing";
            notes.not_turned(plugin.span.clone(), &format!("the filter {}", plugin.name), help);
            continue;
        }
        if !applies(plugin, &mut settings, types, notes) {
            continue;
        }
        let condition = match plugin.name.as_str() {
            "tagger" => Condition::all([tagger(&mut settings, notes), by_tags(&mut settings, &tags)]),
            // Here `tags` are those of which a message must have none.
            _ => {
                Condition::any(settings.list("tags").iter().map(|tag| tags.of(tag)).collect::<Vec<_>>()).not()
            }
        };
        let mut added = settings.list("add_tag");
        if plugin.name == "catchall" && !added.iter().any(|tag| tag == CATCHALL_TAG) {
            added.push(CATCHALL_TAG.to_owned());
        }
        for tag in added {
            if tag.contains("%{") {
                notes.not_turned(
                    settings.span_of("add_tag"),
                    "a tag that depends on the message",
                    "write a route for it",
                );
                continue;
            }
            tags.add(tag, condition.clone());
        }
        for tag in settings.list("remove_tag") {
            tags.remove(tag, condition.clone());
        }
        notes.finish(plugin, &settings);
    }
    tags
}

/// Pairs of a path and a text; one of them is enough.
fn tagger(settings: &mut Settings<'_>, notes: &mut Notes<'_>) -> Condition {
    let pattern = settings.list("pattern");
    if pattern.len() % 2 == 1 {
        let help = "a pattern has a value for each path";
        notes.not_turned(settings.span_of("pattern"), "the last path of this pattern", help);
    }
    if pattern.iter().step_by(2).any(|path| path == "fields/type") {
        let message =
            "this looks at a key `type` inside `fields`, as it says, and not at the type of the message";
        notes.differs(
            settings.span_of("pattern"),
            message,
            "if the type of the message was meant, match `type`",
        );
    }
    let pairs = pattern.chunks_exact(2);
    Condition::any(
        pairs
            .map(|pair| match pair {
                [_, wanted] if wanted == "*" => Condition::Always,
                [path, wanted] => conditions::is(path, wanted),
                _ => Condition::never(),
            })
            .collect::<Vec<_>>(),
    )
}
