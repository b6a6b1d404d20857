"""What is said of each request, whichever framework serves it.

A counter and a timer by route and status, the exception that ended it, and the names by which everything that it caused
can be found.

``metlog.wsgi``, ``metlog.asgi``, ``metlog.django`` and ``metlog.flask`` find out what happened; this says it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from metlog import _bound, _diagnostics, _failures, _tracing

if TYPE_CHECKING:
    from metlog.client import MetlogClient

NO_ROUTE = "(none)"
"""The route of a request that matched none. Its path is never said: anybody can make up as many as they like."""

ABORTED = 499
"""The status of a request whose client went away, as nginx writes it."""

FAILED = 500
"""The status of a request that ended in an exception."""

_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"))
_NANOSECONDS_PER_MICROSECOND = 1000


def client_for(client: MetlogClient | None) -> MetlogClient | None:
    """Return the client that was given, or the default one of ``CLIENT_HOLDER``."""
    if client is not None:
        return client
    from metlog.holder import CLIENT_HOLDER

    return CLIENT_HOLDER.default_client


def complain(message: str, error: Exception) -> None:
    """Say in Metlog's own log, once for each text, that something went wrong which is not the application's concern."""
    _diagnostics.once(message, message, error)


class Request:
    """A request that is being served.

    Nothing here fails into the application: what goes wrong is said once in Metlog's own log.
    """

    __slots__ = (
        "_binding",
        "_client",
        "_has_line",
        "_is_over",
        "_method",
        "_piece",
        "_reported",
        "_started",
        "route",
        "status",
    )

    def __init__(
        self, client: MetlogClient, method: str, traceparent: str | None = None, request_id: str | None = None
    ) -> None:
        """Note that a request begins, and bind its names until it is over.

        :param traceparent: the header of that name.
        :param request_id: the header ``X-Request-ID``.
        """
        self.route: str | None = None
        self.status: int | None = None
        self._client = client
        self._method = method if method in _METHODS else "OTHER"
        self._reported: BaseException | None = None
        # Whether there is a line of ours about it.
        self._has_line = False
        self._is_over = False
        # Names of another request, whose answer goes on beside this one in the same thread, are not this one's.
        names = _tracing.from_headers(traceparent, request_id)
        self._binding = _bound.Binding(client._key, names, unbinds=_tracing.NAMES)
        self._binding.__enter__()
        self._piece = _failures.Piece()
        self._started = time.perf_counter_ns()

    def failed(self, exception: BaseException, *, is_logged: bool = False) -> None:
        """Report the exception that ended it, once.

        :param is_logged: whether the framework makes a log line of it, unless it lets the exception pass.
        """
        if self._reported is exception and (self._has_line or is_logged):
            return
        self._reported, self._has_line = exception, not is_logged
        route = self.route or NO_ROUTE
        message = f"{self._method} {route} failed"
        further: dict[str, Any] = {"method": self._method, "route": route}
        _failures.report(self._client, exception, message, handled=False, is_logged=is_logged, **further)

    def ended_by(self, exception: BaseException) -> None:
        """Note that an exception left the application, whatever it had begun to answer."""
        if isinstance(exception, Exception):
            self.status = FAILED
            self.failed(exception)
        else:
            # A task that was cancelled, a generator that was closed: the client went away. The process may be ending.
            self.status = ABORTED

    def over(self) -> None:
        """Say what became of it. What comes after the first time changes nothing."""
        if self._is_over:
            return
        self._is_over = True
        elapsed_us = (time.perf_counter_ns() - self._started) // _NANOSECONDS_PER_MICROSECOND
        try:
            route, status = self.route or NO_ROUTE, self.status or FAILED
            name = f"http.{self._method}.{route}.{status}"
            about: dict[str, Any] = {"method": self._method, "route": route, "status": status}
            self._client.incr(name, fields=about)
            self._client.timer_send(name, elapsed_us / 1000, fields=about)
        except Exception as error:
            complain("a request was not counted: %r", error)
        self._piece.end()
        self._binding.__exit__(None, None, None)
