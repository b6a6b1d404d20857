"""A router process for tests, the real servers behind it, and what they got."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that a test waits for what must come, on a machine that is busy with other things."""

_ROOT = pathlib.Path(__file__).parents[3]
_PEERS = _ROOT / "tests" / "peers"


def wait_for(what: str, look: Callable[[], T | None]) -> T:
    """Look again and again until there is something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.01)


def _needs(path: pathlib.Path, how: str) -> pathlib.Path:
    if not path.exists():
        message = f"{path} is missing; {how}"
        assert "CI" not in os.environ, message
        pytest.skip(message)
    return path


def binary() -> pathlib.Path:
    """Return the router's binary; without one the test is skipped, which is an error in CI."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", _ROOT / "target"))
    path = pathlib.Path(os.environ.get("METLOG_BINARY", target / "release" / "metlog"))
    return _needs(path, "`make build` makes it")


class _Process:
    """A child that says JSON, one object a line."""

    def __init__(self, arguments: list[Any], folder: pathlib.Path, stream: str) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        pipes[stream] = subprocess.PIPE
        self.process = subprocess.Popen([str(one) for one in arguments], cwd=folder, text=True, **pipes)
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, args=(getattr(self.process, stream),), daemon=True)
        self._reader.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"text": line})

    def said(self, **wanted: Any) -> dict[str, Any]:
        """Wait for a line with these values."""

        def look() -> dict[str, Any] | None:
            for line in list(self.lines):
                if all(line.get(key) == value for key, value in wanted.items()):
                    return line
            assert self.process.poll() is None, self.lines
            return None

        return wait_for(f"it says {wanted}", look)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self._reader.join()


class Router(_Process):
    """A router with a folder of its own."""

    def __init__(self, folder: pathlib.Path, configuration: str) -> None:
        self.folder = folder
        (folder / "metlog.toml").write_text(f'{configuration}\n[api]\nlisten = "127.0.0.1:0"\n')
        arguments = [binary(), "run", "--config", "metlog.toml", "--log-format", "json"]
        super().__init__(arguments, folder, "stderr")
        self.api = self.said(message="listening api")["address"]

    def url(self, name: str) -> str:
        """Return where an input listens, as `metlog.init` takes it."""
        return f"{name}://{self.said(message='listening', input=name)['address']}"

    def ledger(self) -> dict[str, Any]:
        """Return the accounts of this moment."""
        with urllib.request.urlopen(f"http://{self.api}/api/v1/pipeline", timeout=PATIENCE) as answer:
            return json.load(answer)

    def wait_until_delivered(self, received: int) -> dict[str, Any]:
        """Wait until so many messages came and nothing is queued; both equations hold then."""

        def has_come() -> bool:
            return sum(one["received"] for one in self.ledger()["inputs"]) >= received

        def is_quiet() -> dict[str, Any] | None:
            ledger = self.ledger()
            queued = sum(one["queued"] for one in ledger["endpoints"])
            return ledger if queued == 0 and _balances(ledger) else None

        # One after the other: an answer may hold the endpoints of a moment before its inputs.
        wait_for(f"{received} messages have come", has_come)
        return wait_for(f"{received} messages are delivered", is_quiet)

    def stop(self) -> None:
        """Ask it to end; it must do so well."""
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.lines


def _balances(ledger: dict[str, Any]) -> bool:
    def total(account: dict[str, Any], reasons: str) -> int:
        return sum(account[reasons].values())

    inputs = all(
        one["received"] == one["routed"] + one["unrouted"] + one["blank"] + total(one, "rejected")
        for one in ledger["inputs"]
    )
    endpoints = all(
        one["enqueued"] == one["delivered"] + one["queued"] + total(one, "refused") + total(one, "dropped")
        for one in ledger["endpoints"]
    )
    return inputs and endpoints


class Sentry:
    """A server that reads events with Sentry's own library."""

    def __init__(self) -> None:
        folder = _PEERS / "sentry"
        _needs(folder / ".venv" / "installed", "`make peers` installs it")
        self._server = subprocess.Popen(
            [folder / ".venv/bin/python", folder / "server.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._authority = f"localhost:{int(self._server.stdout.readline())}"

    def dsn(self, project: int) -> str:
        """Return the DSN of one of its projects."""
        return f"http://public:secret@{self._authority}/{project}"

    def requests(self) -> list[dict[str, Any]]:
        """Return everything that it was sent, and what its library made of it."""
        with urllib.request.urlopen(f"http://{self._authority}/requests", timeout=PATIENCE) as answer:
            return json.load(answer)

    def end(self) -> None:
        self._server.kill()
        self._server.communicate()


class Statsd(_Process):
    """The original statsd server."""

    def __init__(self) -> None:
        folder = _PEERS / "statsd"
        _needs(folder / "node_modules", "`make peers` installs it")
        super().__init__(["node", "server.js", "config.js"], folder, "stdout")
        ports = wait_for("statsd listens", lambda: next((line for line in self.lines if "udp" in line), None))
        self.address = f"127.0.0.1:{ports['udp']}"

    def wait_for_gauge(self, name: str) -> float:
        """Wait until a gauge was set, and return its value."""

        def look() -> list[float]:
            # The value may be 0.
            return [line["gauges"][name] for line in list(self.lines) if name in line.get("gauges", {})]

        return wait_for(f"statsd has the gauge {name}", look)[0]

    def wait_for_counter(self, name: str) -> None:
        """Wait until a counter was counted."""
        wait_for(f"statsd has the counter {name}", lambda: any(name in line.get("counters", {}) for line in self.lines))


class Syslog:
    """The rsyslog of Debian, which writes down what it understood."""

    CONFIGURATION = """
global(workDirectory="{folder}" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp")
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="{folder}/port")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="facility" name="syslogfacility-text" format="jsonf")
  property(outname="severity" name="syslogseverity-text" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="process" name="procid" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{folder}/received" template="json")
"""

    def __init__(self, folder: pathlib.Path) -> None:
        installed = _PEERS / "debian"
        program = _needs(installed / "usr/sbin/rsyslogd", "`make peers` installs it")
        self._received = folder / "received"
        (folder / "rsyslog.conf").write_text(self.CONFIGURATION.format(folder=folder))
        libraries = [str(path) for part in ("lib", "usr/lib") for path in (installed / part).glob("*-linux-gnu*")]
        modules = next((installed / "usr/lib").glob("*/rsyslog"))
        arguments = [program, "-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid", "-M", modules]
        self._log = (folder / "rsyslog.log").open("w")
        self._server = subprocess.Popen(
            arguments,
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

        def port() -> str | None:
            assert self._server.poll() is None, (folder / "rsyslog.log").read_text()
            path = folder / "port"
            return path.read_text() if path.exists() else None

        self.address = f"127.0.0.1:{wait_for('rsyslog listens', port)}"

    def wait_for_records(self, count: int) -> list[dict[str, str]]:
        """Wait until it has written so many records."""

        def look() -> list[dict[str, str]] | None:
            text = self._received.read_text() if self._received.exists() else ""
            lines = text[: text.rfind("\n") + 1].splitlines()
            return [json.loads(line) for line in lines] if len(lines) >= count else None

        return wait_for(f"rsyslog has {count} records", look)

    def end(self) -> None:
        self._server.kill()
        self._server.wait()
        self._log.close()
