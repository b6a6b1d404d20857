"""The plug-in behind ``client.raven``, and the decorator ``capture_stack``.

An exception becomes a message of type ``sentry``, whose payload is Sentry's event as JSON text. The router's Sentry
endpoint passes it on to the project that ``dsn`` names, or to its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from metlog import _bound, _failures, _tracing, values
from metlog._severity import SEVERITY
from metlog.decorators.base import MetlogDecorator
from metlog_raven import bounded
from metlog_raven.events import LONGEST_MESSAGE, Settings, event, exception_of
from metlog_raven.scrubbing import Scrubber

METLOG_PLUGIN_NAME = "raven"

MOST_BYTES = 57_000
"""Bytes of an event and its message's fields together, as JSON; the rest of a datagram is for the envelope."""

LEAST_BYTES = 4_000
"""Bytes of fields for which there is room in any case, beside an event that was made elsewhere and is too long."""

MOST_NAMES = 10
"""Names that are told of fields that were left out."""

LONGEST_NAME = 20
"""Characters of each of them."""

logger: logging.Logger = logging.getLogger("metlog.internal")


class InvalidArgumentError(RuntimeError):
    """The plug-in was given a setting that it does not have, or a value that the setting cannot take."""


class capture_stack(MetlogDecorator):
    """Reports the exceptions that leave a function, and lets them pass.

    ``severity`` is that of the messages, 3 (error) unless it is given. What ends a process, a task or a generator in an
    orderly way is no exception to report.
    """

    def is_ready(self) -> bool:
        """Return whether there is a client."""
        return self.client is not None

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Report an exception of one call."""
        try:
            yield
        except Exception as error:
            severity = (self.kwargs or {}).get("severity", SEVERITY.ERROR)
            _failures.report(self.client, error, "", severity=severity, is_logged=hasattr(self.client, "raven"))
            raise


def config_plugin(config: dict[str, Any]) -> Callable[..., None]:
    """Make the method ``raven`` from the settings of its section.

    :param config: each optional: ``dsn``, the project that events are for; ``sentry_project_id``, its number (as long
        ago, without an effect on where events go); ``logger`` and ``severity`` of the messages; ``release`` and
        ``environment``, by default ``SENTRY_RELEASE`` and ``SENTRY_ENVIRONMENT`` of the process; ``locals``, whether
        the values of local variables are sent; ``scrub``, a list of more names whose values are secrets.
    :raises InvalidArgumentError: for anything else.
    """
    dsn = _checked_dsn(config.pop("dsn", None))
    project = config.pop("sentry_project_id", None)
    if project is not None:
        warnings.warn("sentry_project_id is deprecated, dsn says which project", DeprecationWarning, stacklevel=2)
    default_logger = config.pop("logger", None)
    default_severity = config.pop("severity", SEVERITY.ERROR)
    scrub = config.pop("scrub", ())
    scrubber = Scrubber([scrub] if isinstance(scrub, str) else scrub)
    settings = Settings(
        release=_text(config.pop("release", None) or os.environ.get("SENTRY_RELEASE")),
        environment=_text(config.pop("environment", None) or os.environ.get("SENTRY_ENVIRONMENT")),
        project=project,
        with_locals=bool(config.pop("locals", False)),
        scrubber=scrubber,
    )
    if config:
        raise InvalidArgumentError(
            f"unknown settings: {', '.join(map(str, config))}; there are dsn, sentry_project_id, logger, severity,"
            " release, environment, locals, scrub"
        )

    def raven(
        self: Any,
        msg: str = "",
        exc_info: Any = True,
        logger: str | None = default_logger,
        severity: int = default_severity,
        *,
        handled: bool = True,
        **fields: Any,
    ) -> None:
        """Send an exception; without one nothing happens.

        :param msg: what the application has to say about it.
        :param exc_info: which exception: True or None for the current one, an exception, or a triple as of
            ``sys.exc_info()``.
        :param logger: the message's logger.
        :param severity: the message's severity, from which the event's level follows.
        :param handled: false where nobody caught it.
        :param fields: more about it, in the message and, without secrets, in the event. ``payload`` is an event made
            elsewhere, which is sent as it is.
        """
        passed_through = "payload" in fields
        payload = fields.pop("payload", None)
        # Secrets are found in what JSON has: a mapping or a data class of any kind would hide its names.
        told, marks = _plain(self, fields)
        meant = None if passed_through else exception_of(exc_info)
        if meant is None and payload is None:
            return
        words = "" if msg is None else bounded.text(msg, LONGEST_MESSAGE)
        if meant is not None:
            more = {"logger": logger, "severity": severity, "handled": handled, "extra": told}
            payload = _event(settings, self, meant, words, more)
            _failures.note(meant[0])
        said = {"epoch_timestamp": time.time(), "msg": scrubber.text(words), "dsn": dsn}
        bound = _bound.current(self._key) if hasattr(self, "_key") else {}
        # What is bound may be a secret too. It goes with the fields of the call instead, which win.
        bound_told, bound_marks = _plain(self, bound)
        said = {**scrubber.value(bound_told), **said, **scrubber.value(told)}
        if marks or bound_marks:
            said[values.MARKS] = {**bound_marks, **marks}
        _leave_out(said, MOST_BYTES - _size(payload))
        without_bound = _bound.Binding(self._key, {}, unbinds=bound) if bound else contextlib.nullcontext()
        with without_bound:
            self.metlog(type="sentry", logger=logger, severity=severity, payload=payload, fields=said)

    raven.metlog_name = METLOG_PLUGIN_NAME  # type: ignore[attr-defined]
    return raven


def _plain(client: Any, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return fields as JSON has them, and what was changed for that; what could not be converted is counted."""
    told, unconvertible = values.plain(fields)
    if unconvertible:
        client._ledger.add("unconvertible", unconvertible)
    return told, told.pop(values.MARKS, {})


