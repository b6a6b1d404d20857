//! What a file of the original client does here, and what is said about one that does nothing.

use std::time::Duration;

use super::*;
use crate::senders::CaptureSender;

const UDP: &str = "[metlog]\nsender_class = metlog.senders.UdpSender\n";
const STDOUT: &str = "[metlog]\nsender_class = metlog.senders.StdOutSender\n";

fn environment(name: &str) -> Option<String> {
    match name {
        "LEVEL" => Some("4".to_owned()),
        "CLASS" => Some("metlog.senders.StdOutSender".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        _ => None,
    }
}

fn read(text: &str) -> Result<ClientBuilder, ConfigError> {
    Ini::default().read(text, &environment).map_err(|fault| fault.located(text))
}

#[track_caller]
fn fails(text: &str, place: (usize, usize), parts: &[&str]) {
    let Err(error) = read(text) else { panic!("accepted: {text}") };
    let shown = error.to_string();
    let ConfigError::Invalid { line, column, .. } = error else { panic!("{shown}") };
    assert_eq!((line, column), place, "{shown}");
    for part in parts {
        assert!(shown.contains(part), "{part:?} is not in: {shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn every_setting_of_an_original_file_takes_effect() {
    let text = "
        [app:main]
        use = egg:shop
        [metlog]
        Logger = shop
        severity = ${LEVEL}
        disabled_timers = noisy
                          noisier
        sender_class = ${CLASS}
        global_disabled_decorators = incr_count
        [metlog_filter_sev_max]
        provider = metlog.filters.severity_max_provider
        severity = 5
        [metlog_filter_black]
        provider = metlog.filters:type_blacklist_provider
        types = gauge
        [metlog_filter_white]
        provider = metlog.filters.type_whitelist_provider
        types = gauge
                counter
                timer
                oldstyle
        [metlog_filter_types]
        provider = metlog.filters.type_severity_max_provider
        oldstyle = 3
    ";
    let (sender, capture) = CaptureSender::new();
    let client = read(text).unwrap().sender(sender).build().unwrap();
    client.incr("kept");
    client.gauge("denied", 1);
    client.metlog("not allowed").send();
    client.warning("too mild for a log line");
    client.counter("too mild", 1).severity(Severity::Informational).send();
    client.timer_send("noisy", Duration::ZERO);
    client.timer_send("noisier", Duration::ZERO);
    assert!(client.flush(Duration::from_secs(20)));
    let messages = capture.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].contains(r#""logger":"shop","severity":4,"payload":"1","fields":{"name":"kept""#));
}

#[test]
fn every_sender_that_has_a_counterpart_reads_by_both_of_its_names() {
    for text in [
        "metlog.senders.UdpSender\nsender_host = a\nsender_port = 1",
        "metlog.senders.udp.UdpSender\nsender_host = a\n b\n c\nsender_port = 1\n 2",
        "metlog.senders.udp:UdpSender\nsender_host = a\nsender_port = 1\n 2",
        "metlog.senders.UdpSender\nsender_host = a\nsender_port = 1\nsender_encoder = msgpack",
        "metlog.senders.FileSender\nsender_filepath = log",
        "metlog.senders.dev.FileSender\nsender_filepath = log",
        "metlog.senders.StdOutSender",
        "metlog.senders.dev.StdOutSender",
        "metlog.senders.DebugCaptureSender\nsender_anything = 1",
        "metlog.senders.NoSendSender",
    ] {
        let text = format!("[metlog]\nsender_class = {text}");
        if let Err(error) = read(&text) {
            panic!("{error}: {text}");
        }
    }
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_would_be_right() {
    fails("", (1, 1), &["expected a section [metlog]"]);
    fails("logger = x", (1, 1), &["expected a section such as [metlog] first"]);
    fails("[metlog", (1, 1), &["expected a section such as [metlog]"]);
    fails("[metlog]\nlogger", (2, 1), &["expected `key = value`", "\n  logger"]);
    fails("[metlog]\nlogger = x", (1, 1), &["sender_class is missing"]);
    fails(&format!("{STDOUT}logegr = x"), (3, 1), &["did you mean \"logger\"?"]);
    fails(&format!("{STDOUT}sender_host = x"), (3, 1), &["unknown key \"sender_host\""]);
    fails(&format!("{STDOUT}severity = loud"), (3, 12), &["severity is \"loud\"", "0 to 7"]);
    fails(&format!("{STDOUT}severity = ${{SECRET}}"), (3, 12), &["severity is \"${SECRET}\""]);
    fails(&format!("{STDOUT}logger = ${{NONE}}"), (3, 10), &["NONE is not set"]);
    fails(&format!("{STDOUT}logger = a\n b"), (3, 10), &["expected one line"]);
    fails(&format!("{STDOUT}sender_formatter = a.b"), (3, 1), &["Python code"]);
    fails(&format!("{UDP}sender_port = 1"), (1, 1), &["sender_host is missing"]);
    fails(&format!("{UDP}sender_host = a"), (1, 1), &["sender_port is missing"]);
    fails(&format!("{UDP}sender_host = a\nsender_port = x"), (4, 15), &["expected ports, 1 to 65535"]);
    fails(&format!("{UDP}sender_host = a\nsender_port ="), (3, 15), &["no port to send to"]);
    fails(
        &format!("{UDP}sender_host = a\nsender_port = 1\nsender_encoder = x"),
        (5, 18),
        &["json or msgpack"],
    );
    fails(&format!("{STDOUT}[metlog_fliter_x]"), (3, 1), &["expected [metlog_filter_…]"]);
    fails(&format!("{STDOUT}[metlog_filter_x]\nseverity = 1"), (3, 1), &["provider is missing"]);
    let filter = format!("{STDOUT}[metlog_filter_x]\nprovider = metlog.filters.");
    fails(
        &format!("{filter}severity_max"),
        (4, 12),
        &["expected one of metlog.filters.severity_max_provider"],
    );
    fails(&format!("{filter}severity_max_provider"), (3, 1), &["severity is missing"]);
    fails(&format!("{filter}type_whitelist_provider\ntype = x"), (3, 1), &["types is missing"]);
    fails(&format!("{filter}type_severity_max_provider"), (3, 1), &["expected `TYPE = SEVERITY`"]);
    fails(&format!("{filter}type_severity_max_provider\ntimer = 9"), (5, 9), &["timer is \"9\""]);
}

#[test]
fn a_sender_without_a_counterpart_is_told_with_what_to_use_instead() {
    let class = |class: &str| format!("[metlog]\nsender_class = {class}");
    for (name, part) in [
        ("metlog.senders.zmq.ZmqPubSender", "ZeroMQ"),
        ("metlog.senders.zmq.ZmqHandshakePubSender", "use metlog.senders.UdpSender"),
        ("metlog.senders.logging.StdLibLoggingSender", "metlog.senders.StdOutSender"),
        ("metlog.senders.StreamSender", "metlog.senders.FileSender"),
        ("metlog.senders.UpdSender", "did you mean \"metlog.senders.UdpSender\"?"),
        ("shop.senders.Own", "expected one of metlog.senders.UdpSender"),
        ("${SECRET}", "unknown sender \"${SECRET}\""),
    ] {
        fails(&class(name), (2, 16), &[part]);
    }
}

#[test]
fn a_plug_in_is_what_somebody_says_it_is_in_rust() {
    let text = format!(
        "{STDOUT}[metlog_plugin_dummy]\nprovider = some.plugin:config_plugin\noverride = True\nverbose = Yes\n\
         port = 8080\nanimals = dog\n  cat\nkey = ${{SECRET}}\n"
    );
    fails(&text, (4, 12), &["some.plugin:config_plugin is a plug-in in Python", "Ini::plugin"]);

    #[derive(Debug)]
    struct Dummy(PluginSettings);
    let ini = Ini::default()
        .plugin("some.plugin.config_plugin", |builder, settings| Ok(builder.extend(Dummy(settings.clone()))));
    let Ok(builder) = ini.read(&text, &environment) else { panic!("refused: {text}") };
    let client = builder.build().unwrap();
    let Dummy(settings) = client.extension().unwrap();
    assert_eq!(settings.name(), "dummy");
    assert_eq!(settings.keys().collect::<Vec<_>>(), ["verbose", "port", "animals", "key"]);
    assert_eq!(settings.boolean("verbose"), Some(true));
    assert_eq!(settings.text("port").unwrap().parse(), Ok(8080));
    assert_eq!(settings.lines("animals").unwrap(), ["dog", "cat"]);
    assert_eq!((settings.text("animals"), settings.text("none")), (None, None));
    assert_eq!(settings.text("key"), Some("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));

    let ini = Ini::default().plugin("some.plugin.config_plugin", |_, _| Err("no port".to_owned()));
    let Err(fault) = ini.read(&text, &environment) else { panic!("accepted: {text}") };
    let shown = fault.located(&text).to_string();
    assert!(shown.starts_with("line 3, column 1: plug-in \"dummy\": no port"), "{shown}");
}

#[test]
fn another_section_has_its_own_filters() {
    let text = "[other]\nsender_class = metlog.senders.StdOutSender\n[metlog_filter_x]\nnonsense = 1\n\
                [other_filter_x]\nprovider = nonsense\n";
    let Err(fault) = Ini::default().section("other").read(text, &environment) else { panic!("accepted") };
    assert!(fault.located(text).to_string().starts_with("line 6"));
}

#[test]
fn an_error_in_a_file_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metlog.ini");
    let missing = Client::from_ini_file(&path).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("metlog.ini"), "{missing}");
    std::fs::write(&path, "[metlog]\nlogger = x\n").unwrap();
    let wrong = Client::from_ini_file(&path).unwrap_err().to_string();
    assert!(wrong.contains("metlog.ini: line 1, column 1: sender_class is missing"), "{wrong}");
    std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let long = Client::from_ini_file(&path).unwrap_err().to_string();
    assert!(long.contains("longer than 1 MiB"), "{long}");
    std::fs::write(&path, STDOUT).unwrap();
    assert!(Client::from_ini_file(&path).is_ok());
}
