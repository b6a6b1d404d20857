//! A file that is right, and what it becomes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is missing")]

use std::{path::PathBuf, time::Duration};

use metlog_router::{
    config::{
        ByteSize, Configuration, DecoderSettings, Diagnostics, Source, WhenFull, load_with_environment,
        parameters,
    },
    routes::condition::Condition,
};
use support::{ENDPOINTS, INPUTS, Settings};

#[path = "support/kinds.rs"]
mod support;

type Loaded = (Option<Configuration<dyn Settings, dyn Settings>>, Diagnostics);

fn load(text: &str) -> Loaded {
    let variable = |name: &str| (name == "THREADS").then(|| "3".to_owned());
    load_with_environment(&Source::new("metlog.toml", text), INPUTS, ENDPOINTS, &variable)
}

#[track_caller]
fn configuration(text: &str) -> Configuration<dyn Settings, dyn Settings> {
    let input = if text.contains("[inputs") { "" } else { "[inputs.in]\nkind = 'stdin'\n" };
    let (configuration, diagnostics) = load(&format!("{text}{input}"));
    assert_eq!(diagnostics.iter().count(), 0, "{diagnostics:?}");
    configuration.unwrap()
}

const SAMPLE: &str = r#"
data_dir = "/var/lib/metlog"
shutdown_timeout = "5s"
threads = "${THREADS}"

[limits]
memory = "64MiB"

[inputs.udp]
kind = "udp"
listen = "${LISTEN:-127.0.0.1:5565}"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:5565"

[inputs.logs]
kind = "stdin"
decoder = "line"
logger = "nginx"

[endpoints.zebra]
kind = "file"
path = "logs/{logger}.log"

[endpoints.stats]
kind = "statsd"
address = "localhost:8125"
buffer = { memory = "2MiB", when_full = "drop_oldest" }

[[routes]]
name = "numbers"
match = { type = ["counter", "timer"], severity = { max = 6 } }
to = ["stats"]
final = true

[[routes]]
to = ["zebra", "stats"]

[rejects]
to = ["zebra"]

[api]
listen = "0.0.0.0:5580"
token = "hunter2"
"#;

#[test]
fn a_whole_file() {
    let configuration = configuration(SAMPLE);
    assert_eq!(configuration.data_dir, PathBuf::from("/var/lib/metlog"));
    assert_eq!(configuration.shutdown_timeout, Duration::from_secs(5));
    assert_eq!(configuration.threads, Some(3));
    assert_eq!(configuration.limits.memory, ByteSize::mib(64));
    assert_eq!(configuration.rejects.to, ["zebra"]);

    let inputs: Vec<_> = configuration.inputs.iter().map(|input| (input.name.as_str(), input.kind)).collect();
    assert_eq!(inputs, [("udp", "udp"), ("tcp", "tcp"), ("logs", "stdin")]);
    assert_eq!(configuration.inputs[0].decoder, DecoderSettings::Json);
    let line = DecoderSettings::Line { logger: "nginx".to_owned(), severity: 6 };
    assert_eq!(configuration.inputs[2].decoder, line);
    assert!(format!("{:?}", configuration.inputs[0].settings).contains("127.0.0.1:5565"));

    let endpoints: Vec<_> = configuration.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(endpoints, ["zebra", "stats"]);
    assert_eq!(configuration.endpoints[0].buffer.memory, ByteSize::mib(8));
    assert_eq!(configuration.endpoints[0].buffer.when_full, None);
    assert_eq!(configuration.endpoints[1].buffer.when_full, Some(WhenFull::DropOldest));

    let [first, second] = configuration.routes.as_slice() else { panic!("{:?}", configuration.routes) };
    assert_eq!((first.number, first.name.as_deref(), first.is_final), (1, Some("numbers"), true));
    assert_eq!(first.to, [1]);
    assert_eq!((second.number, &second.condition), (2, &Condition::All(Vec::new())));
    assert_eq!(second.to, [0, 1]);

    let api = configuration.api.as_ref().unwrap();
    assert_eq!(api.token.as_ref().unwrap().reveal(), "hunter2");
    assert!(!format!("{configuration:?}").contains("hunter2"));
}

