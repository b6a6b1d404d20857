"""A service that adds two lines and keeps its calls of ``logging``: each kind of message arrives where it belongs."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import real_router

# The end of the process waits for two seconds, which may be short on a busy machine: so it waits before that, too.
SERVICE = """
import metlog
metlog.init(logger="shop")

import atexit
import logging

import flask
import metlog.flask

app = flask.Flask("shop")
metlog.flask.init_app(app)


@app.get("/articles/<sku>")
def article(sku):
    logging.getLogger("shop.articles").warning("asked for %s", sku, extra={"sku": sku})
    if sku == "none":
        raise LookupError("no such article")
    return sku


client = metlog.CLIENT_HOLDER.default_client
atexit.register(client.flush, 60)
client.incr("starts")
client.cef("Login failed", 5, {"REMOTE_ADDR": "192.0.2.7"}, {}, username="ann")
asking = app.test_client()
for sku in ("A-7", "none"):
    asking.get(f"/articles/{sku}", headers={"X-Request-ID": f"r-{sku}"}).close()
raise ValueError("at the end")
"""

ROUTER = """
shutdown_timeout = "5s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[endpoints.lines]
kind = "file"
path = "lines.jsonl"
format = "json"

[endpoints.stats]
kind = "statsd"
address = "{statsd}"

[endpoints.errors]
kind = "sentry"
dsn = "{sentry}"

[endpoints.security]
kind = "syslog"
transport = "tcp"
address = "{syslog}"

[[routes]]
match = {{ type = "oldstyle" }}
to = ["lines"]

[[routes]]
match = {{ type = ["counter", "timer"] }}
to = ["stats"]

[[routes]]
match = {{ type = "sentry" }}
to = ["errors"]

[[routes]]
match = {{ type = "cef" }}
to = ["security"]
"""

LINES = 4
MEASURES = 5
EVENTS = 2
SECURITY_EVENTS = 1


@pytest.fixture
def ending() -> Iterator[list[Any]]:
    """A list of what has to be ended after the test, the last first."""
    started: list[Any] = []
    yield started
    for one in reversed(started):
        one.end()


# Over TCP: nothing may be lost here.
def test_two_lines_lead_everything_to_where_it_belongs(tmp_path: pathlib.Path, ending: list[Any]) -> None:
    (tmp_path / "syslog").mkdir()
    sentry = real_router.Sentry()
    ending.append(sentry)
    syslog = real_router.Syslog(tmp_path / "syslog")
    ending.append(syslog)
    statsd = real_router.Statsd()
    ending.append(statsd)
    configuration = ROUTER.format(sentry=sentry.dsn(2), syslog=syslog.address, statsd=statsd.address)
    router = real_router.Router(tmp_path, configuration)
    ending.append(router)

    environment = {**os.environ, "METLOG_URL": router.url("tcp")}
    service = [sys.executable, "-c", SERVICE]
    run = subprocess.run(
        service, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 1
    assert "ValueError: at the end" in run.stderr, "the application's own output stays"

    ledger = router.wait_until_delivered(LINES + MEASURES + EVENTS + SECURITY_EVENTS)
    assert ledger["inputs"][0]["received"] == LINES + MEASURES + EVENTS + SECURITY_EVENTS
    assert ledger["inputs"][0]["unrouted"] == 0
    delivered = {one["name"]: one["delivered"] for one in ledger["endpoints"]}
    assert delivered == {"lines": LINES, "stats": MEASURES, "errors": EVENTS, "security": SECURITY_EVENTS}

    lines = [json.loads(line) for line in (tmp_path / "lines.jsonl").read_text().splitlines()]
    said = [line["payload"] for line in lines]
    assert said[:2] == ["asked for A-7", "asked for none"]
    assert said[-1].startswith("Uncaught exception: ")
    assert lines[0]["fields"]["sku"] == "A-7"
    assert lines[0]["fields"]["template"] == "asked for %s"
    failed = [line for line in lines if line["fields"].get("exc_type") == "LookupError"]
    assert [line["fields"]["request_id"] for line in failed] == ["r-none"], "the line that Flask logs, once"
    assert {line["logger"] for line in lines} == {"shop"}

    for name in ("shop.starts", "shop.http.GET.-articles-_sku_.200", "shop.http.GET.-articles-_sku_.500"):
        statsd.wait_for_counter(name)

    (record,) = syslog.wait_for_records(1)
    assert record["text"].strip().endswith("src=192.0.2.7 dhost=none suser=ann")

    requests = sentry.requests()
    assert [request["problems"] for request in requests] == [[], []]
    exceptions = [request["normalized"]["exception"]["values"][-1] for request in requests]
    assert [one["type"] for one in exceptions] == ["LookupError", "ValueError"]
    assert [["request_id", "r-none"] in (request["normalized"].get("tags") or []) for request in requests] == [
        True,
        False,
    ]
    router.stop()
