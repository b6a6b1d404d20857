"""Middleware for Django, synchronous and asynchronous: a line in the settings.

    MIDDLEWARE = ["metlog.django.Middleware", ...]

It counts and times every request by the route of its URL pattern, reports exceptions, and binds the names of trace and
request. It belongs in front of all others, so that it sees what they answer.
"""

from __future__ import annotations

from typing import Any, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from metlog import _web


class Middleware:
    """Watches over the rest of a Django application."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[..., Any]) -> None:
        """Put itself in front of what answers."""
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Serve a request."""
        if self._is_async:
            return self._serve(request)
        watched = _begin(request)
        try:
            response = self.get_response(request)
        except BaseException as exception:
            _end(watched, request, exception=exception)
            raise
        _end(watched, request, response.status_code)
        return response

    async def _serve(self, request: Any) -> Any:
        watched = _begin(request)
        try:
            response = await self.get_response(request)
        except BaseException as exception:
            _end(watched, request, exception=exception)
            raise
        _end(watched, request, response.status_code)
        return response

    def process_exception(self, request: Any, exception: Exception) -> None:
        """Report what a view raises; Django logs it and answers."""
        watched = getattr(request, "_metlog_request", None)
        if watched is not None:
            watched.route = _route(request)
            watched.failed(exception, is_logged=True)


def _begin(request: Any) -> _web.Request | None:
    client = _web.client_for(None)
    if client is None:
        return None
    headers = request.META
    watched = _web.Request(client, request.method, headers.get("HTTP_TRACEPARENT"), headers.get("HTTP_X_REQUEST_ID"))
    request._metlog_request = watched
    return watched


def _end(
    watched: _web.Request | None, request: Any, status: int | None = None, exception: BaseException | None = None
) -> None:
    if watched is None:
        return
    watched.route = _route(request)
    watched.status = status
    if exception is not None:
        watched.ended_by(exception)
    watched.over()


def _route(request: Any) -> str | None:
    match = getattr(request, "resolver_match", None)
    route = getattr(match, "route", None)
    return f"/{route}" if isinstance(route, str) else None
