//! Whole files, and what becomes of their parts.

use super::*;

fn turned(text: &str, allow_hosts: &[&str]) -> (String, Vec<String>, Vec<String>) {
    let choices = Choices { allow_hosts: allow_hosts.iter().map(|host| (*host).to_owned()).collect() };
    let (configuration, diagnostics) = turn(&Source::new("logstash.conf", text), &choices);
    let messages = |errors: bool| {
        let wanted = diagnostics
            .iter()
            .filter(|item| (item.severity == metlog_router::config::Severity::Error) == errors);
        wanted.map(|item| item.message.clone()).collect()
    };
    (configuration.unwrap_or_default(), messages(true), messages(false))
}

const TAGGERS: &str = r#"
filter {
    tagger { type => "metlog" pattern => ["type", "oldstyle"] add_tag => ["text"] }
    tagger { type => "metlog" pattern => ["type", "counter", "type", "timer"] add_tag => ["statsd"] }
    catchall { tags => ["text", "statsd"] add_tag => ["filter-catchall"] }
}
"#;

const INPUT: &str =
    "input { udp { type => \"metlog\" mode => \"server\" format => \"json\" host => \"\" port => 5565 } }\n";

const OUTPUTS: &str = r#"
    metlog_file { tags => ["text"] format => "preformatted_field" prefix_timestamps => true formatted_field => "payload" path => "logs/classic.log" }
    metlog_statsd { tags => ["statsd"] host => '127.0.0.1' port => 8125 }
    metlog_file { tags => ["filter-catchall"] format => "json" path => "rest.jsonl" }
"#;

#[test]
fn tags_become_conditions_and_the_catchall_what_no_other_route_took() {
    let (configuration, errors, warnings) = turned(&format!("{INPUT}{TAGGERS}output {{ {OUTPUTS} }}"), &[]);
    assert_eq!((errors, warnings), (Vec::new(), Vec::new()), "{configuration}");
    for part in [
        "[inputs.udp]\nkind = \"udp\"\nlisten = \"0.0.0.0:5565\"\n",
        "[endpoints.classic]\nkind = \"file\"\npath = \"logs/classic.log\"\nformat = \"text\"\ntemplate = \"{timestamp} {payload}\"\n",
        "[endpoints.statsd]\nkind = \"statsd\"\naddress = \"127.0.0.1:8125\"\n",
        "[[routes]]\nmatch = { type = \"oldstyle\" }\nto = [\"classic\"]\n",
        "[[routes]]\nmatch = { type = [\"counter\", \"timer\"] }\nto = [\"statsd\"]\n",
        "[[routes]]\nunrouted = true\nto = [\"rest\"]\n",
        "# logstash.conf:1:9: input udp\n",
    ] {
        assert!(configuration.contains(part), "{part} is missing in:\n{configuration}");
    }
}

#[test]
fn several_inputs_of_one_kind_have_names_of_their_own() {
    let second = "input { udp { host => \"localhost\" port => 5566 } }\n";
    let (configuration, errors, warnings) =
        turned(&format!("{INPUT}{second}{TAGGERS}output {{ {OUTPUTS} }}"), &[]);
    assert_eq!((errors, warnings), (Vec::new(), Vec::new()), "{configuration}");
    for part in ["[inputs.udp]\n", "[inputs.udp-2]\nkind = \"udp\"\nlisten = \"127.0.0.1:5566\"\n"] {
        assert!(configuration.contains(part), "{part} is missing in:\n{configuration}");
    }
}

#[test]
fn an_output_that_gets_everything_leaves_the_catchall_its_meaning() {
    let (configuration, errors, _) =
        turned(&format!("{INPUT}{TAGGERS}output {{ stdout {{ }} {OUTPUTS} }}"), &[]);
    assert_eq!(errors, Vec::<String>::new());
    assert!(configuration.contains("[[routes]]\nto = [\"stdout\"]\n"), "{configuration}");
    let rest = "match = { not = { type = [\"oldstyle\", \"counter\", \"timer\"] } }\nto = [\"rest\"]\n";
    assert!(configuration.contains(rest), "{configuration}");
}

