"""Fields that hold for every message of a client while a block runs: ``with client.bind(request_id=7)``."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any

# The bound fields of each client, by its key. Never changed in place: tasks share it until they bind something.
_bound: ContextVar[Mapping[int, dict[str, Any]] | None] = ContextVar("metlog_bound", default=None)

#: Returns something true if any client has bound fields here.
is_any: Callable[[], object] = _bound.get

#: Whether anything was ever bound in this process: the quickest that can be asked.
ever = False

_keys = itertools.count()


def new_key() -> int:
    """Return a key for a new client; an `id` could be used again."""
    return next(_keys)


def current(key: int) -> dict[str, Any]:
    """Return the fields that are bound here, to be left unchanged."""
    clients = _bound.get()
    return clients.get(key, _NO_FIELDS) if clients else _NO_FIELDS


def merged(key: int, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a call's fields with those that are bound; the call's own win."""
    bound = current(key)
    if fields is None:
        return dict(bound)
    return {**bound, **checked(fields)} if bound else checked(fields)


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of fields; anything but a mapping is the caller's mistake."""
    if not isinstance(fields, Mapping):
        raise TypeError(f"fields must be a mapping, not {type(fields).__qualname__}")
    return dict(fields)


class Binding:
    """Binds fields to a client while its block runs."""

    def __init__(self, key: int, fields: Mapping[str, Any]) -> None:
        """Prepare; nothing is bound yet."""
        self._key = key
        self._fields = dict(fields)
        self._tokens: list[Token[Mapping[int, dict[str, Any]] | None]] = []

    def __enter__(self) -> Binding:
        """Bind the fields in this thread or task."""
        global ever  # noqa: PLW0603  it is about the process
        ever = True
        clients = _bound.get() or {}
        self._tokens.append(_bound.set({**clients, self._key: {**clients.get(self._key, {}), **self._fields}}))
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Bind again what was bound before."""
        # Left in another context than it was entered in, as a generator may be: that context never had the fields.
        with contextlib.suppress(ValueError, IndexError):
            _bound.reset(self._tokens.pop())


_NO_FIELDS: dict[str, Any] = {}