#[test]
fn what_is_left_out_has_defaults() {
    let configuration = configuration("[endpoints.x]\nkind = 'null'\n[[routes]]\nto = ['x']\n");
    assert_eq!(configuration.data_dir, PathBuf::from("./metlog-data"));
    assert_eq!(configuration.threads, None);
    assert_eq!(configuration.limits.memory, ByteSize::mib(256));
    assert_eq!(configuration.limits.message, ByteSize::mib(1));
    assert_eq!(configuration.limits.depth, 128);
    assert!(configuration.rejects.to.is_empty());
    assert!(configuration.api.is_none());
}

#[test]
fn a_dotted_key_and_a_table_say_the_same() {
    let configuration = configuration(
        "endpoints.x = { kind = 'null', buffer.memory = 4096 }\n[[routes]]\nto = ['x']\n[routes.match]\ntype = 'y'\n[[routes]]\nunrouted = true\nto = ['x']\n",
    );
    assert_eq!(configuration.endpoints[0].buffer.memory, ByteSize::kib(4));
    assert_ne!(configuration.routes[0].condition, Condition::All(Vec::new()));
    assert!(configuration.routes[1].unrouted);
}

#[test]
fn warnings_do_not_stop_anything() {
    let (configuration, diagnostics) = load("");
    assert!(configuration.is_some());
    assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1), "{diagnostics:?}");
}

#[test]
fn addresses_that_can_live_together() {
    for (one, two) in [
        ("kind = 'tcp'\nlisten = '127.0.0.1:1'", "kind = 'tcp'\nlisten = '127.0.0.1:2'"),
        ("kind = 'tcp'\nlisten = '127.0.0.1:1'", "kind = 'tcp'\nlisten = '127.0.0.2:1'"),
        ("kind = 'tcp'\nlisten = '127.0.0.1:0'", "kind = 'tcp'\nlisten = '127.0.0.1:0'"),
        ("kind = 'tcp'\nlisten = '127.0.0.1:1'", "kind = 'udp'\nlisten = '127.0.0.1:1'"),
        ("kind = 'unix'\npath = 'a'", "kind = 'unix'\npath = 'b'"),
    ] {
        configuration(&format!(
            "[inputs.one]\n{one}\n[inputs.two]\n{two}\n[endpoints.x]\nkind = 'null'\n[[routes]]\nto = ['x']\n"
        ));
    }
}

/// Cut off, or with something in it that does not belong there: the reader answers, and never panics.
#[test]
fn every_damaged_file_gets_an_answer() {
    for (at, letter) in SAMPLE.char_indices() {
        let (before, after) = (&SAMPLE[..at], &SAMPLE[at + letter.len_utf8()..]);
        for put in ["", "\"", "{", "]", "\n", "5", ".", "${", "é"] {
            answers(format!("{before}{put}{after}"));
        }
        answers(before.to_owned());
    }
}

fn answers(text: String) {
    let (configuration, diagnostics) = load(&text);
    assert_eq!(configuration.is_none(), diagnostics.has_errors(), "{text}");
    diagnostics.render(true);
}

#[test]
fn a_kind_reads_the_body_of_a_section() {
    let statsd = ENDPOINTS.iter().find(|kind| kind.name == "statsd").unwrap();
    let settings = statsd.read_body("kind = 'statsd'\naddress = 'localhost:8125'\nlinger = '1s'\n").unwrap();
    assert!(format!("{settings:?}").contains("linger: 1s"), "{settings:?}");
    let problems = statsd.read_body("adress = 'localhost:8125'\n").unwrap_err();
    assert!(problems.contains("statsd needs the key `address`"), "{problems}");
    assert!(problems.contains("did you mean `address`?"), "{problems}");
}

parameters! {
    /// How a file is rotated.
    pub struct Rotate {
        /// Above this.
        pub size: ByteSize = ByteSize::mib(256),
        /// So many are kept.
        ///
        /// The oldest goes first.
        pub keep: u32,
        /// A key that is a word of Rust.
        pub r#type: Option<String>,
    }
}

