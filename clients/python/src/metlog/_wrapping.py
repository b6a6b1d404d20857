"""Functions of every kind, with something around each call: what the decorators have in common.

A wrapped function is of the kind that it was: a coroutine function, a generator, an asynchronous generator, or a plain
function, as frameworks look at that. What is around a generator lasts from its first value to its end.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

Around = Callable[[], "AbstractContextManager[Any]"]


def is_special(fn: Any) -> bool:
    """Return whether a call of `fn` returns before its work is done: coroutines and generators of both kinds."""
    return inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn) or inspect.isgeneratorfunction(fn)


def like(fn: Any) -> Callable[[Any], Any]:
    """Return a decorator that gives a wrapper the name, the documentation, the attributes and the signature of `fn`.

    ``functools.wraps`` leaves the signature to those who follow ``__wrapped__``, which not everybody does: Celery asks
    ``inspect.getfullargspec``.
    """

    def decorator(wrapper: Any) -> Any:
        # Attributes go from function to function; an object that stands for one keeps its own.
        both = inspect.isfunction(wrapper) and inspect.isfunction(fn)
        functools.update_wrapper(wrapper, fn, updated=("__dict__",) if both else ())
        # Annotations may name what does not exist yet, which Python 3.14 looks up here.
        with contextlib.suppress(Exception):
            wrapper.__signature__ = inspect.signature(fn)
        return wrapper

    return decorator


def wrap(fn: Any, around: Around) -> Any:
    """Return `fn` with ``around()`` entered for each call. Class and static methods stay what they are."""
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(wrap(fn.__func__, around))
    if inspect.iscoroutinefunction(fn):
        return _coroutine(fn, around)
    if inspect.isasyncgenfunction(fn):
        return delegating(fn, fn, around)
    if inspect.isgeneratorfunction(fn):
        return _generator(fn, around)

    @like(fn)
    def plain(*args: Any, **kwargs: Any) -> Any:
        with around():
            return fn(*args, **kwargs)

    return plain


def _coroutine(fn: Any, around: Around) -> Any:
    @like(fn)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with around():
            return await fn(*args, **kwargs)

    return coroutine


def _generator(fn: Any, around: Around) -> Any:
    @like(fn)
    def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with around():
            return (yield from fn(*args, **kwargs))

    return generator


def delegating(fn: Any, call: Any, around: Around = nullcontext) -> Any:
    """Return an asynchronous generator function like `fn`, whose generators are those that `call` returns.

    What is sent or thrown into one goes to the one inside, as ``yield from`` does it for plain generators.
    """

    @like(fn)
    async def generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with around():
            inner = call(*args, **kwargs)
            try:
                item = await inner.__anext__()
                while True:
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        item = await inner.athrow(error)
                    else:
                        item = await inner.asend(sent)
            except StopAsyncIteration:
                return
            finally:
                await inner.aclose()

    return generator
