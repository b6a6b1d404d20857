"""What the processes of a service say that they sent, compared with what a router got from each of them."""

from __future__ import annotations

import json
import pathlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import real_router

CONFIGURATION = """
shutdown_timeout = "30s"

[inputs.tcp]
kind = "tcp"
listen = "127.0.0.1:0"

[inputs.udp]
kind = "udp"
listen = "127.0.0.1:0"
receive_buffer = "{receive_buffer}"

[endpoints.archive]
kind = "file"
path = "archive.jsonl"

[[routes]]
to = ["archive"]
"""


class Archive(real_router.Router):
    """A router that keeps every message in one file."""

    def __init__(self, folder: pathlib.Path, receive_buffer: str = "4MiB") -> None:
        super().__init__(folder, CONFIGURATION.format(receive_buffer=receive_buffer))

    def lost_in_the_kernel(self) -> int:
        """Return how many datagrams found its socket full."""
        return sum(one["kernel_drops"] for one in self.ledger()["inputs"])

    def wait_for(self, sent: int) -> int:
        """Wait until so many messages came or were lost in the kernel, and return how many were lost."""

        def all_came() -> tuple[int] | None:
            ledger = self.ledger()
            lost = sum(one["kernel_drops"] for one in ledger["inputs"])
            return (lost,) if sum(one["received"] for one in ledger["inputs"]) + lost >= sent else None

        (lost,) = real_router.wait_for(f"{sent} messages came or were lost in the kernel", all_came)
        return lost

    def messages(self) -> list[dict[str, Any]]:
        """End the router, which delivers everything first, and return what it got."""
        self.stop()
        text = (self.folder / "archive.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]


@dataclass
class Settlement:
    """What is known of each process."""

    #: Processes whose report agrees with what came: process id to the number of messages.
    passed: dict[int, int] = field(default_factory=dict)
    #: Processes that left no report: process id to the number of messages that came, of how many nobody knows.
    unknown: dict[int, int] = field(default_factory=dict)
    #: What does not agree, in sentences.
    wrong: list[str] = field(default_factory=list)
    #: Messages that reports say were sent, and that did not come.
    missing: int = 0
    #: Messages that were still queued when reports were written.
    queued: int = 0

    def __str__(self) -> str:
        passed, unknown = sum(self.passed.values()), sum(self.unknown.values())
        return (
            f"{len(self.passed)} processes passed with {passed} messages, {self.missing} of what was sent are missing; "
            f"{len(self.unknown)} are unknown with {unknown} messages {self.unknown or ''}; wrong: {self.wrong}"
        )


def reports(folder: pathlib.Path) -> dict[int, dict[str, Any]]:
    """Return the reports that processes wrote, by process id."""
    return {int(path.name): json.loads(path.read_text()) for path in folder.iterdir() if path.suffix != ".part"}


def settle(
    begun: set[int],
    reports: dict[int, dict[str, Any]],
    messages: list[dict[str, Any]],
    *,
    may_miss: bool = False,
) -> Settlement:
    """Compare what processes say with what came.

    :param begun: the processes that were started. One of them that left no report is unknown, whatever came from it.
    :param reports: by process id, what `client.stats()` was at the end.
    :param messages: what came.
    :param may_miss: whether something of what was sent may be missing, as datagrams may; it is summed up then.
    """
    settlement = Settlement()
    numbers: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for message in messages:
        numbers[message["metlog_pid"]][message["metlog_src"]].append(message["metlog_seq"])
    for process in sorted(begun | reports.keys() | numbers.keys()):
        sources = numbers.get(process, {})
        came = sum(map(len, sources.values()))
        report = reports.get(process)
        if report is None:
            settlement.unknown[process] = came
            continue
        problems = list(_problems(report, sources, came, may_miss))
        settlement.wrong.extend(f"process {process}: {problem}" for problem in problems)
        if not problems:
            settlement.passed[process] = came
            settlement.missing += max(0, report["sent"] - came)
            settlement.queued += report["queued"]
    return settlement


def _problems(report: dict[str, Any], sources: dict[str, list[int]], came: int, may_miss: bool) -> Any:
    if report["accepted"] != report["sent"] + sum(report["dropped"].values()) + report["queued"]:
        yield f"its account does not balance: {report}"
    # What was still queued when the report was written may have left after that.
    most = report["sent"] + report["queued"]
    if came > most or (came < report["sent"] and not may_miss):
        yield f"it says that it sent {report['sent']}, and {came} came"
    if len(sources) > 1:
        yield f"it is one source, and {len(sources)} came"
    elif sources and report["src"] not in sources:
        yield f"it is the source {report['src']}, and {', '.join(sources)} came"
    for seen in sources.values():
        twice = [number for number, count in Counter(seen).items() if count > 1]
        if twice:
            yield f"these came more than once: {twice[:5]}"
        if max(seen) > report["accepted"]:
            yield f"a number came that it never gave: {max(seen)}"
