"""A real gunicorn under load, whose workers are replaced meanwhile: what each worker says that it sent is what came."""

from __future__ import annotations

import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import reporting
from accounts import Archive, Settlement, reports, settle
from real_router import wait_for

# Seconds of load; `make torture` asks for the long form.
LOAD = 60.0 if os.environ.get("METLOG_LONG") else 3.0

# Seconds that are waited for what is sure to come, also on a machine that is busy with other things.
PATIENCE = 120.0

CLIENTS = 4

WORKERS = 4

# A worker is replaced after so many requests; at least this many times as many are made, however slow the machine is.
REQUESTS = 200
TIMES = 6

# What one request sends at least.
MESSAGES = 4

APPLICATION = """
import reporting
import metlog
client = metlog.init(logger="shop", flush_on_sigterm=True)

import atexit, logging, os, pathlib, time
from flask import Flask

app = Flask(__name__)

@app.route("/")
def index():
    with client.timer("request"):
        client.incr("hits", fields={"page": "/"})
        client.info("served %%s", "a page")
        logging.getLogger("shop.pages").warning("served %%s", "/")
    return str(os.getpid())

@app.route("/slow")
def slow():
    pathlib.Path("asked").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)
    client.incr("slow")
    return "done"

@atexit.register
def end():
    for number in range(%d):
        client.incr("last words")
"""

# A worker that is told to end before it watches signals does not hear of it.
CONFIGURATION = """
def post_worker_init(worker):
    worker.log.info("Worker ready (pid: %s)", worker.pid)
"""

# What each process says when it ends, for the end to have something to send.
LAST_WORDS = 500

TESTS = str(pathlib.Path(__file__).parent)


