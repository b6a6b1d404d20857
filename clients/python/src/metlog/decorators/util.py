"""Names of functions."""

from __future__ import annotations

import functools
from typing import Any


def return_fq_name(func: Any, klass: type | None = None) -> str:
    """Return the name of a function with its module, as counters and timers carry it.

    :param func: A function or another callable. Its class is not part of the name: a decorator sees a method before
                 there is a class.
    :param klass: A class whose instances are callable; then the name is the class's.
    """
    if klass is not None:
        return f"{klass.__module__}.{klass.__name__}.PyCallable"
    # A partial function has no name; what it calls has.
    while isinstance(func, functools.partial):
        func = func.func
    name = getattr(func, "__name__", None)
    if name:
        return f"{func.__module__}.{name}"
    text = str(func)
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def short_name(func: Any) -> str:
    """Return the name of a function without its module."""
    name = getattr(func, "__name__", None)
    return name if isinstance(name, str) else return_fq_name(func).rpartition(".")[2]
