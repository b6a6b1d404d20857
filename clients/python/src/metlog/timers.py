"""Timers: how long a block or a call took, as a message.

Each entry of a timer measures its own span, however entries are nested or run beside one another: in recursive calls,
in threads, in asyncio tasks. The clock is monotonic.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Container, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from metlog import _wrapping

if TYPE_CHECKING:
    from metlog.client import MetlogClient

F = TypeVar("F")


class _Span:
    """An entry of a timer that is entered already, somewhere; and such spans around it, in the same thread or task."""

    __slots__ = ("begin", "outer", "timer")

    def __init__(self, timer: _Timer, begin: int, outer: _Span | None) -> None:
        self.begin = begin
        self.outer = outer
        # None when the span has ended, in whichever thread or task that was.
        self.timer: _Timer | None = timer


# The innermost such span of a thread or task. One that is ended elsewhere stays here until the next look.
_innermost: ContextVar[_Span | None] = ContextVar("metlog_timers", default=None)


def _open_spans() -> Iterator[_Span]:
    """Return the open spans of this thread or task, the innermost first, and forget those that have ended."""
    innermost = _innermost.get()
    span = _skip_ended(innermost)
    if span is not innermost:
        _innermost.set(span)
    while span is not None:
        span.outer = _skip_ended(span.outer)
        yield span
        span = span.outer


def _skip_ended(span: _Span | None) -> _Span | None:
    while span is not None and span.timer is None:
        span = span.outer
    return span


def is_open(timer: _Timer) -> bool:
    """Return whether this thread or task is within a span of a timer, beside the first one of it."""
    return any(span.timer is timer for span in _open_spans())


def _is_disabled(name: str, disabled: Container[str]) -> bool:
    return name in disabled or "*" in disabled


class _NoOpTimer:
    """Stands for a timer that is disabled: measures nothing, and leaves functions as they are."""

    start: float | None = None
    result: float | None = None

    def __call__(self, fn: F) -> F:
        return fn

    def __enter__(self) -> _NoOpTimer:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        return None


class _Timer:
    """A timer: a context manager, and a decorator for functions of every kind.

    What is set on a timer is seen by the thread that set it alone: ``start`` (seconds of a monotonic clock), and
    ``result``, the milliseconds of the last span that this thread measured.
    """

    # Whether spans are told apart only where there is more than one at a time.
    _has_first = True

    def __init__(self, client: MetlogClient, name: str, msg_data: dict[str, Any], precision: int = 0) -> None:
        """Make a timer.

        :param client: Sends the message, by ``timer_send``.
        :param name: The timer's name.
        :param msg_data: Further arguments for ``timer_send``.
        :param precision: Decimals of the milliseconds; whole ones with 0.
        """
        own = self.__dict__
        own["client"] = client
        own["name"] = name
        own["msg_data"] = msg_data
        own["_local"] = threading.local()
        # What is no number of decimals stands for whole milliseconds; a nanosecond is the sixth decimal.
        own["_precision"] = min(max(precision, 0), 6) if isinstance(precision, int) else 0
        # Beside these there is `_first` while a span is measured, when it began: nearly every timer is entered once at
        # a time, and may be left in another thread or task than that, as when a generator is closed there. Spans that
        # begin meanwhile are here.
        own["_beside"] = {}

    def __getattr__(self, attr: str) -> Any:
        if "_local" not in self.__dict__:
            raise AttributeError(attr)
        return getattr(self.__dict__["_local"], attr)

    def __setattr__(self, attr: str, value: Any) -> None:
        setattr(self.__dict__["_local"], attr, value)

    def __delattr__(self, attr: str) -> None:
        delattr(self.__dict__["_local"], attr)

    def __call__(self, fn: F) -> F:
        """Measure each call of a function. A sample rate is applied to each call."""
        if not callable(fn) and not isinstance(fn, (classmethod, staticmethod)):
            raise ValueError(f"a timer decorates functions and other callables, not {type(fn).__qualname__}")
        wrapped: F = _wrapping.wrap(fn, self._for_one_call)
        return wrapped

    def _for_one_call(self) -> Any:
        rate = self.__dict__["msg_data"].get("rate", 1.0)
        if rate < 1.0 and random.random() >= rate:
            return _NOTHING
        own = self.__dict__
        if _is_disabled(own["name"], getattr(own["client"], "_disabled_timers", ())):
            return _NOTHING
        return _Timer(own["client"], own["name"], own["msg_data"], own["_precision"])

    def __copy__(self) -> _Timer:
        """Return a timer of its own, which measures nothing yet, with what this thread has set on this one."""
        own = self.__dict__
        copied = self._class_of_copies(own["client"], own["name"], own["msg_data"], own["_precision"])
        vars(copied.__dict__["_local"]).update(vars(own["_local"]))
        return copied

    @property
    def _class_of_copies(self) -> type[_Timer]:
        return type(self)

    def __enter__(self) -> _Timer:
        self.result: float | None = None
        begin = time.perf_counter_ns()
        self.start: float | None = begin / 1e9
        self._begin_span(begin)
        return self

    def _begin_span(self, begin: int) -> None:
        own = self.__dict__
        beside: dict[_Span, None] = own["_beside"]
        # Single operations of a dict, because threads may share a timer.
        if beside or not self._has_first or own.setdefault("_first", begin) is not begin:
            around = list(_open_spans())
            span = _Span(self, begin, around[0] if around else None)
            beside[span] = None
            _innermost.set(span)

    def _end_span(self) -> int | None:
        """End the innermost span of this thread or task, and return when it began; None if there is none."""
        own = self.__dict__
        beside: dict[_Span, None] = own["_beside"]
        if beside:
            for span in _open_spans():
                if span.timer is self:
                    return self._ended(span)
        begin: int | None = own.pop("_first", None)
        if begin is None and beside:
            # Left in another thread or task than it was entered in.
            with contextlib.suppress(IndexError):
                return self._ended(list(beside)[-1])
        return begin

    def _ended(self, span: _Span) -> int:
        span.timer = None
        self.__dict__["_beside"].pop(span, None)
        return span.begin

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end = time.perf_counter_ns()
        begin = self._end_span()
        if begin is None:
            # Never entered.
            begin = end
        own = self.__dict__
        elapsed: float = (end - begin) / 1e6
        elapsed = round(elapsed, own["_precision"]) if own["_precision"] > 0 else round(elapsed)
        self.result = elapsed
        own["client"].timer_send(own["name"], elapsed, **own["msg_data"])


class _TimerBeside(_Timer):
    """Measures what a timer of the native module is asked for beside its one span."""

    _has_first = False

    @property
    def _class_of_copies(self) -> type[_Timer]:
        return _Timer


class _UnsampledTimer(_Timer):
    """A timer that its sample rate left out: as a block it measures nothing, as a decorator it asks at each call."""

    def __enter__(self) -> _Timer:
        self.start = None
        self.result = None
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        return None


_NOTHING = _NoOpTimer()
