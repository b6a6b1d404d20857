"""A real gunicorn under load, whose workers are replaced meanwhile: what each worker says that it sent is what came."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import pytest
from test_processes import PATIENCE, Lines

# Seconds of load; `make torture` asks for the long form.
LOAD = 60.0 if os.environ.get("METLOG_LONG") else 5.0

CLIENTS = 4

WORKERS = 4

# A worker is replaced after so many requests; at least this many times as many are made, however slow the machine is.
REQUESTS = 200
TIMES = 6

APPLICATION = """
import json, os
from flask import Flask
from metlog.client import MetlogClient
from metlog.senders import TcpSender

app = Flask(__name__)
# Before the workers are forked, as with --preload.
client = MetlogClient(TcpSender("127.0.0.1", int(os.environ["PORT"])), "shop")

@app.route("/")
def index():
    with client.timer("request"):
        client.incr("hits", fields={"page": "/"})
        client.info("served %s", "a page")
    return "ok"
"""

CONFIGURATION = """
import json, os, pathlib

def worker_exit(server, worker):
    from application import client
    client.flush(2.0)
    stats = {**client.stats(), "pid": os.getpid()}
    pathlib.Path(os.environ["STATS"], str(os.getpid())).write_text(json.dumps(stats))
"""


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_what_every_worker_says_that_it_sent_has_come(tmp_path: pathlib.Path, kind: str) -> None:
    lines = Lines()
    (tmp_path / "application.py").write_text(APPLICATION)
    (tmp_path / "gunicorn.conf.py").write_text(CONFIGURATION)
    stats_folder = tmp_path / "stats"
    stats_folder.mkdir()
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--preload",
        "--workers",
        "4",
        "--threads",
        "4",
        "--worker-class",
        kind,
    ]
    command += ["--bind", "127.0.0.1:0", "--max-requests", str(REQUESTS), "--graceful-timeout", "60", "application:app"]
    environment = {**os.environ, "PORT": str(lines.port), "STATS": str(stats_folder)}
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=output, stderr=output)
    try:
        served = _load(_port(server, log))
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0, log.read_text()

    reports = [json.loads(path.read_text()) for path in stats_folder.iterdir()]
    begun = set(map(int, re.findall(r"Booting worker with pid: (\d+)", log.read_text())))
    unknown = begun - {report["pid"] for report in reports}
    assert not unknown, f"the accounts of these workers are not known: {unknown}"
    for report in reports:
        assert report["accepted"] == report["sent"] + sum(report["dropped"].values()) + report["queued"], report
    sent = {report["pid"]: report["sent"] for report in reports if report["sent"]}
    assert len(sent) > WORKERS, "workers were replaced under load"
    assert sum(sent.values()) >= 3 * served

    deadline = time.monotonic() + PATIENCE
    while len(lines.messages) < sum(sent.values()) and time.monotonic() < deadline:
        time.sleep(0.05)
    received = Counter(message["metlog_pid"] for message in lines.messages)
    assert received == sent
    numbers = defaultdict(set)
    for message in lines.messages:
        numbers[message["metlog_pid"], message["metlog_src"]].add(message["metlog_seq"])
    # One source for each worker, and no number is missing.
    assert {process: len(seen) for (process, _), seen in numbers.items()} == sent
    assert all(seen == set(range(1, len(seen) + 1)) for seen in numbers.values())
    lines.close()


def _port(server: subprocess.Popen[bytes], log: pathlib.Path) -> int:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            return int(found.group(1))
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def _load(port: int) -> int:
    """Ask again and again, and return how often there was an answer."""
    until, latest = time.monotonic() + LOAD, time.monotonic() + LOAD + PATIENCE
    answers = [0] * CLIENTS

    def ask(number: int) -> None:
        while time.monotonic() < until or (sum(answers) < TIMES * REQUESTS and time.monotonic() < latest):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", "/")
                answers[number] += connection.getresponse().status == 200
            except OSError:
                # A worker that was just replaced.
                time.sleep(0.01)
            finally:
                connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answers)
