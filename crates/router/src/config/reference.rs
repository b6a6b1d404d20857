//! The reference page of docs/, made from the same declarations that read the file, so that it cannot be wrong about them.

use std::fmt::Write;

use super::{
    Ack, FromConfig, conditions,
    file::Kind,
    parameters::ParameterDoc,
    reader::Schema,
    settings::{
        Api, BufferSettings, DecoderName, EndpointKeys, General, InputKeys, Limits, LineDecoder, Rejects,
        RouteKeys, WhenFull,
    },
    tests_section::{Expectation, TestKeys},
};
use crate::decoders::{line, msgpack};

/// The page as Markdown.
pub fn markdown<I: ?Sized, E: ?Sized>(inputs: &[Kind<I>], endpoints: &[Kind<E>]) -> String {
    let mut page = String::from(
        "# Reference\n\n\
         Every key of a configuration file. This page is made from the code; `METLOG_UPDATE_EXPECTED=1 cargo test --release -p \
         metlog-router --test documentation` writes it anew.\n\n\
         Sizes are texts such as `\"8MiB\"`, times texts such as `\"50ms\"`. `${NAME}` and `${NAME:-default}` in a text are filled \
         from the environment; `$$` is a dollar sign.\n\n\
         [The configuration](configuration.md) has more about the file itself. `metlog config schema` prints all of this as a JSON Schema.\n\n",
    );
    section(&mut page, "At the top of the file", "", &General::docs(), "");
    section(&mut page, "`[limits]`", "", &Limits::docs(), "");
    section(&mut page, "`[rejects]`", "", &Rejects::docs(), "");
    section(&mut page, "`[api]`", "", &Api::docs(), "");
    section(&mut page, "`[[routes]]`", "", &RouteKeys::docs(), "");
    page.push_str(
        "The keys of `match` are paths into the message, such as `type` or `\"fields.user.id\"`. Each has a value that it must equal, \
         a list of such values, or a table of operators, which must all hold:\n\n",
    );
    keys(&mut page, &conditions::operator_docs());
    page.push_str("Three keys combine whole conditions:\n\n| key | meaning |\n| --- | --- |\n");
    for (word, doc) in conditions::GROUPS {
        let _ = writeln!(page, "| `{word}` | {doc} |");
    }
    page.push_str("\n[Routes](routes.md) has examples.\n\n");
    section(&mut page, "`[[tests]]`", "", &TestKeys::docs(), "");
    page.push_str("What is expected of an endpoint is a list, as in `sends`, or a table:\n\n");
    keys(&mut page, &Expectation::docs());
    page.push_str(
        "[Testing a configuration](testing.md) has examples.\n\n## Inputs\n\nEvery `[inputs.NAME]` takes `kind` and:\n\n",
    );
    keys(&mut page, &InputKeys::docs());
    choices(&mut page, &DecoderName::schema());
    page.push_str("With `decoder = \"line\"` also:\n\n");
    keys(&mut page, &LineDecoder::docs());
    let _ = writeln!(page, "```toml\n[inputs.nginx]\nkind = \"tcp\"\n{}\n```\n", line::SAMPLE.trim());
    let _ = writeln!(
        page,
        "What values become with `decoder = \"msgpack\"` is in [msgpack](msgpack.md).\n\n```toml\n[inputs.packed]\nkind = \"udp\"\n{}\n```\n",
        msgpack::SAMPLE.trim()
    );
    for kind in inputs {
        kind_section(&mut page, "inputs", kind);
    }
    page.push_str("## Endpoints\n\nEvery `[endpoints.NAME]` takes `kind` and:\n\n");
    keys(&mut page, &EndpointKeys::docs());
    page.push_str("`ack` is one of:\n\n");
    choices(&mut page, &Ack::schema());
    page.push_str("`buffer` is a table:\n\n");
    keys(&mut page, &BufferSettings::docs());
    page.push_str("`when_full` is one of:\n\n");
    choices(&mut page, &WhenFull::schema());
    for kind in endpoints {
        kind_section(&mut page, "endpoints", kind);
    }
    page
}

fn kind_section<S: ?Sized>(page: &mut String, group: &str, kind: &Kind<S>) {
    let sample =
        format!("[{group}.{name}]\nkind = \"{name}\"\n{}", kind.sample.trim_start(), name = kind.name);
    section(page, &format!("`{}`: {}", kind.name, kind.summary), "#", &(kind.docs)(), &sample);
}

fn section(page: &mut String, title: &str, deeper: &str, docs: &[ParameterDoc], sample: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(page, "##{deeper} {title}\n");
    keys(page, docs);
    if !sample.is_empty() {
        let _ = writeln!(page, "```toml\n{}\n```\n", sample.trim_end());
    }
}

fn keys(page: &mut String, docs: &[ParameterDoc]) {
    if docs.is_empty() {
        page.push_str("It has no keys of its own.\n\n");
        return;
    }
    page.push_str("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in docs {
        let default = match (&key.default, key.required) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => "–".to_owned(),
        };
        let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&key.expected),
            cell(&default),
            cell(&key.doc)
        );
    }
    page.push('\n');
}

/// The words that a key takes, with what each means.
fn choices(page: &mut String, schema: &Schema) {
    let Schema::Choice(words) = schema else { return };
    for (word, doc) in words {
        let _ = writeln!(page, "- `\"{word}\"`: {}", doc.replace('\n', " "));
    }
    page.push('\n');
}
