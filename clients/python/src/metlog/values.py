"""What a Python value becomes in a message. The table is in the guide, docs/python.md#values.

`encode` is all that senders need. Where ``json.dumps`` has an answer, it is the answer. What it refuses is converted by
the rules below; what they do not know becomes its ``repr``, and what was changed on the way is listed in the message
under ``metlog_marks``, by kind and place, and counted.

A value's own code (``__repr__``, ``isoformat``, …) may raise any Exception without harm.
"""

from __future__ import annotations

import json
import math
import sys
from collections import deque
from collections.abc import Callable, Mapping, Set
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

# Levels of nesting in a message, its own object being the first; what lies deeper is cut. The router takes 128.
DEPTH_LIMIT = 100

# Characters of a repr.
REPR_LIMIT = 1000

# Members of a numpy array; a larger one is no telemetry.
ARRAY_LIMIT = 10_000

# Places that are listed for one kind of mark; all of them are counted.
PLACES_LIMIT = 8

# The message's key under which marks stand, and their kinds.
MARKS = "metlog_marks"
UNCONVERTIBLE = "unconvertible"
NOT_FINITE = "not-finite"
CUT = "cut"

# What stands where a cycle or a depth was cut.
CYCLE_TEXT = "[cycle]"
DEPTH_TEXT = "[too deep]"


class _NoRuleError(Exception):
    """There is no rule for a value."""


class Unreadable:
    """Stands for a value that could not be read, and says what can be said about it."""

    def __init__(self, value: Any) -> None:
        """Look at the value, once: it may be another one later."""
        self._text = repr_of(value)

    def __repr__(self) -> str:
        return self._text


def encode(msg: Any, *, indent: int | None = None) -> tuple[str, int]:
    """Return a message as JSON text, as ``json.dumps`` writes it, and how many of its values were unconvertible.

    Bytes are UTF-8 text; where they are not, this raises UnicodeDecodeError. `plain` never does.
    """
    encoder = _ENCODER if indent is None else _INDENTED if indent == _INDENT else _make_encoder(indent)
    try:
        text = encoder.encode(msg)
        # Brackets inside strings are counted too, which costs a second look at worst.
        if text.count("{") + text.count("[") <= DEPTH_LIMIT:
            return text, 0
    except UnicodeError:
        raise
    except Exception:
        # What JSON has no word for, what is nested too deep or changes meanwhile, and what a value's own code raises.
        pass
    converted, unconvertible = _Walk(strict=True).message(msg)
    return encoder.encode(converted), unconvertible


def plain(msg: Any) -> tuple[Any, int]:
    """Return a message of plain JSON values, and how many of its values were unconvertible. Never fails."""
    return _Walk(strict=False).message(msg)


def is_a(value: Any, kinds: type | tuple[type, ...], *, otherwise: bool = False) -> bool:
    """Return ``isinstance(value, kinds)``, and `otherwise` where it raises: a proxy may stand for nothing."""
    try:
        return isinstance(value, kinds)
    except Exception:
        return otherwise


def text_of(value: Any) -> str:
    """Return ``str(value)``, or what there is to say about a value that has none. Never fails."""
    try:
        return _exact(str(value))
    except Exception:
        return repr_of(value)


def repr_of(value: Any) -> str:
    """Return ``repr(value)``, cut after REPR_LIMIT characters; a raising ``__repr__`` gives the type's name."""
    try:
        text = _exact(repr(value))
    except Exception as error:
        text = f"<{_own_name(type(value))}: its repr raised {_own_name(type(error))}>"
    return text if len(text) <= REPR_LIMIT else text[: REPR_LIMIT - 1] + "…"


def exception_text(error: BaseException) -> str:
    """Return an exception as the last line of its traceback has it: its type, and what it says."""
    name = type_name(type(error))
    message = text_of(error)
    return f"{name}: {message}" if message else name


def callable_name(called: Any) -> str:
    """Return a function's name with its module, or that of the type of whatever else can be called. Never fails."""
    try:
        if hasattr(type(called), "__code__"):
            return f"{called.__module__}.{called.__qualname__}"
        return type_name(type(called))
    except Exception:
        return type_name(type(called))


def type_name(kind: type) -> str:
    """Return a type's name, with its module unless that is obvious. Never fails."""
    name = _own_name(kind)
    try:
        module = getattr(kind, "__module__", None)
        return name if module in ("builtins", "__main__", None) else f"{module}.{name}"
    except Exception:
        return name


def _own_name(kind: type) -> str:
    try:
        return kind.__qualname__
    except Exception:
        # Types have types of their own, which may hide their names.
        return "object"


def _exact(text: str) -> str:
    """Return a text itself: of a subclass, whatever can be asked for may raise."""
    return text if type(text) is str else str.__str__(text)


