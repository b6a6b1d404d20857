"""Tells a call of the application from one that Metlog's own work led to.

A sender may log, and what it logs may have a handler of ours: without this it would send for ever.
"""

from __future__ import annotations

import threading

_local = threading.local()


def is_inside() -> bool:
    """Return whether this thread is sending something right now."""
    return getattr(_local, "depth", 0) > 0


class inside:
    """A context in which this thread is sending."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Note that it begins."""
        _local.depth = getattr(_local, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        """Note that it ends."""
        _local.depth -= 1
