//! The inputs and the endpoints: tables of tables, each of a kind that the registry knows.

use std::ops::Range;

use toml::de::DeValue;

use super::{file::Kind, parameters::one_of, reader::Section, suggest};

/// One input or endpoint of the file.
pub(super) struct Declared<C> {
    pub name: String,
    /// Where its section begins.
    pub span: Range<usize>,
    /// `None` where something in it is wrong.
    pub component: Option<C>,
}

/// Reads every `[inputs.NAME]` or `[endpoints.NAME]`, in the order of the file. `read` gets the keys that every
/// component has, and calls the kind for its own.
pub(super) fn read<S: ?Sized, C>(
    root: &mut Section<'_>,
    group: &'static str,
    kinds: &[Kind<S>],
    read: fn(&str, &Kind<S>, &mut Section<'_>) -> Option<C>,
) -> Vec<Declared<C>> {
    let Some(value) = root.value(group) else {
        return Vec::new();
    };
    let singular = group.trim_end_matches('s');
    let DeValue::Table(table) = value.get_ref() else {
        let problem = root.diagnostics().error(value.span(), format!("each {singular} needs a name"));
        problem.help(format!("begin it with [{group}.NAME], with a name of your choice"));
        return Vec::new();
    };
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);

    let mut declared = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let name = key.get_ref();
        let DeValue::Table(table) = value.get_ref() else {
            let problem =
                root.diagnostics().error(key.span(), format!("`{name}` stands outside of any {singular}"));
            problem.help(format!("begin the {singular} with [{group}.NAME], with a name of your choice"));
            continue;
        };
        let span = if value.span().is_empty() { key.span() } else { value.span() };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            let problem =
                root.diagnostics().error(key.span(), format!("`{name}` cannot be the name of an {singular}"));
            problem.help("a name has letters, digits, `-` and `_`");
        }
        let mut section = Section::new(format!("{group}.{name}"), span.clone(), table, root.diagnostics());
        let component = find_kind(&mut section, kinds, singular).and_then(|kind| {
            let component = read(name, kind, &mut section);
            section.finish();
            component
        });
        declared.push(Declared { name: name.to_string(), span, component });
    }
    declared
}

/// Without a known kind nothing can be said about the other keys.
fn find_kind<'k, S: ?Sized>(
    section: &mut Section<'_>,
    kinds: &'k [Kind<S>],
    what: &str,
) -> Option<&'k Kind<S>> {
    let mut names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    names.sort_unstable();
    if section.value("kind").is_none() {
        section.missing("kind", &one_of(&names));
        return None;
    }
    let wanted = section.optional::<String>("kind")?;
    let found = kinds.iter().find(|kind| kind.name == wanted);
    if found.is_none() {
        let span = section.span_of("kind");
        let problem = section.diagnostics().error(span, format!("there is no {what} of kind `{wanted}`"));
        if let Some(meant) = suggest::nearest(&wanted, names.iter().copied()) {
            problem.label(format!("did you mean \"{meant}\"?"));
        }
        problem.help(format!("known kinds: {}", suggest::listed(names, "and")));
    }
    found
}
