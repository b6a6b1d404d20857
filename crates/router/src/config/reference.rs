//! The reference page of docs/, made from the same declarations that read the file, so that it cannot be wrong about them.

use std::fmt::Write;

use super::{
    file::Kind,
    parameters::ParameterDoc,
    settings::{Api, BufferSettings, Limits, Rejects},
};

/// The page as Markdown.
pub fn markdown<I: ?Sized, E: ?Sized>(inputs: &[Kind<I>], endpoints: &[Kind<E>]) -> String {
    let mut page = String::from(
        "# Reference\n\n\
         Every key of a configuration file. This page is made from the code; `METLOG_UPDATE_EXPECTED=1 cargo test --release -p \
         metlog-router --test documentation` writes it anew.\n\n\
         Sizes are texts such as `\"8MiB\"`, times texts such as `\"50ms\"`. `${NAME}` and `${NAME:-default}` in a text are filled \
         from the environment; `$$` is a dollar sign.\n\n\
         At the top of the file: `threads` (reader threads, default one per core) and \
         `shutdown_timeout` (how long buffers may drain, default `\"30s\"`). `data_dir` is the folder for what is kept over a restart: \
         the positions of `file` inputs (default `\"./metlog-data\"`). Two routers cannot share one.\n\n",
    );
    section(&mut page, "`[limits]`", "", &Limits::docs(), "");
    section(&mut page, "`[rejects]`", "", &Rejects::docs(), "");
    section(&mut page, "`[api]`", "", &Api::docs(), "");
    page.push_str(
        "## Inputs\n\nEvery `[inputs.NAME]` takes `kind` and `decoder`: `\"json\"` (default), or `\"line\"`, which makes every line the payload of \
         a message of type `oldstyle` with the `logger` and `severity` given beside it. With `allow_meta = true` its messages may tell a `file` endpoint to \
         close and open its files (see [Files](files.md#meta-messages)); without it they are messages like any other.\n\n",
    );
    for kind in inputs {
        kind_section(&mut page, "inputs", kind);
    }
    page.push_str("## Endpoints\n\nEvery `[endpoints.NAME]` takes `kind`, `ack` and `buffer`.\n\n");
    page.push_str(
        "`ack` says when a message is acknowledged to an input that keeps a position, as `file` does: `\"durable\"` (default of \
         `file`), once it is delivered, so that everything else comes again after a crash; or `\"queued\"` (default of the rest), \
         once it waits in memory, where a crash loses it.\n\n`buffer` is a table:\n\n",
    );
    keys(&mut page, &BufferSettings::docs());
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
