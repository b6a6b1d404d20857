"""What the package says about itself: a few lines for the logger ``metlog.internal``, each only once.

Handlers of ours take nothing from that logger, so a complaint about a message never becomes a message.
"""

from __future__ import annotations

LOGGER_NAME = "metlog.internal"

_said: set[str] = set()


def once(what: str, message: str, *args: object) -> None:
    """Warn once per process about `what`, whatever is said about it later."""
    if what in _said:
        return
    _said.add(what)
    import logging

    logging.getLogger(LOGGER_NAME).warning("metlog: " + message, *args)
