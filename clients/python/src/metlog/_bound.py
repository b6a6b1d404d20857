"""Fields that hold for every message of a client while a block runs: ``with client.bind(request_id=7)``."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from typing import Any

from metlog import values
from metlog._scopes import Entry, Scopes

#: Whether anything was ever bound in this process: the quickest that can be asked.
ever = False

_keys = itertools.count()


def new_key() -> int:
    """Return a key for a new client; an `id` could be used again."""
    return next(_keys)


class Binding:
    """Binds fields to a client while its block runs. It may be entered several times, also at once."""

    def __init__(self, key: int, fields: Mapping[str, Any], *, unbinds: Collection[str] = ()) -> None:
        """Prepare; nothing is bound yet.

        :param key: The client's.
        :param fields: What is bound.
        :param unbinds: Names that are bound further out and do not hold inside.
        """
        self.key = key
        self.fields: dict[str, Any] = dict(fields)
        self.unbinds: Collection[str] = unbinds
        # In the order in which they were entered. A dictionary, whose single operations threads may share.
        self._entries: dict[Entry[Binding], None] = {}

    def __enter__(self) -> Binding:
        """Bind the fields in this thread or task."""
        global ever  # noqa: PLW0603  it is about the process
        ever = True
        self._entries[_scopes.enter(self)] = None
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Unbind them."""
        for entry in reversed(_scopes.entered()):
            if entry.value is self:
                break
        else:
            # Left in another context than it was entered in, as a generator may be: then there is none of them here.
            entries = list(self._entries)
            if not entries:
                return
            entry = entries[-1]
        self._entries.pop(entry, None)
        _scopes.leave(entry)


_scopes: Scopes[Binding] = Scopes("metlog_bound")

#: Returns something else than None if any client has bound fields here.
is_any = _scopes.is_any


def current(key: int) -> dict[str, Any]:
    """Return the fields that are bound here, to be left unchanged."""
    fields = _NO_FIELDS
    for entry in _scopes.entered():
        binding = entry.value
        if binding.key != key:
            continue
        if fields and binding.unbinds:
            fields = {name: value for name, value in fields.items() if name not in binding.unbinds}
        fields = {**fields, **binding.fields} if fields else binding.fields
    return fields


def merged(key: int, fields: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a call's fields with those that are bound; the call's own win."""
    bound = current(key)
    if fields is None:
        return dict(bound)
    return {**bound, **checked(fields)} if bound else checked(fields)


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of fields; anything but a mapping is the caller's mistake.

    A mapping that cannot be read, because its own code raises or another thread changes it meanwhile, is sent as what
    can be said about it.
    """
    if type(fields) is dict:
        return fields.copy()
    if not values.is_a(fields, Mapping, otherwise=True):
        raise TypeError(f"fields must be a mapping, not {type(fields).__qualname__}")
    try:
        return dict(fields)
    except Exception:
        return {"fields": values.Unreadable(fields)}


_NO_FIELDS: dict[str, Any] = {}
