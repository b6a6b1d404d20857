"""Decorators that measure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from metlog.decorators.base import MetlogDecorator
from metlog.decorators.util import short_name


class _StatsDecorator(MetlogDecorator):
    """Has a call of the client around each call."""

    def is_ready(self) -> bool:
        """Return whether there is a client."""
        return self.client is not None

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments for the client's call: those of the decorator; the function's name if there is none."""
        args, kwargs = self.args or (), self.kwargs or {}
        return (args, kwargs) if args or "name" in kwargs else ((self._fn_fq_name,), kwargs)


class timeit(_StatsDecorator):
    """Times each call. Arguments are those of `MetlogClient.timer`; without a name it is the function's."""

    def predicate(self) -> bool:
        """Return whether the timer is wanted."""
        disabled = self.client._disabled_timers
        name = self.args[0] if self.args else (self.kwargs or {}).get("name") or short_name(self._fn)
        return name not in disabled and "*" not in disabled and super().predicate()

    def around(self) -> AbstractContextManager[Any]:
        """Return the timer of one call."""
        args, kwargs = self.arguments()
        timer: AbstractContextManager[Any] = self.client.timer(*args, **kwargs)
        return timer


class incr_count(_StatsDecorator):
    """Counts each call when it ends, also by an exception.

    Arguments are those of `MetlogClient.incr`; without a name it is the function's.
    """

    @contextmanager
    def around(self) -> Iterator[None]:
        """Count once at the end."""
        try:
            yield
        finally:
            args, kwargs = self.arguments()
            self.client.incr(*args, **kwargs)
