"""What an exception becomes in the fields of a message, and how one is reported that nobody else reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from metlog import _diagnostics, _text, values
from metlog._scopes import Scopes
from metlog._severity import SEVERITY

if TYPE_CHECKING:
    from metlog.client import MetlogClient

LONGEST_STACK = 16_384
"""Characters of a stack; what is longer loses its middle."""

LONGEST_TEXT = 4096
"""Characters of what an exception says."""


def fields_of(exc_info: object) -> dict[str, str]:
    """Return ``exc_type``, ``exc_message`` and ``stack``; nothing where there is no exception."""
    exception = _text.exception_of(exc_info)
    if exception is None:
        return {}
    return {
        "exc_type": values.type_name(type(exception)),
        "exc_message": values.text_of(exception)[:LONGEST_TEXT],
        "stack": _within_bounds(_text.traceback_text(exc_info)),
    }


def _within_bounds(stack: str) -> str:
    if len(stack) <= LONGEST_STACK:
        return stack
    # The end says what happened, the beginning how it began.
    head = LONGEST_STACK // 4
    return f"{stack[:head]}\n…\n{stack[head + 3 - LONGEST_STACK :]}"


class Piece:
    """A piece of work, such as a request or a task, in which each exception is one event, however many report it.

    Exceptions themselves are left as they are: they are pickled and compared, and raised again elsewhere.
    """

    __slots__ = ("_entry", "reported")

    def __init__(self) -> None:
        """Begin it."""
        self.reported: list[BaseException] = []
        self._entry = _pieces.enter(self)

    def end(self) -> None:
        """End it."""
        self.reported.clear()
        _pieces.leave(self._entry)


# The pieces of work that go on in a thread or task.
_pieces: Scopes[Piece] = Scopes("metlog_pieces")

# As many are remembered in one piece of work.
_MOST_REPORTED = 32


def note(exception: BaseException) -> None:
    """Note that an exception was reported."""
    for entry in _pieces.entered()[-1:]:
        reported = entry.value.reported
        reported.append(exception)
        del reported[:-_MOST_REPORTED]


def _is_reported(exception: BaseException) -> bool:
    return any(one is exception for entry in _pieces.entered()[-1:] for one in entry.value.reported)


def report(
    client: MetlogClient,
    exception: BaseException,
    message: str,
    *,
    severity: int = SEVERITY.ERROR,
    handled: bool = True,
    is_logged: bool = False,
    line: str = "",
    **fields: Any,
) -> None:
    """Report an exception: as a log line, and as Sentry's event where the client has the plug-in. Never fails.

    :param message: what can be said about it; by default what it says itself.
    :param handled: false where nobody caught it.
    :param is_logged: whether somebody else makes a log line of it.
    :param line: the log line, where it is not `message`.
    """
    try:
        raven = getattr(client, "raven", None)
        if callable(raven) and not _is_reported(exception):
            raven(message, exception, severity=severity, handled=handled, **fields)
        if not is_logged:
            payload = line or message or values.exception_text(exception)
            client.metlog("oldstyle", severity=severity, payload=payload, fields={**fields, **fields_of(exception)})
    except Exception as error:
        # Whatever goes wrong here must not take the place of the exception itself.
        _diagnostics.once("report", "cannot report an exception: %r", error)


def report_uncaught(client: MetlogClient, exception: BaseException, message: str) -> None:
    """Report an exception that nobody caught: the log line says which. Never fails."""
    # Sentry gets the bare message: there the exception is the title, and events are told apart by it.
    line = f"{message}: {values.exception_text(exception)[:LONGEST_TEXT]}"
    report(client, exception, message, handled=False, line=line)