def _by_rule(value: Any) -> Any:
    """Turn a value that JSON does not know into one step nearer to JSON, or raise _NoRuleError."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, BaseException):
        return exception_text(value)
    if isinstance(value, (Set, deque, range)):
        return _members(value)
    if isinstance(value, Mapping):
        return dict(value.items())
    kind = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        return {name: getattr(value, name) for name in kind.__dataclass_fields__ if hasattr(value, name)}
    if hasattr(kind, "__fspath__"):
        return value.__fspath__()
    for module, names, convert in _ELSEWHERE:
        # Nobody has a value of a module that was never imported.
        home = sys.modules.get(module)
        if home is not None and isinstance(value, tuple(getattr(home, name) for name in names)):
            return convert(value)
    raise _NoRuleError


def _key_text(key: Any) -> str | None:
    """Return a key as ``json.dumps`` turns it into text, or by the rules for values; None if neither knows it."""
    for _ in range(DEPTH_LIMIT):
        try:
            if isinstance(key, str):
                return _exact(key)
            if key is None or isinstance(key, (int, float)):
                return str(next(iter(json.loads(json.dumps({key: None})))))
            key = _by_rule(key)
        except Exception:
            return None
    return None


def _members(value: Any) -> list[Any]:
    if not isinstance(value, Set):
        return list(value)
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)


def _from_numpy(value: Any) -> Any:
    if value.size > ARRAY_LIMIT:
        raise _NoRuleError
    return value.tolist()


# Types of modules that are not imported for this: module, classes, what an instance becomes.
_ELSEWHERE: tuple[tuple[str, tuple[str, ...], Callable[[Any], Any]], ...] = (
    ("uuid", ("UUID",), str),
    ("decimal", ("Decimal",), str),
    ("fractions", ("Fraction",), str),
    ("ipaddress", ("_IPAddressBase",), str),
    ("numpy", ("generic", "ndarray"), _from_numpy),
)


def _default(value: Any) -> Any:
    try:
        return _by_rule(value)
    except UnicodeError:
        raise
    except Exception:
        raise _NoRuleError from None


def _make_encoder(indent: int | None) -> json.JSONEncoder:
    return json.JSONEncoder(allow_nan=False, default=_default, indent=indent)


_INDENT = 4
_ENCODER = _make_encoder(None)
_INDENTED = _make_encoder(_INDENT)


class _Walk:
    """One walk through a message, which turns everything in it into what JSON knows."""

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.marks: dict[str, list[str]] = {}
        self.unconvertible = 0
        # The containers that a value is in, to notice cycles.
        self.around: set[int] = set()

    def message(self, msg: Any) -> tuple[Any, int]:
        converted = self.value(msg, "", 1)
        if self.marks and isinstance(converted, dict):
            converted[MARKS] = self.marks
        return converted, self.unconvertible

    def value(self, value: Any, place: str, level: int) -> Any:
        if value is None or value is True or value is False:
            return value
        try:
            return self.known(value, place, level)
        except UnicodeError:
            if self.strict:
                raise
        except Exception:
            # What a value's own code raises. A proxy that stands for nothing has no class either.
            pass
        return self.unknown(repr_of(value), place)

    def known(self, value: Any, place: str, level: int) -> Any:
        # Only the values of the types themselves are sent as they are: what only says that it is of such a type is
        # none, and raises here.
        if isinstance(value, str):
            return _exact(value)
        if isinstance(value, int):
            return self.integer(value if type(value) is int else int.__int__(value), place)
        if isinstance(value, float):
            value = float.__float__(value)
            if math.isfinite(value):
                return value
            self.mark(NOT_FINITE, place)
            return None
        if isinstance(value, (dict, list, tuple)):
            return self.container(value, place, level)
        return self.other(value, place, level)

    def integer(self, value: int, place: str) -> Any:
        try:
            int.__repr__(value)
        except ValueError:
            # Longer than what this interpreter turns into digits (sys.set_int_max_str_digits).
            return self.unknown(hex(value), place)
        return value

    def container(self, value: Any, place: str, level: int) -> Any:
        if id(value) in self.around:
            self.mark(CUT, place)
            return CYCLE_TEXT
        if level > DEPTH_LIMIT:
            self.mark(CUT, place)
            return DEPTH_TEXT
        # A copy, because other threads may change what the application gave.
        members = list(value.items() if isinstance(value, dict) else value)
        self.around.add(id(value))
        try:
            if isinstance(value, dict):
                return self.members(members, place, level)
            return [self.value(member, _join(place, str(index)), level + 1) for index, member in enumerate(members)]
        finally:
            self.around.discard(id(value))

    def members(self, members: list[Any], place: str, level: int) -> dict[str, Any]:
        converted = {}
        for key, member in members:
            name = self.key(key, place)
            converted[name] = self.value(member, _join(place, name), level + 1)
        return converted

    def key(self, key: Any, place: str) -> str:
        name = _key_text(key)
        if name is None:
            name = repr_of(key)
            self.unknown(name, _join(place, name))
        return name

    def other(self, value: Any, place: str, level: int) -> Any:
        if id(value) in self.around:
            self.mark(CUT, place)
            return CYCLE_TEXT
        self.around.add(id(value))
        try:
            converted = _by_rule(value)
            if converted is value or level > DEPTH_LIMIT:
                raise _NoRuleError
            # A rule may lead to another: an Enum of dates. The level grows, so that it ends.
            return self.value(converted, place, level + (not isinstance(converted, (dict, list))))
        finally:
            self.around.discard(id(value))

    def unknown(self, text: str, place: str) -> str:
        self.unconvertible += 1
        self.mark(UNCONVERTIBLE, place)
        return text

    def mark(self, kind: str, place: str) -> None:
        places = self.marks.setdefault(kind, [])
        if len(places) < PLACES_LIMIT:
            places.append(place[:REPR_LIMIT])


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
