"""Clients from dictionaries and INI files."""

from __future__ import annotations

import io
import json
import sys

import pytest

from metlog import _diagnostics
from metlog.config import (
    _convert,
    client_from_dict_config,
    client_from_stream_config,
    client_from_text_config,
    dict_from_stream_config,
    nest_prefixes,
)
from metlog.exceptions import EnvironmentNotFoundError
from metlog.holder import get_client
from metlog.path import CALLER_PACKAGE, DottedNameResolver, caller_package, package_of, resolve_name
from metlog.senders import DebugCaptureSender, StreamSender, UdpSender

FULL = """
    [metlog]
    logger = shop          ; a comment behind a value
    severity = 4
    disabled_timers = foo

                      404
    timer_precision = 2
    sender_class = metlog.senders.DebugCaptureSender
    sender_number = 007
    sender_flags = on
                   2
                   No
    global_disabled_decorators = incr_count

    [metlog_filter_severity]
    provider = metlog.filters.severity_max_provider
    severity = 5

    [metlog_filter_types]
    provider = metlog.filters.type_severity_max_provider
    chatty = 3

    [metlog_plugin_anything]
    provider = test_config:config_plugin
    override = loud
    port = 8080
"""


def config_plugin(settings):
    def plugin(self):
        return settings

    plugin.metlog_name = "plugged"
    return plugin


@pytest.fixture(autouse=True)
def own_holder(holder):
    return holder


def test_a_whole_file_makes_a_client(holder):
    client = client_from_text_config(FULL, "metlog")
    assert (client.logger, client.severity, client._disabled_timers) == ("shop", 4, {"foo", "404"})
    assert client.timer_precision == 2
    assert isinstance(client.sender, DebugCaptureSender)
    assert (client.sender.number, client.sender.flags) == (7, [True, 2, False])
    assert holder.global_config == {"disabled_decorators": "incr_count"}
    assert client.loud() == {"port": 8080}
    client.metlog("chatty", severity=4)
    client.metlog("quiet", severity=6)
    client.metlog("quiet", severity=4)
    assert [json.loads(text)["type"] for text in client.sender.msgs] == ["quiet"]


def test_the_configuration_can_be_seen_in_the_client():
    config = {"logger": "shop", "sender": {"class": "metlog.senders.UdpSender", "host": ["a", "b"], "port": "5566"}}
    client = client_from_dict_config(config)
    assert client._config == json.dumps(config)
    assert client_from_dict_config(config)._config == client._config
    assert client.sender._destinations == (("a", 5566), ("b", 5566))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12), ("-3", -3), ("1.5", "1.5"), ("12 monkeys", "12 monkeys"), ("1_000", "1_000"),
        ("True", True), ("t", True), ("YES", True), ("on", True), ("false", False), ("F", False), ("no", False),
        ("Off", False), ("text", "text"), ("\n a \n\n 2", ["a", 2]), (7, 7), ("${METLOG_TEST}", "5"),
        ("x-${METLOG_TEST}-y", "x-5-y"), ("${METLOG_TEST_NONE:-otherwise}", "otherwise"),
        ("${METLOG.TEST-2}/x", "6/x"), ("${METLOG.TEST-3:-7}", "7"), ("${}", "${}"),
    ],
)  # fmt: skip
def test_values_become_what_they_stand_for(monkeypatch, text, value):
    monkeypatch.setenv("METLOG_TEST", "5")
    monkeypatch.setenv("METLOG.TEST-2", "6")
    assert _convert(text) == value


def test_a_variable_that_is_not_set_is_told(monkeypatch):
    monkeypatch.delenv("METLOG_TEST", raising=False)
    with pytest.raises(EnvironmentNotFoundError, match="'METLOG_TEST' is not set") as caught:
        _convert("${METLOG_TEST}")
    assert caught.value.varname == "METLOG_TEST"


def test_prefixes_are_nested_in_the_dictionary_that_was_given():
    config = {"sender_class": "x", "sender": {"host": "h", "class": "y"}, "own-key": 1}
    assert nest_prefixes(config) is config
    assert config["sender"] == {"host": "h", "class": "x"}
    assert nest_prefixes(config, ["own"], "-")["own"] == {"key": 1}


