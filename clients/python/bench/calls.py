"""What calls of metlog-py cost the thread that makes them: processor time, all rows in turn, in one run.

    python bench/calls.py --to 127.0.0.1:5565

Prints one JSON object. Each burst fits the queue and is sent before the next begins; whoever listens has to count as
many messages as are said to be sent, or the figures are worth nothing. `make bench` does both.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import pathlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from metlog import _core
from metlog.client import MetlogClient
from metlog.handler import LogHandler
from metlog.senders import UdpSender

# Messages of a burst: below 8 MiB, also where Python's bytes and a queue of them take more.
BURST = 1000

# Seconds that a burst may take to be sent.
PATIENCE = 30.0

THREADS = 8

# Calls of a burst of all threads together: long enough for the interpreter to hand on its lock some dozen times, and
# its time for that not to count.
THREADED_CALLS = 100_000

# As many calls of a function that does nothing take about as long.
EMPTY_CALLS = 1_500_000

FIELDS = {"user": 4711, "page": "/cart/items", "status": 200, "took": 12.5, "cached": True}
LINE = "user 4711 has put three items into the cart"


class DerivedClient(MetlogClient):
    """Goes the way by Python, because it is not exactly our class."""


class JsonFormatter(logging.Formatter):
    """What applications write who log JSON: the fields that our handler sends, by the standard library's means."""

    hostname = socket.gethostname()

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        return json.dumps(
            {
                "timestamp": self.formatTime(record),
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
                "template": record.msg,
                "thread": record.threadName,
                "func": record.funcName,
                "file": record.pathname,
                "line": record.lineno,
                "process": record.process,
                "host": self.hostname,
            }
        )


class LeanJsonFormatter(logging.Formatter):
    """The least that is still a line of a log in JSON, with the time as the number that it is in the record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as JSON."""
        return json.dumps(
            {
                "timestamp": record.created,
                "level": record.levelname,
                "logger": record.name,
                "message": record.getMessage(),
            }
        )


class Row:
    """One kind of call, and what each burst of it cost."""

    def __init__(self, name: str, burst: Callable[[int], None], client: MetlogClient | None) -> None:
        self.name = name
        self.burst = burst
        self.client = client
        self.costs: list[float] = []
        self.sending: list[float] = []

    def run(self) -> None:
        """Make a burst, and wait until it is sent."""
        sending_before = sending_ns()
        before = time.thread_time_ns()
        self.burst(BURST)
        self.costs.append((time.thread_time_ns() - before) / BURST)
        if self.client is not None:
            assert self.client.flush(PATIENCE), f"{self.name}: not sent within {PATIENCE} s"
            self.sending.append((sending_ns() - sending_before) / BURST)

    def figures(self) -> dict[str, Any]:
        """Return the medians, without the first bursts, which touch memory for the first time."""
        figures: dict[str, Any] = {"name": self.name, "ns": statistics.median(self.costs[2:])}
        if self.sending:
            figures["sending_ns"] = statistics.median(self.sending[2:])
        return figures


def sending_ns() -> int:
    """Return the processor time of all threads but this one."""
    total = 0
    for task in pathlib.Path("/proc/self/task").iterdir():
        if int(task.name) != threading.get_native_id():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
    return total


def client_to(address: tuple[str, int], kind: type[MetlogClient] = MetlogClient, plain: bool = False) -> MetlogClient:
    """Return a client; a plain one has a core in Python."""
    if plain:
        os.environ[_core.NATIVE_VARIABLE] = "0"
    try:
        return kind(UdpSender(*address), "shop")
    finally:
        os.environ.pop(_core.NATIVE_VARIABLE, None)


def rows_of(client: MetlogClient, way: str) -> list[Row]:
    """Return the calls of one client."""

    def incr(calls: int) -> None:
        for _ in repeat(None, calls):
            client.incr("requests.served")

    def line(calls: int) -> None:
        for _ in repeat(None, calls):
            client.metlog("oldstyle", payload=LINE, fields=FIELDS)

    def timer(calls: int) -> None:
        for _ in repeat(None, calls):
            with client.timer("requests.time"):
                pass

    bursts = {"incr": incr, "metlog, 5 fields": line, "with timer": timer}
    return [Row(f"{name}{way}", burst, client) for name, burst in bursts.items()]