#[test]
fn tags_are_followed_through_filters_that_ask_for_tags() {
    let (configuration, ..) = turned(
        r#"
        filter {
            tagger { pattern => ["logger", "sync"] add_tag => ["sync"] }
            tagger { tags => ["sync"] pattern => ["severity", "3"] add_tag => ["page"] }
            tagger { exclude_tags => ["sync"] pattern => ["fields/kind", "*"] add_tag => ["other"] remove_tag => ["page"] }
        }
        output {
            metlog_file { tags => ["page"] path => "page" }
            metlog_file { tags => ["other"] path => "other" }
        }"#,
        &[],
    );
    let page = "match = { severity = 3, logger = \"sync\" }\nto = [\"page\"]";
    assert!(configuration.contains(page), "{configuration}");
    assert!(
        configuration.contains("match = { not = { logger = \"sync\" } }\nto = [\"other\"]"),
        "{configuration}"
    );
}

#[test]
fn what_cannot_be_turned_is_said_with_its_place_and_stands_in_the_result() {
    let (configuration, errors, warnings) = turned(
        r#"input { gelf { port => 12201 } }
        filter { grok { } tagger { type => "other" pattern => ["a", "b"] add_tag => ["t"] } }
        output { if [type] == "x" { stdout { } } elasticsearch { } metlog_file { path => "x" compress => true } }"#,
        &[],
    );
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for words in
        ["the input gelf", "the filter grok", "a conditional", "the output elasticsearch", "`compress` of"]
    {
        assert!(errors.iter().any(|error| error.contains(words)), "{words}");
        assert!(configuration.contains(words), "{words}");
    }
    assert!(configuration.contains("# logstash.conf:1:9: the input gelf is not turned\n"), "{configuration}");
}

#[test]
fn an_output_whose_tag_comes_from_a_filter_that_is_not_turned_is_kept_as_a_comment() {
    for (filter, tag) in [
        ("grok { pattern => \"x\" add_tag => [\"page\"] }", "page"),
        ("mutate { add_tag => page }", "page"),
        ("grok { }", "_grokparsefailure"),
        ("if [severity] == 3 { mutate { add_tag => [\"page\"] } }", "page"),
        (
            "grok { add_tag => \"a\" } tagger { tags => [\"a\"] pattern => [\"type\", \"*\"] add_tag => [\"page\"] }",
            "page",
        ),
    ] {
        let output = format!("metlog_file {{ tags => [\"{tag}\"] path => \"page.log\" }}");
        let text = format!("filter {{ {filter} }}\noutput {{ stdout {{ }}\n{output} }}");
        let (configuration, errors, warnings) = turned(&text, &[]);
        assert_eq!(warnings, Vec::<String>::new(), "{filter}");
        let said = format!("metlog_file is not turned: its tag `{tag}` comes from ");
        assert!(
            errors.iter().any(|error| error.starts_with(&said) && error.contains("logstash.conf:1:1")),
            "{errors:?}"
        );
        let (kept, left_out) = configuration.split_once("# Not turned:\n").unwrap();
        assert!(left_out.contains(&format!("# logstash.conf:3:23: {said}")), "{left_out}");
        for line in [
            "# [endpoints.page]\n# kind = \"file\"\n# path = \"page.log\"\n#\n",
            "# [[routes]]\n# match = { … }\n# to = [\"page\"]\n",
        ] {
            assert!(kept.contains(line), "{line} is missing in:\n{kept}");
        }
        assert!(
            kept.contains("\n[endpoints.stdout]\n") && kept.contains("\n[[routes]]\nto = [\"stdout\"]\n"),
            "{kept}"
        );
    }
}