def test_the_global_configuration_is_cleared_on_request(holder):
    text = "[metlog]\nsender_class = metlog.senders.DebugCaptureSender\nglobal_new = 1"
    for clear, expected in ((False, {"old": 1, "new": 1}), (True, {"new": 1})):
        holder.global_config = {"old": 1}
        client_from_text_config(text, "metlog", clear_global=clear)
        assert holder.global_config == expected
        holder.global_config = {"old": 1}
        client_from_stream_config(io.StringIO(text), "metlog", clear_global=clear)
        assert holder.global_config == expected


def test_a_client_is_configured_anew(holder):
    client = holder.get_client("shop")
    assert (
        client_from_dict_config({"logger": "shop", "sender_class": "metlog.senders.DebugCaptureSender"}, client)
        is client
    )
    assert client.is_active


def test_a_configuration_without_a_sender_makes_a_client_without_one():
    assert not client_from_dict_config({"logger": "shop"}).is_active
    with pytest.raises(ValueError, match="`sender_class`"):
        client_from_dict_config({"sender": {"host": "x"}})


def test_an_open_file_may_be_part_of_a_configuration():
    stream = io.StringIO()
    config = {"sender": {"class": "metlog.senders.StreamSender", "args": (stream,), "formatter": "jsonl"}}
    client = client_from_dict_config(config)
    client.info("x")
    assert isinstance(client.sender, StreamSender)
    assert json.loads(stream.getvalue())["payload"] == "x"


def test_sections_without_a_provider_are_told_by_their_names():
    with pytest.raises(ValueError, match=r"\[metlog_filter_x\] has no `provider`"):
        client_from_text_config("[metlog]\n[metlog_filter_x]\nseverity = 1", "metlog")


@pytest.mark.parametrize(
    ("text", "error", "complaint"),
    [
        ("severity = warn", ValueError, r"the section \[metlog\], key `severity`: a severity .* not 'warn'"),
        ("severity = 8", ValueError, "not 8"),
        ("severity = yes", ValueError, "not True"),
        (
            "sender_class = metlog.senders.UdpSendr",
            ImportError,
            r"\[metlog\], key `sender_class`: there is no 'UdpSendr' in 'metlog.senders'",
        ),
        ("sender_class = no_such_module.Sender", ImportError, "`sender_class`: No module named 'no_such_module'"),
        ("sender_class = ....Sender", ValueError, "`sender_class`: the relative name"),
        (
            "sender_class = metlog.senders.UdpSender\nsender_host = localhost\nsender_prt = 5",
            TypeError,
            r"\[metlog\], key `sender_class`: .* 'prt'; it takes host, port, queue_bytes",
        ),
        (
            "sender_class = metlog.senders.UdpSender\nsender_host = localhost\nsender_port = 0",
            ValueError,
            r"`sender_class`: a port is a number from 1 to 65535, not 0",
        ),
        (
            "[metlog_filter_x]\nprovider = metlog.filters.severity_max_provider\nseverity = warn",
            ValueError,
            r"\[metlog_filter_x\]: a severity .* not 'warn'",
        ),
        (
            "[metlog_filter_x]\nprovider = metlog.filters.type_severity_max_provider\nnoisy = warn",
            ValueError,
            r"\[metlog_filter_x\]: a severity .* not 'warn'",
        ),
        (
            "[metlog_filter_x]\nprovider = metlog.filters.severity_max_provider",
            TypeError,
            r"\[metlog_filter_x\]: missing a required argument: 'severity'; it takes severity",
        ),
        ("[metlog_filter_x]\nprovider = metlog.filters.none", ImportError, r"\[metlog_filter_x\]: there is no 'none'"),
        ("[metlog_plugin_x]\nprovider = metlog_cef.none:x", ImportError, r"\[metlog_plugin_x\]: .*metlog_cef.none"),
    ],
)
def test_a_slip_is_told_with_its_section_and_what_would_be_right(text, error, complaint):
    with pytest.raises(error, match=complaint):
        client_from_text_config(f"[metlog]\n{text}", "metlog")


