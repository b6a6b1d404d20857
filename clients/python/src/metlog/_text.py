"""What a log call says: its template, its arguments, and a traceback."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import Any

from metlog import values

# What `sys.exc_info` returns has this many parts.
_PARTS = 3


def line(template: Any, args: tuple[Any, ...], exc_info: Any = None) -> Any:
    """Return the payload of a log line. Never fails: bad arguments are shown behind the template."""
    payload = formatted(template, args) if args else template
    trace = traceback_text(exc_info)
    if not trace:
        return payload
    before = as_text(payload)
    return before + trace if before.endswith("\n") else f"{before}\n{trace}"


def formatted(template: Any, args: tuple[Any, ...]) -> Any:
    """Return ``template % args``; one mapping is an argument by names."""
    given: Any = args
    try:
        if len(args) == 1 and hasattr(args[0], "keys") and hasattr(args[0], "__getitem__"):
            given = args[0]
            if not given:
                return template
    except Exception:
        # A proxy that stands for nothing, which cannot be asked what it is.
        given = args
    try:
        return (template if isinstance(template, (str, bytes)) else values.text_of(template)) % given
    except Exception:
        return f"{as_text(template)} {values.repr_of(args)}"


def as_text(value: Any) -> str:
    """Return a value as text; bytes as UTF-8."""
    if type(value) is str:
        return value
    if values.is_a(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8", "backslashreplace")
        except Exception:
            return values.repr_of(value)
    return values.text_of(value)


def is_exc_info(value: Any, template: Any) -> bool:
    """Return whether a positional argument can only be meant as `exc_info`: a template without ``%`` takes none."""
    try:
        return _is_exc_info(value, template)
    except Exception:
        return False


def _is_exc_info(value: Any, template: Any) -> bool:
    if isinstance(value, bool):
        return True
    takes_none = isinstance(template, str) and "%" not in template
    if takes_none and (value is None or isinstance(value, BaseException) or (type(value) is int and value in (0, 1))):
        return True
    return (
        isinstance(value, tuple)
        and len(value) == _PARTS
        and (value[0] is None or (isinstance(value[0], type) and issubclass(value[0], BaseException)))
        and (value[2] is None or isinstance(value[2], TracebackType))
    )


def exception_of(exc_info: Any) -> BaseException | None:
    """Return the exception that an `exc_info` names: itself, in a tuple, or the one that is being handled."""
    try:
        if isinstance(exc_info, BaseException):
            return exc_info
        if isinstance(exc_info, tuple) and len(exc_info) == _PARTS:
            return exc_info[1] if isinstance(exc_info[1], BaseException) else None
        return sys.exc_info()[1] if exc_info else None
    except Exception:
        # A proxy that stands for nothing.
        return None


def traceback_text(exc_info: Any) -> str:
    """Return a traceback as Python prints it, without the last line break; empty if there is no exception."""
    error = exception_of(exc_info)
    if error is None:
        return ""
    try:
        trace = exc_info[2] if isinstance(exc_info, tuple) else error.__traceback__
        return "".join(traceback.format_exception(type(error), error, trace)).removesuffix("\n")
    except Exception:
        return values.exception_text(error)
