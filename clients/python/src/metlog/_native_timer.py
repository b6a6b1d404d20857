"""Timers on the native path: the native class measures a block, and the one here does what else there is to a timer.

The native class never calls Python, it says what is left to be done. For at the end of a process Python ends its daemon
threads within whatever of Python they run, and that end cannot pass native code beneath which they run it.
"""

from __future__ import annotations

import copy
import importlib
from types import TracebackType
from typing import Any, Callable, TypeVar

from metlog import timers

F = TypeVar("F", bound=Callable[..., Any])

_native: Any = importlib.import_module("metlog._native")

# Quicker than looking for them on a timer, whose class has a `__getattr__`.
_enter = _native.Timer._enter
_leave = _native.Timer._leave


class NativeTimer(_native.Timer):  # type: ignore[misc]  # the native module has no types
    """A timer like `metlog.timers._Timer`; one of those does the rest."""

    __slots__ = ()

    def __enter__(self) -> NativeTimer:
        if not _enter(self):
            self._rest().__enter__()
            self._entered_elsewhere()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = _leave(self)
        # None: it is sent already.
        if left is False and not timers.is_open(self._rest()):
            left = self._leave_first()
        if left is False:
            self._rest().__exit__(kind, error, traceback)
            self._left_elsewhere()
        elif left is not None:
            if not self._is_mine():
                self._rest().result = left
            client, name, further, _ = self._call()
            client.timer_send(name, left, **further)

    def __call__(self, fn: F) -> F:
        """Measure each call of a function. A sample rate is applied to each call."""
        decorated: F = self._rest()(fn)
        return decorated

    def __getattr__(self, attr: str) -> Any:
        return getattr(self._rest(), attr)

    def __setattr__(self, attr: str, value: Any) -> None:
        setattr(self._rest(), attr, value)
        self._hand_over(attr)

    def __delattr__(self, attr: str) -> None:
        rest = self._rest()
        if self._hand_over(attr):
            setattr(rest, attr, None)
        delattr(rest, attr)

    def __copy__(self) -> Any:
        rest = self._rest()
        for attr in ("start", "result"):
            value = getattr(self, attr, None)
            if self._hand_over(attr):
                setattr(rest, attr, value)
        return copy.copy(rest)

    def _rest(self) -> Any:
        """Return the timer that does the rest."""
        rest = self._full()
        return self._full(timers._TimerBeside(*self._call())) if rest is None else rest