#[test]
fn a_tag_that_is_only_in_part_from_filters_that_are_turned_is_said() {
    let (configuration, errors, _) = turned(
        r#"filter {
            grok { add_tag => ["page"] }
            tagger { pattern => ["severity", "3"] add_tag => ["page"] }
        }
        output {
            metlog_file { tags => ["page"] path => "page" }
            metlog_file { exclude_tags => ["page"] path => "other" }
        }"#,
        &[],
    );
    assert!(configuration.contains("match = { severity = 3 }\nto = [\"page\"]"), "{configuration}");
    for words in ["gets less than before: its tag `page`", "did not get what carries the tag `page`"] {
        assert!(errors.iter().any(|error| error.contains(words)), "{words}: {errors:?}");
        assert!(configuration.split_once("# Not turned:").unwrap().1.contains(words), "{configuration}");
    }
}

#[test]
fn a_tag_that_nobody_adds_is_still_no_loss() {
    let (_, errors, warnings) = turned(
        "filter { tagger { pattern => [\"a\", \"b\"] add_tag => x } } output { stdout { tags => y } }",
        &[],
    );
    assert_eq!(errors, Vec::<String>::new());
    assert!(warnings[0].contains("no filter adds these tags"), "{warnings:?}");
}

#[test]
fn plug_ins_with_a_relative_here_are_told_its_name() {
    let text = "input { file { path => \"/var/log/app.log\" } gelf { } }\noutput { http { } statsd { } mongodb { } }";
    let (_, diagnostics) = turn(&Source::new("logstash.conf", text), &Choices::default());
    let helps: Vec<&str> = diagnostics.iter().filter_map(|item| item.help.as_deref()).collect();
    for (help, words) in helps.iter().zip([
        "write an input of kind `file`",
        "a `udp` or `tcp` input",
        "write an endpoint of kind `http`",
        "write an endpoint of kind `statsd`",
        "one of the kinds of endpoints",
    ]) {
        assert!(help.contains(words), "{help}");
    }
    assert_eq!(helps.len(), 5);
}

#[test]
fn metlog_file_filled_nothing_into_its_path_and_that_is_said() {
    for (written, ours) in
        [("%{logger}", "{logger}"), ("%{@source_host}", "{metlog_hostname}"), ("%{+YYYY.MM.dd}", "{date}")]
    {
        let text = format!("output {{ metlog_file {{ path => \"logs/{written}.log\" }} }}");
        let (configuration, diagnostics) = turn(&Source::new("logstash.conf", &*text), &Choices::default());
        let literal = written.replace('{', "{{").replace('}', "}}");
        assert!(configuration.unwrap().contains(&format!("path = \"logs/{literal}.log\"")));
        let said = diagnostics.render(false);
        assert!(
            said.contains(&format!("with `{written}` in its name"))
                && said.contains(&format!("write {ours} for it")),
            "{said}"
        );
        assert_eq!((diagnostics.errors(), diagnostics.warnings()), (0, 1));
    }
}

#[test]
fn publishers_and_their_handshake_are_one_input() {
    let (configuration, errors, warnings) = turned(
        r#"input {
            zeromq { type => "metlog" format => "json" topology => "pubsub" address => "tcp://*:5190" topic => ["a", "b"] }
            zeromq_hs { type => "metlog" mode => "server" address => "tcp://127.0.0.1:5180" }
            zeromq { topology => "pubsub" mode => "client" address => ["tcp://web1:5565", "tcp://[::1]:5566"] }
        }"#,
        &[],
    );
    assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
    for part in [
        "[inputs.zmq]\nkind = \"zmq\"\nlisten = \"0.0.0.0:5190\"\ntopics = [\"a\", \"b\"]\nhandshake = \"127.0.0.1:5180\"\n",
        "[inputs.zmq-2]\nkind = \"zmq\"\nconnect = [\"web1:5565\", \"[::1]:5566\"]\ndecoder = \"line\"\n",
    ] {
        assert!(configuration.contains(part), "{configuration}");
    }
}