@pytest.mark.parametrize(
    ("config", "error", "complaint"),
    [
        ({"severity": "warn"}, ValueError, "the configuration, key `severity`"),
        ({"sender": {"class": "metlog.senders.None"}}, ImportError, "the key `class` of `sender`: there is no 'None'"),
        ({"filters": [("metlog.filters.severity_max_provider", {})]}, TypeError, "number 1 of `filters`"),
        ({"plugins": {"x": ("metlog.none", {})}}, ImportError, "'x' of `plugins`: there is no 'none' in 'metlog'"),
    ],
)
def test_a_slip_in_a_dictionary_is_told_with_its_key(config, error, complaint):
    with pytest.raises(error, match=complaint):
        client_from_dict_config(config)


def test_keys_that_nothing_reads_are_named_once(monkeypatch, caplog):
    monkeypatch.setattr(_diagnostics, "_said", set())
    text = "[DEFAULT]\nhere = /srv\n[metlog]\nsevrity = 3\nsendr_class = x\nsender_class = metlog.senders.StdOutSender"
    for _ in range(2):
        client_from_text_config(text, "metlog")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the section [metlog] has keys that nothing reads: `sendr_class`, `sevrity`; there are logger," in said
    assert "here" not in said.split(";")[0]


def test_what_a_class_itself_raises_is_not_taken_for_a_slip():
    with pytest.raises(TypeError, match=r"^of its own$"):
        client_from_dict_config({"sender": {"class": f"{__name__}:_picky", "host": "a"}})


def _picky(host):
    raise TypeError("of its own")


def test_files_are_read_as_python_2_read_them():
    text = "[metlog]\nlogger = a\n[metlog]\nlogger = b ; c\n# x = 1\n; y = 2\nkey: 1"
    assert dict_from_stream_config(io.StringIO(text), "metlog") == {
        "logger": "b", "key": 1, "filters": [], "plugins": {},
    }  # fmt: skip


def test_a_client_is_taken_by_its_name(holder):
    config = {"sender": {"class": "metlog.senders.UdpSender", "host": "localhost", "port": 5565}}
    client = get_client("shop", config)
    assert get_client("shop") is client is holder.default_client
    assert isinstance(client.sender, UdpSender)
    assert client.logger == "shop"
    assert "logger" not in config
    with pytest.raises(ValueError, match="'other' is not the client's name 'shop'"):
        get_client("shop", {"logger": "other"})


def test_the_holder_keeps_clients_and_a_default(holder):
    assert holder.default_client is None
    first, second = holder.get_client("first"), holder.get_client("second")
    assert holder.default_client is first
    holder.set_default_client_name("second")
    assert holder.default_client is second
    holder.delete_client("second")
    assert holder.default_client is None
    holder.delete_client("no such client")
    holder.delete_client("first")
    holder.set_client("third", second)
    assert holder.default_client is second


def test_names_lead_to_objects():
    assert resolve_name("metlog.config.nest_prefixes") is nest_prefixes
    assert resolve_name("metlog.config:nest_prefixes") is nest_prefixes
    assert resolve_name("metlog.senders.udp") is sys.modules["metlog.senders.udp"]
    assert resolve_name("os.path:join") is __import__("os").path.join
    assert resolve_name(".udp.UdpSender", "metlog.senders") is UdpSender
    assert resolve_name("..config", "metlog.senders") is sys.modules["metlog.config"]
    assert resolve_name(":MetlogClient.__init__".replace(":", ".client:"), "metlog")
    assert DottedNameResolver("metlog").maybe_resolve(UdpSender) is UdpSender
    assert DottedNameResolver(sys.modules["metlog.senders.udp"]).get_package_name() == "metlog.senders"
    assert DottedNameResolver().package is CALLER_PACKAGE
    assert package_of(sys.modules["metlog.senders.udp"]) is sys.modules["metlog.senders"]
    assert caller_package(1).__name__ in ("test_config", "tests")


@pytest.mark.parametrize(
    ("name", "error"),
    [(".relative", ValueError), ("metlog.nothing", ImportError), ("no_such_module", ImportError), (7, ValueError)],
)
def test_names_that_lead_nowhere_are_errors(name, error):
    with pytest.raises(error):
        resolve_name(name)
    with pytest.raises(ValueError, match="cannot be imported"):
        DottedNameResolver("no_such_package")
    with pytest.raises(ValueError, match="leads out of"):
        resolve_name("...x", "metlog")
