"""Values of any kind as something that JSON can hold and that has a bound.

What a stack or an application hands over may be endless, may fail, or may be the whole of the application.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from metlog import values

LONGEST_TEXT = 1024
"""Characters of one text; what is longer is cut and marked with ``…``."""

MOST_BYTES = 4 * LONGEST_TEXT
"""Bytes that are looked at for one text."""

MOST_MEMBERS = 50
"""Members of one collection; what comes behind is left out and marked with ``…``."""

DEEPEST = 4
"""Levels of collections; what lies deeper is shown as text."""


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Return a text of at most so many characters, that UTF-8 can hold."""
    try:
        # The text itself, because what can be asked of a subclass's may fail.
        shown = str.__str__(value if isinstance(value, str) else str(value))
    except Exception:
        shown = f"<unprintable {type(value).__name__}>"
    if len(shown) > longest:
        shown = shown[: longest - 1] + "…"
    return shown.encode("utf-8", "replace").decode("utf-8")


def representation(value: object) -> str:
    """Return what ``repr`` says, of bounded length."""
    try:
        return text(repr(value))
    except Exception:
        return f"<unprintable {type(value).__name__}>"


def plain(value: Any, depth: int = DEEPEST) -> Any:
    """Return the value itself where JSON has it, a bounded copy of a collection, and ``repr`` for the rest."""
    try:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return text(value)
        if isinstance(value, int):
            # Sentry's numbers have 64 bits.
            return int(value) if abs(value) < 2**63 else representation(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else repr(value)
        if isinstance(value, (bytes, bytearray)):
            return text(bytes(value[:MOST_BYTES]).decode("utf-8", "backslashreplace"))
        if isinstance(value, BaseException):
            return text(values.exception_text(value))
        if depth > 0 and isinstance(value, Mapping):
            return _mapping(value, depth)
        if depth > 0 and isinstance(value, (list, tuple, set, frozenset)):
            return _sequence(value, depth)
        if depth > 0 and hasattr(type(value), "__dataclass_fields__"):
            return _mapping({name: getattr(value, name) for name in type(value).__dataclass_fields__}, depth)
    except Exception:
        # A collection of the application's own that fails, or that another thread changes meanwhile.
        return representation(value)
    return representation(value)


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for name, held in value.items():
        if len(copy) == MOST_MEMBERS:
            copy["…"] = f"{len(value) - MOST_MEMBERS} more"
            break
        copy[text(name.decode("utf-8", "replace") if isinstance(name, bytes) else name, 200)] = plain(held, depth - 1)
    return copy


def _sequence(value: Any, depth: int) -> list[Any]:
    copy: list[Any] = []
    for held in value:
        if len(copy) == MOST_MEMBERS:
            copy.append("…")
            break
        copy.append(plain(held, depth - 1))
    return copy
