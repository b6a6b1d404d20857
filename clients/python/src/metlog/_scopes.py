"""What holds while a block runs, in the thread or task that runs it: bound fields, a piece of work.

Blocks need not end in the order in which they began. Two generators overlap, and so do two answers that a server sends
bit by bit in one thread; what is left of a block that has ended must not come back with the end of another.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Entry(Generic[T]):
    """A block that was entered, and what holds meanwhile."""

    __slots__ = ("has_ended", "token", "value")

    def __init__(self, value: T) -> None:
        """Prepare; `Scopes.enter` does the rest."""
        self.value = value
        # Set where the block ended in another context than it began in, which then cannot be changed.
        self.has_ended = False
        # By which the context is known in which it began.
        self.token: Token[Any] | None = None


class Scopes(Generic[T]):
    """The blocks of one kind that each thread and each task is in.

    A task that begins inside a block keeps what holds there, also when the block ends before it.
    """

    def __init__(self, name: str) -> None:
        """Begin with none."""
        # The outermost first. Never changed in place, because contexts share it; None instead of nothing.
        self._entered: ContextVar[tuple[Entry[T], ...] | None] = ContextVar(name, default=None)
        #: Returns None where there is no block: the quickest that can be asked.
        self.is_any: Callable[[], object] = self._entered.get

    def entered(self) -> tuple[Entry[T], ...]:
        """Return the blocks that go on here, the outermost first."""
        entries = self._entered.get()
        if entries is None:
            return ()
        for entry in entries:
            if entry.has_ended:
                return self._keep(entries)
        return entries

    def enter(self, value: T) -> Entry[T]:
        """Begin a block."""
        entry = Entry(value)
        entry.token = self._entered.set((*self.entered(), entry))
        return entry

    def leave(self, entry: Entry[T]) -> None:
        """End a block, wherever that is."""
        token, entry.token = entry.token, None
        if token is None:
            return
        entries = self._entered.get() or ()
        try:
            self._entered.reset(token)
        except ValueError:
            # It began in another context, where the next look finds it ended.
            entry.has_ended = True
        else:
            if len(entries) == 1 and entries[0] is entry and self._entered.get() is None:
                # As nearly always: nothing was around it, and nothing else goes on.
                return
        self._keep(entries, without=entry)

    def _keep(self, entries: tuple[Entry[T], ...], without: Entry[T] | None = None) -> tuple[Entry[T], ...]:
        kept = tuple(entry for entry in entries if entry is not without and not entry.has_ended)
        self._entered.set(kept or None)
        return kept
