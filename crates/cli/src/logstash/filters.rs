//! Follows tags through the filters.

use std::{collections::BTreeMap, ops::Range};

use super::{
    ByTags, Notes, Settings, applies, by_tags,
    conditions::{self, Condition},
    language::{File, Plugin},
    of_section,
};

/// What `catchall` puts on messages besides what it is told.
const CATCHALL_TAG: &str = "filter-catchall";

/// Which messages carry which tag behind all filters.
#[derive(Debug, Default)]
pub struct Tags {
    followed: BTreeMap<String, Condition>,
    /// Tags that something puts on messages that is not turned: which messages these are is not known.
    unturned: BTreeMap<String, Unturned>,
}

/// What puts a tag on messages and is not turned.
#[derive(Debug, Clone)]
pub struct Unturned {
    what: String,
    span: Range<usize>,
}

impl Tags {
    /// Which messages carry this tag, as far as that is known.
    pub fn of(&self, tag: &str) -> Condition {
        self.followed.get(tag).cloned().unwrap_or_else(Condition::never)
    }

    /// What else puts this tag on messages.
    pub fn unturned(&self, tag: &str) -> Option<&Unturned> {
        self.unturned.get(tag)
    }

    /// The same in words: `the filter grok (logstash.conf:3:5)`.
    pub(super) fn origin(&self, tag: &str, notes: &Notes<'_>) -> String {
        self.unturned(tag).map_or_else(String::new, |unturned| {
            format!("{} ({})", unturned.what, notes.place(&unturned.span))
        })
    }

    fn add(&mut self, tag: String, condition: Condition) {
        let known = self.of(&tag);
        self.followed.insert(tag, Condition::any([known, condition]));
    }

    fn add_unturned(&mut self, tag: String, what: &str, span: &Range<usize>) {
        self.unturned.entry(tag).or_insert_with(|| Unturned { what: what.to_owned(), span: span.clone() });
    }

    fn remove(&mut self, tag: String, condition: Condition) {
        let known = self.of(&tag);
        self.followed.insert(tag, Condition::all([known, condition.not()]));
    }
}

/// Runs through the filters in their order.
pub(super) fn follow(file: &File, types: &[String], notes: &mut Notes<'_>) -> Tags {
    let mut tags = Tags::default();
    for conditional in &file.conditionals {
        for tag in &conditional.added_tags {
            tags.add_unturned(tag.clone(), "a conditional", &conditional.span);
        }
    }
    for plugin in of_section(&file.plugins, "input") {
        for tag in Settings::of(plugin).list("tags").into_iter().chain(Settings::of(plugin).list("add_tag")) {
            tags.add_unturned(tag, &format!("the input {}", plugin.name), &plugin.span);
        }
    }
    for plugin in of_section(&file.plugins, "filter") {
        filter(plugin, types, &mut tags, notes);
    }
    tags
}

fn filter(plugin: &Plugin, types: &[String], tags: &mut Tags, notes: &mut Notes<'_>) {
    let mut settings = Settings::of(plugin);
    let what = format!("the filter {}", plugin.name);
    if !matches!(plugin.name.as_str(), "tagger" | "catchall") {
        let help = "routes match a message as it was sent; tags that it put on messages are missing";
        notes.plugin_not_turned(plugin, help);
        // Those that parse say with a tag that they could not.
        let failure = format!("_{}parsefailure", plugin.name);
        let added = ["add_tag", "tag_on_failure"].into_iter().flat_map(|name| settings.list(name));
        for tag in added.chain([failure]).collect::<Vec<_>>() {
            tags.add_unturned(tag, &what, &plugin.span);
        }
        return;
    }
    if !applies(plugin, &mut settings, types, notes) {
        return;
    }
    let (condition, unturned) = match plugin.name.as_str() {
        "tagger" => {
            let ByTags { condition, unturned } = by_tags(plugin, &mut settings, tags, notes);
            (Condition::all([tagger(&mut settings, notes), condition]), unturned)
        }
        // Here `tags` are those of which a message must have none.
        _ => {
            let unwanted = settings.list("tags");
            for tag in unwanted.iter().filter(|tag| tags.unturned(tag).is_some()) {
                let message = format!(
                    "catchall left out what carries the tag `{tag}`, and now takes it: the tag comes from {}, which is not turned",
                    tags.origin(tag, notes)
                );
                notes.left_out_because(
                    settings.span_of("tags"),
                    message,
                    "say it in the `match` of its route",
                );
            }
            (Condition::any(unwanted.iter().map(|tag| tags.of(tag)).collect::<Vec<_>>()).not(), None)
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
        if let Some(origin) = unturned.as_ref().and_then(|wanted| tags.unturned(wanted)).cloned() {
            tags.unturned.entry(tag.clone()).or_insert(origin);
        }
        tags.add(tag, condition.clone());
    }
    for tag in settings.list("remove_tag") {
        tags.remove(tag, condition.clone());
    }
    notes.finish(plugin, &settings);
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
