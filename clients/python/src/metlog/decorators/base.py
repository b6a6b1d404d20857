"""The base of decorators that decide what they do when the decorated function is first called.

Decorators run when a module is imported, and a client is often configured later. So a `MetlogDecorator` looks for its
client, and asks whether it is wanted at all (`predicate`), at the first call.
"""

from __future__ import annotations

import copy
import inspect
import json
import types
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from metlog import _wrapping
from metlog.decorators.util import return_fq_name
from metlog.holder import CLIENT_HOLDER

if TYPE_CHECKING:
    from metlog.client import MetlogClient


class MetlogDecorator:
    """A decorator, with arguments or without, for functions of every kind.

    A subclass has `around`, which returns what is to be around each call; or it overrides `metlog_call`, and calls
    ``self._fn`` itself.

    A plain function becomes an instance of the class. A coroutine function, a generator or an asynchronous generator
    becomes a function of its own kind, as frameworks want it; the decorator is its attribute ``metlog_decorator``.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Decorate a function, or wait for one where there are arguments."""
        self = super().__new__(cls)
        if _is_bare(args, kwargs):
            fn = args[0]
            if isinstance(fn, (classmethod, staticmethod)):
                return type(fn)(cls(fn.__func__, **kwargs))
            if _wrapping.is_special(fn):
                self.__init__(*args, **kwargs)  # type: ignore[misc]  # skipped for what is no instance
                return self._special()
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Make a decorator.

        :param client: The client to use.
        :param client_name: The name of a client in CLIENT_HOLDER; without both it is the default client.

        All else is kept for the call of the client.
        """
        self._client: MetlogClient | None = kwargs.pop("client", None)
        self.client_name: str = kwargs.pop("client_name", "")
        self.args: tuple[Any, ...] | None = args
        self.kwargs: dict[str, Any] | None = kwargs
        self._fn: Any = None
        self._fn_fq_name: str | None = None
        if _is_bare(args, kwargs):
            self.args = None
            self.kwargs = None
            self.set_fn(args[0])

    @property
    def decorator_name(self) -> str:
        """The name by which ``disabled_decorators`` in the global configuration turns it off."""
        return type(self).__name__

    @property
    def client(self) -> Any:
        """The client; None as long as there is none."""
        if self._client is None:
            if self.client_name:
                self._client = CLIENT_HOLDER.get_client(self.client_name)
            else:
                self._client = CLIENT_HOLDER.default_client
        return self._client

    def predicate(self) -> bool:
        """Return whether calls are to be decorated; asked once, at the first call."""
        disabled = CLIENT_HOLDER.global_config.get("disabled_decorators") or ()
        return self.decorator_name not in ((disabled,) if isinstance(disabled, str) else disabled)

    def is_ready(self) -> bool:
        """Return whether the decision can be made; until then, calls are not decorated."""
        return True

    def around(self) -> AbstractContextManager[Any]:
        """Return what is to be around one call."""
        raise NotImplementedError

    def set_fn(self, fn: Any) -> None:
        """Take the function to decorate, with its name, its signature and its documentation."""
        self._fn = fn
        self._fn_fq_name = fn._fn_fq_name if isinstance(fn, MetlogDecorator) else return_fq_name(fn)
        self._update_decoratorchain()
        _wrapping.like(fn)(self)

        @_wrapping.like(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self._real_call(*args, **kwargs)

        # Celery looks at this attribute for the arguments of what is no function.
        self.__call__ = call  # type: ignore[method-assign]

    def _update_decoratorchain(self) -> None:
        """Note this decorator and those of the function inside: which class, with which arguments."""
        arguments = None if self.args is None else tuple(map(repr, self.args))
        by_name = None if self.kwargs is None else json.dumps(self.kwargs, default=repr, sort_keys=True)
        self._metlog_decorators = {(type(self), arguments, by_name), *getattr(self._fn, "_metlog_decorators", ())}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, or take it where there were arguments before."""
        return self._real_call(*args, **kwargs)

    def _real_call(self, *args: Any, **kwargs: Any) -> Any:
        """Decide what calls do, and do it; the decision takes the place of this method."""
        if self._fn is None:
            return self._decorate(*args, **kwargs)
        if not self.is_ready():
            return self._invoke(*args, **kwargs)
        decided = self.metlog_call if self.predicate() else self._invoke
        self._real_call = decided  # type: ignore[method-assign]
        return decided(*args, **kwargs)

    def _decorate(self, fn: Any) -> Any:
        if isinstance(fn, (classmethod, staticmethod)):
            return type(fn)(self._decorate(fn.__func__))
        if not callable(fn):
            raise TypeError(f"{self.decorator_name} decorates functions, not {type(fn).__qualname__}")
        # One decorator may be used for several functions.
        decorator = copy.copy(self)
        decorator.set_fn(fn)
        return decorator._special() if _wrapping.is_special(fn) else decorator

    def _special(self) -> Any:
        """Return a function of the decorated one's own kind, for those whose work is not done when they return."""
        fn = self._fn
        # A subclass that has no `around` makes its calls itself, and what they return is used as that of `fn`.
        has_around = type(self).around is not MetlogDecorator.around
        decorated = _wrapping.wrap(fn, self.around) if has_around else self.metlog_call
        decided: Any = None

        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal decided
            if decided is None and self.is_ready():
                decided = decorated if self.predicate() else fn
            return (decided or fn)(*args, **kwargs)

        function = _of_kind(fn, call)
        function.metlog_decorator = self
        function._metlog_decorators = self._metlog_decorators
        return function

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Become a method, as functions do."""
        return self if instance is None else types.MethodType(self, instance)

    def _invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function and do nothing else."""
        return self._fn(*args, **kwargs)

    def metlog_call(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function with something around it."""
        with self.around():
            return self._fn(*args, **kwargs)


def _is_bare(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether a decorator is used without arguments of its own: all there is, is the function."""
    if len(args) != 1 or set(kwargs) - {"client", "client_name"}:
        return False
    return callable(args[0]) or isinstance(args[0], (classmethod, staticmethod))


def _of_kind(fn: Any, call: Any) -> Any:
    """Return a function of the kind of `fn`, whose calls are those of `call`."""
    if inspect.iscoroutinefunction(fn):

        @_wrapping.like(fn)
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            return await call(*args, **kwargs)

        return coroutine
    if inspect.isgeneratorfunction(fn):

        @_wrapping.like(fn)
        def generator(*args: Any, **kwargs: Any) -> Any:
            return (yield from call(*args, **kwargs))

        return generator
    return _wrapping.delegating(fn, call)
