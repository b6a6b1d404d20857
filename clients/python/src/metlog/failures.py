"""What an exception becomes in the fields of a message, and how one is reported that nobody else reports."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metlog.client import MetlogClient

LONGEST_STACK = 16_384
"""Characters of a stack; what is longer loses its middle."""

LONGEST_TEXT = 4096
"""Characters of what an exception says."""

_SEVERITY_ERROR = 3


def representation(value: object) -> str:
    """Return what ``repr`` says, also where that fails."""
    try:
        return repr(value)[:LONGEST_TEXT]
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def exception_of(exc_info: object) -> BaseException | None:
    """Return the exception that is meant: that of a triple, the one given, or the current one for True."""
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1] if len(exc_info) > 1 else None
    return exc_info if isinstance(exc_info, BaseException) else None


def fields_of(exc_info: object) -> dict[str, str]:
    """Return ``exc_type``, ``exc_message`` and ``stack``; nothing where there is no exception."""
    exception = exception_of(exc_info)
    if exception is None:
        return {}
    kind = type(exception)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    place = exception.__traceback__
    if isinstance(exc_info, tuple) and isinstance(exc_info[-1], TracebackType):
        place = exc_info[-1]
    return {"exc_type": name, "exc_message": _says(exception), "stack": _stack(exception, place)}


def _says(exception: BaseException) -> str:
    try:
        return str(exception)[:LONGEST_TEXT]
    except Exception:
        return f"<unprintable {type(exception).__name__}>"


def _stack(exception: BaseException, place: TracebackType | None) -> str:
    try:
        stack = "".join(traceback.format_exception(type(exception), exception, place)).rstrip("\n")
    except Exception:
        # Formatting asks the exception and loads source code, all of which may fail.
        return ""
    if len(stack) <= LONGEST_STACK:
        return stack
    # The end says what happened, the beginning how it began.
    head = LONGEST_STACK // 4
    return f"{stack[:head]}\n…\n{stack[-(LONGEST_STACK - head - 3) :]}"


def report(
    client: MetlogClient, exception: BaseException, message: str, *, handled: bool = True, **fields: Any
) -> None:
    """Report an exception: as Sentry's event where the client has the plug-in, and as a log line otherwise.

    :param handled: false where nobody caught it.
    """
    raven = getattr(client, "raven", None)
    if callable(raven):
        raven(message, exception, handled=handled, **fields)
    else:
        client.metlog(
            "oldstyle", severity=_SEVERITY_ERROR, payload=message, fields={**fields, **fields_of(exception)}
        )
