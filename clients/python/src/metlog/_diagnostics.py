"""What the package says about itself: a few lines for the logger ``metlog.internal``, most of them only once.

Handlers of ours take nothing from that logger, so a complaint about a message never becomes a message.
"""

from __future__ import annotations

import contextlib

LOGGER_NAME = "metlog.internal"

# What can be warned about in one process; behind that it is silent.
MOST_TOPICS = 1000

_said: set[str] = set()


def once(what: str, message: str, *args: object) -> None:
    """Warn once per process about `what`, whatever is said about it later. Never fails."""
    if what in _said or len(_said) >= MOST_TOPICS:
        return
    _said.add(what)
    say(message, *args)


def say(message: str, *args: object) -> None:
    """Warn, for callers that see to it that it is not too often. Never fails."""
    import logging

    # The application's own handlers and filters may raise.
    with contextlib.suppress(Exception):
        logging.getLogger(LOGGER_NAME).warning("metlog: " + message, *args)
