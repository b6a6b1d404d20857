"""Fields that hold for every message of a client while a block runs: ``with client.bind(request_id=7)``."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any


class _Block:
    """A block in which fields are bound, and those around it in the same thread or task."""

    __slots__ = ("binding", "fields", "outer")

    def __init__(self, binding: Binding, fields: dict[str, Any], outer: _Block | None) -> None:
        # None when the block has ended, in whichever thread or task that was.
        self.binding: Binding | None = binding
        # With those of the blocks around it.
        self.fields = fields
        self.outer = outer


# The innermost block of each client, by its key. Never changed in place: tasks share it until they bind something.
_bound: ContextVar[Mapping[int, _Block] | None] = ContextVar("metlog_bound", default=None)

#: Returns something true if any client has bound fields here: the quickest that can be asked.
is_any: Callable[[], object] = _bound.get

_keys = itertools.count()


def new_key() -> int:
    """Return a key for a new client; an `id` could be used again."""
    return next(_keys)


def current(key: int) -> dict[str, Any]:
    """Return the fields that are bound here, to be left unchanged."""
    if not _bound.get():
        return _NO_FIELDS
    block = _innermost(key)
    return _NO_FIELDS if block is None else block.fields


def _innermost(key: int) -> _Block | None:
    """Return the innermost block of a client that is open here, and forget those within it that have ended."""
    blocks = _bound.get()
    noted = blocks.get(key) if blocks else None
    block = _skip_ended(noted)
    if block is not noted:
        _note(key, block)
    return block


def _skip_ended(block: _Block | None) -> _Block | None:
    while block is not None and block.binding is None:
        block = block.outer
    return block


def _note(key: int, block: _Block | None) -> None:
    blocks = dict(_bound.get() or ())
    if block is None:
        blocks.pop(key, None)
    else:
        blocks[key] = block
    _bound.set(blocks or None)


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
        # The open ones; threads may share a binding.
        self._blocks: list[_Block] = []

    def __enter__(self) -> Binding:
        """Bind the fields in this thread or task."""
        outer = around = _innermost(self._key)
        while around is not None:
            around.outer = _skip_ended(around.outer)
            around = around.outer
        fields = dict(self._fields) if outer is None else {**outer.fields, **self._fields}
        block = _Block(self, fields, outer)
        self._blocks.append(block)
        _note(self._key, block)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        """Bind again what was bound before."""
        block = _innermost(self._key)
        while block is not None and block.binding is not self:
            block = block.outer
        # One that was entered in another thread or task, as that of a generator may be, ends there as well.
        with contextlib.suppress(ValueError, IndexError):
            if block is None:
                block = self._blocks.pop()
            else:
                self._blocks.remove(block)
        if block is not None:
            block.binding = None
            _innermost(self._key)


_NO_FIELDS: dict[str, Any] = {}
