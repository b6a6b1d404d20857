"""What the original tests take from nose, which does not run on today's Python, and what they wait for."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import SkipTest, TestCase, mock

assert_raises = TestCase().assertRaises

__all__ = [
    "SkipTest",
    "assert_raises",
    "eq_",
    "is_zero",
    "ok_",
    "raises",
    "wait_for_cpu_time",
    "wait_for_state",
    "with_a_standing_clock",
]

# Seconds that a test waits for what has to come.
PATIENCE = 120.0


def eq_(one: Any, other: Any, message: str | None = None) -> None:
    """Assert that two values are equal."""
    assert one == other, message or f"{one!r} != {other!r}"


def ok_(condition: Any, message: str | None = None) -> None:
    """Assert that something is true."""
    assert condition, message


def raises(*kinds: type[BaseException]) -> Callable[[Any], Any]:
    """Return a decorator for tests that have to raise."""

    def decorator(test: Any) -> Any:
        @functools.wraps(test)
        def wrapped(*args: Any, **kwargs: Any) -> None:
            with assert_raises(kinds):
                test(*args, **kwargs)

        return wrapped

    return decorator


def with_a_standing_clock(test: Any) -> Any:
    """Decorate a test in which everything takes no time at all."""
    return mock.patch("time.perf_counter_ns", lambda: 1)(test)


def wait_for_state(client: Any, state: str) -> None:
    """Take readings of connections until one is in a state; those that were taken before are not kept."""
    messages = client.sender.msgs
    before = list(messages)

    def is_there() -> bool:
        messages.clear()
        messages.extend(before)
        client.procinfo(net=True)
        return any(json.loads(text)["fields"]["name"].endswith(f".{state}") for text in list(messages)[len(before) :])

    _wait_for(is_there, f"a connection in the state {state}")


def wait_for_cpu_time(pid: int) -> None:
    """Wait until a process has had some time of a processor."""
    import psutil

    process = psutil.Process(pid)
    _wait_for(lambda: sum(process.cpu_times()[:2]) > 0, "a process to have had some time")


def is_zero(name: str) -> bool:
    """Return whether the kernel, too, says that this process has read or written nothing."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters[name]) == 0


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