def logging_row(name: str, handler: logging.Handler, client: MetlogClient | None) -> Row:
    """Return the row of a logger with one handler."""
    logger = logging.getLogger(f"bench.{name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)

    def burst(calls: int) -> None:
        for _ in repeat(None, calls):
            logger.info("user %d has put %s items into the cart", 4711, "three")

    return Row(name, burst, client)


def count_one(client: MetlogClient, calls: int) -> None:
    """Make calls of the client's."""
    for _ in repeat(None, calls):
        client.incr("requests.served")


def do_nothing(calls: int) -> None:
    """Make calls of a C function that does nothing: all that is left is how the interpreter changes threads."""
    for _ in repeat(None, calls):
        threading.get_ident()


def calls_per_second(burst: Callable[[int], None], calls: int, threads: int, bursts: int) -> float:
    """Return how many calls some threads make in a second, together, best of some bursts."""
    best = 0.0
    for _ in range(bursts):
        start = threading.Barrier(threads + 1)

        def work() -> None:
            start.wait()  # noqa: B023  the barrier of this burst
            burst(calls // threads)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        start.wait()
        before = time.perf_counter()
        for worker in workers:
            worker.join()
        best = max(best, calls / (time.perf_counter() - before))
    return best


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True, help="host:port of a receiver")
    parser.add_argument("--bursts", type=int, default=60, help="bursts of each kind of call")
    arguments = parser.parse_args()
    host, _, port = arguments.to.rpartition(":")
    address = (host, int(port))

    native = client_to(address)
    derived = client_to(address, kind=DerivedClient)
    plain = client_to(address, plain=True)
    clients = [native, derived, plain]
    with tempfile.TemporaryDirectory() as folder:
        file_handler = logging.FileHandler(pathlib.Path(folder) / "log")
        file_handler.setFormatter(JsonFormatter())
        lean_handler = logging.FileHandler(pathlib.Path(folder) / "lean")
        lean_handler.setFormatter(LeanJsonFormatter())
        rows = [
            *rows_of(native, ""),
            *rows_of(derived, ", by Python"),
            *rows_of(plain, ", plain Python"),
            logging_row("logging, LogHandler", LogHandler(native), native),
            logging_row("logging, FileHandler with JSON", file_handler, None),
            logging_row("logging, FileHandler with lean JSON", lean_handler, None),
            logging_row("logging, NullHandler", logging.NullHandler(), None),
        ]
        for _ in range(arguments.bursts):
            for row in rows:
                row.run()
        file_handler.close()
        lean_handler.close()
    # A queue of its own for the longer bursts, in which the start of threads does not count.
    threaded = MetlogClient(UdpSender(*address, queue_bytes=64 * 1024 * 1024), "shop")
    clients.append(threaded)
    rates = {"one": 0.0, "many": 0.0, "nothing, one": 0.0, "nothing, many": 0.0}

    def measure(name: str, burst: Callable[[int], None], calls: int, threads: int) -> None:
        rates[name] = max(rates[name], calls_per_second(burst, calls, threads, 1))
        assert threaded.flush(PATIENCE)

    for _ in range(max(2, arguments.bursts // 5)):
        count = functools.partial(count_one, threaded)
        measure("one", count, THREADED_CALLS, 1)
        measure("many", count, THREADED_CALLS, THREADS)
        measure("nothing, one", do_nothing, EMPTY_CALLS, 1)
        measure("nothing, many", do_nothing, EMPTY_CALLS, THREADS)
    ledgers = [client.stats() for client in clients]
    print(
        json.dumps(
            {
                "rows": [row.figures() for row in rows],
                "calls_per_second": rates,
                "sent": sum(ledger["sent"] for ledger in ledgers),
                "dropped": sum(sum(ledger["dropped"].values()) for ledger in ledgers),
            }
        )
    )


if __name__ == "__main__":
    main()
