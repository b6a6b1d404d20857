"""Filters: functions that are asked for each message whether it is to be sent.

Each provider takes its settings and returns a filter, which a client takes in its list ``filters``. A configuration
names providers in its ``filter`` sections.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import CodeType
from typing import Any, Callable, NamedTuple, Union

# A filter: keeps a message by returning something true. It may change the message.
Filter = Callable[[dict[str, Any]], Any]


# The code of each kind of filter: a function with that code and a rule is a filter of ours.
CODES: dict[str, CodeType] = {}


class Rule(NamedTuple):
    """What a filter of this module decides by, so that it can be asked without its function."""

    #: The name of the filter's function.
    kind: str
    #: A severity, a collection of types, or severities by type.
    argument: Any


def severity_max_provider(severity: int) -> Filter:
    """Return a filter that keeps messages of `severity` and more severe ones: those whose number is not greater."""
    _check(severity)

    def severity_max(msg: Mapping[str, Any]) -> bool:
        return bool(msg["severity"] <= severity)

    return _with_rule(severity_max, severity)


def type_blacklist_provider(types: str | Collection[str]) -> Filter:
    """Return a filter that keeps messages of all but these types."""
    unwanted = _collection(types)

    def type_blacklist(msg: Mapping[str, Any]) -> bool:
        return msg["type"] not in unwanted

    return _with_rule(type_blacklist, unwanted)


def type_whitelist_provider(types: str | Collection[str]) -> Filter:
    """Return a filter that keeps messages of these types."""
    wanted = _collection(types)

    def type_whitelist(msg: Mapping[str, Any]) -> bool:
        return msg["type"] in wanted

    return _with_rule(type_whitelist, wanted)


Limit = Union[int, Mapping[str, int]]


def type_severity_max_provider(types: Mapping[str, Limit] | None = None, **more: Limit) -> Filter:
    """Return a filter that has a greatest severity number for some types; other types pass.

    :param types: For each type its severity, or a mapping with the key ``severity``.
    :param more: The same as keyword arguments, as an INI file has them.
    """
    limits = {
        kind: limit["severity"] if isinstance(limit, Mapping) else limit
        for kind, limit in {**(types or {}), **more}.items()
    }

    for limit in limits.values():
        _check(limit)

    def type_severity_max(msg: Mapping[str, Any]) -> bool:
        limit = limits.get(msg["type"])
        return limit is None or bool(msg["severity"] <= limit)

    return _with_rule(type_severity_max, limits)


def _check(severity: object) -> None:
    """Raise a ValueError for what cannot be compared with a severity, which would let everything pass."""
    if isinstance(severity, bool) or not isinstance(severity, (int, float)):
        raise ValueError(f"a severity is a number from 0 (emergency) to 7 (debug), not {severity!r}")


def _collection(types: str | Collection[str]) -> Collection[str]:
    return {types} if isinstance(types, str) else types


def _with_rule(filter_fn: Any, argument: Any) -> Filter:
    CODES[filter_fn.__name__] = filter_fn.__code__
    filter_fn.metlog_rule = Rule(filter_fn.__name__, argument)
    result: Filter = filter_fn
    return result