class Service:
    """A gunicorn, the load on it, and the router that its workers send to."""

    def __init__(self, folder: pathlib.Path, transport: str, *options: str, receive_buffer: str = "4MiB") -> None:
        self.folder = folder
        self.archive = Archive(folder, receive_buffer)
        # What the router got, once it has ended.
        self.messages: list[dict[str, Any]] = []
        self.answers = [0] * CLIENTS
        # The worker that answered last.
        self.busy_worker = 0
        self._is_ending = False
        self._reports = folder / "reports"
        self._reports.mkdir()
        self._log = folder / "gunicorn.log"
        (folder / "gunicorn.conf.py").write_text(CONFIGURATION)
        (folder / "application.py").write_text(APPLICATION % LAST_WORDS)
        command = [sys.executable, "-m", "gunicorn", "--workers", str(WORKERS), "--bind", "127.0.0.1:0"]
        # Its control socket would be one for all that run here.
        command += ["--no-control-socket"]
        # Whoever is replaced answers what it was asked before.
        command += ["--max-requests", str(REQUESTS), "--graceful-timeout", "60", *options, "application:app"]
        environment = {
            **os.environ,
            "METLOG_URL": self.archive.url(transport),
            "PYTHONPATH": os.pathsep.join([TESTS, *sys.path]),
            reporting.FOLDER: str(self._reports),
        }
        with self._log.open("w") as log:
            self._server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        self._port = wait_for("gunicorn listens", self._listening)

    def _listening(self) -> int | None:
        assert self._server.poll() is None, self.log()
        found = re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", self.log())
        return int(found.group(1)) if found else None

    def workers(self) -> set[int]:
        """Return every worker that was ever started."""
        return set(map(int, re.findall(r"Booting worker with pid: (\d+)", self.log())))

    def log(self) -> str:
        """Return what gunicorn has said."""
        return self._log.read_text()

    def replace_workers(self) -> None:
        """Have all workers replaced, as an operator does."""
        before = len(self.workers())
        self._server.send_signal(signal.SIGHUP)
        wait_for("there are new workers", lambda: len(self.workers()) >= before + WORKERS)

    def load(self, meanwhile: Callable[[], None]) -> None:
        """Ask again and again, and do something else in the middle of it."""
        until, latest = time.monotonic() + LOAD, time.monotonic() + LOAD + PATIENCE
        is_done = threading.Event()

        def ask(number: int) -> None:
            while time.monotonic() < latest and not (
                is_done.is_set() and time.monotonic() >= until and sum(self.answers) >= TIMES * REQUESTS
            ):
                try:
                    self.busy_worker = int(self.ask("/"))
                    self.answers[number] += 1
                except (OSError, ValueError, http.client.HTTPException):
                    # No answer, of a worker that was just replaced, or killed.
                    time.sleep(0.01)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            self.wait_for_answers(REQUESTS)
            meanwhile()
        finally:
            is_done.set()
            for thread in threads:
                thread.join()

    def ask(self, path: str) -> bytes:
        """Return the answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def wait_for_answers(self, more: int) -> None:
        """Wait until there were so many more."""
        target = sum(self.answers) + more
        wait_for(f"there are {target} answers; gunicorn says {self._log}", lambda: sum(self.answers) >= target)

    def _is_complete(self) -> bool:
        ready = set(map(int, re.findall(r"Worker ready \(pid: (\d+)\)", self.log())))
        alive = {worker for worker in self.workers() if _is_alive(worker)}
        leaving = set(map(int, re.findall(r"\[(\d+)\] \[INFO\] Autorestarting worker", self.log())))
        return len(alive) == WORKERS and alive <= ready - leaving

    def terminate(self) -> None:
        """Ask it to end; asked twice, it is as if it was asked once."""
        if not self._is_ending:
            wait_for("all workers are there", self._is_complete)
            self._is_ending = True
            self._server.terminate()

    def settle(self, *, may_miss: bool = False) -> tuple[Settlement, int]:
        """End gunicorn and the router; return who sent what, and how many datagrams the kernel dropped."""
        self.terminate()
        assert self._server.wait(PATIENCE) == 0, self.log()
        said = reports(self._reports)
        lost = self.archive.wait_for(sum(report["sent"] for report in said.values()))
        self.messages = self.archive.messages()
        settlement = settle(self.workers(), said, self.messages, may_miss=may_miss)
        accepted, dropped = (sum(map(one, said.values())) for one in (lambda r: r["accepted"], _dropped))
        print(
            f"\n{sum(self.answers)} requests, {len(self.workers())} workers; accepted {accepted}, dropped {dropped}, "
            f"queued {sum(report['queued'] for report in said.values())}, "
            f"sent {sum(report['sent'] for report in said.values())}, lost in the kernel {lost}: {settlement}"
        )
        return settlement, lost

    def end(self) -> None:
        if self._server.poll() is None:
            # The workers notice that their parent is gone.
            self._server.kill()
            self._server.wait()
        self.archive.end()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _dropped(report: dict[str, Any]) -> int:
    return sum(report["dropped"].values())


Start = Callable[..., Service]


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Start]:
    services = []

    def begin(*arguments: str, **more: str) -> Service:
        services.append(Service(tmp_path, *arguments, **more))
        return services[-1]

    yield begin
    for service in services:
        service.end()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--worker-class", "sync"], id="sync"),
        pytest.param(["--worker-class", "gthread", "--threads", "4", "--preload"], id="gthread-preload"),
        pytest.param(["--worker-class", "gevent"], id="gevent"),
    ],
)
def test_what_every_worker_says_that_it_sent_has_come(start: Start, options: list[str]) -> None:
    service = start("tcp", *options)
    service.load(meanwhile=service.replace_workers)
    settlement, _ = service.settle()
    assert not settlement.wrong, settlement
    assert not settlement.unknown, settlement
    assert settlement.queued == 0, settlement
    busy = [process for process, sent in settlement.passed.items() if sent > LAST_WORDS]
    assert len(busy) > WORKERS, "workers were replaced under load"
    assert sum(settlement.passed.values()) >= MESSAGES * sum(service.answers) + LAST_WORDS * len(service.workers())


def test_what_is_missing_over_udp_is_counted_by_the_kernel(start: Start) -> None:
    service = start("udp", "--worker-class", "gthread", "--threads", "4", receive_buffer="4KiB")

    def deafen() -> None:
        # A router that does not read for a while, with room for a few datagrams.
        service.archive.process.send_signal(signal.SIGSTOP)
        service.wait_for_answers(REQUESTS)
        service.archive.process.send_signal(signal.SIGCONT)
        service.replace_workers()

    service.load(meanwhile=deafen)
    settlement, lost = service.settle(may_miss=True)
    assert not settlement.wrong, settlement
    assert not settlement.unknown, settlement
    # Each worker's account balances, so what its client dropped is in there; all else that is missing is the kernel's.
    assert settlement.missing == lost > 0


def test_a_worker_that_is_killed_is_unknown_and_does_not_pass(start: Start) -> None:
    # No worker is replaced after some requests: else the one that answered last may end well before it is killed.
    service = start("tcp", "--worker-class", "gthread", "--threads", "4", "--max-requests", "0")
    killed = []

    def kill() -> None:
        killed.append(service.busy_worker)
        os.kill(killed[0], signal.SIGKILL)
        service.wait_for_answers(REQUESTS)

    service.load(meanwhile=kill)
    settlement, _ = service.settle()
    assert not settlement.wrong, settlement
    # How much it had accepted died with it: whatever came from it proves nothing.
    assert settlement.unknown.keys() == set(killed), settlement
    assert killed[0] not in settlement.passed


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["in the worker", "before the fork"])
def test_gunicorns_own_handlers_go_on_to_end_it_gracefully(start: Start, options: list[str]) -> None:
    service = start("tcp", "--worker-class", "gthread", "--threads", "4", *options)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(service.ask("/slow")))
    asking.start()
    wait_for("it is asked", (service.folder / "asked").exists)
    service.terminate()
    # The workers were told to end while they still serve.
    wait_for("it ends", lambda: "Handling signal: term" in service.log())
    (service.folder / "go").touch()
    asking.join()
    assert answers == [b"done"]
    settlement, _ = service.settle()
    assert not settlement.wrong, settlement
    assert not settlement.unknown, settlement
    assert settlement.queued == 0, settlement
    names = [message["fields"].get("name") for message in service.messages]
    assert names.count("slow") == 1
    assert names.count("last words") >= LAST_WORDS * WORKERS
