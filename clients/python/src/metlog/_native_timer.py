"""Timers on the native path: the native class measures a block, and what is here does what else there is to a timer.

The native class never calls Python, it says what is left to be done. For at the end of a process Python ends its daemon
threads within whatever of Python they run, and that end cannot pass native code beneath which they run it.
"""

from __future__ import annotations

import copy
import importlib
from types import FunctionType, TracebackType
from typing import Any, Callable, TypeVar

from metlog import timers

F = TypeVar("F", bound=Callable[..., Any])

_native: Any = importlib.import_module("metlog._native")

_begin_span = _native.begin_span
_end_span = _native.end_span


class _Methods:
    """What the native class has from here, where a timer is like `metlog.timers._Timer`; one of those does the rest."""

    _full: Any
    _call: Any
    _is_mine: Any
    _hand_over: Any
    _leave_first: Any
    _entered_elsewhere: Any
    _left_elsewhere: Any

    def __enter__(self) -> Any:
        if not _begin_span(self):
            self._rest().__enter__()
            self._entered_elsewhere()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = _end_span(self)
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


for _name, _method in vars(_Methods).items():
    if isinstance(_method, FunctionType):
        setattr(_native.NativeTimer, _name, _method)
