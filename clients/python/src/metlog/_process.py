"""Which process this is, so that what was inherited over a fork is noticed before it is used.

A fork is seen by its new process id, however it was made (uWSGI and billiard fork without asking Python), and by a
generation that Python's own forks count, for the rare child that gets the id of an ancestor.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

_generation = 0
_watching = False

# What wants to know of a fork, in the child: objects with a method `_in_child`.
_inheritors: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def identity() -> tuple[int, int]:
    """Return what differs between this process and every process that it was forked from."""
    return _generation, os.getpid()


def watch() -> None:
    """Count Python's own forks from now on. Doing so twice is harmless."""
    global _watching  # noqa: PLW0603  one flag per process is what is meant
    if not _watching and hasattr(os, "register_at_fork"):
        _watching = True
        os.register_at_fork(after_in_child=_count)


def tell(inheritor: Any) -> None:
    """Have `inheritor._in_child` called in each child that Python forks."""
    watch()
    _inheritors[id(inheritor)] = inheritor


def _count() -> None:
    global _generation  # noqa: PLW0603  one number per process is what is meant
    _generation += 1
    for inheritor in list(_inheritors.values()):
        inheritor._in_child()
