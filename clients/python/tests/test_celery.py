"""``metlog.celery``: tasks are counted and timed in a real worker, and traces go on in the tasks that they send."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest
import real_router
from celery.contrib.testing.worker import start_worker

import metlog.celery
from metlog.holder import CLIENT_HOLDER
from metlog.testing import Capture
from metlog_raven import raven_plugin

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PATIENCE = 60

app = celery.Celery("shop", broker="memory://", backend="cache+memory://")
app.conf.update(broker_connection_retry_on_startup=False, worker_hijack_root_logger=True)


@app.task(name="shop.add")
def add(first: int, second: int) -> int:
    logging.getLogger("shop").warning("adding")
    return first + second


@app.task(name="shop.fail")
def fail() -> None:
    raise LookupError("no apples")


@app.task(name="shop.again", bind=True, max_retries=1, default_retry_delay=0)
def again(self: Any) -> None:
    try:
        raise LookupError("no apples")
    except LookupError as error:
        raise self.retry(exc=error) from error


@app.task(name="shop.outer")
def outer() -> str:
    # Not waited for here: it may need the only thread of the worker.
    return add.delay(1, 2).id


@app.task(name="shop.captured", bind=True)
@raven_plugin.capture_stack
def captured(self: Any, first: int, second: int = 1) -> int:
    assert self.name == "shop.captured"
    raise LookupError("no apples")


@pytest.fixture(scope="module")
def worker() -> Iterator[None]:
    metlog.celery.connect()
    metlog.celery.connect()
    with start_worker(app, perform_ping_check=False, pool="solo", loglevel="INFO", shutdown_timeout=PATIENCE):
        yield


def wait_for(capture: Capture, **wanted: Any) -> dict[str, Any]:
    """Wait for a message of the worker, which is another thread: it comes after the result."""
    return real_router.wait_for(f"there is {wanted}; {capture}", lambda: capture.of(**wanted))[0]


def test_a_task_is_counted_and_timed_by_name_and_state(worker: None, metlog_capture: Capture) -> None:
    result = add.delay(1, 2)
    assert result.get(timeout=PATIENCE) == 3
    name = "celery.shop.add.SUCCESS"
    wait_for(metlog_capture, type="timer", name=name)
    about = {"task": "shop.add", "state": "SUCCESS", "task_id": result.id}
    assert metlog_capture.count(name, **about) == 1
    assert metlog_capture.timings(name, **about)[0] > 0
    metlog_capture.one(type="oldstyle", payload="adding", task="shop.add", task_id=result.id)


def test_what_fails_is_counted_as_such_and_logged_by_celery(worker: None, metlog_capture: Capture) -> None:
    del CLIENT_HOLDER.default_client.raven
    with pytest.raises(LookupError):
        fail.delay().get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer", name="celery.shop.fail.FAILURE")
    metlog_capture.none(type="sentry")
    wait_for(metlog_capture, type="oldstyle", severity=3, exc_type="LookupError")


def test_what_fails_is_an_event_with_the_plug_in(worker: None, metlog_capture: Capture) -> None:
    CLIENT_HOLDER.default_client.add_method(raven_plugin.config_plugin({}), override="raven")
    result = fail.delay()
    with pytest.raises(LookupError):
        result.get(timeout=PATIENCE)
    message = wait_for(metlog_capture, type="sentry")
    assert message["fields"]["task_id"] == result.id
    event = json.loads(message["payload"])
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["function"] == "fail"
    assert event["exception"]["values"][0]["mechanism"]["handled"] is False


def test_each_attempt_is_counted(worker: None, metlog_capture: Capture) -> None:
    with pytest.raises(LookupError):
        again.delay().get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer", name="celery.shop.again.FAILURE")
    assert metlog_capture.count("celery.shop.again.RETRY") == 1
    assert metlog_capture.count("celery.shop.again.FAILURE") == 1


def test_a_trace_goes_on_in_the_tasks_that_are_sent(worker: None, metlog_capture: Capture) -> None:
    with CLIENT_HOLDER.default_client.bind(trace_id=TRACE, span_id=SPAN):
        inner = outer.delay().get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer", task_id=inner)
    for name in ("celery.shop.outer.SUCCESS", "celery.shop.add.SUCCESS"):
        metlog_capture.one(type="counter", name=name, trace_id=TRACE, span_id=SPAN)
    metlog_capture.one(type="oldstyle", payload="adding", task_id=inner, trace_id=TRACE)


def test_names_end_with_the_task(worker: None, metlog_capture: Capture) -> None:
    with CLIENT_HOLDER.default_client.bind(trace_id=TRACE, span_id=SPAN):
        add.delay(1, 2).get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer")
    metlog_capture.clear()
    result = add.delay(3, 4)
    result.get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer")
    assert "trace_id" not in metlog_capture.one(type="counter", task_id=result.id)["fields"]


def test_what_a_task_reports_itself_is_no_second_event(worker: None, metlog_capture: Capture) -> None:
    CLIENT_HOLDER.default_client.add_method(raven_plugin.config_plugin({}), override="raven")
    with pytest.raises(LookupError):
        captured.delay(1).get(timeout=PATIENCE)
    wait_for(metlog_capture, type="timer", name="celery.shop.captured.FAILURE")
    metlog_capture.one(type="sentry")


SHOP = """
import logging

import celery
import metlog.celery
from metlog.config import client_from_dict_config
from metlog.handler import LogHandler
from metlog.holder import CLIENT_HOLDER

client = CLIENT_HOLDER.get_client("shop")
client_from_dict_config(
    {"logger": "shop", "sender": {"class": "metlog.senders.FileSender", "args": ["sent.jsonl", "jsonl"]}}, client
)
logging.getLogger().addHandler(LogHandler())
metlog.celery.connect()

app = celery.Celery("shop", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "queue", "data_folder_out": "queue"}
# Celery kills a process that takes longer to begin, which is four seconds if nothing is said.
app.conf.worker_proc_alive_timeout = 60


@app.task(name="shop.add")
def add(first, second):
    logging.getLogger("shop").warning("adding %s", first)
"""


def test_a_worker_with_child_processes_sends_from_each_and_keeps_the_handler(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "queue").mkdir()
    sent = tmp_path / "sent.jsonl"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    sending = "import shop; [shop.add.delay(number, 1) for number in range(8)]"
    subprocess.run([sys.executable, "-c", sending], cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    worker = [sys.executable, "-m", "celery", "-A", "shop", "worker", "--pool", "prefork", "-c", "2", "-l", "INFO"]
    with subprocess.Popen(
        worker, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        try:

            def timers() -> list[dict[str, Any]] | None:
                assert run.poll() is None, run.stdout.read()
                text = sent.read_text() if sent.exists() else ""
                # The last line may still be written.
                messages = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
                return messages if sum(message["type"] == "timer" for message in messages) == 8 else None

            messages = real_router.wait_for("all tasks are timed", timers)
        finally:
            run.terminate()
            run.communicate(timeout=PATIENCE)
    counters = [message for message in messages if message["type"] == "counter"]
    assert len(counters) == 8
    assert {message["fields"]["name"] for message in counters} == {"celery.shop.add.SUCCESS"}
    assert run.pid not in {message["metlog_pid"] for message in counters}
    lines = [message for message in messages if message["payload"].startswith("adding")]
    assert sorted(message["payload"] for message in lines) == [f"adding {number}" for number in range(8)]
    assert {message["fields"]["task_id"] for message in lines} == {m["fields"]["task_id"] for m in counters}
