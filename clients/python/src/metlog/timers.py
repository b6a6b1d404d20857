"""Timers: how long a block or a call took, as a message.

Each entry of a timer measures its own span, however entries are nested or run beside one another: in recursive calls,
in threads, in asyncio tasks. The clock is monotonic.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Container
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from metlog import _wrapping

if TYPE_CHECKING:
    from metlog.client import MetlogClient

F = TypeVar("F")


class _Span(NamedTuple):
    """A span that is being measured, and those around it in the same thread or task."""

    timer: _Timer
    begin: int
    outer: _Span | None


# The innermost open span of a thread or task.
_innermost: ContextVar[_Span | None] = ContextVar("metlog_timers", default=None)


def _close(timer: _Timer) -> int | None:
    """Take the innermost span of a timer out, and return when it began."""
    between: list[_Span] = []
    span = _innermost.get()
    while span is not None and span.timer is not timer:
        between.append(span)
        span = span.outer
    if span is None:
        return None
    # Spans do not always end in the reverse order: a generator may be left in the middle.
    outer = span.outer
    for other in reversed(between):
        outer = _Span(other.timer, other.begin, outer)
    _innermost.set(outer)
    return span.begin


def is_open(timer: _Timer) -> bool:
    """Return whether this thread or task is within a span of a timer."""
    span = _innermost.get()
    while span is not None and span.timer is not timer:
        span = span.outer
    return span is not None


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
        own["_precision"] = precision

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

    def __enter__(self) -> _Timer:
        self.result: float | None = None
        begin = time.perf_counter_ns()
        self.start: float | None = begin / 1e9
        _innermost.set(_Span(self, begin, _innermost.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end = time.perf_counter_ns()
        begin = _close(self)
        if begin is None:
            # Entered in another context, as when a framework moves a generator between threads.
            begin = int(getattr(self, "start", end / 1e9) * 1e9)
        own = self.__dict__
        elapsed: float = (end - begin) / 1e6
        elapsed = round(elapsed, own["_precision"]) if own["_precision"] > 0 else round(elapsed)
        self.result = elapsed
        own["client"].timer_send(own["name"], elapsed, **own["msg_data"])


class _UnsampledTimer(_Timer):
    """A timer that its sample rate left out: as a block it measures nothing, as a decorator it asks at each call."""

    def __enter__(self) -> _Timer:
        self.start = None
        self.result = None
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        return None


_NOTHING = _NoOpTimer()
