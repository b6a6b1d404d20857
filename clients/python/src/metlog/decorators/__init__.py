"""Decorators: ``@timeit`` and ``@incr_count``, with arguments or without."""

from metlog.decorators.base import MetlogDecorator
from metlog.decorators.stats import incr_count, timeit

__all__ = ["MetlogDecorator", "incr_count", "timeit"]
