"""The plug-ins' messages go through a router to a real statsd, a real syslog and what Sentry itself reads with.

Each application here is configured as in its day, by an INI file.
"""

from __future__ import annotations

import os
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import real_router

import metlog_cef
from metlog.client import MetlogClient
from metlog.config import client_from_text_config

ENVIRON = {
    "REMOTE_ADDR": "192.0.2.7",
    "HTTP_HOST": "shop",
    "PATH_INFO": "/login",
    "REQUEST_METHOD": "POST",
    "HTTP_USER_AGENT": "evil=|\\ \u30c0\nagent",
}
SETTINGS = {"cef.version": "0", "cef.vendor": "mozilla", "cef.device_version": "3", "cef.product": "weave"}

CLIENT = """
[metlog]
logger = shop
sender_class = metlog.senders.TcpSender
sender_host = {host}
sender_port = {port}

[metlog_plugin_cef]
provider = metlog_cef.cef_plugin:config_plugin
syslog_facility = AUTH
syslog_ident = shop-security
syslog_priority = ALERT

[metlog_plugin_raven]
provider = metlog_raven.raven_plugin:config_plugin
dsn = {dsn}
release = 1.4

[metlog_plugin_procinfo]
provider = metlog_psutils.psutil_plugin:config_plugin
"""

ROUTER = """
shutdown_timeout = "5s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.{name}]
{endpoint}

[[routes]]
match = {{ type = "{type}" }}
to = ["{name}"]
"""


@pytest.fixture
def ending() -> Iterator[list[Any]]:
    """A list of what has to be ended after the test, the last first."""
    started: list[Any] = []
    yield started
    for one in reversed(started):
        one.end()


def start(
    folder: pathlib.Path, ending: list[Any], dsn: str = "", **keys: str
) -> tuple[real_router.Router, MetlogClient]:
    router = real_router.Router(folder, ROUTER.format(**keys))
    ending.append(router)
    host, port = router.url("tcp").removeprefix("tcp://").split(":")
    return router, client_from_text_config(CLIENT.format(host=host, port=port, dsn=dsn), "metlog")


def test_security_events_arrive_at_syslog_as_they_say(tmp_path: pathlib.Path, ending: list[Any]) -> None:
    (tmp_path / "syslog").mkdir()
    syslog = real_router.Syslog(tmp_path / "syslog")
    ending.append(syslog)
    endpoint = f'kind = "syslog"\ntransport = "tcp"\naddress = "{syslog.address}"'
    router, client = start(tmp_path, ending, name="security", endpoint=endpoint, type="cef")
    line = client.cef(
        "Login failed", 7, ENVIRON, SETTINGS, username="ann", signature=metlog_cef.AUTH_FAILURE, note="two\nlines"
    )
    assert client.flush(real_router.PATIENCE)
    (record,) = syslog.wait_for_records(1)
    assert record["text"].strip() == line
    assert "|AuthFail|Login failed|7|" in line
    assert "note=two\\nlines" in line
    assert record["facility"] == "auth"
    assert record["severity"] == "alert"
    assert record["program"] == "shop-security"
    assert record["process"] == str(os.getpid())
    ledger = router.wait_until_delivered(1)
    assert ledger["endpoints"][0]["delivered"] == 1
    client.close()
    router.stop()


def test_readings_arrive_at_statsd_as_gauges(tmp_path: pathlib.Path, ending: list[Any]) -> None:
    statsd = real_router.Statsd()
    ending.append(statsd)
    endpoint = f'kind = "statsd"\naddress = "{statsd.address}"'
    router, client = start(tmp_path, ending, name="stats", endpoint=endpoint, type="procinfo")
    with socket.create_server(("127.0.0.1", 0)) as server:
        client.procinfo(mem=True, cpu=True, busy=True, net=True)
        port = server.getsockname()[1]
    assert client.flush(real_router.PATIENCE)
    host = f"{socket.gethostname().replace('.', '_')}.{os.getpid()}"
    assert statsd.wait_for_gauge(f"psutil.meminfo.{host}.rss") > 1_000_000
    assert 0 < statsd.wait_for_gauge(f"psutil.meminfo.{host}.pcnt") < 100
    assert statsd.wait_for_gauge(f"psutil.cpu.{host}.user") > 0
    assert statsd.wait_for_gauge(f"psutil.busy.{host}.uptime") > 0
    assert statsd.wait_for_gauge(f"psutil.net.{host}.127_0_0_1_{port}.LISTEN") == 1
    sent = client.stats()["sent"]
    ledger = router.wait_until_delivered(sent)
    assert ledger["endpoints"][0]["refused"] == {}
    assert ledger["endpoints"][0]["delivered"] == sent
    client.close()
    router.stop()


class Odd(Exception):
    """An exception that says what JSON finds hard."""


def fail(depth: int, text: str) -> None:
    if depth:
        fail(depth - 1, text)
    raise Odd(text)


def failing(client: MetlogClient) -> None:
    for text in ("plain", "bukan\u00fdrka \u30c0 \U0001f600", 'line\nbreak \x00 " \\', "x" * 100_000, "lone \ud800"):
        try:
            try:
                fail(3, text)
            except Odd as error:
                raise LookupError("no apples") from error
        except LookupError:
            client.raven(f"an order failed: {text}", order=7, nothing=float("nan"), password="x")
    try:
        fail(900, "deep")
    except (Odd, RecursionError):
        client.raven(severity=2)


def test_exceptions_are_what_sentry_reads(tmp_path: pathlib.Path, ending: list[Any]) -> None:
    sentry = real_router.Sentry()
    ending.append(sentry)
    endpoint = f'kind = "sentry"\ndsn = "{sentry.dsn(2)}"'
    router, client = start(tmp_path, ending, dsn=sentry.dsn(7), name="errors", endpoint=endpoint, type="sentry")
    with client.bind(trace_id="0af7651916cd43dd8448eb211c80319c", span_id="b7ad6b7169203331", request_id="r-7"):
        failing(client)
    assert client.flush(real_router.PATIENCE)
    ledger = router.wait_until_delivered(6)
    assert ledger["endpoints"][0]["refused"] == {}
    requests = sentry.requests()
    assert len(requests) == 6
    for request in requests:
        assert request["problems"] == []
        assert request["path"] == "/api/7/envelope/"
        event = request["normalized"]
        assert event["platform"] == "python"
        assert event["release"] == "1.4"
        assert event["logger"] == "shop"
        assert event["contexts"]["trace"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert ["request_id", "r-7"] in event["tags"]
        assert event["exception"]["values"][-1]["stacktrace"]["frames"][-1]["lineno"] > 0
    first = requests[0]["normalized"]
    assert [value["type"] for value in first["exception"]["values"]] == ["Odd", "LookupError"]
    assert first["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "fail"
    assert first["exception"]["values"][0]["stacktrace"]["frames"][-1]["context_line"].strip() == "raise Odd(text)"
    assert first["logentry"]["formatted"] == "an order failed: plain"
    assert first["extra"] == {"order": 7, "nothing": None, "password": "[Filtered]"}
    assert first["level"] == "error"
    assert requests[-1]["normalized"]["level"] == "fatal"
    client.close()
    router.stop()
