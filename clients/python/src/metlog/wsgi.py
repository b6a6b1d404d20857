"""Middleware for WSGI: counts and times every request, reports exceptions, binds the names of trace and request.

    application = metlog.wsgi.Middleware(application)

A route's template comes from the framework; see ``metlog.flask`` and ``metlog.django``. An application without either
says it in ``environ["metlog.route"]``, or by a function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Callable

from metlog import _web

if TYPE_CHECKING:
    from metlog.client import MetlogClient

REQUEST = "metlog.request"
"""The key of ``environ`` under which the request is known while it is served."""

ROUTE = "metlog.route"
"""The key of ``environ`` in which an application says its route's template."""

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Middleware:
    """A WSGI application that watches over another one."""

    def __init__(
        self,
        application: Application,
        client: MetlogClient | None = None,
        route: Callable[[Environ], str | None] | None = None,
    ) -> None:
        """Put itself in front of an application.

        :param client: what sends; by default the default client of ``CLIENT_HOLDER``, looked up for each request.
        :param route: says a request's route when it is over, from its ``environ``: a template such as
            ``/users/{id}``, and None where none matched.
        """
        self.application = application
        self.client = client
        self.route = route

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        client = _web.client_for(self.client)
        if client is None:
            return self.application(environ, start_response)
        request = _web.Request(
            client,
            environ.get("REQUEST_METHOD", ""),
            environ.get("HTTP_TRACEPARENT"),
            environ.get("HTTP_X_REQUEST_ID"),
        )
        environ[REQUEST] = request

        def starting(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            request.status = _number(status)
            if exc_info is None:
                return start_response(status, headers)
            return start_response(status, headers, exc_info)

        try:
            body = self.application(environ, starting)
        except BaseException as exception:
            self.over(request, environ, exception)
            raise
        if isinstance(body, (list, tuple)) or _is_file(body, environ):
            # The answer is there, or the server sends it by itself.
            self.over(request, environ)
            return body
        return _Body(body, self, request, environ)

    def over(self, request: _web.Request, environ: Environ, exception: BaseException | None = None) -> None:
        """Say what became of a request."""
        try:
            request.route = self.route(environ) if self.route is not None else environ.get(ROUTE)
        except Exception as error:
            _web.complain("a route was not found: %r", error)
        if exception is not None:
            request.ended_by(exception)
        request.over()


class _Body:
    """An answer that is made while it is sent: the request is over at its end, or when the server closes it before."""

    def __init__(self, body: Iterable[bytes], middleware: Middleware, request: _web.Request, environ: Environ) -> None:
        self._body = body
        self._parts: Iterator[bytes] | None = None
        self._middleware = middleware
        self._request = request
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = iter(self._body)
            return next(self._parts)
        except StopIteration:
            self._middleware.over(self._request, self._environ)
            raise
        except BaseException as exception:
            self._middleware.over(self._request, self._environ, exception)
            raise

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as exception:
            self._middleware.over(self._request, self._environ, exception)
            raise
        self._middleware.over(self._request, self._environ)


def _is_file(body: object, environ: Environ) -> bool:
    """Whether the server may send it without reading it, which it does only with its own wrapper."""
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _number(status: str) -> int | None:
    try:
        return int(status[:3])
    except ValueError:
        return None
