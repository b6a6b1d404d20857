"""A processor for structlog: each event becomes a message, and goes on to the processors behind.

    structlog.configure(processors=[..., metlog.structlog.Processor(), structlog.processors.JSONRenderer()])

It belongs behind the processors that add something, and in front of the one that renders.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from metlog import _diagnostics, _failures, _reentry, _tracing, values
from metlog._web import client_for

if TYPE_CHECKING:
    from metlog.client import MetlogClient

_SEVERITIES = {
    "critical": 2,
    "fatal": 2,
    "exception": 3,
    "error": 3,
    "err": 3,
    "warning": 4,
    "warn": 4,
    "notice": 5,
    "info": 6,
    "msg": 6,
    "debug": 7,
    "trace": 7,
}
_INFORMATIONAL = 6

# What processors of structlog itself leave, and under which names it is sent.
_RENAMED = {
    "logger": "logger_name",
    "thread_name": "thread",
    "func_name": "func",
    "pathname": "file",
    "lineno": "line",
}
# What the message says elsewhere, and what only helps structlog.
_LEFT_OUT = frozenset(("event", "exc_info", "level", "level_number", "timestamp", "_record", "_from_structlog"))


class Processor:
    """Sends each event as a message of type ``oldstyle``."""

    def __init__(self, client: MetlogClient | None = None, *, drop: bool = False) -> None:
        """Make a processor.

        :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each event.
        :param drop: whether the event ends here, so that nothing else writes it.
        """
        self.client = client
        self.drop = drop

    def __call__(self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Send an event, and return it as it is."""
        client = client_for(self.client)
        if client is not None and not _reentry.is_inside():
            try:
                _send(client, logger, method_name, event_dict)
            except Exception as error:
                _diagnostics.once("structlog", "an event of structlog was not sent: %r", error)
        if self.drop:
            from structlog import DropEvent

            raise DropEvent
        return event_dict


def _send(client: MetlogClient, logger: Any, method_name: str, event: MutableMapping[str, Any]) -> None:
    level = event.get("level", method_name)
    severity = _SEVERITIES.get(level if values.is_a(level, str) else method_name, _INFORMATIONAL)
    fields: dict[str, Any] = _tracing.from_open_telemetry()
    for name, value in event.items():
        if name not in _LEFT_OUT:
            fields[_RENAMED.get(name, name)] = value
    logger_name = getattr(logger, "name", None)
    if "logger_name" not in fields and isinstance(logger_name, str):
        fields["logger_name"] = logger_name
    if "exception" in fields and values.is_a(fields["exception"], str):
        # Already formatted by a processor in front.
        fields["stack"] = fields.pop("exception")
    if event.get("exc_info"):
        fields.update(_failures.fields_of(event["exc_info"]))
    # Still outside: what a value's own `__str__` logs is a line like any other.
    payload = values.text_of(event.get("event", ""))
    outside = _reentry.enter()
    try:
        client.metlog("oldstyle", severity=severity, payload=payload, fields=fields)
    finally:
        _reentry.leave(outside)