#[test]
fn keys_describe_themselves() {
    let docs = Rotate::docs();
    let shown: Vec<_> =
        docs.iter().map(|doc| (doc.name, doc.required, doc.default.as_deref(), doc.doc.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("size", false, Some("\"256MiB\""), "Above this."),
            ("keep", true, None, "So many are kept.\n\nThe oldest goes first."),
            ("type", false, None, "A key that is a word of Rust."),
        ]
    );
    assert_eq!(docs[0].expected, "a size such as \"8MiB\"");
}

/// Writes files into a folder and loads the first one.
fn load_files(files: &[(&str, &str)]) -> Loaded {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let source = Source::read(&folder.path().join(files[0].0)).unwrap();
    let variable = |name: &str| (name == "PART").then(|| "conf.d".to_owned());
    load_with_environment(&source, INPUTS, ENDPOINTS, &variable)
}

#[test]
fn a_configuration_can_lie_in_several_files() {
    let route = |name: &str| format!("[[routes]]\nname = '{name}'\nmatch.type = '{name}'\nto = ['x']\n");
    let (configuration, diagnostics) = load_files(&[
        (
            "metlog.toml",
            &format!(
                "include = ['more.toml', '${{PART}}/9.toml', '${{PART}}/*.toml', 'nothing/*.toml', '*.toml']\n\
                 [inputs.in]\nkind = 'stdin'\n[limits]\nmemory = '128MiB'\n{}",
                route("main")
            ),
        ),
        ("more.toml", "shutdown_timeout = '7s'\n[limits]\nmessage = '2MiB'\n[endpoints.x]\nkind = 'null'\n"),
        ("conf.d/1.toml", &route("one")),
        ("conf.d/2.toml", &route("two")),
        ("conf.d/9.toml", &format!("{}{}", route("nine"), "[[routes]]\nunrouted = true\nto = ['x']\n")),
        ("conf.d/.hidden.toml", "broken"),
        ("conf.d/folder.toml/deeper.toml", "broken"),
    ]);
    assert_eq!(diagnostics.iter().count(), 0, "{}", diagnostics.render(false));
    let configuration = configuration.unwrap();
    assert_eq!(configuration.shutdown_timeout, Duration::from_secs(7));
    let limits = &configuration.limits;
    assert_eq!((limits.memory, limits.message), (ByteSize::mib(128), ByteSize::mib(2)));
    let routes: Vec<_> =
        configuration.routes.iter().map(|route| (route.number, route.name.as_deref())).collect();
    let expected = [Some("main"), Some("nine"), None, Some("one"), Some("two")];
    assert_eq!(
        routes,
        expected.into_iter().zip(1..).map(|(name, number)| (number, name)).collect::<Vec<_>>()
    );
}

#[test]
fn a_place_in_an_included_file_is_shown_there() {
    let (configuration, diagnostics) = load_files(&[
        ("metlog.toml", "include = ['conf.d/*.toml']\n"),
        ("conf.d/a.toml", "[inputs.in]\nkind = 'stdin'\n"),
        ("conf.d/b.toml", "# b\n\n[endpoints.x]\nkind = 'nul'\n"),
    ]);
    assert!(configuration.is_none());
    let said = diagnostics.render(false);
    assert!(said.contains("conf.d/b.toml:4:8") && said.contains("4 | kind = 'nul'"), "{said}");
}

#[test]
fn a_thousand_included_files_are_the_limit() {
    let mut files = vec![("metlog.toml".to_owned(), "include = ['conf.d/*.toml']\n".to_owned())];
    files
        .extend((0..1003).map(|number| {
            (format!("conf.d/{number}.toml"), format!("[inputs.n{number}]\nkind = 'stdin'\n"))
        }));
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let (_, diagnostics) = load_files(&files);
    let errors: Vec<_> = diagnostics.iter().filter(|item| item.message.contains("1000 files")).collect();
    assert_eq!(errors.len(), 1, "{diagnostics:?}");
}
