"""What is done when a process ends in an orderly way, however it ends: what still waits is sent, in a bounded time.

``atexit`` is not enough. Children of multiprocessing and of billiard, which Celery uses, end without it; they run the
finalizers of their own module instead, and forget those that they inherited.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from metlog import _diagnostics, _process

# Seconds that the end of a process waits for what is in its queues, in all.
TIMEOUT = 2.0

# The modules whose children end in their own way, where they are used.
_PROCESS_MODULES = ("multiprocessing.util", "billiard.util")

# Before what has no priority, such as temporary folders, and after the application's own.
_PRIORITY = 10

_finishers: list[Callable[[float], Any]] = []


class _End:
    """When the end of a process is to be over: it is told of its end by several hooks, and the first one begins it."""

    def __init__(self) -> None:
        self._process = _process.identity()
        self.until = time.monotonic() + TIMEOUT

    def is_of_this_process(self) -> bool:
        return self._process == _process.identity()


_end: _End | None = None


def call(finish: Callable[[float], Any]) -> None:
    """Have `finish` called at the end, with the seconds that it may take."""
    if not _finishers:
        atexit.register(flush_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
        _in_child()
    if finish not in _finishers:
        _finishers.append(finish)


def flush_all() -> None:
    """Send what waits: the process ends. Whoever learns of it first calls this; the bound holds for all calls."""
    global _end  # noqa: PLW0603  a process ends once
    if _end is None or not _end.is_of_this_process():
        _end = _End()
    for finish in _finishers:
        finish(max(0.0, _end.until - time.monotonic()))


def given_up(waiting: int) -> list[str]:
    """Return what is to be said about messages that still wait when the time for the end is over: once per process."""
    if not waiting or not _diagnostics.is_first(f"end of process {os.getpid()}"):
        return []
    return [f"messages given up because they still waited at the end of the process: {waiting}"]


class _Watched:
    """What the process modules are told to look after in each child."""


_watched = _Watched()


def _in_child() -> None:
    for name in _PROCESS_MODULES:
        util = sys.modules.get(name)
        if util is not None:
            # This may be a child that works already, or one that is about to forget its finalizers, and after that
            # does what it is to do after a fork.
            register = _registration(util)
            register(None)
            util.register_after_fork(_watched, register)


def _registration(util: Any) -> Callable[[Any], None]:
    def register(_: Any) -> None:
        util.Finalize(None, flush_all, exitpriority=_PRIORITY)

    return register
