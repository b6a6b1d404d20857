"""What the package says about itself: a few lines for the logger ``metlog.internal``, most of them only once.

Handlers of ours take nothing from that logger, so a complaint about a message never becomes a message.
"""

from __future__ import annotations

import _thread
import contextlib
import threading
from collections.abc import Sequence

LOGGER_NAME = "metlog.internal"

# Seconds that a caller waits at least for lines that another thread logs.
PATIENCE = 0.1

# What can be warned about in one process; behind that it is silent.
MOST_TOPICS = 1000

_said: set[str] = set()


def once(what: str, message: str, *args: object) -> None:
    """Warn once per process about `what`, whatever is said about it later. Never fails."""
    if is_first(what):
        say(message, *args)


def is_first(what: str) -> bool:
    """Return whether nobody has warned about `what` in this process; from now on somebody has."""
    if what in _said or len(_said) >= MOST_TOPICS:
        return False
    _said.add(what)
    return True


def say(message: str, *args: object) -> None:
    """Warn, for callers that see to it that it is not too often. Never fails."""
    # The application's own handlers and filters may raise, and the end of the interpreter imports nothing more.
    with contextlib.suppress(Exception):
        import logging

        logging.getLogger(LOGGER_NAME).warning("metlog: " + message, *args)


def say_aside(lines: Sequence[str], patience: float = PATIENCE) -> None:
    """Warn by a thread of its own, which is waited for only so many seconds: a handler may wait for the caller."""
    if not lines:
        return
    done = threading.Event()

    def log() -> None:
        for line in lines:
            say("%s", line)
        done.set()

    # No more threads, or the interpreter is about to end.
    with contextlib.suppress(RuntimeError):
        _thread.start_new_thread(log, ())
        done.wait(patience)
