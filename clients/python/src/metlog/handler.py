"""Log records of the standard library as messages: the way in for applications that keep their calls of ``logging``.

    {"class": "metlog.handler.LogHandler"}              # in logging.config.dictConfig

The payload is the formatted message, and ``fields`` say what else the record knows, under names that are always the
same. ``metlog.logging.MetlogHandler`` is the handler of old, with the ways that it had.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from metlog import _core, _failures, _native_path, _reentry, _tracing, values
from metlog._diagnostics import LOGGER_NAME

if TYPE_CHECKING:
    from metlog.client import MetlogClient

# What every record has, in its order, and what formatters add; everything else came as `extra`.
_NAMES = [*vars(logging.LogRecord("", 0, "", 0, "", None, None)), "message", "asctime"]
_STANDARD = frozenset(_NAMES) | {"taskName"}

# Where OpenTelemetry's instrumentation of logging leaves the names of the current span.
_OPEN_TELEMETRY = {"otelTraceID": _tracing.TRACE_ID, "otelSpanID": _tracing.SPAN_ID}
_NO_SPAN = "0"


# The logger of Metlog's own, and those below it.
_BELOW_IT = f"{LOGGER_NAME}."

_EXACTLY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


def severity_of(level: int) -> int:
    """Return the severity (0 to 7) for a level of logging, also for levels between the usual ones."""
    severity = _EXACTLY.get(level)
    if severity is not None:
        return severity
    for threshold, at_least in ((50, 2), (40, 3), (30, 4), (25, 5), (20, 6)):
        if level >= threshold:
            return at_least
    return 7


class LogHandler(logging.Handler):
    """Sends each record as a message of type ``oldstyle``.

    It holds no lock while it works, and whatever goes wrong stays inside logging's own error handling.
    """

    def __init__(
        self, client: MetlogClient | None = None, logger: str | None = None, level: int | str = logging.NOTSET
    ) -> None:
        """Make a handler.

        :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each record.
        :param logger: the name of a client in ``CLIENT_HOLDER`` instead.
        :param level: records below it are left alone.
        """
        super().__init__(level)
        self.client = client
        self.logger = logger
        # They take the usual records, those that nothing was added to: the one instead of all that follows here, the
        # other where a part of that is somebody else's.
        self._handle, self._send = _native_way()

    def createLock(self) -> None:  # noqa: N802  the standard library's name
        """Make no lock: the client needs none, and one would let threads wait for one another."""
        self.lock: Any = None

    def handle(self, record: logging.LogRecord) -> Any:
        """Send the record if the handler's filters let it through."""
        if self._handle(self, record):
            return True
        passed = self.filter(record)
        if isinstance(passed, logging.LogRecord):
            # From Python 3.12 on a filter may put another record in its place.
            record = passed
        if passed:
            self.emit(record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record."""
        inside = _reentry.inside
        if inside.active:
            return
        try:
            client = self._client() if self.client is None else self.client
            if client is None or _is_our_own(record.name):
                return
            severity = _EXACTLY.get(record.levelno) or severity_of(record.levelno)
            # Still outside: what an argument's own `__str__` logs is a line like any other.
            payload = message_of(record) if self.formatter is None else self.format(record)
            path = getattr(client, "_path", None)
            if (
                path is None
                or (_tracing.MODULE in sys.modules and _tracing.from_open_telemetry())
                or not self._send(path, client, record.__dict__, severity, payload)
            ):
                fields = fields_of(record)
                inside.active = True
                try:
                    client.metlog("oldstyle", severity=severity, payload=payload, fields=fields)
                finally:
                    inside.active = False
            if inside.senders is not None:
                _reentry.note_sender(client)
        except Exception:
            self.handleError(record)

    def _client(self) -> MetlogClient | None:
        if self.client is not None:
            return self.client
        from metlog.holder import CLIENT_HOLDER

        return CLIENT_HOLDER.get_client(self.logger) if self.logger else CLIENT_HOLDER.default_client


def _is_our_own(logger: str | None) -> bool:
    """Return whether it is Metlog itself that logs; that is never sent."""
    # A record that came from elsewhere may have no name.
    return logger == LOGGER_NAME or (isinstance(logger, str) and logger.startswith(_BELOW_IT))


def _do_nothing(*_: Any) -> bool:
    return False


# What decides whether a record takes the native path all the way: the code of these methods, as the standard library
# and this module have it.
_OF_HANDLERS = ("emit", "filter")
_OF_RECORDS = ("getMessage",)
_HANDLERS = [_native_path.original(each, _OF_HANDLERS) for each in (LogHandler, logging.Handler, logging.Filterer)]
_RECORDS = [_native_path.original(logging.LogRecord, _OF_RECORDS)]


def _native_way() -> tuple[Any, Any]:
    """Return what takes records on the native path, the whole way and its last step."""
    module = _core.native()
    if module is None:
        return _do_nothing, _do_nothing
    known = (_NAMES, _OF_HANDLERS, _HANDLERS, _OF_RECORDS, _RECORDS)
    records = module.Records(*known, _reentry.inside, LOGGER_NAME, sys.modules, _tracing.MODULE)
    # Somebody may have replaced them before this was imported.
    methods = (logging.Filterer.filter, logging.LogRecord.getMessage)
    are_original = all(getattr(each, "__globals__", None) is vars(logging) for each in methods)
    return records.handle if are_original else _do_nothing, records.send


def message_of(record: logging.LogRecord) -> str:
    """Return the message with its arguments; where these do not fit, the template and what they are."""
    try:
        return record.getMessage()
    except Exception:
        return f"{values.text_of(record.msg)} {values.repr_of(record.args)}"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record knows besides its message."""
    fields: dict[str, Any] = {}
    for name, value in record.__dict__.items():
        if name not in _STANDARD:
            fields[name] = value
    if fields:
        _rename(fields)
    trace = _tracing.from_open_telemetry()
    if trace:
        fields = {**trace, **fields}
    fields["template"] = values.text_of(record.msg)
    fields["logger_name"] = record.name
    fields["thread"] = record.threadName
    fields["func"] = record.funcName
    fields["file"] = record.pathname
    fields["line"] = record.lineno
    if record.exc_info:
        fields.update(_failures.fields_of(record.exc_info))
    elif record.exc_text:
        # Formatted before it came through a queue or from another process.
        fields["stack"] = record.exc_text
    elif record.stack_info:
        fields["stack"] = record.stack_info
    return fields


_FIXED = frozenset(("template", "logger_name", "thread", "func", "file", "line", "exc_type", "exc_message", "stack"))


def _rename(fields: dict[str, Any]) -> None:
    """Keep the fixed names for what they always say: an extra of such a name gets an underscore behind."""
    for name in _FIXED.intersection(fields):
        fields[f"{name}_"] = fields.pop(name)
    for name, ours in _OPEN_TELEMETRY.items():
        value = fields.pop(name, _NO_SPAN)
        if values.is_a(value, str) and value not in ("", _NO_SPAN):
            fields.setdefault(ours, value)
