"""What the original tests take from nose, which does not run on today's Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from unittest import SkipTest, TestCase

assert_raises = TestCase().assertRaises

__all__ = ["SkipTest", "assert_raises", "eq_", "ok_", "raises"]


def eq_(one: Any, other: Any, message: str | None = None) -> None:
    """Assert that two values are equal."""
    assert one == other, message or f"{one!r} != {other!r}"


def ok_(condition: Any, message: str | None = None) -> None:
    """Assert that something is true."""
    assert condition, message


def raises(*kinds: type[BaseException]) -> Callable[[Any], Any]:
    """Return a decorator for tests that have to raise."""

    def decorator(test: Any) -> Any:
        @functools.wraps(test)
        def wrapped(*args: Any, **kwargs: Any) -> None:
            with assert_raises(kinds):
                test(*args, **kwargs)

        return wrapped

    return decorator