def _size(value: Any) -> int:
    """Return the bytes of a value as JSON."""
    return len(values.encode(values.plain(value)[0])[0])


def _leave_out(said: dict[str, Any], most_bytes: int) -> None:
    """Leave out the longest fields until there is room for the others; ``left_out`` names them."""
    most_bytes = max(most_bytes, LEAST_BYTES)
    sizes = {name: _size({name: value}) for name, value in said.items() if name not in ("epoch_timestamp", "dsn")}
    # As long as the names can become.
    room = most_bytes - _size({"left_out": ["\U0001f40d" * LONGEST_NAME] * MOST_NAMES})
    size = sum(sizes.values())
    if size <= most_bytes:
        return
    left_out: list[str] = []
    for name in sorted(sizes, key=lambda name: sizes[name], reverse=True):
        if size <= room:
            break
        left_out.append(name)
        held = said.pop(name)
        size -= sizes[name]
        if name == "msg":
            said[name] = bounded.text(held, LONGEST_NAME)
            size += _size(said[name])
    said["left_out"] = [bounded.text(name, LONGEST_NAME) for name in left_out[:MOST_NAMES]]


def _event(settings: Settings, client: Any, meant: Any, msg: str, more: dict[str, Any]) -> str:
    exception, traceback = meant
    names = {name: values.text_of(value) for name, value in _tracing.current(client).items()}
    more["logger"] = client.logger if more["logger"] is None else more["logger"]
    try:
        return event(settings, exception, traceback, message=msg, server_name=client.hostname, trace=names, **more)
    except Exception as error:
        # What it was must not be lost because something about it could not be shown.
        logger.warning(f"raven: an exception is shown without its stack: {bounded.representation(error)}")
        bare = Exception(f"{type(exception).__name__}: {bounded.text(exception)}")
        return event(settings, bare, None, message=msg)


def _checked_dsn(dsn: object) -> str | None:
    if dsn is None or dsn == "":
        return None
    try:
        parts = urlsplit(dsn if isinstance(dsn, str) else "")
        is_whole = bool(parts.scheme and parts.username and parts.hostname and parts.path.strip("/"))
    except ValueError:
        is_whole = False
    if not is_whole:
        # Without the value, which holds a key.
        raise InvalidArgumentError("dsn is none; one looks like https://PUBLIC_KEY@sentry.example.org/2")
    return str(dsn)


def _text(value: object) -> str | None:
    return None if value is None else bounded.text(value, 200)
