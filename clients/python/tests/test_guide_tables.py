"""The tables and texts of the guide say what the package has: no more, no less, and what it really writes."""

from __future__ import annotations

import inspect
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import metlog
from metlog import _plugins, senders
from metlog._core import CLOSED, QUEUE_FULL, TOO_LARGE
from metlog.client import NO_SENDER, SENDER_ERROR, MetlogClient
from metlog.config import client_from_text_config
from metlog.testing import Capture

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "python.md").read_text(encoding="utf-8")

# A name in backticks, as a table has it in front.
NAME = re.compile(r"`(\w+)[`(]")


def rows(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading, without those of its own heading."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"# {heading}\n", 1)[1]
    table = re.search(r"^\|.*\n\| ?---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.group(1).splitlines()]


@pytest.fixture
def client(captured: Any) -> MetlogClient:
    _plugins.add_to(captured.client)
    return captured.client


def test_what_init_takes_is_in_the_guide():
    table = re.search(r"^\| argument \| default \| \|\n.*\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    told = {NAME.findall(row)[0]: row.split(" | ")[1].strip("`") for row in table.group(1).splitlines()}
    parameters = dict(inspect.signature(metlog.init).parameters)
    # It has a section of its own.
    del parameters["target"]
    assert list(told) == list(parameters)
    for name, default in told.items():
        assert name == "level" or default == json.dumps(parameters[name].default).replace("true", "True").replace(
            "false", "False"
        )


def test_the_calls_of_the_guide_are_those_of_the_client(client):
    told = [name for row in rows("python.md", "The calls") for name in re.findall(r"`(?:client\.)?(\w+)[(`]", row[0])]
    ours = {name for name in dir(MetlogClient) if not name.startswith("_") and callable(getattr(MetlogClient, name))}
    elsewhere = {"setup", "add_method", "send_message", "stats", "flush", "close", "bind"}
    assert set(told) == ours - elsewhere | {"raven", "cef"}
    assert all(
        f"`client.{name}" in GUIDE or f"client.{name}(" in GUIDE for name in elsewhere - {"setup", "send_message"}
    )


@pytest.mark.parametrize("call", ["incr", "gauge", "timer", "timer_send", "metlog"])
def test_every_call_but_those_for_lines_takes_logger_severity_and_fields(client, call):
    parameters = inspect.signature(getattr(client, call)).parameters
    assert {"logger", "severity", "fields"} <= set(parameters)


def test_an_argument_that_a_call_does_not_have_is_a_type_error_but_for_log_calls(captured):
    for call in (captured.client.incr, captured.client.gauge, captured.client.timer_send, captured.client.metlog):
        with pytest.raises(TypeError):
            call("x", 1, colour="red")
    captured.client.info("x", colour="red", logger="ignored")
    assert captured.message()["logger"] == "tests"


def test_the_ledgers_keys_are_those_of_the_guide(client):
    told = [name for row in rows("python.md", "Losses") for name in NAME.findall(row[0])]
    assert set(told) == set(client.stats())


def test_the_senders_of_the_guide_take_what_it_says():
    table = re.search(r"^\| sender, in `metlog\.senders` \| \|\n.*\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    calls = [call for row in table.group(1).splitlines() for call in re.findall(r"`([\w.]+)\(([^)]*)\)`", row)]
    assert len(calls) == 8
    for name, arguments in calls:
        owner: Any = senders
        if "." in name:
            owner = __import__(f"metlog.senders.{name.split('.')[0]}", fromlist=["x"])
        parameters = list(inspect.signature(getattr(owner, name.rpartition(".")[2])).parameters)
        assert [argument.split("=")[0] for argument in arguments.split(", ") if argument] == parameters[
            : arguments.count(",") + bool(arguments)
        ]
    for network in (senders.UdpSender, senders.TcpSender, senders.UnixSender):
        parameters = inspect.signature(network).parameters
        assert parameters["queue_bytes"].default == 8 * 1024 * 1024
        assert parameters["seq"].default is True


def test_the_filters_of_the_guide_are_those_of_the_module():
    from metlog import filters

    table = re.search(r"^\| filter, in `metlog\.filters` .*\n.*\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    told = re.findall(r"`(\w+_provider)\((\w+)\)`", table.group(1))
    assert {name for name, _ in told} == {name for name in dir(filters) if name.endswith("_provider")}
    for name, argument in told:
        assert next(iter(inspect.signature(getattr(filters, name)).parameters)) == argument


def test_marks_look_as_in_the_guide(captured):
    (shown,) = re.findall(r"```json\n(.*)\n```", GUIDE)
    captured.client.info("x", fields={"ratio": float("nan"), "lock": threading.Lock()})
    message = captured.message()
    expected = json.loads(shown)
    beginning, end = expected["fields"].pop("lock").split("…")
    lock = message["fields"].pop("lock")
    assert lock.startswith(beginning) and lock.endswith(end)
    assert {name: message[name] for name in expected} == expected


def test_the_configuration_of_the_guide_does_what_it_says(monkeypatch):
    monkeypatch.delenv("METLOG_HOST", raising=False)
    names: dict[str, Any] = {}
    (example,) = [
        code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "metlog_filter_types" in code
    ]
    exec(example, names)
    client = names["client"]
    assert (client.logger, client.severity, client._disabled_timers) == ("shop", 5, {"noisy", "noisier"})
    assert client.sender._destinations == (("127.0.0.1", 5565),)
    keeps = client.filters[0]
    assert [keeps({"type": kind}) for kind in ("gauge", "wsgi", "oldstyle")] == [False, False, True]
    assert json.loads(client._config)["global"] == {"disabled_decorators": "incr_count"}


def test_losses_are_counted_as_the_guide_counts_them(tmp_path, monkeypatch, capsys):
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if "all.jsonl" in code]
    numbered = [("a", 1), ("a", 2), ("a", 6), ("a", 5), ("b", 2), ("b", 2)]
    messages = [{"metlog_src": source, "metlog_seq": number} for source, number in numbered]
    lines = [json.dumps(message) for message in [*messages, {"type": "of somebody else"}]]
    (tmp_path / "all.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out.splitlines() == ["a received 4 lost 2", "b received 1 lost 1"]


def test_the_reasons_of_the_page_about_reasons_are_in_the_guide():
    (row,) = [row for row in rows("python.md", "Losses") if row[0] == "`dropped`"]
    reasons = [row[0] for row in rows("reasons.md", "Client")]
    assert {f"`{reason}`" for reason in (NO_SENDER, SENDER_ERROR, CLOSED, QUEUE_FULL, TOO_LARGE)} < set(reasons)
    assert [reason for reason in reasons if reason not in row[1]] == []


def test_a_security_event_looks_as_in_the_guide(client, captured):
    (shown,) = re.findall(r"^\w+ \d+ [\d:]+ web1 (CEF:.*)$", (DOCS / "python-plugins.md").read_text(), re.MULTILINE)
    client.hostname = "web1"
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/login",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_USER_AGENT": "curl",
        "HTTP_HOST": "shop.example.org",
    }
    settings = {"cef.version": "0", "cef.vendor": "mozilla", "cef.product": "shop", "cef.device_version": "1.4"}
    line = client.cef("Login failed", 5, environ, settings, username="ann", signature="AuthFail", attempts=3)
    assert re.fullmatch(r"\w{3} \d\d \d\d:\d\d:\d\d web1 " + re.escape(shown), line)


def test_what_a_test_is_told_looks_as_in_the_guide():
    text = (DOCS / "python-integrations.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```\nAssertionError: (.*?)```", text, re.DOTALL)
    capture = Capture()
    sending = MetlogClient(capture, "north")
    sending.incr("orders", 2, fields={"shop": "north"})
    fields = {"template": "the cart is nearly full", "logger_name": "shop"}
    sending.warning("the cart is nearly full", fields=fields)
    with pytest.raises(AssertionError) as failed:
        capture.one(type="oldstyle", payload=re.compile("empty"))
    # pytest moves the further lines to the right.
    told = [line.strip() for line in str(failed.value).splitlines()]
    lines = [line.strip().removesuffix(" …") for line in shown.rstrip().splitlines()]
    assert told[: len(lines)] == lines


@pytest.mark.parametrize(
    "code",
    [
        code
        for row in rows("python-migration.md", "From statsd") + rows("python-migration.md", "From sentry-sdk")
        for code in re.findall(r"`((?:@|with )?client\.[^`]+)`", row[1])
    ],
)
def test_what_other_calls_become_can_be_called(client, captured, code, monkeypatch):
    # For a call with a rate.
    monkeypatch.setattr("random.random", lambda: 0.0)
    if code.startswith("@"):
        code += "\ndef work():\n    pass\nwork()"
    elif code.startswith("with"):
        code += "\n    client.info('within')"
    try:
        raise LookupError("no apples")
    except LookupError as error:
        exec(code, {"client": client, "error": error})
    assert captured.messages()


def test_levels_and_severities_are_those_of_the_guide():
    from metlog.handler import severity_of

    for level, severity in rows("python-integrations.md", "logging"):
        numbers = [int(number) for number in re.findall(r"\d+", level)]
        if level == "below":
            numbers = [0, 19]
        assert {severity_of(number) for number in numbers} == {int(severity)}


def test_the_plug_ins_settings_are_those_of_the_guide():
    text = (DOCS / "python-plugins.md").read_text(encoding="utf-8")
    table = re.search(r"^\| setting \| what it does \|\n.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    told = [name for row in table.group(1).splitlines() for name in NAME.findall(row.split(" | ")[0])]
    with pytest.raises(RuntimeError, match="there are ") as unknown:
        client_from_text_config(
            "[metlog]\n[metlog_plugin_raven]\nprovider = metlog_raven.raven_plugin:config_plugin\nno_such = 1", "metlog"
        )
    assert set(told) == set(str(unknown.value).split("there are ")[1].split(", "))