#[test]
fn what_zeromq_does_otherwise_is_not_turned() {
    for (input, problem) in [
        (r#"zeromq { topology => "pushpull" }"#, "a topology that is not pubsub"),
        (r#"zeromq { topology => "pubsub" address => "ipc:///tmp/x" }"#, "an input at this address"),
        (
            r#"zeromq { topology => "pubsub" address => ["tcp://*:1", "tcp://*:2"] }"#,
            "an input at this address",
        ),
        (r#"zeromq { topology => "pubsub" sockopt => ["ZMQ::HWM", 50] }"#, "`sockopt` of zeromq"),
        (r#"zeromq_hs { address => "tcp://*:5180" mode => "client" }"#, "this handshake"),
        (r#"zeromq_hs { address => "tcp://*:5180" mode => "server" }"#, "a handshake without"),
    ] {
        let (_, errors, _) = turned(&format!("input {{ {input} }}"), &[]);
        assert!(errors.len() == 1 && errors[0].contains(problem), "{input}: {errors:?}");
    }
}

#[test]
fn a_sentry_secret_is_kept_and_not_shown() {
    let text = "output { metlog_sentry { dsn => \"http://public:sesame@sentry.example.org/1\" } }";
    let (configuration, diagnostics) = turn(&Source::new("logstash.conf", text), &Choices::default());
    assert!(configuration.unwrap().contains("dsn = \"http://public:sesame@sentry.example.org/1\"\n"));
    let shown = diagnostics.render(false);
    assert!(shown.contains("dsn => \"****") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn what_a_plug_in_that_is_not_turned_is_set_to_is_not_shown() {
    let text = "output { http { url => \"https://hooks.example.org/sesame\" headers => [\"X-Key\", \"sesame\"] }\nmetlog_statsd { password => \"sesame\" } }";
    let (configuration, diagnostics) = turn(&Source::new("logstash.conf", text), &Choices::default());
    let shown = diagnostics.render(false);
    assert!(diagnostics.errors() == 2 && !shown.contains("sesame"), "{shown}");
    assert!(!configuration.unwrap().contains("sesame"));
}

#[test]
fn hosts_of_messages_own_dsns_are_the_operators_choice() {
    let text = "output { metlog_sentry_dsn { } metlog_cef { } }";
    let (configuration, errors, _) = turned(text, &[]);
    assert!(configuration.contains("allow_hosts = []") && errors.len() == 1, "{configuration} {errors:?}");
    let (configuration, errors, warnings) = turned(text, &["sentry.example.org", "10.0.0.1:9000"]);
    assert_eq!((errors, warnings), (Vec::new(), Vec::new()));
    let hosts = "allow_hosts = [\"sentry.example.org\", \"10.0.0.1:9000\"]\n";
    assert!(configuration.contains(hosts), "{configuration}");
    assert!(
        configuration.contains("[endpoints.cef]\nkind = \"syslog\"\ntransport = \"unix\""),
        "{configuration}"
    );
}

#[test]
fn a_field_that_is_missing_is_not_written() {
    let (configuration, ..) = turned(
        "output { metlog_file { format => preformatted_field formatted_field => \"fields/logtext\" path => \"cef.log\" } }",
        &[],
    );
    assert!(configuration.contains("template = \"{fields.logtext}\"\n"), "{configuration}");
    assert!(
        configuration.contains("match = { \"fields.logtext\" = { exists = true } }\n"),
        "{configuration}"
    );
}

#[test]
fn what_is_not_logstash_is_refused_with_its_place() {
    let (configuration, diagnostics) =
        turn(&Source::new("x.conf", "input {\n  udp => 5\n}"), &Choices::default());
    assert!(configuration.is_none());
    let shown = diagnostics.render(false);
    assert!(
        shown.contains("x.conf:2:7") && shown.contains("a `{` behind the name of the plug-in"),
        "{shown}"
    );
}
