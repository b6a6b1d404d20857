"""Messages as records of the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from metlog import _reentry
from metlog._severity import SEVERITY
from metlog.senders.base import Sender

#: The logging level of each severity.
SEVERITY_MAP = {
    SEVERITY.EMERGENCY: logging.CRITICAL,
    SEVERITY.ALERT: logging.CRITICAL,
    SEVERITY.CRITICAL: logging.CRITICAL,
    SEVERITY.ERROR: logging.ERROR,
    SEVERITY.WARNING: logging.WARNING,
    SEVERITY.NOTICE: logging.INFO,
    SEVERITY.INFORMATIONAL: logging.INFO,
    SEVERITY.DEBUG: logging.DEBUG,
}


class StdLibLoggingSender(Sender):
    """Logs messages: of some types only the payload, of others the whole message as JSON, and drops the rest.

    A handler that sends records as messages takes nothing from this sender, so there is no circle.
    """

    def __init__(
        self,
        logger_name: str | None = None,
        payload_types: str | Iterable[str] | None = None,
        json_types: str | Iterable[str] | None = None,
    ) -> None:
        """Make a sender.

        :param logger_name: The logger's name; the root logger unless given.
        :param payload_types: The types of which the payload is logged; ``*`` is all. ``oldstyle`` unless given.
        :param json_types: The types that are logged as JSON; ``*``, which is all, unless given.
        """
        self.logger: logging.Logger = logging.getLogger() if logger_name is None else logging.getLogger(logger_name)
        self.payload_types: set[str] = _types(payload_types, "oldstyle")
        self.json_types: set[str] = _types(json_types, "*")

    def send_message(self, msg: Any) -> None:
        """Log a message."""
        kind = msg["type"]
        if kind in self.payload_types or "*" in self.payload_types:
            text = msg["payload"]
        elif kind in self.json_types or "*" in self.json_types:
            text = self.encode(msg)
        else:
            return
        outside = _reentry.enter()
        try:
            self.logger.log(SEVERITY_MAP.get(msg["severity"], logging.WARNING), text)
        finally:
            _reentry.leave(outside)


def _types(given: str | Iterable[str] | None, otherwise: str) -> set[str]:
    if given is None:
        return {otherwise}
    return {given} if isinstance(given, str) else set(given)
